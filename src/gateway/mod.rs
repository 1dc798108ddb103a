//! The request path: what a request means, who it is from, and where it goes.
//!
//! `Gateway::answer` is the only place that turns a refusal into an answer, and the only one that
//! accounts for a request; `Gateway::decide` is the path itself, from top to bottom.

mod answer_style;
mod authenticate;
mod authenticity;
pub mod body;
mod books;
mod budgets;
pub mod control;
mod cookie;
mod cors;
mod cross_site;
mod decrypt;
mod deliver;
pub mod desk;
mod entry;
mod envelope;
mod fields;
mod first_sight;
mod forward;
mod hand_over;
mod hook;
mod ids;
mod inquiry;
mod jwks;
mod kept_answer;
mod language;
mod login;
mod member;
mod open_data;
mod originate;
mod phone;
pub mod problems;
pub mod push;
mod refusal;
mod reply;
pub mod route;
mod session;
mod settings;
pub mod signing;
mod spent;
mod texts;
mod ticket;
mod wechat_failure;

pub use crate::crypto::ticket::Tickets;
pub use books::RouteIds;
pub use budgets::{Budgets, RateLimits, Toll};
pub use cookie::{Attributes, SameSite, SessionCookie};
pub use cors::Cors;
pub use envelope::Envelope;
pub use fields::{Field, FieldNames};
pub use inquiry::Inquiries;
pub use language::Language;
pub use settings::{App, AppHints, Decrypt, Deliver, Errors, Login, Session, Settings};
pub use spent::SpentTickets;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::forwarded::Origin;
use crate::domain::identity::{Clean, Presented};
use crate::domain::peer::Peer;
use crate::domain::request::Request;
use crate::domain::response::Response;
use crate::domain::session::Live;
use crate::domain::trace::RequestId;
use crate::gateway::answer_style::AnswerStyle;
use crate::gateway::authenticate::Standing;
use crate::gateway::body::AnswerBody;
use crate::gateway::books::Books;
use crate::gateway::desk::Desk;
use crate::gateway::entry::Entry;
use crate::gateway::first_sight::{Unseen, Way};
use crate::gateway::forward::Forwarding;
use crate::gateway::ids::Ids;
use crate::gateway::open_data::BodyToOpen;
use crate::gateway::push::{DeferredSlots, KnownPushes};
use crate::gateway::refusal::Refusal;
use crate::gateway::route::{Decision, Endpoint, Require};
use crate::server::body::{Progress, RequestBody};
use crate::server::connection::Handler;
use crate::store::Store;
use crate::telemetry::access::Ring;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{self, Exchange};

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// What the configuration says; swapped whole.
    pub settings: ArcSwap<Settings>,
    /// Where sessions are kept.
    pub store: Store,
    /// Where login codes are redeemed.
    pub desk: Desk,
    /// What clients have used up of `[limits]`.
    pub budgets: Budgets,
    /// Where WeChat is asked about users who are logged in.
    pub inquiries: Inquiries,
    /// By what tickets are sealed.
    pub tickets: Tickets,
    /// Which tickets were exchanged.
    pub spent: SpentTickets,
    /// Which pushes came before.
    pub known_pushes: KnownPushes,
    /// How many pushes wait for the app server.
    pub deferred_pushes: DeferredSlots,
    /// What is counted, all workers together.
    pub metrics: Metrics,
    /// Under which labels requests are counted.
    pub routes: RouteIds,
    /// The time of day.
    pub clock: Clock,
    /// The app servers, in the order of the configuration.
    pub upstreams: Vec<Arc<upstream::Shared>>,
}

/// The request path of one worker.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    exchange: Exchange,
    books: Rc<Books>,
    ids: RefCell<Ids>,
}

/// One request on its way: what the steps of the path pass along.
struct Visit<'a> {
    settings: Arc<Settings>,
    peer: &'a Arc<Peer>,
    style: AnswerStyle,
    /// When it came in.
    arrived: Timestamp,
    /// Under which the log knows the request.
    request_id: RequestId,
    /// The origin of the page, where it may read what the gate says.
    granted: Option<Box<HeaderValue>>,
    /// Whether the browser is told to forget the session cookie.
    forgets_cookie: bool,
    entry: Entry,
    progress: Progress,
}

/// What is to be done with a request, decided before anything is waited for.
enum Course {
    Endpoint(Endpoint, Box<(Clean<RequestBody>, Presented)>),
    Forward(Forwarding),
    FirstSight(Box<Unseen>),
    OpenData(Box<BodyToOpen>),
}

impl Gateway {
    /// For one worker. Must be made on its thread, inside its local task set.
    pub fn new(shared: Arc<Shared>, access_log: Option<Ring>) -> Self {
        let exchange = Exchange::new(&shared.upstreams);
        let books = Books {
            counts: shared.metrics.worker(),
            ring: access_log,
            routes: shared.routes.clone(),
        };
        Self {
            shared,
            exchange,
            books: Rc::new(books),
            ids: RefCell::new(Ids::seeded()),
        }
    }

    /// The path of a request, from top to bottom, up to where something has to be waited for.
    fn decide(
        &self,
        visit: &mut Visit<'_>,
        mut request: Request<RequestBody>,
    ) -> Result<Course, Refusal> {
        visit.settings.check_size(&request.head)?;
        let max_body_bytes = visit.settings.limits.max_body_bytes;
        request.body.limit(max_body_bytes);
        let (clean, presented) = Clean::strip(request, &visit.settings.identity, visit.peer)?;
        visit.came_from(presented.origin());
        self.books.counts.headers_stripped(presented.stripped());
        let overridden = clean.method_overrides()?;
        let path = clean.uri().path().as_bytes();
        let decision = visit
            .settings
            .routes
            .decide(clean.method(), &overridden, path)?;
        visit.entry.decided(decision);
        match decision {
            Decision::Endpoint(Endpoint::HandOver) => {
                visit.entry.hide_path();
                let request = Box::new((clean, presented));
                Ok(Course::Endpoint(Endpoint::HandOver, request))
            }
            Decision::Endpoint(endpoint) => {
                Ok(Course::Endpoint(endpoint, Box::new((clean, presented))))
            }
            Decision::Reserved => Err(Refusal::NotFound),
            Decision::Forward(line) | Decision::OpenData(line) => {
                let access = visit.settings.access(line, &clean);
                // Without a body there is nothing to open.
                let opens = matches!(decision, Decision::OpenData(_)) && !clean.is_without_body();
                let require = if opens {
                    Require::Session
                } else {
                    access.require
                };
                let way = Way {
                    opens,
                    upstream: access.upstream,
                };
                match self.authenticate(visit, (&clean, &presented), require)? {
                    Standing::Known(session) => self.go(visit, way, (clean, presented), session),
                    Standing::Unseen(digest) => Ok(Course::FirstSight(Box::new(Unseen {
                        digest,
                        require,
                        way,
                        request: clean,
                        presented,
                    }))),
                }
            }
        }
    }

    /// What is to be done with a request for the app server, once it is known who it is from.
    fn go(
        &self,
        visit: &mut Visit<'_>,
        way: Way,
        (request, presented): (Clean<RequestBody>, Presented),
        session: Option<Live>,
    ) -> Result<Course, Refusal> {
        if !way.opens {
            let forwarding = self.outbound(visit, (request, presented), session, way.upstream)?;
            return Ok(Course::Forward(forwarding));
        }
        Ok(Course::OpenData(Box::new(BodyToOpen {
            request,
            presented,
            live: session.ok_or(Refusal::SessionRequired)?,
            upstream: way.upstream,
        })))
    }

    /// Waits for what was decided.
    async fn follow(
        &self,
        visit: &mut Visit<'_>,
        course: Course,
    ) -> Result<Response<AnswerBody>, Refusal> {
        match course {
            Course::Endpoint(endpoint, request) => {
                let (clean, presented) = *request;
                // On the heap, as everything that is seldom: the future of every request is moved
                // about, and should be small.
                Box::pin(self.endpoint(endpoint, visit, clean, &presented)).await
            }
            Course::Forward(forwarding) => self.forward(visit, forwarding).await,
            Course::FirstSight(unseen) => Box::pin(self.see(visit, *unseen)).await,
            Course::OpenData(body) => Box::pin(self.open_body(visit, *body)).await,
        }
    }

    /// Answers one of the gate's own routes.
    async fn endpoint(
        &self,
        endpoint: Endpoint,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<AnswerBody>, Refusal> {
        if let Some(granted) = visit.preflight(endpoint, &request) {
            return Ok(visit.share(granted.map(AnswerBody::whole).into()));
        }
        let whole = match endpoint {
            Endpoint::Decrypt => return self.decrypt(visit, request, presented).await,
            Endpoint::HandOver => self.hand_over(visit, &request).await,
            Endpoint::Jwks => Self::jwks(visit, &request),
            Endpoint::Login => self.login(visit, request, presented).await,
            Endpoint::Logout => self.logout(visit, &request, presented).await,
            Endpoint::Phone => return self.phone(visit, request, presented).await,
            Endpoint::Push => self.push(visit, request, presented).await,
            Endpoint::Session => self.session(visit, &request, presented).await,
            Endpoint::Ticket => self.ticket(visit, request, presented).await,
        };
        whole.map(|answer| visit.share(answer.map(AnswerBody::whole).into()))
    }
}

impl Handler for Gateway {
    type Body = AnswerBody;

    /// Decides at once, and then waits with no more than what was decided: a future that holds the
    /// request has room for it twice, and the future of every request is moved about.
    fn answer<'a>(
        &'a self,
        request: Request<RequestBody>,
        peer: &'a Arc<Peer>,
    ) -> impl Future<Output = Response<AnswerBody>> {
        let arrived = self.shared.clock.now();
        let request_id = self.ids.borrow_mut().request_id(arrived);
        let settings = self.shared.settings.load_full();
        let mut visit = Visit {
            style: AnswerStyle::of(settings.errors, &request.head.fields),
            granted: settings
                .cors
                .as_ref()
                .and_then(|cors| cors.granted(&request.head.fields)),
            forgets_cookie: false,
            settings,
            peer,
            entry: Entry::begin(&request.head, peer, (arrived, &request_id), &self.books),
            arrived,
            request_id,
            progress: request.body.progress(),
        };
        let course = self.decide(&mut visit, request);
        async move {
            let answered = match course {
                Ok(course) => self.follow(&mut visit, course).await,
                Err(refusal) => Err(refusal),
            };
            let mut response = match answered {
                Ok(response) => response,
                Err(refusal) => visit.refuse(refusal),
            };
            visit.end(&mut response);
            response
        }
    }

    fn not_http(&self) {
        self.books.counts.not_http();
    }
}

impl Visit<'_> {
    /// A trusted proxy may have told the client, and the id.
    fn came_from(&mut self, origin: &Origin) {
        self.entry.came_from(origin);
        if let Some(told) = origin.request_id() {
            self.request_id = told.clone();
        }
    }

    /// Has the answer account for the request, when it is gone.
    fn end(mut self, response: &mut Response<AnswerBody>) {
        cookie::drop_foreign(&self.settings.identity, response);
        if let Some(own) = self
            .settings
            .cookie
            .as_ref()
            .filter(|_| self.forgets_cookie)
        {
            cookie::add(response, own.clear());
        }
        response.identify(self.request_id);
        self.entry.answered(response.status);
        response.body.record(self.entry, self.progress);
    }

    /// Says no. The inside story goes to the log, under the request id that the client is told.
    fn refuse(&mut self, refusal: Refusal) -> Response<AnswerBody> {
        self.entry.flag(refusal.flag());
        refusal.log(self.request_id.as_str());
        let response = refusal.into_response(self.request_id.as_str(), &self.style);
        self.share(response.map(AnswerBody::whole).into())
    }
}
