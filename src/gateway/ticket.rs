//! `POST {paths.ticket}`: what a session lends to things that can set no header (`<image>`, a web-view,
//! some sockets), and requests that show it.
//!
//! Nothing is kept of a ticket: it is sealed under the key of the store (`crypto::ticket`), with the digest
//! of its session's token in it. So every gate at one Redis opens it without a question, their number
//! needs no bound, a session that ends takes its tickets along, and a restart ends them where it ends the
//! sessions. What is kept is which were exchanged (`gateway::hand_over`), as each can be once.
//!
//! A ticket is worth less than its session: it opens what is under one pattern of paths, by GET and HEAD
//! and for WebSockets, and none of the gate's own routes. The rules of `[access]` hold all the same.

use bytes::Bytes;
use http::{Method, Response};
use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::identity::{Clean, Presented, TicketClaim, TokenClaim};
use crate::domain::limits;
use crate::domain::path::PathPattern;
use crate::domain::ticket::{LIFE, MAX_PATH_BYTES, Ticket};
use crate::gateway::authenticate::Standing;
use crate::gateway::fields::{Fields, encoding};
use crate::gateway::refusal::Refusal;
use crate::gateway::reply::{json, require_post};
use crate::gateway::route::Require;
use crate::gateway::{Gateway, Visit, texts};
use crate::server::body::RequestBody;

#[derive(Serialize)]
struct TicketAnswer<'a> {
    ticket: &'a str,
    /// Seconds.
    expires_in: u64,
}

impl Gateway {
    /// Lends a ticket.
    pub(in crate::gateway) async fn ticket(
        &self,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        const WRONG: Refusal = Refusal::BadRequest(&texts::TICKET_PATH);
        require_post(&request)?;
        let live = self.session_of(visit, (&request, presented)).await?;
        // A session was found by a token.
        let TokenClaim::Token(token) = presented.token() else {
            return Err(Refusal::SessionRequired);
        };
        let encoding = encoding(request.fields())?;
        let body = request.into_body();
        let body = body.read_all(limits::MAX_TICKET_BODY_BYTES).await?;
        let fields = Fields::parse(encoding, &body, &visit.settings.field_names)?;
        let path = fields
            .text("path")
            .filter(|path| path.len() <= MAX_PATH_BYTES);
        let path = PathPattern::parse(path.ok_or(WRONG)?).map_err(|_malformed| WRONG)?;
        let (session, now) = (*live.session().digest(), self.shared.clock.now());
        let ticket = Ticket::lend(token, session, path, now);
        let answer = TicketAnswer {
            ticket: &self.shared.tickets.seal(&ticket),
            expires_in: LIFE.as_secs(),
        };
        Ok(json(visit.style.envelope, &answer))
    }

    /// Who a request without a token is from, by its ticket. A ticket that opens nothing here is an error
    /// even where none is needed, as a token is.
    pub(in crate::gateway) fn by_ticket<B>(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        (request, presented): (&Clean<B>, &Presented),
        require: Require,
    ) -> Result<Standing, Refusal> {
        let text = match presented.ticket() {
            TicketClaim::Malformed if takes_tickets(request)? => {
                return Err(Refusal::SessionExpired);
            }
            TicketClaim::Ticket(text) if takes_tickets(request)? => text,
            TicketClaim::None | TicketClaim::Malformed | TicketClaim::Ticket(_) => {
                return match require {
                    Require::Session => Err(Refusal::SessionRequired),
                    Require::Optional | Require::Public => Ok(Standing::Known(None)),
                };
            }
        };
        let path = request.uri().path().as_bytes();
        let opened = self.shared.tickets.open(text);
        let opened = opened.filter(|(ticket, _)| ticket.is_good(now) && ticket.opens(path));
        let (ticket, _) = opened.ok_or(Refusal::SessionExpired)?;
        self.look_up(now, visit, ticket.session)
    }
}

/// Whether tickets are for such a request, by all that it may be taken for. A WebSocket is asked for by
/// GET.
fn takes_tickets<B>(request: &Clean<B>) -> Result<bool, Refusal> {
    let overridden = request.method_overrides()?;
    let mut asked = overridden.iter().chain([request.method()]);
    Ok(asked.all(|method| matches!(*method, Method::GET | Method::HEAD)))
}
