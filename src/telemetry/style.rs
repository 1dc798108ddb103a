//! What all log lines have in common: their style, and how they write the time.

use std::time::{Duration, UNIX_EPOCH};

use crate::domain::clock::Timestamp;

/// How a line is written, once that is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// Writes one moment after another as RFC 3339 does, in UTC with milliseconds. Most are within the
/// second of the one before.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Times {
    second: u64,
    /// The text of that second, up to the point.
    prefix: String,
}

impl Times {
    /// Appends the moment.
    pub(in crate::telemetry) fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        if time.as_secs() != self.second || self.prefix.is_empty() {
            self.second = time.as_secs();
            self.prefix = rfc3339(time);
            // What follows are the milliseconds and the Z.
            self.prefix.truncate(self.prefix.len().saturating_sub(4));
        }
        out.extend_from_slice(self.prefix.as_bytes());
        three_digits(out, time.as_millis() % 1000);
        out.push(b'Z');
    }
}

/// The last three digits of a number.
pub(in crate::telemetry) fn three_digits(out: &mut Vec<u8>, number: u64) {
    let digit = |number: u64| b'0' + u8::try_from(number % 10).unwrap_or_default();
    out.extend_from_slice(&[number / 100, number / 10, number].map(digit));
}

/// A moment as RFC 3339 writes it, in UTC with milliseconds.
pub(in crate::telemetry) fn rfc3339(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.as_millis());
    humantime::format_rfc3339_millis(time).to_string()
}
