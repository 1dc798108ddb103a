//! Tickets: what a session lends for a moment to things that can set no header. A ticket opens, by GET
//! alone, what is under one pattern of paths, to nobody but the session that asked for it. Only the
//! shape and the rules are known here; sealing and opening are the business of `crypto::ticket`.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::domain::bytes::ByteSet;
use crate::domain::clock::Timestamp;
use crate::domain::path::{Matching, PathPattern};
use crate::domain::readings;
use crate::domain::token::{SessionToken, TokenDigest};

/// The parameter of a query that holds a ticket.
pub const PARAMETER: &str = "wx_ticket";

/// The pattern of tickets that can be exchanged for the session itself.
pub const EVERYTHING: &str = "/**";

/// How long a ticket is good.
pub const LIFE: Duration = Duration::from_mins(1);

/// How far apart the clocks of two gates may be: one that opens a ticket need not be the one that
/// sealed it.
pub const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// Longest pattern, in bytes: it travels in every URL.
pub const MAX_PATH_BYTES: usize = 256;

/// What a ticket begins with: what a token begins with, so that it is masked wherever tokens are, and
/// something that makes it none.
pub const PREFIX: &str = "wxg_t-";

/// Longest ticket, in bytes: 45 for the seal, 57 for what is in it, and a pattern, in base64.
const MAX_BYTES: usize = 512;

/// The characters of base64url (RFC 4648 §5).
static BODY: ByteSet = ByteSet::ALPHANUMERIC.with(b"-_");

/// The text of a ticket: whoever holds it can use it until it has run out.
#[derive(Clone)]
pub struct TicketText(Zeroizing<String>);

impl TicketText {
    /// Takes a text of a ticket's shape.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let body = text.strip_prefix(PREFIX.as_bytes())?;
        if text.len() > MAX_BYTES || body.is_empty() || !BODY.has_all(body) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        // What has the shape of a token is a token.
        SessionToken::parse(text)
            .is_none()
            .then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The ticket as text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is sealed, in base64url.
    pub fn body(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or_default()
    }
}

impl fmt::Debug for TicketText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketText(..)")
    }
}

/// Tells two tickets apart, and opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TicketId([u8; 32]);

impl TicketId {
    /// Takes a SHA-256 over.
    pub fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketId(..)")
    }
}

/// What a ticket is worth.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whose it is. It is worth nothing when that session has ended.
    pub session: TokenDigest,
    /// What it opens.
    pub path: PathPattern,
    /// How long.
    pub until: Timestamp,
    /// The token itself, in tickets for everything: only those can be exchanged for it.
    pub token: Option<SessionToken>,
}

impl Ticket {
    /// A new one. Only one for everything takes the token along.
    pub fn lend(
        token: &SessionToken,
        session: TokenDigest,
        path: PathPattern,
        now: Timestamp,
    ) -> Self {
        let is_for_everything = path.as_str() == EVERYTHING;
        Self {
            session,
            path,
            until: now.plus(LIFE),
            token: is_for_everything.then(|| token.clone()),
        }
    }

    /// Whether it is still good.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.until.is_to_come(now, LIFE + CLOCK_SKEW)
    }

    /// Whether it opens this path, whichever way a server reads it. Byte for byte: what a server might
    /// take for a path under the pattern is not one.
    pub fn opens(&self, path: &[u8]) -> bool {
        let covers = |reading: &[u8]| self.path.matches(reading, Matching::Strict);
        readings::all(path, covers) == Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn ticket(path: &str) -> Ticket {
        let token = SessionToken::parse(&format!("wxg_{}", "A".repeat(43))).unwrap();
        let path = PathPattern::parse(path).unwrap();
        Ticket::lend(&token, TokenDigest::new([7; 32]), path, NOW)
    }

    #[test]
    fn a_ticket_opens_no_path_that_some_server_reads_as_another() {
        for path in [
            "/",
            "/filesx",
            "/Files/a",
            "/admin",
            "/files/../admin",
            "/files/%2e%2e/admin",
            "/files/%252e%252e/admin",
            "/files/..;/admin",
            "/files/..%2fadmin",
            "/files\\..\\admin",
            "/files/..%5cadmin",
            "//files/a",
            "/x/../files/a",
            "/%66iles/a",
            "/files;x/a",
            "/files/a%00",
        ] {
            assert!(!ticket("/files/**").opens(path.as_bytes()), "{path}");
        }
        for path in [
            "/files",
            "/files/",
            "/files/a/b",
            "/files//a",
            "/files/%E5%BC%A0",
            "/files/a;v=1",
        ] {
            assert!(ticket("/files/**").opens(path.as_bytes()), "{path}");
        }
        assert!(!ticket("/u/*/a").opens(b"/u/x%2fy/a"));
        assert!(!ticket("/a").opens(b"/a/"));
    }

    #[test]
    fn a_ticket_is_good_for_a_minute_and_none_is_from_a_far_future() {
        let ticket = ticket("/a");
        assert!(ticket.is_good(NOW));
        assert!(ticket.is_good(NOW.plus(Duration::from_secs(59))));
        assert!(!ticket.is_good(NOW.plus(LIFE)));
        let before = Timestamp::from_millis(NOW.as_millis() - 61_000);
        assert!(!ticket.is_good(before));
    }

    #[test]
    fn only_a_ticket_for_everything_knows_the_token() {
        assert!(ticket("/**").token.is_some());
        for narrower in ["/", "/*", "/*/**", "/a/**"] {
            assert!(ticket(narrower).token.is_none(), "{narrower}");
        }
    }

    #[test]
    fn a_text_of_another_shape_is_no_ticket_and_none_prints() {
        let token = format!("wxg_t-{}", "A".repeat(41));
        for wrong in [
            "",
            "wxg_t-",
            "wxg_AAAA",
            "wxg_t-A=",
            "wxg_t-A A",
            &token,
            &format!("wxg_t-{}", "A".repeat(507)),
        ] {
            assert!(TicketText::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
        let ticket = TicketText::parse(b"wxg_t-planted").unwrap();
        assert_eq!(format!("{ticket:?}"), "TicketText(..)");
    }
}
