//! `GET {paths.ticket}/{ticket}?to=/path`: a web-view takes its session over from the mini program that
//! opens it. The ticket becomes the session cookie, once, and the browser goes on to a path of this gate.
//!
//! The cookie is worth all of the session, so only a ticket for everything is exchanged. And as whoever
//! opens such an address is logged in by it, a page of another site must not have it opened: somebody would
//! then be in the session of somebody else, and not know it (session fixation). A browser that says where a
//! request comes from is believed; one that does not say, as old web-views, is not refused.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::domain::fields::HeaderFields;
use crate::domain::identity::Clean;
use crate::domain::names;
use crate::domain::session::Live;
use crate::domain::ticket::{Ticket, TicketId, TicketText};
use crate::gateway::authenticate::Standing;
use crate::gateway::cross_site;
use crate::gateway::refusal::Refusal;
use crate::gateway::spent::{NotSpent, REMEMBERED_FOR};
use crate::gateway::{Gateway, Visit, texts};
use crate::server::body::RequestBody;

/// Longest path that a browser is sent on to, in bytes: it goes into an answer.
const MAX_TO_BYTES: usize = 2048;

impl Gateway {
    /// Exchanges a ticket for the session cookie.
    pub(in crate::gateway) async fn hand_over(
        &self,
        visit: &mut Visit<'_>,
        request: &Clean<RequestBody>,
    ) -> Result<Response<Bytes>, Refusal> {
        const NOT_FOR_ALL: Refusal = Refusal::BadRequest(&texts::TICKET_NOT_FOR_ALL);
        let cookie = visit.settings.cookie.clone().ok_or(Refusal::NotFound)?;
        if *request.method() != Method::GET || !request.method_overrides()?.is_empty() {
            return Err(Refusal::MethodNotAllowed { allowed: "GET" });
        }
        if !is_navigation(request.fields()) {
            return Err(Refusal::CrossSite);
        }
        let to = to(request.uri()).ok_or(Refusal::BadRequest(&texts::TICKET_TO))?;
        let text = last_segment(request.uri().path()).and_then(TicketText::parse);
        let opened = text.and_then(|text| self.shared.tickets.open(&text));
        let now = self.shared.clock.now();
        let opened = opened.filter(|(ticket, _)| ticket.is_good(now));
        let (ticket, id) = opened.ok_or(Refusal::SessionExpired)?;
        let token = ticket.token.as_ref().ok_or(NOT_FOR_ALL)?;
        let live = self.session_of_ticket(visit, &ticket).await?;
        // The last thing that can go wrong: what is refused before is still good.
        self.spend(id, &ticket).await?;
        let ends_at = live.session().ends_at(&visit.settings.session.lifetimes);
        let max_age = ends_at.seconds_from(self.shared.clock.now());
        let mut response = Response::new(Bytes::new());
        // RFC 9110 §15.4.4: whatever was asked, what comes next is a GET.
        *response.status_mut() = StatusCode::SEE_OTHER;
        let headers = response.headers_mut();
        headers.insert(LOCATION, to);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        let set = cookie.set(token, max_age).ok_or(Refusal::Internal)?;
        headers.insert(SET_COOKIE, set);
        Ok(response)
    }

    async fn session_of_ticket(
        &self,
        visit: &mut Visit<'_>,
        ticket: &Ticket,
    ) -> Result<Live, Refusal> {
        let now = self.shared.clock.now();
        match self.look_up(now, visit, ticket.session)? {
            Standing::Known(found) => found.ok_or(Refusal::SessionExpired),
            Standing::Unseen(digest) => self.first_sight(visit, digest).await,
        }
    }

    /// Spends the ticket, here and at every gate that might be shown it.
    async fn spend(&self, id: TicketId, ticket: &Ticket) -> Result<(), Refusal> {
        let now = self.shared.clock.now();
        self.shared.spent.spend((id, ticket.session), now)?;
        let is_first = self.shared.store.spend_ticket(&id, REMEMBERED_FOR);
        if !is_first.await? {
            return Err(NotSpent::Again.into());
        }
        Ok(())
    }
}

impl From<NotSpent> for Refusal {
    fn from(why: NotSpent) -> Self {
        match why {
            NotSpent::Again => Self::SessionExpired,
            NotSpent::TooMany => Self::Overloaded,
        }
    }
}

/// Whether a person opened the address, or a page of this gate, and a window is to show it: as far as the
/// browser says (Fetch Metadata).
fn is_navigation(fields: &HeaderFields) -> bool {
    let says = |name, value: &[u8]| {
        let unsaid = !fields.has(name);
        unsaid
            || fields
                .only(name)
                .is_some_and(|field| field.value() == value)
    };
    let site = !fields.has(names::SEC_FETCH_SITE) || cross_site::is_same_origin(fields);
    site && says(names::SEC_FETCH_MODE, b"navigate") && says(names::SEC_FETCH_DEST, b"document")
}

fn last_segment(path: &str) -> Option<&[u8]> {
    path.rsplit('/').next().map(str::as_bytes)
}

/// Where the browser goes on to: the only `to`, if it is a path of this gate whoever reads it.
fn to(uri: &Uri) -> Option<HeaderValue> {
    let parameters = uri.query()?.split('&');
    let mut given = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        percent_decode_str(name)
            .eq(b"to".iter().copied())
            .then_some(value)
    });
    let (only, None) = (given.next()?, given.next()) else {
        return None;
    };
    let decoded: Vec<u8> = percent_decode_str(only).collect();
    location(&decoded)
}

/// A path on this host, and nothing that a browser takes for another host: it reads `\` as `/`, and
/// overlooks tabs and line breaks (URL Standard).
fn location(to: &[u8]) -> Option<HeaderValue> {
    let begins =
        matches!(to, [b'/'] | [b'/', b'!'..=b'.' | b'0'..=b'[' | b']'..=b'~' | 0x80.., ..]);
    let is_plain = |byte: &u8| !matches!(byte, b'\\' | b'"' | b'<' | b'>' | ..=b' ' | 0x7f);
    if !begins || to.len() > MAX_TO_BYTES || !to.iter().all(is_plain) {
        return None;
    }
    let mut out = String::with_capacity(to.len());
    for &byte in to {
        match byte {
            0x80.. => write!(out, "%{byte:02X}").ok()?,
            _ => out.push(char::from(byte)),
        }
    }
    HeaderValue::try_from(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location_of(query: &str) -> Option<String> {
        let uri = format!("/wx/ticket/wxg_t-AA{query}").parse().unwrap();
        to(&uri).map(|to| to.to_str().unwrap().to_owned())
    }

    #[test]
    fn no_browser_is_sent_to_another_host() {
        for query in [
            "",
            "?to",
            "?to=",
            "?TO=/a",
            "?to=/a&to=/a",
            "?to=/a&%74o=/b",
            "?to=a",
            "?to=//evil.example",
            "?to=%2F%2Fevil.example",
            "?to=/%5Cevil.example",
            "?to=%5C%5Cevil.example",
            "?to=/%09/evil.example",
            "?to=%09//evil.example",
            "?to=%20/a",
            "?to=/%0d%0aSet-Cookie:x",
            "?to=/a%00",
            "?to=/a%0a",
            "?to=/a%20b",
            "?to=/a%5Cb",
            "?to=https://evil.example",
            "?to=https%3A%2F%2Fevil.example",
            "?to=javascript:alert(1)",
            "?to=@evil.example",
            "?to=.evil.example",
            "?to=%2E%2E/",
            "?to=/a%7F",
        ] {
            assert_eq!(location_of(query), None, "{query}");
        }
        assert_eq!(location_of(&format!("?to=/{}", "a".repeat(2048))), None);
    }

    #[test]
    fn a_path_of_the_gate_is_taken_as_it_is() {
        for (query, expected) in [
            ("?to=/", "/"),
            ("?to=/h5/home", "/h5/home"),
            ("?to=%2Fh5%2Fhome%3Fa%3D1%26b%3D2", "/h5/home?a=1&b=2"),
            ("?x=1&to=/h5/%23/tab", "/h5/#/tab"),
            ("?to=/h5/%252F", "/h5/%2F"),
            ("?to=/h5/%E4%BD%A0", "/h5/%E4%BD%A0"),
            ("?to=/a//b", "/a//b"),
        ] {
            assert_eq!(location_of(query).as_deref(), Some(expected), "{query}");
        }
    }
}
