//! The `Date` of answers (RFC 9110 §6.6.1), written down once a second.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use crate::domain::clock::{Clock, Timestamp};

thread_local! {
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

const NAME: &str = "date: ";
const LINE_END: &str = "\r\n";

/// Writes the field.
pub(in crate::server) fn write(out: &mut Vec<u8>) {
    with_field(|field| out.extend_from_slice(field.as_bytes()));
}

/// Gives the value alone.
pub(in crate::server) fn with_value(give: impl FnOnce(&str)) {
    with_field(|field| {
        let value = field.strip_prefix(NAME);
        let value = value.and_then(|value| value.strip_suffix(LINE_END));
        give(value.unwrap_or_default());
    });
}

fn with_field(give: impl FnOnce(&str)) {
    let now = Clock::System.now();
    LAST.with_borrow_mut(|(second, date)| {
        if date.is_empty() || *second != now.as_secs() {
            *second = now.as_secs();
            *date = field(now);
        }
        give(date);
    });
}

fn field(now: Timestamp) -> String {
    let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
    format!("{NAME}{}{LINE_END}", httpdate::fmt_http_date(now))
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
