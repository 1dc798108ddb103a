//! The head of a request: from the fields of a header block to method, target and fields, by the
//! rules of RFC 9113 §8.2 and §8.3. Pure. A request that is malformed reaches nobody.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::codec::clean_trailers;
use crate::codec::hpack::{Block, BlockLimits, Field, Kind};
use crate::domain::fields::Places;
use crate::domain::request::RequestHead;
use crate::server::Limits;

/// What trailers may take: as many as over HTTP/1.
pub const TRAILER_LIMITS: BlockLimits = BlockLimits {
    bytes: 8 * 1024,
    fields: 32,
};

/// A request or trailers that break the rules of RFC 9113 §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The head of a request, and what it says of its body.
#[derive(Debug)]
pub struct Received {
    /// The head.
    pub head: Box<RequestHead>,
    /// How long the body is, where that is said.
    pub length: Option<u64>,
}

/// How large a head may be: one that is a little too large is refused with a problem document, so it
/// is read.
pub fn limits(limits: &Limits) -> BlockLimits {
    BlockLimits {
        bytes: limits.max_header_bytes.saturating_mul(2),
        // The pseudo-header fields are none of those that are counted.
        fields: limits.max_headers.saturating_mul(2).saturating_add(4),
    }
}

/// The pseudo-header fields of a request (RFC 9113 §8.3.1).
#[derive(Debug, Default)]
struct Pseudo<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
}

impl<'a> Pseudo<'a> {
    fn add(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Malformed> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            _ => return Err(Malformed),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed),
        }
    }

    fn of(fields: &[Field], lines: &'a [u8]) -> Result<Self, Malformed> {
        let mut pseudo = Self::default();
        for field in fields {
            pseudo.add(field.name(lines), field.value(lines))?;
        }
        Ok(pseudo)
    }

    /// What is asked for. Where a `Host` says whom, too, the target says it as well, and somebody else
    /// compares the two; else the path is all of it.
    fn target(&self, has_host: bool, lines: &Bytes) -> Result<(Method, Uri), Malformed> {
        let method = self.method.ok_or(Malformed)?;
        let method = Method::from_bytes(method).map_err(|_odd| Malformed)?;
        let authority = self.authority.map(|authority| lines.slice_ref(authority));
        let uri = match (self.scheme, self.path) {
            // RFC 9113 §8.5: an authority alone.
            (None, None) if method == Method::CONNECT => {
                Uri::from(authority_of(authority.ok_or(Malformed)?)?)
            }
            (Some(scheme), Some(path)) if method != Method::CONNECT && is_target(path) => {
                let path = lines.slice_ref(path);
                match authority.filter(|_| has_host) {
                    None => Uri::from_maybe_shared(path).map_err(|_odd| Malformed)?,
                    Some(authority) => whole_target(scheme, authority, path)?,
                }
            }
            _ => return Err(Malformed),
        };
        Ok((method, uri))
    }
}

/// A path, or `*`. A fragment is no part of either: the parser of targets would drop it.
fn is_target(path: &[u8]) -> bool {
    let begins = path == b"*" || path.starts_with(b"/");
    begins && memchr::memchr(b'#', path).is_none()
}

fn authority_of(authority: Bytes) -> Result<Authority, Malformed> {
    Authority::from_maybe_shared(authority).map_err(|_odd| Malformed)
}

fn whole_target(scheme: &[u8], authority: Bytes, path: Bytes) -> Result<Uri, Malformed> {
    let path = PathAndQuery::from_maybe_shared(path).map_err(|_odd| Malformed)?;
    let uri = Uri::builder()
        .scheme(Scheme::try_from(scheme).map_err(|_odd| Malformed)?)
        .authority(authority_of(authority)?)
        .path_and_query(path);
    uri.build().map_err(|_odd| Malformed)
}

/// What the fields say that somebody here has to know.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    has_host: bool,
}

impl Said {
    fn of(fields: &[Field], lines: &[u8]) -> Result<Self, Malformed> {
        let mut said = Self::default();
        for field in fields {
            match field.kind {
                Kind::Plain => {}
                Kind::Special => said.add(field.name(lines), field.value(lines))?,
                Kind::Illegal | Kind::Pseudo => return Err(Malformed),
            }
        }
        Ok(said)
    }

    /// Takes in a field that has to be looked at. RFC 9113 §8.2.2: none of those that HTTP/1 has for
    /// its connections.
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match name {
            b"host" => self.has_host = true,
            b"te" if value == b"trailers" => {}
            b"content-length" if self.length.is_none() => {
                self.length = Some(length_of(value).ok_or(Malformed)?);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

fn length_of(value: &[u8]) -> Option<u64> {
    let is_number = value.iter().all(u8::is_ascii_digit);
    // A sign would be taken, too.
    let digits = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    digits.parse().ok()
}

/// Reads the head of a request. Takes the memory of the lines along.
pub fn read(block: &mut Block) -> Result<Received, Malformed> {
    let is_pseudo = |field: &&Field| field.kind == Kind::Pseudo;
    let pseudo = block.fields.iter().take_while(is_pseudo).count();
    let (first, rest) = block.fields.split_at(pseudo);
    let said = Said::of(rest, &block.lines)?;
    let is_authority = |field: &&Field| field.name(&block.lines) == b":authority";
    if !said.has_host
        && let Some(authority) = first.iter().find(is_authority).copied()
    {
        block.add_copy(b"host", authority);
    }
    let mut lines = std::mem::take(&mut block.lines);
    lines.extend_from_slice(b"\r\n");
    let lines = Bytes::from(lines);
    let (first, rest) = block.fields.split_at(pseudo);
    let mut places = Places::with_room();
    for field in rest {
        let noted = field.note(&lines, &mut places);
        noted.map_err(|_too_large| Malformed)?;
    }
    let (method, uri) = Pseudo::of(first, &lines)?.target(said.has_host, &lines)?;
    let head = Box::new(RequestHead {
        method,
        uri,
        version: Version::HTTP_2,
        fields: places.of(lines),
    });
    Ok(Received {
        head,
        length: said.length,
    })
}

/// Reads the trailers of a request.
pub fn read_trailers(block: &Block) -> Result<HeaderMap, Malformed> {
    let mut trailers = HeaderMap::with_capacity(block.fields.len());
    for field in &block.fields {
        let (name, value) = (field.name(&block.lines), field.value(&block.lines));
        match field.kind {
            Kind::Plain => {}
            Kind::Special if matches!(name, b"host" | b"content-length" | b"te") => {}
            Kind::Special | Kind::Illegal | Kind::Pseudo => return Err(Malformed),
        }
        let name = HeaderName::from_bytes(name).map_err(|_odd| Malformed)?;
        let value = HeaderValue::from_bytes(value).map_err(|_odd| Malformed)?;
        trailers.append(name, value);
    }
    clean_trailers(&mut trailers);
    Ok(trailers)
}
