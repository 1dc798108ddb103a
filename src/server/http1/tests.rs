//! Promises about how requests are read: a corpus of good and malformed ones, and that it makes no
//! difference in which pieces they come.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::codec::{Fault, Piece};
use crate::server::http1::head::{HeadLimits, Received};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 1024,
    fields: 20,
};

/// A request, read to its end.
#[derive(Debug, PartialEq)]
struct Read {
    line: String,
    /// `name: value`, in order.
    fields: Vec<String>,
    body: String,
    trailers: Vec<String>,
    persists: bool,
    expects: bool,
    /// Bytes that belong to something else.
    rest: usize,
}

/// Reads a request that comes in these pieces, after which the connection closes. An error is its
/// text, or where the request broke off.
fn read_in(pieces: &[&[u8]]) -> Result<Read, String> {
    let (mut buffer, mut searched) = (BytesMut::new(), 0);
    let mut pieces = pieces.iter();
    let say = |fault: Fault| format!("{fault:?}").split('(').next().unwrap().to_owned();
    let mut received = loop {
        match Received::take(&mut buffer, &mut searched, LIMITS).map_err(say)? {
            Some(received) => break received,
            None => buffer.extend_from_slice(pieces.next().ok_or("Closed")?),
        }
    };
    let head = &received.head;
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = head.fields.iter();
    let mut read = Read {
        line: format!("{} {} {:?}", head.method, head.uri, head.version),
        fields: fields
            .map(|field| format!("{}: {}", shown(field.name()), shown(field.value())))
            .collect(),
        body: String::new(),
        trailers: Vec::new(),
        persists: received.said.persists,
        expects: received.said.expects,
        rest: 0,
    };
    loop {
        match received.body.take(&mut buffer).map_err(say)? {
            Piece::End => break,
            Piece::Starved => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => received.body.closed().map_err(say)?,
            },
            Piece::Frame(frame) => match frame.into_data() {
                Ok(data) => read.body.push_str(&shown(&data)),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                        format!("{name}: {}", value.to_str().unwrap())
                    };
                    read.trailers = trailers.iter().map(shown).collect();
                }
            },
        }
    }
    read.rest = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok(read)
}

fn read(request: &str) -> Result<Read, String> {
    read_in(&[request.as_bytes()])
}

#[track_caller]
fn refused(fault: &str, requests: &[&str]) {
    for request in requests {
        assert_eq!(read(request).unwrap_err(), fault, "{request:?}");
    }
}

#[test]
fn what_two_servers_could_frame_differently_is_no_request() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: ",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked;",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: ",
        "Transfer-Encoding: \u{b}chunked",
        "transfer-encoding: \"chunked\"",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let fault = read(&request).unwrap_err();
        assert!(
            ["Framing", "Head"].contains(&&*fault),
            "{fields:?}: {fault}"
        );
    }
    refused(
        "Framing",
        &["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    );
}

#[test]
fn what_is_no_head_is_no_request() {
    refused(
        "Head",
        &[
            "hello\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET /a\tb HTTP/1.1\r\n\r\n",
            "GET /a\0 HTTP/1.1\r\n\r\n",
            "GET /a#b HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/1.1\r\n: nameless\r\n\r\n",
            "GET / HTTP/1.1\r\nName : space\r\n\r\n",
            "GET / HTTP/1.1\r\nNa me: space\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\tfolded\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            "GET / HTTP/1.1\r\nA\0: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nN\u{e4}me: b\r\n\r\n",
        ],
    );
    let no_text = read_in(&[b"GET /\xff HTTP/1.1\r\n\r\n"]);
    assert_eq!(no_text.unwrap_err(), "Head");
    refused(
        "BareLineFeed",
        &[
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\nA: b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\n",
        ],
    );
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(21));
    let large = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(LIMITS.bytes));
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(LIMITS.bytes));
    refused("HeadTooLarge", &[&many, &large, &endless]);
    let most = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(20));
    assert_eq!(read(&most).unwrap().fields.len(), 20);
}

#[test]
fn a_request_that_breaks_off_has_no_end() {
    let requests = [
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ];
    for request in requests {
        for length in 0..request.len() {
            let cut = request.get(..length).unwrap();
            assert_eq!(read(cut).unwrap_err(), "Closed", "{cut:?}");
        }
        assert_eq!(read(request).unwrap().body, "hello");
    }
}

#[test]
fn one_empty_line_may_stand_before_a_request_and_what_follows_is_the_next_ones() {
    let read = read("\r\nPOST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /b").unwrap();
    assert_eq!(
        (&*read.line, &*read.body, read.rest),
        ("POST /a HTTP/1.1", "hi", 6)
    );
}

#[test]
fn names_and_values_stay_as_they_came_but_for_the_space_around_values() {
    let read = read("GET / HTTP/1.1\r\nX-MiXed_name:  a \t b\t\r\nEmpty:\r\n\r\n").unwrap();
    assert_eq!(read.fields, ["X-MiXed_name: a \t b", "Empty: "]);
}

#[test]
fn a_connection_is_kept_as_the_version_and_the_client_say() {
    for (head, kept) in [
        ("GET / HTTP/1.1\r\n", true),
        ("GET / HTTP/1.1\r\nConnection: Close\r\n", false),
        (
            "GET / HTTP/1.1\r\nConnection: x\r\nConnection: y, close\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false),
    ] {
        let read = read(&format!("{head}\r\n")).unwrap();
        assert_eq!(read.persists, kept, "{head:?}");
    }
}

#[test]
fn a_go_ahead_is_for_bodies_and_for_http_1_1() {
    for (head, expects) in [
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\nx",
            true,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
            false,
        ),
        (
            "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
            false,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 101-more\r\n\r\nx",
            false,
        ),
    ] {
        assert_eq!(read(head).unwrap().expects, expects, "{head:?}");
    }
}

#[test]
fn trailers_pass_but_for_what_may_not_stand_there() {
    let request = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\n\
        Content-Digest: 1\r\nConnection: X-Listed\r\nX-Listed: 1\r\nContent-Length: 9\r\nHost: a\r\n\r\n";
    let read = read(request).unwrap();
    assert_eq!(read.trailers, ["content-digest: 1"]);
}

/// Requests of all kinds, most of them almost right.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "GET http://a/ HTTP/1.0\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "A: b\r\n",
        "\r\n",
        "\n",
        "\r",
        "5\r\nhello\r\n",
        "a;x\r\n0123456789\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "hello",
        ": ",
        "\0",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn it_makes_no_difference_in_which_pieces_a_request_comes(
        request in prop_oneof![requests(), prop::collection::vec(any::<u8>(), 0..64)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(request.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = Bytes::copy_from_slice(&request);
        for cut in cuts {
            let at = cut.saturating_sub(request.len() - rest.len());
            pieces.push(rest.split_to(at));
        }
        pieces.push(rest);
        let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        prop_assert_eq!(read_in(&pieces), read_in(&[&request]));
    }
}
