//! Tickets in a request: read from its query, and taken out of it and of wherever a URL of the gate is
//! told to others. Knows nothing of what a ticket opens.

use crate::domain::fields::HeaderFields;
use crate::domain::identity::{Unclean, query};
use crate::domain::names;
use crate::domain::request::RequestHead;
use crate::domain::ticket::TicketText;

/// What a request shows beside or instead of a token.
#[derive(Clone, Debug)]
pub enum TicketClaim {
    /// No ticket.
    None,
    /// Something in its place, not of a ticket's shape.
    Malformed,
    /// A text of a ticket's shape.
    Ticket(TicketText),
}

/// Reads the ticket and takes it out. The page that was shown for one names it as where the next request
/// comes from, and some proxies name the whole target.
pub(in crate::domain::identity) fn take(head: &mut RequestHead) -> Result<TicketClaim, Unclean> {
    for name in [names::REFERER, names::X_FORWARDED_URI] {
        if head.fields.has(name) {
            hide(&mut head.fields, name);
        }
    }
    query::take_ticket(&mut head.uri)
}

fn hide(fields: &mut HeaderFields, name: names::Name<'_>) {
    let has_one = |line: &[u8]| without(line).is_some();
    if fields.all(name).any(|field| has_one(field.value())) {
        fields.rewrite(name, |line| {
            Some(without(line).unwrap_or_else(|| line.to_vec()))
        });
    }
}

/// What is no text has no ticket that anybody could use.
fn without(line: &[u8]) -> Option<Vec<u8>> {
    query::without_tickets(std::str::from_utf8(line).ok()?).map(String::into_bytes)
}
