//! Whatever a client sends over one connection, the bytes that go on to the app server are read alike by
//! the strictest server and by the most lenient one: the same requests, each with one host, one end and
//! no identity but that of the session.
//!
//! Input: what the client sends. `TOKEN` stands for the token of a session.

mod lenient;
mod strict;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use wxgate::codec::{Decoder, Outgoing, Piece};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::field::FieldName;
use wxgate::domain::id::{AppId, OpenId};
use wxgate::domain::identity::{
    Clean, IdentityNames, IdentityRules, OutboundParts, Stripping, TokenClaim, TokenPlace,
};
use wxgate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use wxgate::domain::request::Request;
use wxgate::domain::session::{Holder, Lifetimes, Live, Session};
use wxgate::domain::token::TokenDigest;
use wxgate::domain::trace::RequestId;
use wxgate::server::http1::head::{HeadLimits, Received};
use wxgate::upstream::http1::request::{Framing, Terms, write_head};
use wxgate::upstream::{Settings, Target};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 16 * 1024,
    fields: 64,
};

/// Requests of one input.
const MAX_REQUESTS: usize = 16;

const TOKEN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OPENID: &str = "oUser";
const APPID: &str = "wx0123456789abcdef";
const OWN_HOST: &str = "app.example:3000";

/// A request as a server reads it.
#[derive(Debug, Default, PartialEq)]
struct Read {
    method: String,
    target: String,
    /// Names as servers fold them, with their values, in order.
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<String>,
}

/// A request as the gate means it.
struct Sent {
    method: String,
    target: String,
    body: Vec<u8>,
    is_identified: bool,
}

pub(crate) fn check(input: &[u8]) {
    let input = replaced(input, b"TOKEN", TOKEN.as_bytes());
    let (sent, bytes) = pass_on(&input);
    let strict = strict::read(&bytes).unwrap_or_else(|why| {
        panic!(
            "a strict server reads no request: {why}: {}",
            bytes.escape_ascii()
        )
    });
    let lenient = lenient::read(&bytes);
    assert_eq!(strict, lenient, "{}", bytes.escape_ascii());
    assert_eq!(strict.len(), sent.len(), "{}", bytes.escape_ascii());
    for (read, sent) in strict.iter().zip(&sent) {
        let shown = bytes.escape_ascii();
        assert_eq!(read.method, sent.method, "{shown}");
        assert_eq!(read.target, sent.target, "{shown}");
        assert_eq!(read.body, sent.body, "{shown}");
        is_unmistakable(read, sent);
    }
}

/// One host, one framing, and the identity that the gate gave.
fn is_unmistakable(read: &Read, sent: &Sent) {
    let named = |wanted: &str| {
        let fields = read.fields.iter().filter(|(name, _)| name == wanted);
        fields.map(|(_, value)| &**value).collect::<Vec<_>>()
    };
    assert_eq!(named("host").len(), 1, "{read:?}");
    assert!(
        named("content-length").len() + named("transfer-encoding").len() <= 1,
        "{read:?}"
    );
    let identity = |wanted: &str, value: &str| {
        let expected: &[&[u8]] = if sent.is_identified {
            &[value.as_bytes()]
        } else {
            &[]
        };
        assert_eq!(named(wanted), expected, "{wanted}: {read:?}");
    };
    identity("x-wx-openid", OPENID);
    identity("x-wx-appid", APPID);
    identity("x-wx-source", "wx_client");
    let names = read
        .fields
        .iter()
        .map(|(name, _)| name)
        .chain(&read.trailers);
    let identities = names.filter(|name| name.starts_with("x-wx-"));
    let expected = if sent.is_identified { 3 } else { 0 };
    assert_eq!(identities.count(), expected, "{read:?}");
    assert_eq!(named("x-real-ip"), [b"127.0.0.1"], "{read:?}");
    assert_eq!(named("x-request-id").len(), 1, "{read:?}");
    for name in ["proxy", "te", "upgrade", "expect", "connection"] {
        assert_eq!(named(name), [b""; 0], "{name}: {read:?}");
    }
    let is_bearer = |value: &&[u8]| {
        let token = value.split_at_checked(7);
        token.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && token == TOKEN.as_bytes()
        })
    };
    assert!(!named("authorization").iter().any(is_bearer), "{read:?}");
}

/// What the gate passes on, request by request as it reads them, over one connection to the app server.
fn pass_on(input: &[u8]) -> (Vec<Sent>, Vec<u8>) {
    let (mut buffer, mut written, mut sent) = (BytesMut::from(input), Vec::new(), Vec::new());
    while sent.len() < MAX_REQUESTS {
        let Ok(Some(received)) = Received::take(&mut buffer, &mut 0, LIMITS) else {
            break;
        };
        let persists = received.said.persists;
        let Some((frames, whole)) = body_of(received.body, &mut buffer) else {
            break;
        };
        let request = Request {
            head: received.head,
            body: whole,
        };
        let Ok((clean, presented)) = Clean::strip(request, &RULES, &PEER) else {
            break;
        };
        // A tunnel is no request any more.
        if clean.websocket().is_some() {
            break;
        }
        let is_token = matches!(presented.token(), TokenClaim::Token(it) if it.expose() == TOKEN);
        let session = is_token.then(session);
        let id = RequestId::default();
        let outbound = clean.identify(session, presented.into_origin(), id, Timestamp::EPOCH);
        let parts = outbound.into_parts();
        sent.push(Sent {
            method: parts.head.method.to_string(),
            target: parts.head.target().to_owned(),
            body: frames.concat(),
            is_identified: is_token,
        });
        written.extend(write(parts));
        if !persists {
            break;
        }
    }
    (sent, written)
}

/// A body that has come whole: its data, and what the gate passes on of it.
fn body_of(mut decoder: Decoder, buffer: &mut BytesMut) -> Option<(Vec<Bytes>, Whole)> {
    let mut whole = Whole {
        length: decoder.remaining(),
        frames: Vec::new(),
    };
    let mut data = Vec::new();
    loop {
        match decoder.take(buffer).ok()? {
            Piece::End => break,
            Piece::Starved => return None,
            Piece::Frame(frame) => {
                data.extend(frame.data_ref().cloned());
                whole.frames.insert(0, frame);
            }
        }
    }
    Some((data, whole))
}

/// Writes a request as it goes to an app server.
fn write(parts: OutboundParts<Whole>) -> Vec<u8> {
    let OutboundParts {
        head, body, own, ..
    } = parts;
    let length = if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact()
    };
    let framing = Framing::of(length, &head);
    let terms = Terms {
        framing,
        upgrade: false,
    };
    let mut bytes = Vec::new();
    write_head(&mut bytes, &head, &own, terms, &SETTINGS);
    let mut trailers = None;
    let mut body = pin!(body);
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
        match frame.into_data() {
            Ok(data) if framing == Framing::Chunked => {
                add(&mut bytes, |out| out.add_chunk(data, false));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if framing == Framing::Chunked {
        add(&mut bytes, |out| {
            out.end_chunks(&trailers.unwrap_or_default());
        });
    }
    bytes
}

/// Writes by the gate's own hand.
fn add(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Outgoing)) {
    let mut out = Outgoing::default();
    write(&mut out);
    let mut context = Context::from_waker(Waker::noop());
    let written = out.poll_write_out(bytes, &mut context);
    assert!(matches!(written, Poll::Ready(Ok(()))));
}

/// A body that is there already. The last of `frames` comes first.
struct Whole {
    length: Option<u64>,
    frames: Vec<Frame<Bytes>>,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.pop().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    Settings::at(Target::Http {
        host: "app.example".to_owned(),
        port: 3000,
        authority: HeaderValue::from_static(OWN_HOST),
        tls: None,
    })
});

static PEER: LazyLock<Arc<Peer>> = LazyLock::new(|| {
    let from = Address::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    Arc::new(Peer::new(
        from,
        Scheme::Http,
        Some(80),
        &TrustedProxies::default(),
    ))
});

static RULES: LazyLock<Arc<IdentityRules>> = LazyLock::new(|| {
    let name = |text: &str| FieldName::parse(text).unwrap();
    let names = IdentityNames {
        openid: name("X-WX-OPENID"),
        unionid: name("X-WX-UNIONID"),
        appid: name("X-WX-APPID"),
        source: name("X-WX-SOURCE"),
        env: name("X-WX-ENV"),
        assertion: name("X-WX-Assertion"),
        proof: name("X-WX-Proof"),
    };
    let stripping = Stripping {
        prefixes: vec!["x-wx-".to_owned()],
        keep: Vec::new(),
    };
    let (places, trusted) = (vec![TokenPlace::Authorization], TrustedProxies::default());
    Arc::new(IdentityRules::new(names, None, places, trusted, &stripping))
});

fn session() -> Live {
    let holder = Holder {
        app: AppId::parse(APPID).unwrap(),
        openid: OpenId::parse(OPENID).unwrap(),
        unionid: None,
    };
    let session = Session::begin(TokenDigest::new([1; 32]), holder, Timestamp::EPOCH);
    let lifetimes = Lifetimes {
        ttl: Duration::from_hours(1),
        idle_ttl: None,
    };
    Live::of(Arc::new(session), Timestamp::EPOCH, &lifetimes).unwrap()
}

/// A name as servers fold it.
fn folded(name: &[u8]) -> String {
    let fold = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_lowercase()),
        _ => '-',
    };
    name.iter().map(fold).collect()
}

fn replaced(input: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), input);
    while let Some(&first) = rest.first() {
        if let Some(after) = rest.strip_prefix(what) {
            out.extend_from_slice(with);
            rest = after;
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
    out
}
