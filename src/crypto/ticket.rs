//! Sealing and opening tickets. A ticket is all of itself: nothing is kept of it, so there can be any
//! number of them, every gate that has the key can open one, and what ends a session ends its tickets.
//! Knows nothing of where tickets are shown, or whether one was used before.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::crypto::random;
use crate::crypto::seal::{Place, Sealer};
use crate::crypto::token;
use crate::domain::clock::Timestamp;
use crate::domain::path::PathPattern;
use crate::domain::secret::{SealKey, SealKeys};
use crate::domain::ticket::{MAX_PATH_BYTES, PREFIX, Ticket, TicketId, TicketText};
use crate::domain::token::{SessionToken, TOKEN_BYTES, TokenDigest};

/// What the seal is for.
const PLACE: Place<'static> = Place {
    what: "wxgate ticket v1",
    whereabouts: &[],
};

/// Says what the hash below is for, so that it is never the hash of anything else.
const TICKET_ID: &[u8] = b"wxgate ticket id v1";

/// What stands before the digest of a token, and before a token.
const DIGEST: u8 = b'd';
const TOKEN: u8 = b't';

/// Room for the longest text, so that it is never copied: a moment, a letter, a token and a pattern.
const TEXT_BYTES: usize = 8 + 1 + TOKEN_BYTES + MAX_PATH_BYTES;

/// Seals tickets and opens them.
#[derive(Clone)]
pub struct Tickets(Sealer);

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

impl Tickets {
    /// Under the operator's keys. Without any, under one that ends with the process, as the sessions do
    /// then.
    pub fn new(keys: Option<&SealKeys>) -> Self {
        let own = || SealKeys {
            current: SealKey::of(random::bytes()),
            previous: None,
        };
        Self(keys.map_or_else(|| Sealer::new(&own()), Sealer::new))
    }

    /// The text of a ticket.
    pub fn seal(&self, ticket: &Ticket) -> String {
        let mut text = Zeroizing::new(Vec::with_capacity(TEXT_BYTES));
        text.extend_from_slice(&ticket.until.as_millis().to_be_bytes());
        if let Some(token) = &ticket.token {
            text.push(TOKEN);
            // Exposed to be sealed: whoever exchanges the ticket gets it.
            text.extend_from_slice(token.expose_bytes());
        } else {
            text.push(DIGEST);
            text.extend_from_slice(ticket.session.as_bytes());
        }
        text.extend_from_slice(ticket.path.as_str().as_bytes());
        let mut out = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(self.0.seal(PLACE, &text), &mut out);
        out
    }

    /// The ticket with this text, and what it is known by. Nothing when this gate, or one like it, did
    /// not seal it.
    pub fn open(&self, text: &TicketText) -> Option<(Ticket, TicketId)> {
        let sealed = URL_SAFE_NO_PAD.decode(text.body()).ok()?;
        let ticket = read(&self.0.open(PLACE, &sealed).ok()?)?;
        Some((ticket, id(&sealed)))
    }
}

fn read(text: &[u8]) -> Option<Ticket> {
    let (until, rest) = text.split_first_chunk()?;
    let (&kind, rest) = rest.split_first()?;
    let (session, token, path) = match kind {
        TOKEN => {
            let (token, path) = rest.split_at_checked(TOKEN_BYTES)?;
            let token = SessionToken::from_bytes(token)?;
            (token::digest(&token), Some(token), path)
        }
        DIGEST => {
            let (digest, path) = rest.split_first_chunk()?;
            (TokenDigest::new(*digest), None, path)
        }
        _ => return None,
    };
    Some(Ticket {
        session,
        path: PathPattern::parse(std::str::from_utf8(path).ok()?).ok()?,
        until: Timestamp::from_millis(u64::from_be_bytes(*until)),
        token,
    })
}

/// Of the sealed bytes, of which not one can be changed.
fn id(sealed: &[u8]) -> TicketId {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(TICKET_ID);
    context.update(sealed);
    let mut id = [0; 32];
    for (byte, hashed) in id.iter_mut().zip(context.finish().as_ref()) {
        *byte = *hashed;
    }
    TicketId::new(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn ticket(path: &str) -> Ticket {
        let token = token::issue();
        let digest = token::digest(&token);
        Ticket::lend(&token, digest, PathPattern::parse(path).unwrap(), NOW)
    }

    fn text(text: &str) -> TicketText {
        TicketText::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_ticket_opens_as_what_it_was_and_where_its_key_is_only() {
        let (here, elsewhere) = (Tickets::new(None), Tickets::new(None));
        let longest = format!("/{}", "a".repeat(255));
        for path in ["/files/**", "/**", &longest] {
            let ticket = ticket(path);
            let sealed = text(&here.seal(&ticket));
            assert!(elsewhere.open(&sealed).is_none());
            let (opened, _) = here.open(&sealed).unwrap();
            assert_eq!(opened.session, ticket.session);
            assert_eq!(opened.path, ticket.path);
            assert_eq!(opened.until, ticket.until);
            let tokens =
                [&opened, &ticket].map(|ticket| ticket.token.as_ref().map(SessionToken::expose));
            assert_eq!(tokens[0], tokens[1]);
        }
    }

    #[test]
    fn a_ticket_of_which_one_character_is_another_does_not_open() {
        let tickets = Tickets::new(None);
        let sealed = tickets.seal(&ticket("/files/**"));
        for at in PREFIX.len()..sealed.len() {
            let other = if sealed.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut changed = sealed.clone();
            changed.replace_range(at..=at, other);
            assert!(tickets.open(&text(&changed)).is_none(), "{at}");
        }
        assert!(tickets.open(&text(&format!("{sealed}A"))).is_none());
    }

    #[test]
    fn two_tickets_for_the_same_are_two() {
        let tickets = Tickets::new(None);
        let ticket = ticket("/**");
        let ids = [(); 2].map(|()| tickets.open(&text(&tickets.seal(&ticket))).unwrap().1);
        assert_ne!(ids[0], ids[1]);
    }
}
