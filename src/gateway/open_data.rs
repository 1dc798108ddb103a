//! `decrypt.in_flight`: a JSON body on its way to the app server has `encryptedData` and `iv` taken
//! out, and what they hold put in as `openData`.
//!
//! The app server takes `openData` for the gate's word. So on these paths a body passes only when the
//! gate has read all of it, every name and every text, and nowhere in it is an `openData` of the
//! client's. What is not plainly JSON, or is JSON for lenient readers only, does not pass.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::Full;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::domain::fields::HeaderFields;
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::domain::response::Response;
use crate::domain::session::Live;
use crate::gateway::body::AnswerBody;
use crate::gateway::decrypt::Sealed;
use crate::gateway::forward::Forwarding;
use crate::gateway::member::is_taken_for;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Gateway, Visit, texts};
use crate::server::body::RequestBody;
use crate::upstream::Index;

const ENCRYPTED_DATA: &str = "encryptedData";
const IV: &str = "iv";
const OPEN_DATA: &str = "openData";

const NOT_JSON: Refusal = Refusal::BadRequest(&texts::NOT_JSON);

/// A request whose body is to be opened on its way.
#[derive(Debug)]
pub(in crate::gateway) struct BodyToOpen {
    pub(in crate::gateway) request: Clean<RequestBody>,
    pub(in crate::gateway) presented: Presented,
    pub(in crate::gateway) live: Live,
    pub(in crate::gateway) upstream: Index,
}

impl Gateway {
    /// Opens what the body holds, and sends the request on.
    pub(in crate::gateway) async fn open_body(
        &self,
        visit: &mut Visit<'_>,
        body: BodyToOpen,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let BodyToOpen {
            request,
            presented,
            live,
            upstream,
        } = body;
        if !is_plainly_json(request.fields()) {
            return Err(Refusal::UnsupportedMediaType(&texts::SEND_JSON));
        }
        let (request, body) = request.take_body();
        let body = body.read_all(limits::MAX_DECRYPT_BODY_BYTES).await?;
        let request = match self.opened(visit, &live, &body).await? {
            Some(opened) => request.with_body(Full::new(opened)).without_digests(),
            None => request.with_body(Full::new(body)),
        };
        let hangs_on = live.clone();
        // The time for the answer runs from now on: the body was read at the client's pace.
        let now = self.shared.clock.now();
        let outbound = self.identified(visit, (request, presented), Some(live), now);
        let written = self.exchange.write(upstream, outbound, Instant::now());
        visit.entry.goes_to(upstream);
        let forwarding = Forwarding::plain(written.map_err(Refusal::Upstream)?, hangs_on);
        self.forward(visit, forwarding).await
    }

    /// The body with its data open; nothing when it has none.
    async fn opened(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        body: &[u8],
    ) -> Result<Option<Bytes>, Refusal> {
        // Read to its end before anything is made of it: no part of it is for the app server alone
        // to understand.
        let text = str::from_utf8(body).map_err(|_cause| NOT_JSON)?;
        match serde_json::from_str(text) {
            Ok(SaysOpenData(false)) => {}
            Ok(SaysOpenData(true)) => return Err(Refusal::BadRequest(&texts::OPEN_DATA_FORGED)),
            Err(_) => return Err(NOT_JSON),
        }
        let is_object = text.trim_ascii_start().starts_with('{');
        if !is_object {
            return Ok(None);
        }
        let mut fields: RawFields<'_> = serde_json::from_str(text).map_err(|_cause| NOT_JSON)?;
        let (Some(encrypted_data), Some(iv)) = (fields.take(ENCRYPTED_DATA)?, fields.take(IV)?)
        else {
            return Ok(None);
        };
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get());
        let (Ok(encrypted_data), Ok(iv)) = (text(encrypted_data), text(iv)) else {
            return Err(Refusal::BadRequest(&texts::OPEN_DATA_FIELDS));
        };
        let sealed = Sealed::without_signature(&encrypted_data, &iv);
        let opened = self.open(visit, live, &sealed).await?;
        let opened = RawValue::from_string(opened).map_err(|_no_json| Refusal::Internal)?;
        fields.0.push((OPEN_DATA.to_owned(), &opened));
        let body = serde_json::to_vec(&fields).map_err(|_never| Refusal::Internal)?;
        Ok(Some(body.into()))
    }
}

/// Whether no server can take the body for anything but JSON in UTF-8.
fn is_plainly_json(fields: &HeaderFields) -> bool {
    let content_type = fields.only(&CONTENT_TYPE);
    let content_type = content_type.and_then(|field| field.to_str());
    !fields.has(&CONTENT_ENCODING) && content_type.is_some_and(is_json_in_utf8)
}

fn is_json_in_utf8(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| {
            parameter.eq_ignore_ascii_case("charset=utf-8")
                || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
        })
}

/// Whether a text of JSON names `openData` itself, at any depth: some frameworks lay what is inside
/// over what is at the top, or the other way round. Reading it reads every name and every text,
/// which must all be Unicode; deeper than `serde_json` goes (128), it is not read at all.
struct SaysOpenData(bool);

impl<'de> Deserialize<'de> for SaysOpenData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaysOpenDataVisitor)
    }
}

struct SaysOpenDataVisitor;

impl<'de> Visitor<'de> for SaysOpenDataVisitor {
    type Value = SaysOpenData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_unit<E>(self) -> Result<SaysOpenData, E> {
        Ok(SaysOpenData(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SaysOpenData, A::Error> {
        let mut says = false;
        while let Some(SaysOpenData(inside)) = seq.next_element()? {
            says |= inside;
        }
        Ok(SaysOpenData(says))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SaysOpenData, A::Error> {
        let mut says = false;
        while let Some((name, SaysOpenData(inside))) = map.next_entry::<String, _>()? {
            says |= inside | is_taken_for(&name, OPEN_DATA);
        }
        Ok(SaysOpenData(says))
    }
}

/// The fields of an object in their order, values as they came: no number is rounded, nothing is
/// lost that is there twice.
struct RawFields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> RawFields<'a> {
    /// Takes the field out; nothing when it is not there. Twice is too often.
    fn take(&mut self, name: &str) -> Result<Option<&'a RawValue>, Refusal> {
        let mut found = None;
        let mut twice = false;
        self.0.retain(|(known, value)| {
            let is_it = known == name;
            twice |= is_it && found.replace(*value).is_some();
            !is_it
        });
        if twice {
            return Err(Refusal::BadRequest(&texts::OPEN_DATA_TWICE));
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawFieldsVisitor)
    }
}

struct RawFieldsVisitor;

impl<'de> Visitor<'de> for RawFieldsVisitor {
    type Value = RawFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(RawFields(fields))
    }
}

impl Serialize for RawFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn only_what_every_server_takes_for_json_is_json() {
        let is_json = |types: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for content_type in types {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            is_plainly_json(&HeaderFields::from(&headers))
        };
        for bad in [
            &[][..],
            &["text/plain"],
            &["application/x-www-form-urlencoded"],
            &["application/json", "application/x-www-form-urlencoded"],
            &["application/json, application/x-www-form-urlencoded"],
            &["application/json; charset=utf-7"],
            &["application/json; charset=utf-8; charset=utf-16"],
            &["application/vnd.api+json"],
        ] {
            assert!(!is_json(bad), "{bad:?}");
        }
        for good in ["application/json", "Application/JSON; Charset=UTF-8"] {
            assert!(is_json(&[good]), "{good}");
        }
    }

    #[test]
    fn every_spelling_that_a_framework_folds_onto_open_data_is_open_data() {
        for name in [
            "openData",
            "opendata",
            "OPENDATA",
            "OpenData",
            "open_data",
            "open-data",
            "OPEN_DATA",
            "open data",
            "_openData",
            "openData[]",
            "$openData",
            "openData\0",
            "open\u{200b}Data",
        ] {
            assert!(is_taken_for(name, OPEN_DATA), "{name:?}");
        }
        for other in [
            "",
            "open",
            "data",
            "openDatas",
            "openData2",
            "reopenData",
            "open.dat",
        ] {
            assert!(!is_taken_for(other, OPEN_DATA), "{other:?}");
        }
    }

    #[test]
    fn fields_keep_their_order_and_every_digit() {
        let text = r#"{"z":12345678901234567890123,"a":[1.0, 2],"z":null}"#;
        let fields: RawFields<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&fields).unwrap(), text);
    }
}
