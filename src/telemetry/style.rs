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

/// A moment as RFC 3339 writes it, in UTC with milliseconds.
pub(in crate::telemetry) fn rfc3339(time: Timestamp) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time.as_millis());
    humantime::format_rfc3339_millis(time).to_string()
}
