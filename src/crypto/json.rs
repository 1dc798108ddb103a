//! JSON in which every object names each key once. Two readers of a text with duplicate keys may
//! each believe another value, so what the gate checked would not be what the app server uses.
//! Knows nothing of what the values mean.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why a text is not such JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// Not JSON, or something after it.
    Invalid,
    /// Not an object.
    NotObject,
    /// A key twice in one object, at any depth.
    DuplicateKey,
}

/// Reads one object and nothing after it.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, JsonError> {
    let duplicate = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict(&duplicate)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        // The cause would name a place in personal data.
        .map_err(|_cause| JsonError::Invalid)?;
    match value {
        Value::Object(_) if duplicate.get() => Err(JsonError::DuplicateKey),
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotObject),
    }
}

/// Builds a value and notes whether a key came twice. The note is not an error at once, so that a
/// text that is no JSON further on is called just that.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if values.insert(key, value).is_some() {
                self.0.set(true);
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_at_any_depth_is_refused() {
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[0,{"b":1,"b":2}]}"#,
        ] {
            assert_eq!(object(twice).unwrap_err(), JsonError::DuplicateKey);
        }
    }

    #[test]
    fn what_is_no_json_is_called_that_whatever_came_before() {
        for invalid in [
            r#"{"a":1,"a":1"#,
            r#"{"a":1} x"#,
            "",
            "[",
            &"[".repeat(10_000),
        ] {
            assert_eq!(object(invalid).unwrap_err(), JsonError::Invalid);
        }
        assert_eq!(object("[1]").unwrap_err(), JsonError::NotObject);
    }

    #[test]
    fn the_values_are_those_that_serde_json_reads() {
        let text =
            r#"{"n":null,"t":true,"i":-1,"u":18446744073709551615,"f":1.5,"s":"\u5f20","a":[{}]}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text).unwrap()), expected);
    }
}
