//! Promises about how answers are read: a corpus of good and malformed ones, and that it makes no
//! difference in which pieces they come.

use bytes::{Bytes, BytesMut};
use http::Method;
use proptest::prelude::*;

use super::head::{AnswerHead, MAX_HEAD_BYTES};
use crate::codec::{Fault, Piece};

/// An answer, read to its end.
#[derive(Debug, PartialEq)]
struct Read {
    status: u16,
    /// `name: value`, in order.
    headers: Vec<String>,
    body: String,
    trailers: Vec<String>,
    keep_alive: bool,
    /// Bytes that belong to something else.
    rest: usize,
}

/// Reads an answer that comes in these pieces, after which the connection closes. An error is its
/// text, or where the answer broke off.
fn read_in(pieces: &[&[u8]], asked: &Method) -> Result<Read, String> {
    let mut buffer = BytesMut::new();
    let mut pieces = pieces.iter();
    let say = |fault: Fault| format!("{fault:?}").split('(').next().unwrap().to_owned();
    let mut head = loop {
        match AnswerHead::take(&mut buffer, asked).map_err(say)? {
            Some(head) => break head,
            None => buffer.extend_from_slice(pieces.next().ok_or("Closed")?),
        }
    };
    let lines = |map: &http::HeaderMap| {
        map.iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let mut read = Read {
        status: head.status.as_u16(),
        headers: lines(&head.fields.to_map()),
        body: String::new(),
        trailers: Vec::new(),
        keep_alive: head.keep_alive,
        rest: 0,
    };
    loop {
        match head.body.take(&mut buffer).map_err(say)? {
            Piece::End => break,
            Piece::Starved => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => head.body.closed().map_err(say)?,
            },
            Piece::Frame(frame) => match frame.into_data() {
                Ok(data) => read.body.push_str(&String::from_utf8_lossy(&data)),
                Err(frame) => read.trailers = lines(&frame.into_trailers().unwrap()),
            },
        }
    }
    read.rest = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok(read)
}

fn read(answer: &str) -> Result<Read, String> {
    read_in(&[answer.as_bytes()], &Method::GET)
}

#[track_caller]
fn refused(fault: &str, answers: &[&str]) {
    for answer in answers {
        assert_eq!(read(answer).unwrap_err(), fault, "{answer:?}");
    }
}

#[test]
fn what_does_not_say_clearly_how_long_it_is_is_no_answer() {
    let framing =
        |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
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
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: ",
        "Transfer-Encoding: \u{b}chunked",
    ] {
        let read = read(&framing(fields)).unwrap_err();
        assert!(["Framing", "Head"].contains(&&*read), "{fields:?}: {read}");
    }
    refused(
        "Framing",
        &["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    );
}

#[test]
fn what_is_no_head_is_no_answer() {
    refused(
        "Head",
        &[
            "hello\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
            "HTTP/1.1 200 OK\r\nName : space\r\n\r\n",
            "HTTP/1.1 200 OK\r\nNa me: space\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ],
    );
    refused(
        "BareLineFeed",
        &[
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        ],
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(129));
    let large = format!(
        "HTTP/1.1 200 OK\r\nA: {}\r\n\r\n",
        "b".repeat(MAX_HEAD_BYTES)
    );
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(MAX_HEAD_BYTES));
    refused("HeadTooLarge", &[&many, &large, &endless]);
}

#[test]
fn a_malformed_chunk_is_no_body() {
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\ng\r\n\r\n",
    ] {
        assert_eq!(read(&chunked(body)).unwrap_err(), "Chunk", "{body:?}");
    }
    let endless = chunked(&format!("5;{}", "x".repeat(300)));
    refused("Chunk", &[&endless]);
    for trailers in ["no colon\r\n\r\n", " a: b\r\n\r\n", "a b: c\r\n\r\n"] {
        let answer = chunked(&format!("0\r\n{trailers}"));
        assert_eq!(read(&answer).unwrap_err(), "Trailers", "{trailers:?}");
    }
    let many = chunked(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(33)));
    let large = chunked(&format!("0\r\na: {}\r\n\r\n", "b".repeat(9000)));
    refused("Trailers", &[&many, &large]);
}

#[test]
fn an_answer_that_breaks_off_has_no_end() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
    ];
    for answer in answers {
        for length in 0..answer.len() {
            let cut = answer.get(..length).unwrap();
            assert_eq!(read(cut).unwrap_err(), "Closed", "{cut:?}");
        }
        assert_eq!(read(answer).unwrap().body, "hello");
    }
    // One without a length ends with its connection (RFC 9112 §6.3), and nothing comes after it.
    let endless = read("HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
    assert_eq!((&*endless.body, endless.keep_alive), ("hello", false));
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    let said = "Content-Length: 5\r\n\r\nnext!";
    for (status, asked, length) in [
        (200, Method::HEAD, true),
        (304, Method::GET, true),
        (204, Method::GET, false),
    ] {
        let answer = format!("HTTP/1.1 {status} OK\r\n{said}");
        let read = read_in(&[answer.as_bytes()], &asked).unwrap();
        assert_eq!((&*read.body, read.rest, read.keep_alive), ("", 5, true));
        let has_length = read.headers.contains(&"content-length: 5".to_owned());
        assert_eq!(has_length, length, "{status}");
    }
}

#[test]
fn what_belongs_to_the_connection_stays_there() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Authenticate: x\r\nUpgrade: h2c\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n";
    let mut read = read(answer).unwrap();
    read.headers.sort_unstable();
    assert_eq!(read.headers, ["content-length: 0", "x-end: 2"]);
    assert!(!read.keep_alive);
}

#[test]
fn a_connection_is_kept_as_the_version_and_the_app_server_say() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n",
            false,
        ),
    ] {
        let read = read(&format!("{head}Content-Length: 0\r\n\r\n")).unwrap();
        assert_eq!(read.keep_alive, kept, "{head:?}");
    }
}

#[test]
fn trailers_pass_but_for_what_may_not_stand_there() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\n\
        Grpc-Status: 0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\n\r\n";
    let read = read(answer).unwrap();
    assert_eq!(
        (&*read.body, read.trailers.as_slice()),
        ("hello", &["grpc-status: 0".to_owned()][..])
    );
}

/// Answers of all kinds, most of them almost right.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 204 No\r\n",
        "HTTP/1.1 100 Go\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
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
    fn it_makes_no_difference_in_which_pieces_an_answer_comes(
        answer in prop_oneof![answers(), prop::collection::vec(any::<u8>(), 0..64)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        head in any::<bool>(),
    ) {
        let asked = if head { Method::HEAD } else { Method::GET };
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = Bytes::copy_from_slice(&answer);
        for cut in cuts {
            let at = cut.saturating_sub(answer.len() - rest.len());
            pieces.push(rest.split_to(at));
        }
        pieces.push(rest);
        let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        prop_assert_eq!(read_in(&pieces, &asked), read_in(&[&answer], &asked));
    }
}
