//! What stands in a push, read as far as the gate has to know it: JSON, or XML of the plainest kind.
//! The message itself is passed on as it came; nothing here is written again. Knows no secret and
//! judges no signature: until that is done, everything read here is the word of anybody.

use std::fmt;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, de};

/// How deep elements may stand in each other. Messages of WeChat have lists of pictures and of
/// subscriptions in them, four deep.
const MAX_DEPTH: usize = 16;

/// How many elements a message may have. One with a list of a hundred subscriptions has under 1000.
const MAX_ELEMENTS: usize = 4096;

/// The element around a message in XML.
const ROOT: &str = "xml";

/// Why a text is no push. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Unreadable {
    /// Neither JSON nor XML.
    #[error("the body is neither a JSON object nor XML")]
    Format,
    /// Not JSON, or a name stands in it twice.
    #[error("the JSON is broken or names a field twice")]
    Json,
    /// A document type, which can define entities: no message has one.
    #[error("the XML has a document type")]
    DocumentType,
    /// An entity that XML itself does not know.
    #[error("the XML uses an entity that it cannot have defined")]
    Entity,
    /// Too deep or too many elements.
    #[error("the XML has too many elements, or too deep ones")]
    TooLarge,
    /// Not well formed, or of another form than messages have.
    #[error("the XML is not a message")]
    Xml,
}

/// How a push is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Format {
    Json,
    Xml,
}

impl Format {
    /// As WeChat says it.
    pub(in crate::gateway) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "text/xml",
        }
    }

    /// By how it begins, so that nothing hangs on a content type.
    fn of(text: &str) -> Result<Self, Unreadable> {
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'{') => Ok(Self::Json),
            Some(b'<') => Ok(Self::Xml),
            _ => Err(Unreadable::Format),
        }
    }
}

/// The fields of a push that the gate reads. Numbers are taken as they are written. What is no text and no whole number counts as missing.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::gateway) struct Fields {
    /// Base64 of an encrypted message.
    #[serde(deserialize_with = "scalar")]
    pub(in crate::gateway) encrypt: Option<String>,
    /// The openid of whoever wrote or did something.
    #[serde(deserialize_with = "scalar")]
    pub(in crate::gateway) from_user_name: Option<String>,
    /// Seconds since 1970.
    #[serde(deserialize_with = "scalar")]
    pub(in crate::gateway) create_time: Option<String>,
    /// `text`, `event` and so on.
    #[serde(deserialize_with = "scalar")]
    pub(in crate::gateway) msg_type: Option<String>,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields(..)")
    }
}

/// Reads a push, or the message that was encrypted in one.
pub(in crate::gateway) fn read(text: &str) -> Result<(Format, Fields), Unreadable> {
    let format = Format::of(text)?;
    let fields = match format {
        Format::Json => serde_json::from_str(text).map_err(|_cause| Unreadable::Json)?,
        Format::Xml => read_xml(text)?,
    };
    Ok((format, fields))
}

/// A text or a whole number as text; anything else as nothing.
fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Scalar;

    impl<'de> Visitor<'de> for Scalar {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }

        fn visit_f64<E>(self, _number: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_bool<E>(self, _flag: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<de::IgnoredAny>()?.is_some() {}
            Ok(None)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            while entries
                .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
                .is_some()
            {}
            Ok(None)
        }
    }

    deserializer.deserialize_any(Scalar)
}

/// How far the reading of a message in XML has come.
#[derive(Default)]
struct Walk {
    fields: Fields,
    elements: usize,
    depth: usize,
    /// The text of the field that is being read.
    text: Option<String>,
    /// The names of fields that have come. One that comes twice would be read by the gate in one way
    /// and by somebody else in another.
    seen: Vec<String>,
    ended: bool,
}

fn read_xml(text: &str) -> Result<Fields, Unreadable> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().enable_all_checks(true);
    let mut walk = Walk::default();
    loop {
        match reader.read_event().map_err(|_cause| Unreadable::Xml)? {
            Event::Start(element) => walk.open(&element)?,
            Event::Empty(element) => {
                walk.open(&element)?;
                walk.close(element.name().as_ref())?;
            }
            Event::End(element) => walk.close(element.name().as_ref())?,
            Event::Text(text) => walk.text(&text)?,
            Event::CData(text) => walk.characters(&text)?,
            Event::GeneralRef(reference) => walk.reference(&reference)?,
            Event::Comment(_) => {}
            // Nothing may stand before it.
            Event::Decl(_) if walk.elements == 0 && text.starts_with("<?xml") => {}
            Event::DocType(_) => return Err(Unreadable::DocumentType),
            Event::Eof if walk.ended => return Ok(walk.fields),
            Event::Decl(_) | Event::PI(_) | Event::Eof => return Err(Unreadable::Xml),
        }
    }
}

impl Walk {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), Unreadable> {
        let name = element.name();
        let name: &str = name.as_ref();
        self.elements += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err(Unreadable::TooLarge);
        }
        match self.depth {
            1 if self.ended || name != ROOT => Err(Unreadable::Xml),
            2 if slot(&mut self.fields, name).is_some() => {
                if self.seen.iter().any(|seen| seen == name) {
                    return Err(Unreadable::Xml);
                }
                self.seen.push(name.to_owned());
                self.text = Some(String::new());
                Ok(())
            }
            _ => {
                // A field with elements in it is no text.
                self.text = None;
                Ok(())
            }
        }
    }

    /// The reader has seen to it that the names at both ends are the same.
    fn close(&mut self, name: &str) -> Result<(), Unreadable> {
        self.depth = self.depth.checked_sub(1).ok_or(Unreadable::Xml)?;
        if self.depth == 0 {
            self.ended = true;
        }
        if let Some(text) = self.text.take()
            && let Some(field) = slot(&mut self.fields, name)
        {
            *field = Some(text.trim_ascii().to_owned());
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Unreadable> {
        if self.depth == 0 && text.trim_ascii().is_empty() {
            return Ok(());
        }
        self.characters(text)
    }

    fn characters(&mut self, text: &str) -> Result<(), Unreadable> {
        if self.depth == 0 {
            return Err(Unreadable::Xml);
        }
        if let Some(field) = &mut self.text {
            field.push_str(text);
        }
        Ok(())
    }

    /// A character by its number, or one of the five that XML itself has names for.
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Unreadable> {
        let character = reference
            .resolve_char_ref()
            .map_err(|_cause| Unreadable::Entity)?;
        match (character, resolve_xml_entity(reference)) {
            (Some(character), _) => self.characters(character.encode_utf8(&mut [0; 4])),
            (None, Some(known)) => self.characters(known),
            (None, None) => Err(Unreadable::Entity),
        }
    }
}

/// Where the text of an element goes.
fn slot<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Option<String>> {
    Some(match name {
        "Encrypt" => &mut fields.encrypt,
        "FromUserName" => &mut fields.from_user_name,
        "CreateTime" => &mut fields.create_time,
        "MsgType" => &mut fields.msg_type,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
