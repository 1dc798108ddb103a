//! Promises about what is believed of proxies, and what the app server is told.

use http::HeaderMap;

use super::*;
use crate::domain::peer::Scheme;

fn trusted() -> TrustedProxies {
    TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], false)
}

fn pass(peer: &str, request: &[(&'static str, &'static str)]) -> (HeaderMap, Address) {
    let address = Address::from(peer.parse::<IpAddr>().unwrap());
    let peer = Arc::new(Peer::new(address, Scheme::Http, Some(4180), &trusted()));
    let headers: HeaderMap = request
        .iter()
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let mut fields = HeaderFields::from(&headers);
    let origin = Origin::take(&mut fields, &peer, &trusted());
    fields.retain(|field| !origin.disbelieves(field.name()));
    let mut headers = fields.to_map();
    let client = origin.client();
    origin.fields(None, &mut |name, value| {
        assert!(name.spelling().eq_ignore_ascii_case(name.name().as_str()));
        assert!(
            headers
                .insert(name.name(), HeaderValue::from_bytes(value).unwrap())
                .is_none(),
            "{name}"
        );
    });
    (headers, client)
}

#[test]
fn a_stranger_is_not_believed_whatever_the_spelling() {
    let (headers, client) = pass(
        "203.0.113.9",
        &[
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x.forwarded.host", "evil"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-original-url", "/admin"),
            ("x_original_forwarded_for", "1.2.3.4"),
            ("x-rewrite-url", "/admin"),
            ("x-request-id", "mine"),
            ("x-forwarded-prefix", "/x"),
        ],
    );
    assert_eq!(client.to_string(), "203.0.113.9");
    let mut seen: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    seen.sort_unstable();
    let expected = [
        "x-forwarded-for: 203.0.113.9",
        "x-forwarded-port: 4180",
        "x-forwarded-proto: http",
        "x-original-forwarded-for: 203.0.113.9",
        "x-real-ip: 203.0.113.9",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn from_a_trusted_proxy_the_client_is_the_rightmost_untrusted_address() {
    for (chain, client) in [
        ("1.2.3.4, 198.51.100.7", "198.51.100.7"),
        ("1.2.3.4, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("1.2.3.4, nonsense, 10.2.2.2", "10.2.2.2"),
        ("nonsense", "10.0.0.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("198.51.100.7:1234", "198.51.100.7"),
    ] {
        let (headers, found) = pass("10.0.0.1", &[("x-forwarded-for", chain)]);
        assert_eq!(found.to_string(), client, "{chain}");
        assert_eq!(headers["x-real-ip"], client);
        assert_eq!(headers["x-forwarded-for"], format!("{chain}, 10.0.0.1"));
    }
}

#[test]
fn a_trusted_proxy_is_believed_in_the_plain_spelling_only() {
    let (headers, _) = pass(
        "10.0.0.1",
        &[
            ("x-forwarded-proto", "https"),
            ("x_forwarded_proto", "gopher"),
            ("x-forwarded-prefix", "/x"),
            ("x_real_ip", "1.2.3.4"),
            ("x-original-forwarded-for", "1.2.3.4"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x_forwarded_for", "1.2.3.4"),
        ],
    );
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-prefix"], "/x");
    assert_eq!(headers["x-original-forwarded-for"], "10.0.0.1");
    assert!(!headers.contains_key("x_forwarded_proto"));
    for gone in [
        "x_real_ip",
        "x-original-url",
        "x-rewrite-url",
        "x_forwarded_for",
    ] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[test]
fn forwarded_counts_for_nothing_beside_the_list_that_the_proxy_writes() {
    for list in ["198.51.100.7", "unknown", ""] {
        let lie = "for=6.6.6.6;proto=https;host=evil";
        let request = [("x-forwarded-for", list), ("forwarded", lie)];
        let (headers, _) = pass("10.0.0.1", &request);
        let seen = format!("{headers:?}");
        for lie in ["6.6.6.6", "https", "evil", "forwarded\": \"for"] {
            assert!(!seen.contains(lie), "{list}: {seen}");
        }
    }
}

#[test]
fn forwarded_is_believed_as_far_as_it_was_checked_and_goes_no_further() {
    for (forwarded, client, chain) in [
        (
            "for=6.6.6.6, for=198.51.100.7",
            "198.51.100.7",
            "6.6.6.6, 198.51.100.7, ",
        ),
        (
            "for=198.51.100.7, for=10.9.9.9",
            "198.51.100.7",
            "198.51.100.7, 10.9.9.9, ",
        ),
        (
            "for=6.6.6.6, for=unknown, for=10.9.9.9",
            "10.9.9.9",
            "10.9.9.9, ",
        ),
        (
            "for=6.6.6.6, proto=http, for=10.9.9.9",
            "10.9.9.9",
            "10.9.9.9, ",
        ),
        ("for=6.6.6.6, for=\"10.9.9.9", "10.0.0.1", ""),
        ("for=6.6.6.6, for=_hidden", "10.0.0.1", ""),
        ("for=\"[2001:db8::1]:443\"", "2001:db8::1", "2001:db8::1, "),
        ("for=\"[::ffff:10.9.9.9]\"", "10.9.9.9", "::ffff:10.9.9.9, "),
    ] {
        let (headers, found) = pass("10.0.0.1", &[("forwarded", forwarded)]);
        assert_eq!(found.to_string(), client, "{forwarded}");
        assert_eq!(headers["x-real-ip"], client);
        assert_eq!(headers["x-forwarded-for"], format!("{chain}10.0.0.1"));
        assert!(!headers.contains_key("forwarded"));
    }
}

#[test]
fn scheme_and_host_are_those_of_the_last_proxy_where_no_plainer_header_says_them() {
    let last = (
        "forwarded",
        "for=1.1.1.1;proto=ftp, for=2.2.2.2;proto=https;host=\"a:8\"",
    );
    let check = |more: &[(&'static str, &'static str)], proto, host: Option<&str>| {
        let request = [&[last], more].concat();
        let (headers, _) = pass("10.0.0.1", &request);
        assert_eq!(headers["x-forwarded-proto"], proto, "{more:?}");
        let found = headers
            .get("x-forwarded-host")
            .map(|host| host.to_str().unwrap());
        assert_eq!(found, host, "{more:?}");
    };
    check(&[], "https", Some("a:8"));
    check(&[("x-forwarded-proto", "wss")], "wss", Some("a:8"));
    check(&[("x-forwarded-host", "b")], "https", Some("b"));
    // One that is there and not believed is there all the same.
    check(&[("x-forwarded-proto", "a b")], "http", Some("a:8"));
    check(&[("forwarded", "for=3.3.3.3")], "http", None);
    check(&[("forwarded", "for=3.3.3.3;proto=\"a b\"")], "http", None);
}
