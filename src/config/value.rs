//! How durations, sizes and wrong values are written. Knows no key by name.

use std::time::Duration;

use bytesize::ByteSize;

use crate::config::document::Value;
use crate::domain::rate::Rate;

/// Nobody means more, and adding it to a moment can never overflow.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
/// The timers of the gate know nothing shorter.
const SHORTEST: Duration = Duration::from_millis(1);
/// As much of a wrong value as is shown.
const SHOWN_CHARS: usize = 40;

/// `"15s"`, `"1h 30m"`; `"0"` and `"0s"` are zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let duration = humantime::parse_duration(text).ok()?;
    (duration.is_zero() || (SHORTEST..=LONGEST).contains(&duration)).then_some(duration)
}

/// `"30/1m"`: so often within so long.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| digits)?;
    Rate::new(count, duration(per)?)
}

/// `"1MiB"`, or a number of bytes.
pub(super) fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) | Value::Environment(text) => {
            text.parse::<ByteSize>().ok().map(|size| size.as_u64())
        }
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        _ => None,
    }
}

/// A size as a person writes it.
pub(super) fn written(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [
        (bytesize::GIB, "GiB"),
        (bytesize::MIB, "MiB"),
        (bytesize::KIB, "KiB"),
    ];
    let unit = UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("\"{}{name}\"", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// A value as a message shows it. Not for values that might be secrets.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Environment(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        other => other.kind().to_owned(),
    }
}

/// A text in quotes, without line breaks, of bounded length.
pub(super) fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(SHOWN_CHARS).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_with_units_and_stay_within_what_timers_know() {
        let seconds = Duration::from_secs;
        assert_eq!(duration("15s"), Some(seconds(15)));
        assert_eq!(duration("1h 30m"), Some(seconds(5400)));
        assert_eq!(duration("7d"), Some(seconds(7 * 86_400)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in [
            "",
            "15",
            "-1s",
            "15 x",
            "1ns",
            "11y",
            "99999999999999999999s",
            "∞",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates_are_written_as_a_count_within_a_duration() {
        let rate = |count, seconds| Rate::new(count, Duration::from_secs(seconds));
        assert_eq!(super::rate("30/1m"), rate(30, 60));
        assert_eq!(super::rate("1000/1h 30m"), rate(1000, 5400));
        for wrong in [
            "", "30", "30/", "/1m", "30/0", "0/1m", "-3/1m", "+3/1m", "3/1", "a/1m",
        ] {
            assert_eq!(super::rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_written_with_units_or_as_bytes() {
        let text = |text: &str| size(&Value::Text(text.to_owned()));
        assert_eq!(text("1MiB"), Some(1_048_576));
        assert_eq!(text("8 KiB"), Some(8192));
        assert_eq!(text("100"), Some(100));
        assert_eq!(size(&Value::Integer(7)), Some(7));
        assert_eq!(size(&Value::Integer(-7)), None);
        assert_eq!(text("one"), None);
        assert_eq!(text("-1MiB"), None);
        assert_eq!(written(8192), "\"8KiB\"");
        assert_eq!(written(8193), "8193 bytes");
    }

    #[test]
    fn a_shown_text_is_short_and_on_one_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"长".repeat(100)).chars().count(), 43);
    }
}
