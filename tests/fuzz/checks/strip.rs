//! Whatever fields a client sends, none is left that an app server could take for the gate's own, and
//! all others are left as they came: their order, their spelling, every byte.
//!
//! Input: lines that say what is protected (`name X`, `prefix x-`, `keep x-y`, `token X`), an empty line,
//! and fields, a line each.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::field::FieldName;
use wxgate::domain::identity::{
    Clean, IdentityNames, IdentityRules, Presented, Stripping, TokenPlace, Unclean,
};
use wxgate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use wxgate::domain::request::Request;
use wxgate::domain::trace::RequestId;
use wxgate::server::http1::head::{HeadLimits, Received};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 16 * 1024,
    fields: 100,
};

/// Fields of one connection, which go no further.
const OF_THE_CONNECTION: &[&[u8]] = &[
    b"connection",
    b"keep-alive",
    b"proxy",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
];

/// Names that are not configured here.
const FIXED: [&str; 5] = [
    "X-WX-APPID",
    "X-WX-SOURCE",
    "X-WX-ENV",
    "X-WX-Assertion",
    "X-WX-Proof",
];

/// What is protected.
#[derive(Default)]
struct Protected {
    names: Vec<String>,
    prefixes: Vec<String>,
    kept: Vec<String>,
    tokens: Vec<String>,
}

type Field = (Vec<u8>, Vec<u8>);

pub(crate) fn check(input: &[u8]) {
    // Where tokens go is the business of another target.
    if input.windows(4).any(|four| four == b"wxg_") {
        return;
    }
    let Some(end) = input.windows(2).position(|two| two == b"\n\n") else {
        return;
    };
    let (protected, lines) = (Protected::read(&input[..end]), &input[end + 2..]);
    let (Some(protected), Some(rules)) = (&protected, protected.as_ref().and_then(rules)) else {
        return;
    };
    let mut head = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for line in lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let Ok(Some(received)) = Received::take(&mut BytesMut::from(&*head), &mut 0, LIMITS) else {
        return;
    };
    let sent: Vec<Field> = received
        .head
        .fields
        .iter()
        .map(|field| (field.name().to_vec(), field.value().to_vec()))
        .collect();
    let request = Request {
        head: received.head,
        body: Trailers(Some(as_map(&sent))),
    };
    let from = Address::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let peer = Peer::new(from, Scheme::Http, None, &TrustedProxies::default());
    let (clean, presented) = match Clean::strip(request, &Arc::new(rules), &Arc::new(peer)) {
        Ok(stripped) => stripped,
        Err(why) => return refused(why, &sent),
    };
    let left: Vec<Field> = clean
        .fields()
        .iter()
        .map(|field| (field.name().to_vec(), field.value().to_vec()))
        .collect();
    let listed = listed(&sent);
    let goes_on = |(name, _): &&Field| !protected.has(name) && !stays_here(name, &listed);
    let expected: Vec<Field> = sent.iter().filter(goes_on).cloned().collect();
    assert_eq!(shown(&left), shown(&expected));
    let gone = sent.iter().filter(|(name, _)| protected.has(name)).count();
    assert!(
        presented.stripped() <= gone,
        "more was counted than there was"
    );
    for name in trailers_of(clean, presented).keys() {
        let name = name.as_str().as_bytes();
        assert!(!protected.has(name), "{name:?} in trailers");
        assert!(!is_of_proxies(name), "{name:?} in trailers");
    }
}

/// A request that was refused had a reason to be.
fn refused(why: Unclean, sent: &[Field]) {
    let named = |wanted: &[u8]| {
        let names = sent.iter().map(|(name, _)| name);
        names
            .filter(|name| name.eq_ignore_ascii_case(wanted))
            .count()
    };
    let mimics = |wanted: &[u8]| {
        let mut names = sent.iter().map(|(name, _)| name);
        names.any(|name| folded(name) == wanted && !name.eq_ignore_ascii_case(wanted))
    };
    match why {
        Unclean::Framing => assert!(mimics(b"content-length") || mimics(b"transfer-encoding")),
        Unclean::Host => assert!(named(b"host") > 1),
        Unclean::Connection => assert!(named(b"connection") > 0),
        Unclean::Handshake(_) => assert!(named(b"upgrade") > 0),
        Unclean::AmbiguousToken(_) => assert!(sent.len() > 2),
        Unclean::Target => panic!("/ is a target"),
    }
}

/// A name as servers fold it.
fn folded(name: &[u8]) -> Vec<u8> {
    let fold = |byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => *byte,
        b'A'..=b'Z' => *byte - b'A' + b'a',
        _ => b'-',
    };
    name.iter().map(fold).collect()
}

impl Protected {
    fn read(text: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let (what, name) = line.split_once(' ')?;
            let list = match what {
                "name" => &mut read.names,
                "prefix" => &mut read.prefixes,
                "keep" => &mut read.kept,
                "token" => &mut read.tokens,
                _ => return None,
            };
            list.push(name.to_owned());
        }
        Some(read)
    }

    fn has(&self, name: &[u8]) -> bool {
        let name = folded(name);
        let is = |one: &str| folded(one.as_bytes()) == name;
        let tokens = self.tokens.iter().map(String::as_str);
        let mut whole = FIXED.iter().copied().chain(tokens);
        let mut prefixes = self.prefixes.iter();
        is(self.openid())
            || is(self.unionid())
            || whole.any(is)
            || (prefixes.any(|one| name.starts_with(&folded(one.as_bytes())))
                && !self.kept.iter().any(|one| is(one)))
    }

    fn openid(&self) -> &str {
        self.names.first().map_or("X-WX-OPENID", String::as_str)
    }

    fn unionid(&self) -> &str {
        self.names.get(1).map_or("X-WX-UNIONID", String::as_str)
    }
}

fn rules(protected: &Protected) -> Option<IdentityRules> {
    let name = |text: &str| FieldName::parse(text).ok();
    let names = IdentityNames {
        openid: name(protected.openid())?,
        unionid: name(protected.unionid())?,
        appid: name(FIXED[0])?,
        source: name(FIXED[1])?,
        env: name(FIXED[2])?,
        assertion: name(FIXED[3])?,
        proof: name(FIXED[4])?,
    };
    let header = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
    let tokens: Option<Vec<_>> = protected.tokens.iter().map(header).collect();
    let stripping = Stripping {
        prefixes: protected.prefixes.clone(),
        keep: protected.kept.clone(),
    };
    let places = tokens?.into_iter().map(TokenPlace::Header).collect();
    let trusted = TrustedProxies::default();
    Some(IdentityRules::new(names, None, places, trusted, &stripping))
}

/// What the `Connection` lines list, in lower case.
fn listed(sent: &[Field]) -> Vec<Vec<u8>> {
    let lines = sent
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    let items = lines.flat_map(|(_, value)| value.split(|&byte| byte == b','));
    let items = items.map(|item| item.trim_ascii().to_ascii_lowercase());
    let usual: [&[u8]; 4] = [b"close", b"upgrade", b"host", b"content-length"];
    items.filter(|item| !usual.contains(&&**item)).collect()
}

/// Whether a field is of this connection, or one that only a proxy may send.
fn stays_here(name: &[u8], listed: &[Vec<u8>]) -> bool {
    let lower = name.to_ascii_lowercase();
    OF_THE_CONNECTION.contains(&&*lower) || listed.contains(&lower) || is_of_proxies(name)
}

fn is_of_proxies(name: &[u8]) -> bool {
    let name = folded(name);
    let names: [&[u8]; 4] = [
        b"forwarded",
        b"x-real-ip",
        b"x-rewrite-url",
        b"x-request-id",
    ];
    names.contains(&&*name) || name.starts_with(b"x-forwarded-") || name.starts_with(b"x-original-")
}

fn shown(fields: &[Field]) -> Vec<String> {
    let line = |(name, value): &Field| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    fields.iter().map(line).collect()
}

fn as_map(fields: &[Field]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// A body that is nothing but trailers.
struct Trailers(Option<HeaderMap>);

impl Body for Trailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// The trailers as they go on.
fn trailers_of(clean: Clean<Trailers>, presented: Presented) -> HeaderMap {
    let (id, now) = (RequestId::default(), Timestamp::EPOCH);
    let outbound = clean.identify(None, presented.into_origin(), id, now);
    let mut body = outbound.into_parts().body;
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(&mut body).poll_frame(&mut context) {
        Poll::Ready(Some(Ok(frame))) => frame.into_trailers().unwrap_or_default(),
        _ => HeaderMap::new(),
    }
}
