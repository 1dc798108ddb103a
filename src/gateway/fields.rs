//! The fields of a request body that the gate reads itself: JSON or a form, nothing else.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::domain::fields::HeaderFields;
use crate::gateway::refusal::Refusal;
use crate::gateway::texts::{self, Text};

/// How a body says its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Encoding {
    Form,
    Json,
}

/// A field of a login, a phone number or something to decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `appid`
    Appid,
    /// `code`
    Code,
    /// `encryptedData`
    EncryptedData,
    /// `iv`
    Iv,
    /// `rawData`
    RawData,
    /// `signature`
    Signature,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Appid,
        Self::Code,
        Self::EncryptedData,
        Self::Iv,
        Self::RawData,
        Self::Signature,
    ];

    /// Its own name, which always counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appid => "appid",
            Self::Code => "code",
            Self::EncryptedData => "encryptedData",
            Self::Iv => "iv",
            Self::RawData => "rawData",
            Self::Signature => "signature",
        }
    }
}

/// `compat.field_names`: other names of fields. No two fields have one in common, and none is a
/// field's own.
#[derive(Clone, Debug, Default)]
pub struct FieldNames(Vec<(String, Field)>);

impl FieldNames {
    /// Of which field this is a name.
    pub fn find(&self, name: &str) -> Option<Field> {
        let own = Field::ALL.into_iter().find(|field| field.name() == name);
        let other = || self.0.iter().find(|(other, _)| other == name);
        own.or_else(|| other().map(|&(_, field)| field))
    }

    /// One more name of a field, unless it is a name already: then of which.
    pub fn add(&mut self, name: String, field: Field) -> Result<(), Field> {
        if let Some(taken) = self.find(&name) {
            return Err(taken);
        }
        self.0.push((name, field));
        Ok(())
    }

    /// All names of a field.
    fn of(&self, field: Field) -> impl Iterator<Item = &str> {
        let others = self.0.iter().filter(move |&&(_, of)| of == field);
        std::iter::once(field.name()).chain(others.map(|(name, _)| name.as_str()))
    }
}

/// The fields of a body.
pub(in crate::gateway) struct Fields<'a> {
    values: Map<String, Value>,
    names: &'a FieldNames,
}

/// What the content type says. `wx.request` sends JSON unless told otherwise; so does a client that
/// does not say.
pub(in crate::gateway) fn encoding(fields: &HeaderFields) -> Result<Encoding, Refusal> {
    let Some(content_type) = fields.get(&CONTENT_TYPE) else {
        return Ok(Encoding::Json);
    };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Encoding::Json)
    } else if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Encoding::Form)
    } else {
        Err(Refusal::UnsupportedMediaType(&texts::SEND_JSON_OR_FORM))
    }
}

impl<'a> Fields<'a> {
    /// Reads the fields of a whole body.
    pub(in crate::gateway) fn parse(
        encoding: Encoding,
        body: &Bytes,
        names: &'a FieldNames,
    ) -> Result<Self, Refusal> {
        let values = match encoding {
            Encoding::Json => match serde_json::from_slice(body) {
                Ok(Value::Object(values)) => values,
                Ok(_) | Err(_) => return Err(Refusal::BadRequest(&texts::NOT_AN_OBJECT)),
            },
            Encoding::Form => parse_form(body)?,
        };
        Ok(Self { values, names })
    }

    /// A text field that may be missing. Anything but text is an error with this message. One that
    /// is there under two names is refused: whoever reads it next might choose the other.
    pub(in crate::gateway) fn optional(
        &self,
        field: Field,
        wrong: &'static Text,
    ) -> Result<Option<&str>, Refusal> {
        let named = self
            .names
            .of(field)
            .filter_map(|name| self.values.get(name));
        let mut given = named.filter(|value| !value.is_null());
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Refusal::BadRequest(&texts::FIELD_UNDER_TWO_NAMES)),
            (Some(Value::String(text)), None) => Ok(Some(text)),
            (Some(_), None) => Err(Refusal::BadRequest(wrong)),
        }
    }

    /// A text under this name alone.
    pub(in crate::gateway) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A text field that must be there. Else the request is refused with this message.
    pub(in crate::gateway) fn required(
        &self,
        field: Field,
        wrong: &'static Text,
    ) -> Result<&str, Refusal> {
        self.optional(field, wrong)?
            .ok_or(Refusal::BadRequest(wrong))
    }

    /// Every field but these, whichever of its names one has.
    pub(in crate::gateway) fn others(&self, known: &[Field]) -> Map<String, Value> {
        let is_known = |name: &str| {
            self.names
                .find(name)
                .is_some_and(|field| known.contains(&field))
        };
        let others = self.values.iter().filter(|(name, _)| !is_known(name));
        others
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Whether something stands there under this very name.
    pub(in crate::gateway) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
}

fn parse_form(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let mut values = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        let earlier = values.insert(name.into_owned(), value.into_owned().into());
        if earlier.is_some() {
            return Err(Refusal::BadRequest(&texts::FIELD_TWICE));
        }
    }
    Ok(values)
}
