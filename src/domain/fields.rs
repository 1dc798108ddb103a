//! The header fields of a message, as they came: in their order, in their spelling, in the bytes that
//! were read. Taking one out costs nothing, passing the others on is copying them, and most are never
//! looked at. Knows no field by name.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::fold;
use crate::domain::names::{Name, Tag, Tags};

/// What stands between the name and the value of a field, and after it, where the gate writes it.
const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Room for the fields of most heads, so that it is taken once.
const USUAL_FIELDS: usize = 16;

/// The header fields of a message. What is in there is legal (RFC 9110 §5), or nothing would be.
#[derive(Clone, Default)]
pub struct HeaderFields {
    /// The head that they came in.
    bytes: Bytes,
    places: Vec<Place>,
    /// The tags of all names. Most fields that are asked for are not there, and that is seen here.
    tags: Tags,
}

/// Where a field stands in the head.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: Span,
    value: Span,
    /// Where the next line begins.
    end: u32,
    /// Of its name.
    tag: Tag,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    to: u32,
}

/// More bytes than a head can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the head is larger than any can be")]
pub struct TooLarge;

/// Where the fields of a head stand, while it is read.
#[derive(Debug, Default)]
pub struct Places {
    places: Vec<Place>,
    tags: Tags,
}

impl Places {
    /// None yet. There is room for those of most heads.
    pub fn with_room() -> Self {
        Self {
            places: Vec::with_capacity(USUAL_FIELDS),
            tags: Tags::default(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the next one: its name with the byte at which that begins, its value, and where the next line
    /// begins. Whoever read them knows that they are legal.
    #[inline]
    pub fn add(
        &mut self,
        (name, at): (&[u8], usize),
        value: Range<usize>,
        end: usize,
    ) -> Result<(), TooLarge> {
        let tag = Tag::of(name);
        self.tags.add(tag);
        self.places.push(Place {
            name: Span::of(at..at + name.len())?,
            value: Span::of(value)?,
            end: u32::try_from(end).map_err(|_too_large| TooLarge)?,
            tag,
        });
        Ok(())
    }

    /// In this head.
    pub fn of(self, head: Bytes) -> HeaderFields {
        HeaderFields {
            bytes: head,
            places: self.places,
            tags: self.tags,
        }
    }
}

impl Span {
    fn of(range: Range<usize>) -> Result<Self, TooLarge> {
        let narrow = |at| u32::try_from(at).map_err(|_too_large| TooLarge);
        Ok(Self {
            from: narrow(range.start)?,
            to: narrow(range.end)?,
        })
    }
}

/// One field.
#[derive(Clone, Copy)]
pub struct HeaderField<'a> {
    fields: &'a HeaderFields,
    place: &'a Place,
}

impl HeaderFields {
    fn part(&self, span: Span) -> &[u8] {
        let part = self.bytes.get(index(span.from)..index(span.to));
        part.unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// What they take on the wire, in bytes.
    pub fn bytes(&self) -> usize {
        let lines = self.places.iter();
        lines.map(|place| index(place.end - place.name.from)).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.places.iter().map(|place| HeaderField {
            fields: self,
            place,
        })
    }

    /// Whether there may be one of this name. If not, there is none.
    #[inline]
    pub fn may_have(&self, name: Name<'_>) -> bool {
        self.tags.has(name.tag())
    }

    /// Those of this name.
    pub fn all<'a>(&'a self, name: impl Into<Name<'a>>) -> impl Iterator<Item = HeaderField<'a>> {
        self.called(name.into())
    }

    /// The first of this name.
    pub fn get<'a>(&self, name: impl Into<Name<'a>>) -> Option<HeaderField<'_>> {
        self.called(name.into()).next()
    }

    /// The only one of this name; nothing when there are several.
    pub fn only<'a>(&self, name: impl Into<Name<'a>>) -> Option<HeaderField<'_>> {
        let mut all = self.called(name.into());
        all.next().filter(|_| all.next().is_none())
    }

    /// Whether there is one of this name.
    #[inline]
    pub fn has<'a>(&self, name: impl Into<Name<'a>>) -> bool {
        let name = name.into();
        self.may_have(name) && self.get(name).is_some()
    }

    /// Whether there is one that servers fold onto this name, and that is not this name. The name has to
    /// begin and end with a letter or digit, as that is what its tag is made of.
    pub fn mimics(&self, name: Name<'_>) -> bool {
        let is_mimic = |place: &Place| {
            place.tag == name.tag()
                && !self.is_called(place, name)
                && fold::is_alike(self.part(place.name), name.text())
        };
        self.may_have(name) && self.places.iter().any(is_mimic)
    }

    fn called<'a>(&'a self, name: Name<'_>) -> impl Iterator<Item = HeaderField<'a>> {
        let places = if self.may_have(name) {
            &*self.places
        } else {
            &[]
        };
        let places = places
            .iter()
            .filter(move |place| self.is_called(place, name));
        places.map(|place| HeaderField {
            fields: self,
            place,
        })
    }

    fn is_called(&self, place: &Place, name: Name<'_>) -> bool {
        place.tag == name.tag() && self.part(place.name).eq_ignore_ascii_case(name.text())
    }

    /// Keeps those that are to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(HeaderField<'_>) -> bool) {
        let mut places = std::mem::take(&mut self.places);
        places.retain(|place| {
            keep(HeaderField {
                fields: self,
                place,
            })
        });
        self.places = places;
    }

    /// Takes out all of this name.
    pub fn remove<'a>(&mut self, name: impl Into<Name<'a>>) {
        let name = name.into();
        let mut from = 0;
        while let Some(at) = self.position(name, from) {
            self.places.remove(at);
            from = at;
        }
    }

    /// The first of this name, not looking before `from`.
    fn position(&self, name: Name<'_>, from: usize) -> Option<usize> {
        let may_have = self.may_have(name);
        let places = self.places.get(from..).filter(|_| may_have)?;
        let behind = places
            .iter()
            .position(|place| self.is_called(place, name))?;
        Some(from + behind)
    }

    /// Adds one at the end. Seldom: all others are copied.
    pub fn append(&mut self, name: &str, value: &HeaderValue) {
        let mut fields = Builder::default();
        for field in self.iter() {
            fields.add(field.name(), field.value());
        }
        fields.add(name.as_bytes(), value.as_bytes());
        *self = fields.build();
    }

    /// Changes the values of this name, each to what `change` makes of it; one of which nothing is left
    /// goes. What is made of a legal value has to be legal. Seldom: all others are copied.
    pub fn rewrite<'a>(
        &mut self,
        name: impl Into<Name<'a>>,
        mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>,
    ) {
        let name = name.into();
        let mut fields = Builder::default();
        for field in self.iter() {
            if !field.is(name) {
                fields.add(field.name(), field.value());
            } else if let Some(value) = change(field.value()) {
                fields.add(field.name(), &value);
            }
        }
        *self = fields.build();
    }

    /// Writes them down as they came, but for those that `written_apart` says the caller writes itself.
    /// Neighbours are copied together.
    pub fn write(&self, out: &mut Vec<u8>, mut written_apart: impl FnMut(HeaderField<'_>) -> bool) {
        let mut run = Span { from: 0, to: 0 };
        for place in &self.places {
            let field = HeaderField {
                fields: self,
                place,
            };
            if written_apart(field) {
                continue;
            }
            if run.to != place.name.from {
                out.extend_from_slice(self.part(run));
                run.from = place.name.from;
            }
            run.to = place.end;
        }
        out.extend_from_slice(self.part(run));
    }

    /// The same as a map, for HTTP/2. An illegal one is left out; there is none.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for field in self.iter() {
            if let (Ok(name), Some(value)) =
                (HeaderName::from_bytes(field.name()), field.to_value())
            {
                map.append(name, value);
            }
        }
        map
    }
}

/// Writes down fields that did not come as bytes.
#[derive(Debug, Default)]
struct Builder {
    bytes: Vec<u8>,
    places: Places,
}

impl Builder {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let at = self.bytes.len();
        for part in [name, SEPARATOR, value, LINE_END] {
            self.bytes.extend_from_slice(part);
        }
        let end = self.bytes.len();
        let value_end = end - LINE_END.len();
        let value = value_end - value.len()..value_end;
        // No head is that large.
        let _added = self.places.add((name, at), value, end);
    }

    fn build(self) -> HeaderFields {
        self.places.of(self.bytes.into())
    }
}

impl From<&HeaderMap> for HeaderFields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Builder::default();
        for (name, value) in map {
            // Over HTTP/2 there may be white space around a value, wrongly (RFC 9113 §8.2.1), which
            // everybody behind the gate would take away.
            fields.add(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
        }
        fields.build()
    }
}

impl<'a> From<HeaderField<'a>> for Name<'a> {
    fn from(field: HeaderField<'a>) -> Self {
        Self::tagged(field.name(), field.place.tag)
    }
}

impl<'a> HeaderField<'a> {
    /// The name, as it came.
    pub fn name(&self) -> &'a [u8] {
        self.fields.part(self.place.name)
    }

    /// The value, without the white space around it.
    pub fn value(&self) -> &'a [u8] {
        self.fields.part(self.place.value)
    }

    /// Whether it has this name, in any case.
    pub fn is<'b>(&self, name: impl Into<Name<'b>>) -> bool {
        self.fields.is_called(self.place, name.into())
    }

    /// The value as text, where it is visible ASCII.
    pub fn to_str(&self) -> Option<&'a str> {
        let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        let value = self.value();
        value
            .iter()
            .all(visible)
            .then(|| std::str::from_utf8(value).ok())?
    }

    /// The value, to be kept. Shares the bytes of the head.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let Span { from, to } = self.place.value;
        let value = self.fields.bytes.slice(index(from)..index(to));
        HeaderValue::from_maybe_shared(value).ok()
    }
}

/// Positions are kept short; a `usize` holds them all.
fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl fmt::Debug for HeaderFields {
    /// Names alone: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .iter()
            .map(|field| String::from_utf8_lossy(field.name()));
        f.debug_list().entries(names).finish()
    }
}

impl fmt::Debug for HeaderField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fields as if they had been read from a head.
    fn read(lines: &[(&str, &str)]) -> HeaderFields {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        let mut places = Places::default();
        for (name, value) in lines {
            let at = head.len();
            head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            let value_at = at + name.len() + 2;
            let value = value_at..value_at + value.len();
            places
                .add((name.as_bytes(), at), value, head.len())
                .unwrap();
        }
        head.extend_from_slice(LINE_END);
        places.of(head.into())
    }

    fn written(fields: &HeaderFields, apart: &str) -> String {
        let mut out = Vec::new();
        fields.write(&mut out, |field| field.name() == apart.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_name_is_found_in_any_case_and_a_second_one_is_not_the_only_one() {
        let fields = read(&[("X-A", "1"), ("x-b", "2"), ("x-A", "3")]);
        let (a, b, c) = (
            HeaderName::from_static("x-a"),
            HeaderName::from_static("x-b"),
            HeaderName::from_static("x-c"),
        );
        assert_eq!(fields.get(&a).unwrap().value(), b"1");
        assert!(fields.only(&a).is_none() && fields.only(&c).is_none());
        assert_eq!(fields.only(&b).unwrap().to_str(), Some("2"));
        let all: Vec<_> = fields.all(&a).map(|field| field.name()).collect();
        assert_eq!(all, [b"X-A", b"x-A"]);
    }

    #[test]
    fn a_place_beyond_all_heads_is_none_and_one_outside_this_head_is_empty() {
        let mut places = Places::default();
        let far = usize::try_from(u32::MAX).unwrap();
        assert_eq!(places.add((b"A", far), 3..4, 6), Err(TooLarge));
        assert!(places.is_empty());
        places.add((b"A", 10), 13..14, 16).unwrap();
        let fields = places.of(Bytes::from_static(b"A: b\r\n\r\n"));
        let shown: Vec<_> = fields.iter().map(|it| (it.name(), it.value())).collect();
        assert_eq!(shown, [(&b""[..], &b""[..])]);
    }

    #[test]
    fn nothing_is_shown_of_a_value() {
        let shown = format!("{:?}", read(&[("Authorization", "Bearer secret")]));
        assert!(shown.contains("Authorization") && !shown.contains("secret"));
    }

    proptest! {
        #[test]
        fn what_is_taken_out_is_gone_and_all_else_stays_as_it_came(
            lines in prop::collection::vec(("[A-Za-z-]{1,8}", "[ -~]{0,12}"), 0..12),
            taken in prop::collection::vec(any::<bool>(), 12),
            added in prop::option::of("[a-z]{1,8}"),
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (&**name, value.trim())).collect();
            let mut fields = read(&lines);
            let mut flags = taken.iter();
            fields.retain(|_| !*flags.next().unwrap());
            let mut left: Vec<_> = lines.iter().zip(&taken).filter(|(_, taken)| !**taken)
                .map(|(line, _)| *line).collect();
            if let Some(added) = &added {
                fields.append(added, &HeaderValue::from_static("value"));
                left.push((added, "value"));
            }
            let apart = left.first().map_or("", |(name, _)| name);
            let line = |(name, value): &(&str, &str)| format!("{name}: {value}\r\n");
            let whole: String = left.iter().map(line).collect();
            prop_assert_eq!(written(&fields, ""), whole);
            let rest: String = left.iter().filter(|(name, _)| *name != apart).map(line).collect();
            prop_assert_eq!(written(&fields, apart), rest);
            prop_assert_eq!(fields.to_map().len(), left.len());
        }
    }
}
