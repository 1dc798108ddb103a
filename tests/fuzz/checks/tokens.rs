//! Wherever tokens stand in a request, they are found where they are looked for, none goes on to the app
//! server where one may stand, and every other byte of target and fields stays as it came.
//!
//! Input: a line of places (`a`uthorization, `h`eader, `q`uery, `w`ebsocket protocol), a target, and fields,
//! a line each. A field `ws` stands for those of a WebSocket handshake. `TOKEN` and `OTHER` stand for tokens.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderName;
use wxgate::domain::field::FieldName;
use wxgate::domain::fields::HeaderFields;
use wxgate::domain::identity::{
    AmbiguousToken, Clean, IdentityNames, IdentityRules, Stripping, TokenClaim, TokenPlace, Unclean,
};
use wxgate::domain::peer::{Address, Peer, Scheme, TrustedProxies};
use wxgate::domain::request::Request;
use wxgate::server::http1::head::{HeadLimits, Received};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 16 * 1024,
    fields: 100,
};

const HANDSHAKE: &[u8] =
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Characters of a token after `wxg_`.
const BODY_CHARS: usize = 43;

type Field = (Vec<u8>, Vec<u8>);

/// What is found, and what goes on, by the words of the documentation.
#[derive(Debug, PartialEq)]
struct Told {
    /// Each claim: a token, or something malformed where only tokens stand.
    claims: Vec<Option<Vec<u8>>>,
    /// Whether one place holds more than it may.
    twice: bool,
    target: Vec<u8>,
    fields: Vec<Field>,
}

pub(crate) fn check(input: &[u8]) {
    let Some((places, head)) = head_of(input) else {
        return;
    };
    let places = places.as_str();
    let Ok(Some(received)) = Received::take(&mut BytesMut::from(&*head), &mut 0, LIMITS) else {
        return;
    };
    let Some(target) = received.head.uri.path_and_query() else {
        return;
    };
    let sent = (
        target.as_str().as_bytes().to_vec(),
        fields_of(&received.head.fields),
    );
    // What connections list goes, whatever it is: the business of another target.
    let lists = |(name, value): &Field| is(name, "connection") && !is(value, "upgrade");
    if sent.1.iter().any(lists) {
        return;
    }
    let request = Request {
        head: received.head,
        body: (),
    };
    let from = Address::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let peer = Peer::new(from, Scheme::Http, None, &TrustedProxies::default());
    let stripped = Clean::strip(request, &Arc::new(rules(places)), &Arc::new(peer));
    let is_handshake = match &stripped {
        Ok((clean, _)) => clean.websocket().is_some(),
        // A handshake is looked at before tokens are.
        Err(Unclean::AmbiguousToken(_)) => asks_for_socket(&sent.1),
        Err(_) => return,
    };
    let told = Told::of(places, is_handshake, sent);
    let (clean, presented) = match stripped {
        Ok(stripped) => stripped,
        Err(why) => {
            assert_eq!(why, AmbiguousToken.into());
            assert!(told.is_ambiguous(), "{told:?}");
            return;
        }
    };
    assert!(!told.is_ambiguous(), "{told:?}");
    let claim = match presented.token() {
        TokenClaim::None => None,
        TokenClaim::Malformed => Some(None),
        TokenClaim::Token(token) => Some(Some(token.expose_bytes().to_vec())),
    };
    assert_eq!(claim, told.claims.first().cloned());
    assert_eq!(
        clean
            .uri()
            .path_and_query()
            .unwrap()
            .as_str()
            .as_bytes()
            .escape_ascii()
            .to_string(),
        told.target.escape_ascii().to_string()
    );
    assert_eq!(shown(&fields_of(clean.fields())), shown(&told.fields));
}

/// The places where tokens are looked for, and the head of a request.
fn head_of(input: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut text = String::from_utf8_lossy(input).into_owned();
    for (name, letter) in [("TOKEN", 'A'), ("OTHER", 'b')] {
        let body: String = std::iter::repeat_n(letter, BODY_CHARS).collect();
        text = text.replace(name, &format!("wxg_{body}"));
    }
    let mut lines = text.split('\n');
    let (places, target) = (lines.next()?, lines.next()?);
    let mut head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    for line in lines.filter(|line| !line.is_empty()) {
        match line {
            "ws" => head.extend_from_slice(HANDSHAKE),
            _ => head.extend([line.as_bytes(), b"\r\n"].concat()),
        }
    }
    head.extend_from_slice(b"\r\n");
    Some((places.to_owned(), head))
}

fn rules(places: &str) -> IdentityRules {
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
    let place = |letter: char| match letter {
        'a' => Some(TokenPlace::Authorization),
        'h' => Some(TokenPlace::Header(HeaderName::from_static("x-token"))),
        'q' => Some(TokenPlace::Query("token".into())),
        'w' => Some(TokenPlace::WebSocketProtocol),
        _ => None,
    };
    let places = places.chars().take(8).filter_map(place).collect();
    let (trusted, stripping) = (TrustedProxies::default(), Stripping::default());
    IdentityRules::new(names, None, places, trusted, &stripping)
}

fn fields_of(fields: &HeaderFields) -> Vec<Field> {
    let fields = fields.iter();
    fields
        .map(|field| (field.name().to_vec(), field.value().to_vec()))
        .collect()
}

/// Whether some field asks for a WebSocket. That the request is a whole handshake is known then.
fn asks_for_socket(fields: &[Field]) -> bool {
    let lists = |wanted: &str, token: &str| {
        let values = fields
            .iter()
            .filter(|(name, _)| is(name, wanted))
            .map(|(_, value)| value);
        let mut items = values.flat_map(|value| value.split(|&byte| byte == b','));
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    lists("upgrade", "websocket") && lists("connection", "upgrade")
}

fn is(name: &[u8], wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted.as_bytes())
}

fn is_token(text: &[u8]) -> bool {
    let body = text.strip_prefix(b"wxg_").unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    body.len() == BODY_CHARS && body.iter().all(plain)
}

/// The token of a value of `Authorization`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer ") && is_token(token)).then_some(token)
}

impl Told {
    fn of(places: &str, is_handshake: bool, (target, fields): (Vec<u8>, Vec<Field>)) -> Self {
        let mut told = Self {
            claims: Vec::new(),
            twice: false,
            target,
            fields,
        };
        for place in places.chars().take(8) {
            match place {
                'a' => told.authorization(true),
                'h' => told.header(),
                'q' => told.query(is_handshake),
                'w' if is_handshake => told.subprotocols(true),
                _ => {}
            }
        }
        told.authorization(false);
        told.subprotocols(false);
        told.fields.retain(|(name, _)| goes_on(name));
        told
    }

    fn is_ambiguous(&self) -> bool {
        let first = self.claims.first();
        let is_same = |claim: &Option<Vec<u8>>| claim.is_some() && Some(claim) == first;
        self.twice || !self.claims.iter().skip(1).all(is_same)
    }

    /// All `Authorization` goes when one holds a token.
    fn authorization(&mut self, counts: bool) {
        let all = self
            .fields
            .iter()
            .filter(|(name, _)| is(name, "authorization"));
        let all: Vec<_> = all
            .map(|(_, value)| bearer(value).map(<[u8]>::to_vec))
            .collect();
        let Some(token) = all.iter().flatten().next().cloned() else {
            return;
        };
        self.twice |= all.len() > 1;
        self.fields.retain(|(name, _)| !is(name, "authorization"));
        self.claims.extend(counts.then_some(Some(token)));
    }

    fn header(&mut self) {
        let all = self.fields.iter().filter(|(name, _)| is(name, "x-token"));
        let all: Vec<_> = all.map(|(_, value)| value.clone()).collect();
        self.twice |= all.len() > 1;
        self.fields.retain(|(name, _)| !is(name, "x-token"));
        let claims = all
            .into_iter()
            .map(|value| Some(value).filter(|value| is_token(value)));
        self.claims.extend(claims);
    }

    /// Parameters named `token` go, in a handshake all, otherwise such as hold a token.
    fn query(&mut self, is_handshake: bool) {
        let Some(at) = self.target.iter().position(|&byte| byte == b'?') else {
            return;
        };
        let (path, query) = (self.target[..at].to_vec(), self.target[at + 1..].to_vec());
        let (mut kept, mut found) = (Vec::new(), Vec::new());
        for parameter in query.split(|&byte| byte == b'&') {
            let end = parameter.iter().position(|&byte| byte == b'=');
            let name = &parameter[..end.unwrap_or(parameter.len())];
            let value = end.map_or_else(Vec::new, |end| unescaped(&parameter[end + 1..]));
            let token = Some(value).filter(|value| is_token(value));
            if unescaped(name) == b"token" && (is_handshake || token.is_some()) {
                found.push(token);
            } else {
                kept.push(parameter);
            }
        }
        if found.is_empty() {
            return;
        }
        let query = kept.join(&b'&');
        let mark: &[u8] = if query.is_empty() { b"" } else { b"?" };
        self.target = [&path, mark, &query].concat();
        if is_handshake {
            self.twice |= found.len() > 1;
            self.claims.extend(found);
        }
    }

    /// What begins with `wxgate` goes, or where nothing is looked for, tokens alone. Lines that had one
    /// are written anew, behind all others, with those that had none.
    fn subprotocols(&mut self, counts: bool) {
        let is_line = |(name, _): &Field| is(name, "sec-websocket-protocol");
        let (mut left, mut found) = (Vec::new(), Vec::new());
        let mut changed = false;
        for (_, value) in self.fields.iter().filter(|field| is_line(field)) {
            let offers: Vec<_> = value
                .split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
                .collect();
            let own = |offer: &[u8]| {
                let begins = offer
                    .get(..6)
                    .is_some_and(|six| six.eq_ignore_ascii_case(b"wxgate"));
                let token = offer
                    .strip_prefix(b"wxgate.")
                    .filter(|token| is_token(token));
                (begins && counts || token.is_some()).then(|| token.map(<[u8]>::to_vec))
            };
            let gone = offers.iter().filter(|offer| own(offer).is_some());
            let gone: Vec<_> = gone.filter(|offer| **offer != b"wxgate").copied().collect();
            found.extend(gone.into_iter().filter_map(own));
            let kept: Vec<_> = offers
                .iter()
                .copied()
                .filter(|offer| own(offer).is_none())
                .collect();
            if kept.len() == offers.len() {
                left.push(value.clone());
                continue;
            }
            changed = true;
            left.extend(Some(kept.join(&b", "[..])).filter(|line| !line.is_empty()));
        }
        if changed {
            self.fields.retain(|field| !is_line(field));
            let name = b"Sec-WebSocket-Protocol".to_vec();
            self.fields
                .extend(left.into_iter().map(|value| (name.clone(), value)));
        }
        if counts {
            self.twice |= found.len() > 1;
            self.claims.extend(found);
        }
    }
}

/// Whether a field that holds no token goes on. Those that are stripped are the business of another
/// target; here are the ones that make up a handshake.
fn goes_on(name: &[u8]) -> bool {
    !["connection", "upgrade"].iter().any(|one| is(name, one))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        let escaped = digit(at + 1).zip(digit(at + 2)).filter(|_| byte == b'%');
        let escaped = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        out.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

fn shown(fields: &[Field]) -> Vec<String> {
    // Fields of other kinds may be stripped, and are no matter here.
    let kinds = [
        "host",
        "authorization",
        "cookie",
        "sec-websocket-protocol",
        "accept",
        "a",
        "b",
    ];
    let fields = fields
        .iter()
        .filter(|(name, _)| kinds.iter().any(|kind| is(name, kind)));
    let line = |(name, value): &Field| format!("{}: {}", name.escape_ascii(), value.escape_ascii());
    fields.map(line).collect()
}
