//! Promises about what is taken out of a request and what is put in.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, UPGRADE};
use http::{HeaderMap, Version};

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::peer::TrustedProxies;
use crate::domain::peer::{Address, Scheme};
use crate::domain::session::{Holder, Lifetimes, Session};
use crate::domain::token::TokenDigest;
use crate::domain::trace::RequestId;

const TOKEN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "wxg_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

/// Twenty spellings of identity headers, all of which some server folds onto a real one.
const FORGERIES: [&str; 20] = [
    "X-WX-OPENID",
    "x-wx-openid",
    "X-Wx-OpenId",
    "X_WX_OPENID",
    "x_wx-openid",
    "X-WX_OPENID",
    "x.wx.openid",
    "X.WX-OPENID",
    "x!wx!openid",
    "x~wx~openid",
    "x|wx|openid",
    "x`wx`openid",
    "x^wx^openid",
    "x*wx*openid",
    "X-WX-UNIONID",
    "x_wx_unionid",
    "X-WX-APPID",
    "X_WX_SOURCE",
    "x-wx-env",
    "X-WX-From-Openid",
];

pub(super) fn rules(places: &[TokenPlace]) -> Arc<IdentityRules> {
    let names = IdentityNames {
        openid: FieldName::parse("X-WX-OPENID").unwrap(),
        unionid: FieldName::parse("X-WX-UNIONID").unwrap(),
        appid: FieldName::parse("X-WX-APPID").unwrap(),
        source: FieldName::parse("X-WX-SOURCE").unwrap(),
        env: FieldName::parse("X-WX-ENV").unwrap(),
        assertion: FieldName::parse("X-WX-Assertion").unwrap(),
        proof: FieldName::parse("X-WX-Proof").unwrap(),
    };
    let prefixes = vec!["x-wx-".to_owned()];
    let trusted = TrustedProxies::default();
    Arc::new(IdentityRules::new(
        names,
        None,
        places.to_vec(),
        trusted,
        &Stripping {
            prefixes,
            keep: Vec::new(),
        },
    ))
}

pub(super) fn peer() -> Arc<Peer> {
    let address = Address::from(std::net::IpAddr::from([203, 0, 113, 9]));
    Arc::new(Peer::new(
        address,
        Scheme::Http,
        Some(4180),
        &TrustedProxies::default(),
    ))
}

/// Everything the app server would get: what is left of the client's head, and what the gate says.
/// A name that both have would be there twice.
fn sent(clean: Clean<()>, presented: Presented, session: Option<Live>) -> HeaderMap {
    let id = RequestId::told(&HeaderValue::from_static("id")).unwrap();
    let outbound = clean.identify(session, presented.into_origin(), id, Timestamp::EPOCH);
    let parts = outbound.into_parts();
    let mut headers = parts.head.fields.to_map();
    parts.own.for_each(&parts.head, |name, value| {
        headers.append(name.name(), HeaderValue::from_bytes(value).unwrap());
    });
    headers
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = http::Request::builder()
        .uri("/me")
        .header(HOST, "gate.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into()
}

fn strip_at(
    places: &[TokenPlace],
    headers: &[(&str, &str)],
) -> Result<(Clean<()>, Presented), Unclean> {
    Clean::strip(request(headers), &rules(places), &peer())
}

fn strip(headers: &[(&str, &str)]) -> Result<(Clean<()>, Presented), Unclean> {
    strip_at(&[TokenPlace::Authorization], headers)
}

pub(super) fn live() -> Live {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let holder = Holder {
        app: AppId::parse("wx0123456789abcdef").unwrap(),
        openid: OpenId::parse("oReal").unwrap(),
        unionid: Some(UnionId::parse("uReal").unwrap()),
    };
    let session = Arc::new(Session::begin(TokenDigest::new([1; 32]), holder, now));
    let lifetimes = Lifetimes {
        ttl: Duration::from_hours(1),
        idle_ttl: None,
    };
    Live::of(session, now, &lifetimes).unwrap()
}

#[test]
fn no_spelling_of_an_identity_header_survives() {
    for name in FORGERIES {
        let (clean, presented) = strip(&[(name, "oForged")]).unwrap();
        assert_eq!(presented.stripped(), 1, "{name}");
        let left: Vec<_> = clean.fields().iter().map(|field| field.name()).collect();
        assert_eq!(left, [b"host"], "{name}");
        let headers = sent(clean, presented, None);
        assert!(headers.values().all(|value| value != "oForged"), "{name}");
    }
}

#[test]
fn an_identified_request_has_exactly_one_of_each_name_and_it_is_the_real_one() {
    let forged: Vec<_> = FORGERIES.iter().map(|name| (*name, "oForged")).collect();
    let (clean, presented) = strip(&forged).unwrap();
    let headers = sent(clean, presented, Some(live()));
    for (name, value) in [
        ("x-wx-openid", "oReal"),
        ("x-wx-unionid", "uReal"),
        ("x-wx-appid", "wx0123456789abcdef"),
        ("x-wx-source", "wx_client"),
    ] {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    assert!(headers.values().all(|value| value != "oForged"));
    assert_eq!(headers.keys_len(), headers.len(), "{headers:?}");
}

#[test]
fn a_connection_header_cannot_remove_what_the_gate_sets() {
    let listed = "close, x-wx-openid, x-wx-source, x-forwarded-for, host";
    let (clean, presented) = strip(&[("connection", listed)]).unwrap();
    let headers = sent(clean, presented, Some(live()));
    assert_eq!(headers["x-wx-openid"], "oReal");
    assert_eq!(headers["x-wx-source"], "wx_client");
    assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
    assert_eq!(headers[HOST], "gate.example");
}

#[track_caller]
fn claims(places: &[TokenPlace], headers: &[(&str, &str)], expected: Option<&str>) {
    let (clean, presented) = strip_at(places, headers).unwrap();
    let found = match presented.token() {
        TokenClaim::None => None,
        TokenClaim::Malformed => Some("malformed"),
        TokenClaim::Token(token) => Some(token.expose()),
    };
    assert_eq!(found, expected);
    let left = format!("{:?}", clean.fields().to_map());
    assert!(!left.contains("wxg_"), "the token goes no further: {left}");
}

#[test]
fn a_token_is_read_in_its_places_and_taken_out() {
    let authorization = TokenPlace::Authorization;
    let header = TokenPlace::Header(HeaderName::from_static("x-session"));
    let both = [authorization.clone(), header.clone()];
    let bearer = format!("Bearer {TOKEN}");
    let lower = format!("bearer   {TOKEN}");
    claims(&both, &[("authorization", &bearer)], Some(TOKEN));
    claims(&both, &[("authorization", &lower)], Some(TOKEN));
    claims(&both, &[("x-session", TOKEN)], Some(TOKEN));
    claims(
        &both,
        &[("authorization", &bearer), ("x-session", TOKEN)],
        Some(TOKEN),
    );
    claims(&both, &[("x-session", "nonsense")], Some("malformed"));
    claims(&[header], &[("authorization", &bearer)], None);
    claims(&[authorization], &[], None);
}

#[test]
fn a_spelling_that_folds_onto_the_place_of_a_token_goes_no_further() {
    let places = [TokenPlace::Header(HeaderName::from_static("x-session"))];
    claims(&places, &[("x_session", TOKEN)], None);
}

#[test]
fn two_tokens_are_refused() {
    let places = [
        TokenPlace::Authorization,
        TokenPlace::Header(HeaderName::from_static("x-session")),
    ];
    let (bearer, other) = (format!("Bearer {TOKEN}"), format!("Bearer {OTHER}"));
    for headers in [
        [
            ("authorization", bearer.as_str()),
            ("authorization", other.as_str()),
        ],
        [
            ("authorization", bearer.as_str()),
            ("authorization", bearer.as_str()),
        ],
        [
            ("authorization", bearer.as_str()),
            ("authorization", "Basic YTpi"),
        ],
        [("authorization", bearer.as_str()), ("x-session", OTHER)],
        [
            ("authorization", bearer.as_str()),
            ("x-session", "nonsense"),
        ],
        [("x-session", TOKEN), ("x-session", TOKEN)],
    ] {
        let error = strip_at(&places, &headers).unwrap_err();
        assert_eq!(error, AmbiguousToken.into(), "{headers:?}");
    }
}

#[test]
fn an_authorization_of_the_app_servers_own_is_left_alone() {
    for value in [
        "Basic YTpi",
        "Bearer eyJhbGciOi.J9.x",
        "Bearer wxg_short",
        TOKEN,
        "Token wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "Bearer wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,x",
    ] {
        let (clean, presented) = strip(&[("authorization", value)]).unwrap();
        assert!(matches!(presented.token(), TokenClaim::None), "{value}");
        assert_eq!(clean.fields().to_map()["authorization"], value);
    }
}

#[test]
fn a_request_needs_exactly_one_host_that_names_its_target() {
    let strip = |request: http::request::Builder| {
        Clean::strip(request.body(()).unwrap().into(), &rules(&[]), &peer()).map(|(clean, _)| clean)
    };
    let get = |uri: &str| http::Request::builder().uri(uri);
    let host = "gate.example";
    for bad in [
        get("/"),
        get("/").header(HOST, host).header(HOST, host),
        get("/").header(HOST, ""),
        get("/").header(HOST, "user@gate.example"),
        get("/").header(HOST, "gate.example/x"),
        get("/").header(HOST, "a b"),
        get("http://other.example/").header(HOST, host),
        get("http://user@gate.example/"),
        get("http://a,b/").version(Version::HTTP_2),
        get("http://a;b/").version(Version::HTTP_2),
    ] {
        assert_eq!(strip(bad).unwrap_err(), Unclean::Host);
    }
    for good in [
        get("/").header(HOST, host),
        get("http://gate.example/").header(HOST, host),
        get("http://Gate.Example/").header(HOST, host),
        get("http://gate.example/").version(Version::HTTP_2),
        get("/").header(HOST, "[::1]:4180"),
        get("/").version(Version::HTTP_10),
    ] {
        strip(good).unwrap();
    }
    for bad in ["*", "gate.example:443", "/a"] {
        let request = get(bad).method(Method::CONNECT).header(HOST, host);
        assert_eq!(strip(request).unwrap_err(), Unclean::Target, "{bad}");
    }
}

#[test]
fn only_a_whole_websocket_handshake_is_one() {
    let handshake = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let (clean, _) = strip(&handshake).unwrap();
    assert!(clean.websocket().is_some());
    assert!(!clean.fields().has(&UPGRADE));

    let without = |left_out: &str| {
        let kept: Vec<_> = handshake
            .into_iter()
            .filter(|(name, _)| *name != left_out)
            .collect();
        strip(&kept).map(|(clean, _)| clean.websocket().is_some())
    };
    assert_eq!(without("connection"), Ok(false));
    assert_eq!(without("upgrade"), Ok(false));
    assert_eq!(
        without("sec-websocket-version"),
        Err(BadHandshake::Version.into())
    );
    assert_eq!(without("sec-websocket-key"), Err(BadHandshake::Key.into()));
    let mut with_body = handshake.to_vec();
    with_body.push(("content-length", "5"));
    assert_eq!(strip(&with_body).unwrap_err(), BadHandshake::Body.into());
    let h2c = [("connection", "upgrade"), ("upgrade", "h2c")];
    assert!(strip(&h2c).unwrap().0.websocket().is_none());
}

/// Signs everything with the same words, or nothing.
#[derive(Debug)]
struct Fixed(Option<&'static str>);

impl Sign for Fixed {
    fn sign(&self, statement: &Statement<'_>) -> Option<Bytes> {
        assert_eq!(statement.target, "/me");
        assert_eq!(statement.user.openid.unwrap().as_str(), "oReal");
        self.0.map(Bytes::from)
    }
}

/// What the app server gets of a request with these forged signatures.
fn sent_signed(signed: Option<&'static str>, session: Option<Live>) -> HeaderMap {
    let signers = Signers {
        assertion: Some(Arc::new(Fixed(signed))),
        proof: Some(Arc::new(Fixed(signed))),
    };
    let rules = IdentityRules::clone(&rules(&[])).signed_by(signers);
    let forged = [("x_wx_assertion", "forged"), ("x-wx-proof", "forged")];
    let stripped = Clean::strip(request(&forged), &Arc::new(rules), &peer());
    let (clean, presented) = stripped.unwrap();
    assert_eq!(presented.stripped(), 2);
    sent(clean, presented, session)
}

#[test]
fn only_who_is_known_is_signed_and_what_cannot_be_signed_is_not_made_up() {
    let known = sent_signed(Some("signed"), Some(live()));
    for name in ["x-wx-assertion", "x-wx-proof"] {
        let values: Vec<_> = known.get_all(name).iter().collect();
        assert_eq!(values, ["signed"], "{name}");
    }
    for headers in [
        sent_signed(Some("signed"), None),
        sent_signed(None, Some(live())),
    ] {
        assert!(!headers.contains_key("x-wx-assertion") && !headers.contains_key("x-wx-proof"));
        assert!(!format!("{headers:?}").contains("forged"), "{headers:?}");
    }
}
