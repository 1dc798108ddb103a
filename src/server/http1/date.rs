//! The `Date` of answers (RFC 9110 §6.6.1), written down once a second.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::clock::{Clock, Timestamp};

thread_local! {
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes the field.
pub(in crate::server) fn write(out: &mut Vec<u8>) {
    let now = Clock::System.now();
    LAST.with_borrow_mut(|(second, date)| {
        if date.is_empty() || *second != now.as_secs() {
            *second = now.as_secs();
            *date = field(now);
        }
        out.extend_from_slice(date.as_bytes());
    });
}

fn field(now: Timestamp) -> String {
    let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
    format!("date: {}\r\n", httpdate::fmt_http_date(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_rfc_9110_wants_it() {
        let then = Timestamp::from_millis(784_111_777_000);
        assert_eq!(field(then), "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    }
}
