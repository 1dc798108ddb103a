//! The fields of a request body that the gate reads itself: JSON or a form, nothing else.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::gateway::refusal::Refusal;

/// How a body says its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Encoding {
    Form,
    Json,
}

/// The fields of a body.
pub(in crate::gateway) struct Fields(Map<String, Value>);

/// What the content type says. `wx.request` sends JSON unless told otherwise; so does a client that
/// does not say.
pub(in crate::gateway) fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Ok(Encoding::Json);
    };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Encoding::Json)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Encoding::Form)
    } else {
        Err(Refusal::UnsupportedMediaType)
    }
}

impl Fields {
    /// Reads the fields of a whole body.
    pub(in crate::gateway) fn parse(encoding: Encoding, body: &Bytes) -> Result<Self, Refusal> {
        match encoding {
            Encoding::Json => match serde_json::from_slice(body) {
                Ok(Value::Object(fields)) => Ok(Self(fields)),
                Ok(_) | Err(_) => Err(Refusal::BadRequest("the body is not a JSON object")),
            },
            Encoding::Form => Self::parse_form(body),
        }
    }

    fn parse_form(body: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields
                .insert(name.into_owned(), value.into_owned().into())
                .is_some()
            {
                return Err(Refusal::BadRequest("a field stands in the form twice"));
            }
        }
        Ok(Self(fields))
    }

    /// A text field that may be missing. Anything but text is an error with this message.
    pub(in crate::gateway) fn optional(
        &self,
        name: &str,
        wrong: &'static str,
    ) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::BadRequest(wrong)),
        }
    }

    /// A text field that must be there. Else the request is refused with this message.
    pub(in crate::gateway) fn required(
        &self,
        name: &str,
        wrong: &'static str,
    ) -> Result<&str, Refusal> {
        self.optional(name, wrong)?
            .ok_or(Refusal::BadRequest(wrong))
    }

    /// Every field but these.
    pub(in crate::gateway) fn others(&self, known: &[&str]) -> Map<String, Value> {
        let others = self
            .0
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()));
        others
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Whether the field is there at all.
    pub(in crate::gateway) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
