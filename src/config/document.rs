//! A TOML text as a small tree in which everything knows where it was written. Knows no key by
//! name and no rule about values.

use std::sync::Arc;

use toml::de::{DeArray, DeTable, DeValue};

use crate::config::fault::{Finding, Place};

/// A value and where it was written.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

// Neither has `Debug`: a value may be a secret.
pub(super) enum Value {
    Boolean(bool),
    /// From the environment: a text that its reader gives a type.
    Environment(String),
    Integer(i64),
    List(Vec<Node>),
    /// Something that no key wants, by what it is called.
    Other(&'static str),
    /// In the order in which the keys were written.
    Table(Vec<(String, Node)>),
    Text(String),
}

impl Value {
    /// What kind of value it is, without the value: it may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "true or false",
            Self::Environment(_) | Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
            Self::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The value of a key, when this is a table that has it.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        let entry = entries.iter().find(|(key, _)| key == name);
        entry.map(|(_, node)| node)
    }
}

/// Reads a text. A syntax error is the only finding then: what follows it means nothing.
pub(super) fn parse(text: &str, file: &Arc<str>) -> Result<Node, Finding> {
    let lines = Lines::of(text, file);
    match DeTable::parse(text) {
        Ok(table) => Ok(Node {
            place: lines.place(0),
            value: lines.table(table.get_ref()),
        }),
        // Only the parser's own words: its `Display` would show the line, which may hold a secret.
        Err(error) => Err(Finding {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            path: String::new(),
            text: format!("not TOML: {}", error.message()),
        }),
    }
}

/// Where the lines of a file end.
struct Lines {
    file: Arc<str>,
    ends: Vec<usize>,
}

impl Lines {
    fn of(text: &str, file: &Arc<str>) -> Self {
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        Self {
            file: Arc::clone(file),
            ends: ends.map(|(offset, _)| offset).collect(),
        }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.ends.partition_point(|&end| end < offset) + 1;
        Place::Line(Arc::clone(&self.file), line)
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        // The parser sorts by name.
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            (
                name.to_string(),
                self.node(key.span().start, value.get_ref()),
            )
        };
        Value::Table(keys.into_iter().map(entry).collect())
    }

    fn list(&self, list: &DeArray<'_>) -> Value {
        let node = |item: &toml::Spanned<DeValue<'_>>| self.node(item.span().start, item.get_ref());
        Value::List(list.iter().map(node).collect())
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(
                    Value::Other("a number that is far too large"),
                    Value::Integer,
                ),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Float(_) => Value::Other("a number with a decimal point"),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Array(list) => self.list(list),
            DeValue::Table(table) => self.table(table),
        };
        Node {
            place: self.place(offset),
            value,
        }
    }
}
