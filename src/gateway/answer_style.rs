//! How one client is spoken to when it is told no: what the configuration and its request make of
//! each other. Most requests are told nothing, so which language that would be is found out only when
//! there is something to say.

use crate::domain::fields::HeaderFields;
use crate::domain::names;

use crate::gateway::{Envelope, Errors, Language};

/// Longest `Accept-Language` that is kept for later, in bytes: those of mini programs and of most
/// browsers. A longer one is read at once.
const MAX_BRIEF_BYTES: usize = 47;

/// How one client is spoken to.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct AnswerStyle {
    pub(in crate::gateway) envelope: Envelope,
    negotiated: bool,
    language: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Known(Language),
    /// What the client said of it, not read yet.
    Said(Brief),
}

/// A short field of the client's. A copy: sharing it would keep the whole head of the request in
/// memory for as long as the app server takes to answer.
#[derive(Clone, Debug)]
struct Brief {
    bytes: [u8; MAX_BRIEF_BYTES],
    length: u8,
}

impl AnswerStyle {
    /// For a request with these header fields.
    pub(in crate::gateway) fn of(errors: Errors, fields: &HeaderFields) -> Self {
        let configured = errors.language.map(Wanted::Known);
        Self {
            envelope: errors.envelope,
            negotiated: configured.is_none(),
            language: configured.unwrap_or_else(|| Wanted::by(fields)),
        }
    }

    /// The language.
    pub(in crate::gateway) fn language(&self) -> Language {
        match &self.language {
            Wanted::Known(language) => *language,
            Wanted::Said(brief) => Language::negotiated(brief.text()),
        }
    }

    /// Whether the language is the client's choice.
    pub(in crate::gateway) fn is_negotiated(&self) -> bool {
        self.negotiated
    }
}

impl Wanted {
    fn by(fields: &HeaderFields) -> Self {
        let only = fields.only(names::ACCEPT_LANGUAGE);
        let brief = only.and_then(|field| Brief::of(field.value()));
        brief.map_or_else(|| Self::Known(said_at_length(fields)), Self::Said)
    }
}

fn said_at_length(fields: &HeaderFields) -> Language {
    let said = fields.all(names::ACCEPT_LANGUAGE);
    Language::negotiated(said.filter_map(|field| field.to_str()))
}

impl Brief {
    fn of(field: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_BRIEF_BYTES];
        let room = bytes.get_mut(..field.len())?;
        room.copy_from_slice(field);
        let length = u8::try_from(field.len()).ok()?;
        Some(Self { bytes, length })
    }

    /// Nothing when it is not ASCII, as for any other field.
    fn text(&self) -> Option<&str> {
        let bytes = self.bytes.get(..usize::from(self.length))?;
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.is_ascii())
    }
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT_LANGUAGE;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn language(fields: &[&[u8]]) -> Language {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT_LANGUAGE, HeaderValue::from_bytes(field).unwrap());
        }
        let errors = Errors {
            language: None,
            envelope: Envelope::Problem,
        };
        AnswerStyle::of(errors, &HeaderFields::from(&headers)).language()
    }

    #[test]
    fn a_wish_is_understood_however_long_it_is_and_in_however_many_fields() {
        for length in MAX_BRIEF_BYTES - 1..=MAX_BRIEF_BYTES + 1 {
            let filling = "x".repeat(length - ",zh".len());
            let field = format!("{filling},zh");
            assert_eq!(language(&[field.as_bytes()]), Language::Chinese, "{length}");
        }
        assert_eq!(language(&[]), Language::English);
        assert_eq!(language(&[b"en;q=0.5", b"zh"]), Language::Chinese);
        assert_eq!(language(&[b"fr", b"zh"]), Language::Chinese);
    }

    #[test]
    fn a_field_that_is_not_ascii_counts_for_nothing() {
        assert_eq!(language(&["zh,é".as_bytes()]), Language::English);
        assert_eq!(language(&[b"zh,\xff"]), Language::English);
        assert_eq!(language(&[b"zh,\xff", b"en"]), Language::English);
    }
}
