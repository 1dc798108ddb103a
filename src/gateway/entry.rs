//! What a request leaves behind: its record for the access log, filled in on the way and handed
//! over when the last byte of the answer is gone, whichever way that happens; and what is counted of
//! it, at the same moments and by the same clock.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::forwarded::Origin;
use crate::domain::id::AppId;
use crate::domain::peer::Peer;
use crate::domain::request::RequestHead;
use crate::domain::session::{Holder, Live};
use crate::domain::trace::{RequestId, TraceParent};
use crate::gateway::books::{self, Books};
use crate::gateway::route::{Decision, Line};
use crate::telemetry::access::{Flag, Record, Route, Who};
use crate::telemetry::metrics::{Failure, Method, Outcome, RouteId, UpstreamId};
use crate::upstream::{self, Answered, Index};

/// The record of one request under way.
#[derive(Debug)]
pub(in crate::gateway) struct Entry {
    /// `None` once it has been handed over, and where requests get no line.
    record: Option<Box<Record>>,
    begun: Instant,
    counted: Labels,
    /// `None` once the request has been accounted for, or is by another entry.
    books: Option<Rc<Books>>,
}

/// By what a request is counted.
#[derive(Clone, Copy, Debug)]
struct Labels {
    method: Method,
    route: RouteId,
    /// 0 before there is one.
    status: u16,
    /// The app server that is about to answer.
    asked: Option<UpstreamId>,
}

impl Entry {
    /// The record of a request that has just come in, with this id.
    pub(in crate::gateway) fn begin(
        request: &RequestHead,
        peer: &Peer,
        (time, request_id): (Timestamp, &RequestId),
        books: &Rc<Books>,
    ) -> Self {
        let record = books.ring.as_ref().map(|ring| {
            let mut record = ring.blank();
            record.time = time;
            record.request_id.clone_from(request_id);
            record.method.clone_from(&request.method);
            record.path.push_str(request.uri.path());
            record.client = peer.address();
            record.version = request.version;
            record
        });
        Self {
            record,
            begun: Instant::now(),
            counted: Labels {
                method: (&request.method).into(),
                route: books.routes.none(),
                status: 0,
                asked: None,
            },
            books: Some(Rc::clone(books)),
        }
    }

    fn note(&mut self, note: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            note(record);
        }
    }

    pub(in crate::gateway) fn came_from(&mut self, origin: &Origin) {
        self.note(|record| {
            record.client = origin.client();
            if let Some(told) = origin.request_id() {
                record.request_id.clone_from(told);
            }
        });
    }

    pub(in crate::gateway) fn decided(&mut self, decision: Decision) {
        self.note(|record| record.route = route(decision));
        if let Some(books) = &self.books {
            self.counted.route = books.routes.of_decision(decision);
        }
    }

    /// Its path holds a secret.
    pub(in crate::gateway) fn hide_path(&mut self) {
        self.note(|record| {
            let shown = record.path.rfind('/').map_or(0, |slash| slash + 1);
            record.path.truncate(shown);
            record.path.push_str("***");
        });
    }

    pub(in crate::gateway) fn identified(&mut self, live: &Live) {
        self.note(|record| record.who = Who::Session(live.clone()));
    }

    /// WeChat, or somebody like it, pushes something for this mini program.
    pub(in crate::gateway) fn pushed(&mut self, app: &AppId) {
        self.note(|record| record.who = Who::App(app.clone()));
    }

    /// Somebody wants to log in at this mini program.
    pub(in crate::gateway) fn logging_in(&mut self, app: &AppId) {
        self.note(|record| record.who = Who::App(app.clone()));
    }

    pub(in crate::gateway) fn logged_in(&mut self, holder: &Holder) {
        self.note(|record| record.who = Who::LoggedIn(Box::new(holder.clone())));
    }

    /// The trace that the request is part of.
    pub(in crate::gateway) fn traced(&mut self, trace: TraceParent) {
        self.note(|record| record.trace = Some(trace));
    }

    /// When it began.
    pub(in crate::gateway) fn begun(&self) -> Instant {
        self.begun
    }

    /// It is about to be sent on.
    pub(in crate::gateway) fn goes_to(&mut self, upstream: Index) {
        self.counted.asked = Some(books::upstream_id(upstream));
    }

    /// What was sent on has an answer, or will have none.
    pub(in crate::gateway) fn came_back(&mut self, answered: &Result<Answered, upstream::Error>) {
        let took = self.app_server_answered();
        self.count_asked(books::of_answered(answered), took);
    }

    fn count_asked(&mut self, outcome: Outcome, took: Duration) {
        if let (Some(asked), Some(books)) = (self.counted.asked.take(), &self.books) {
            books
                .counts
                .asked(asked, self.counted.method, outcome, took);
        }
    }

    /// An app server has answered, or will not. Gives the time since the request began.
    pub(in crate::gateway) fn app_server_answered(&mut self) -> Duration {
        let took = self.begun.elapsed();
        self.note(|record| record.upstream = Some(took));
        took
    }

    /// Something kept it from ending as it should.
    pub(in crate::gateway) fn flag(&mut self, flag: Flag) {
        self.note(|record| record.flag = Some(flag));
    }

    pub(in crate::gateway) fn answered(&mut self, status: StatusCode) {
        self.note(|record| record.status = status.as_u16());
        self.counted.status = status.as_u16();
    }

    /// Bytes of body, from the client and to it.
    pub(in crate::gateway) fn passed(&mut self, from_client: u64, to_client: u64) {
        self.note(|record| {
            record.bytes_in = from_client;
            record.bytes_out = to_client;
        });
    }

    /// The record of a request that became a tunnel goes on with the tunnel.
    pub(in crate::gateway) fn split_for_tunnel(&mut self) -> Self {
        self.answered(StatusCode::SWITCHING_PROTOCOLS);
        Self {
            record: self.record.take(),
            begun: self.begun,
            counted: self.counted,
            books: self.books.take(),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(books) = self.books.take() else {
            return;
        };
        let took = self.begun.elapsed();
        let Labels {
            method,
            route,
            status,
            asked,
        } = self.counted;
        books.counts.served(route, method, status, took);
        if let (Some(asked), 0) = (asked, status) {
            // The client is gone, and with it the request to the app server.
            let cancelled = Outcome::Failure(Failure::Cancelled);
            books.counts.asked(asked, method, cancelled, took);
        }
        if let (Some(mut record), Some(ring)) = (self.record.take(), &books.ring) {
            record.duration = took;
            ring.push(record);
        }
    }
}

/// The name of a line of the route table in the access log.
fn route(decision: Decision) -> Route {
    match decision {
        Decision::Endpoint(endpoint) => Route::Own(endpoint.name()),
        Decision::Forward(Line::Rule(index)) | Decision::OpenData(Line::Rule(index)) => {
            Route::Rule(index)
        }
        Decision::Forward(Line::Default) | Decision::OpenData(Line::Default) => Route::Default,
        Decision::Reserved => Route::Own("reserved"),
    }
}
