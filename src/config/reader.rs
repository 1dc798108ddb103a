//! Typed access to values. Every fault is noted and reading goes on with the default, so that one run
//! finds them all. Knows no key by name.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::document::Value;
use crate::config::key::Key;
use crate::config::value;
use crate::domain::rate::Rate;

/// One text out of a list.
pub(super) struct Item<'a> {
    pub(super) text: String,
    pub(super) key: Key<'a>,
}

impl<'a> Key<'a> {
    /// The value as what `read` makes of it; a fault that shows it, and the default, when that is
    /// nothing.
    fn read<T>(&self, default: T, read: impl FnOnce(&Value) -> Option<T>, expected: &str) -> T {
        let Some(value) = self.value() else {
            return default;
        };
        read(value).unwrap_or_else(|| {
            self.fault(format!("is {}, expected {expected}", value::shown(value)));
            default
        })
    }

    /// A text, when it was written. Never shown in a fault: it may be a secret.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value()? {
            Value::Text(text) | Value::Environment(text) => Some(text),
            other => {
                self.fault(format!("is {}, expected text in quotes", other.kind()));
                None
            }
        }
    }

    /// A text that must be there. `expected` says what it is.
    pub(super) fn required_text(&self, expected: &str) -> Option<&'a str> {
        if !self.is_present() {
            self.fault(format!("missing, expected {expected}"));
            return None;
        }
        let text = self.text()?;
        if text.is_empty() {
            self.fault(format!("is empty, expected {expected}"));
            return None;
        }
        Some(text)
    }

    /// True or false.
    pub(super) fn flag(&self, default: bool) -> bool {
        let read = |value: &Value| match value {
            Value::Boolean(flag) => Some(*flag),
            Value::Environment(text) => text.parse().ok(),
            _ => None,
        };
        self.read(default, read, "true or false")
    }

    /// A whole number within a range.
    pub(super) fn number<T>(&self, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |value: &Value| {
            let number = match value {
                Value::Integer(number) => *number,
                Value::Environment(text) => text.parse().ok()?,
                _ => return None,
            };
            T::try_from(number)
                .ok()
                .filter(|number| range.contains(number))
        };
        self.read(default, read, &expected)
    }

    /// A size in bytes within a range.
    pub(super) fn size<T>(&self, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + PartialOrd + Copy,
        u64: TryFrom<T>,
    {
        let written = |size: &T| value::written(u64::try_from(*size).unwrap_or(u64::MAX));
        let (least, most) = (written(range.start()), written(range.end()));
        let read = |value: &Value| {
            let size = T::try_from(value::size(value)?).ok()?;
            range.contains(&size).then_some(size)
        };
        self.read(default, read, &format!("a size from {least} to {most}"))
    }

    /// A duration above zero.
    pub(super) fn duration(&self, default: Duration) -> Duration {
        let read = |value: &Value| read_duration(value).filter(|duration| !duration.is_zero());
        self.read(
            default,
            read,
            r#"a duration above zero such as "15s", "5m" or "7d""#,
        )
    }

    /// A duration, or `"0"` for none.
    pub(super) fn duration_or_off(&self, default: Option<Duration>) -> Option<Duration> {
        let read = |value: &Value| {
            let duration = read_duration(value)?;
            Some((!duration.is_zero()).then_some(duration))
        };
        self.read(
            default,
            read,
            r#"a duration such as "15s", "5m" or "7d", or "0" for off"#,
        )
    }

    /// A rate, or `"0"` for none.
    pub(super) fn rate_or_off(&self, default: Option<Rate>) -> Option<Rate> {
        let read = |value: &Value| match value {
            Value::Text(text) | Value::Environment(text) if text == "0" => Some(None),
            Value::Text(text) | Value::Environment(text) => value::rate(text).map(Some),
            _ => None,
        };
        self.read(
            default,
            read,
            r#"a rate such as "30/1m" or "1000/1h", or "0" for off"#,
        )
    }

    /// One out of a few words.
    pub(super) fn choice<T: Copy>(&self, default: T, choices: &[(&str, T)]) -> T {
        let words: Vec<_> = choices
            .iter()
            .map(|(word, _)| format!("{word:?}"))
            .collect();
        let expected = match words.as_slice() {
            [only] => format!("{only}, the only one in this version"),
            _ => format!("one of {}", words.join(", ")),
        };
        let read = |value: &Value| match value {
            Value::Text(text) | Value::Environment(text) => choices
                .iter()
                .find(|(word, _)| word == text)
                .map(|&(_, choice)| choice),
            _ => None,
        };
        self.read(default, read, &expected)
    }

    /// A list of texts, when it was written. In the environment they stand between commas.
    pub(super) fn texts(&self) -> Option<Vec<Item<'a>>> {
        match self.value()? {
            Value::List(items) => {
                let keys = items.iter().enumerate();
                let keys = keys.map(|(index, node)| self.item(index, node));
                let texts: Vec<_> = keys.filter_map(Self::into_item).collect();
                // A list of nothing but faults is not an empty list.
                (items.is_empty() || !texts.is_empty()).then_some(texts)
            }
            Value::Environment(text) => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                Some(parts.map(|part| self.part(part)).collect())
            }
            other => {
                self.fault(format!("is {}, expected a list of texts", other.kind()));
                None
            }
        }
    }

    /// A text or a list of texts, when it was written. An empty text is an empty list.
    pub(super) fn text_or_texts(&self) -> Option<Vec<Item<'a>>> {
        match self.value()? {
            Value::Text(text) if text.is_empty() => Some(Vec::new()),
            Value::Text(text) => Some(vec![self.part(text)]),
            _ => self.texts(),
        }
    }

    fn part(&self, text: &str) -> Item<'a> {
        Item {
            text: text.to_owned(),
            key: self.clone(),
        }
    }

    fn into_item(self) -> Option<Item<'a>> {
        let text = self.text()?.to_owned();
        Some(Item { text, key: self })
    }
}

fn read_duration(value: &Value) -> Option<Duration> {
    match value {
        Value::Text(text) | Value::Environment(text) => value::duration(text),
        _ => None,
    }
}
