//! Heads of requests, from header blocks that are good and bad.

use crate::codec::hpack::{Block, BlockLimits, Decoder, write_field};
use crate::server::http2::head::{Malformed, Received, read, read_trailers};

const LARGE: BlockLimits = BlockLimits {
    bytes: 1 << 20,
    fields: 1 << 16,
};

fn block(fields: &[(&str, &str)]) -> Block {
    let mut written = Vec::new();
    for (name, value) in fields {
        write_field(&mut written, name.as_bytes(), value.as_bytes());
    }
    let mut block = Block::default();
    Decoder::default()
        .decode(&written, &mut block, LARGE)
        .unwrap();
    block
}

const USUAL: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/a?b=1"),
    (":authority", "gate.example"),
];

fn head(fields: &[(&str, &str)]) -> Result<Received, Malformed> {
    read(&mut block(fields))
}

fn usual_and(fields: &[(&str, &str)]) -> Result<Received, Malformed> {
    head(&[&USUAL, fields].concat())
}

fn lines(received: &Received) -> String {
    let mut out = Vec::new();
    received.head.fields.write(&mut out, |_| false);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_head_is_what_http_1_would_have_and_its_authority_is_the_host() {
    let received = usual_and(&[("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")]);
    let received = received.unwrap();
    assert_eq!(received.head.method, "GET");
    assert_eq!(received.head.uri, "/a?b=1");
    assert_eq!(received.length, None);
    let expected = "accept: */*\r\ncookie: a=1\r\ncookie: b=2\r\nhost: gate.example\r\n";
    assert_eq!(lines(&received), expected);
}

#[test]
fn a_head_of_nothing_else_has_a_host_alone() {
    assert_eq!(lines(&head(&USUAL).unwrap()), "host: gate.example\r\n");
    assert_eq!(lines(&head(&USUAL[..3]).unwrap()), "");
}

#[test]
fn a_host_beside_an_authority_leaves_both_to_be_compared() {
    let received = usual_and(&[("host", "other.example")]).unwrap();
    assert_eq!(received.head.uri, "https://gate.example/a?b=1");
    assert_eq!(lines(&received), "host: other.example\r\n");
    let received = head(&[&USUAL[..3], &[("host", "gate.example")]].concat()).unwrap();
    assert_eq!(received.head.uri, "/a?b=1");
}

#[test]
fn a_length_is_one_number() {
    assert_eq!(
        usual_and(&[("content-length", "10")]).unwrap().length,
        Some(10)
    );
    let too_large = "99999999999999999999999";
    for length in ["", "-1", "+1", "1,1", "0x1", too_large] {
        assert_eq!(
            usual_and(&[("content-length", length)]).err(),
            Some(Malformed)
        );
    }
    let twice = [("content-length", "1"), ("content-length", "1")];
    assert_eq!(usual_and(&twice).err(), Some(Malformed));
}

#[test]
fn targets_that_are_none_are_malformed() {
    for path in [
        "",
        "a",
        "http://gate.example/a",
        "/a#b",
        "/a b",
        "*a",
        "//\u{7f}",
    ] {
        let fields = [USUAL[0], USUAL[1], (":path", path), USUAL[3]];
        assert_eq!(head(&fields).err(), Some(Malformed), "{path}");
    }
    let fields = [
        ("\u{3a}method", "OPTIONS"),
        USUAL[1],
        (":path", "*"),
        USUAL[3],
    ];
    assert_eq!(head(&fields).unwrap().head.uri, "*");
    let fields = [USUAL[0], USUAL[1], (":path", "//a/../b"), USUAL[3]];
    assert_eq!(head(&fields).unwrap().head.uri, "//a/../b");
}

#[test]
fn connect_has_an_authority_and_nothing_else() {
    let connect = (":method", "CONNECT");
    let received = head(&[connect, (":authority", "a.example:443")]).unwrap();
    assert_eq!(received.head.uri, "a.example:443");
    assert_eq!(head(&[connect]).err(), Some(Malformed));
    assert_eq!(
        head(&[connect, USUAL[1], USUAL[2], USUAL[3]]).err(),
        Some(Malformed)
    );
    assert_eq!(head(&[USUAL[0], USUAL[3]]).err(), Some(Malformed));
}

#[test]
fn what_has_no_place_in_a_head_is_malformed() {
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        (":status", "200"),
        (":protocol", "websocket"),
        (":method", "GET"),
        ("x y", "1"),
        ("x", "1\n2"),
        ("x", "1\r2"),
        ("x", "1\u{0}2"),
    ] {
        assert_eq!(
            usual_and(&[(name, value)]).err(),
            Some(Malformed),
            "{name}: {value}"
        );
        assert_eq!(
            usual_and(&[("a", "1"), (name, value)]).err(),
            Some(Malformed)
        );
    }
    assert!(usual_and(&[("te", "trailers")]).is_ok());
    for missing in 0..3 {
        let mut fields = USUAL.to_vec();
        fields.remove(missing);
        assert_eq!(head(&fields).err(), Some(Malformed));
    }
}

#[test]
fn trailers_have_no_pseudo_fields_and_lose_what_may_not_stand_there() {
    let trailers = read_trailers(&block(&[
        ("content-digest", "1"),
        ("content-length", "5"),
        ("host", "a"),
        ("authorization", "b"),
    ]));
    let trailers = trailers.unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["content-digest"], "1");
    for (name, value) in [
        (":path", "/"),
        ("connection", "content-digest"),
        ("x", "1\n"),
    ] {
        assert_eq!(read_trailers(&block(&[(name, value)])), Err(Malformed));
    }
}
