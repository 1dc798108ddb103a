//! Promises about the lines of heads, and another parser beside which the reader of them is held.

use http::Method;
use proptest::prelude::*;

use super::*;

/// What is in a head: its first line, its fields, and how long it is.
type Read = (Vec<String>, Vec<(String, String)>, usize);

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn shown(lines: &Lines<'_>, places: Places) -> (Vec<(String, String)>, usize) {
    let fields = places.of(lines.all.to_vec().into());
    let field = |it: crate::domain::fields::HeaderField<'_>| (text(it.name()), text(it.value()));
    (fields.iter().map(field).collect(), lines.at())
}

fn request(bytes: &[u8]) -> Result<Read, Stop> {
    let mut lines = Lines::of(bytes, 0);
    let line = lines.request_line()?;
    let parts = [line.method, line.target].map(|part| text(&bytes[part]));
    let places = lines.fields(MOST)?;
    let (fields, length) = shown(&lines, places);
    Ok((
        [&parts[..], &[line.minor.to_string()]].concat(),
        fields,
        length,
    ))
}

fn answer(bytes: &[u8]) -> Result<Read, Stop> {
    let mut lines = Lines::of(bytes, 0);
    let line = lines.status_line()?;
    let parts = vec![text(&bytes[line.status]), line.minor.to_string()];
    let places = lines.fields(MOST)?;
    let (fields, length) = shown(&lines, places);
    Ok((parts, fields, length))
}

const MOST: usize = 8;

fn outcome<T>(read: &Result<T, Stop>) -> String {
    match read {
        Ok(_) => "read".to_owned(),
        Err(stop) => format!("{stop:?}"),
    }
}

#[test]
fn a_fault_in_a_line_counts_when_its_end_has_come_and_not_before() {
    for (whole, expect) in [
        ("G(T / HTTP/1.1\r\n", "Fault(Head(Method))"),
        ("GET /\u{7f} HTTP/1.1\r\n", "Fault(Head(Target))"),
        ("GET / HTTP/1.2\r\n", "Fault(Head(Version))"),
        ("GET / HTTP/1.1 \r\n", "Fault(Head(Version))"),
        ("GET / HTTP/1.1\rX\n", "Fault(Head(LineEnd))"),
        ("GET / HTTP/1.1\n", "Fault(BareLineFeed)"),
        ("GET / HTTP/1.1\r\nA b\r\n", "Fault(Head(Name))"),
        ("GET / HTTP/1.1\r\nA: \0\r\n", "Fault(Head(Value))"),
        ("GET / HTTP/1.1\r\nA: b\n", "Fault(BareLineFeed)"),
    ] {
        assert_eq!(outcome(&request(whole.as_bytes())), expect, "{whole:?}");
        let cut = whole.strip_suffix('\n').unwrap();
        assert_eq!(outcome(&request(cut.as_bytes())), "Short", "{cut:?}");
    }
}

#[test]
fn one_field_more_than_allowed_is_one_too_many() {
    let head = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(outcome(&request(head(MOST).as_bytes())), "read");
    let more = request(head(MOST + 1).as_bytes());
    assert_eq!(outcome(&more), "Fault(HeadTooLarge)");
}

#[test]
fn every_byte_is_allowed_where_rfc_9110_allows_it_and_nowhere_else() {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != DELETE);
    for byte in u8::MIN..=u8::MAX {
        // In all places of an eight, and behind the last whole one.
        for at in 0..12 {
            let mut part = [b'a'; 12];
            part[at] = byte;
            let with = |before: &[u8], after: &[u8]| [before, &part, after].concat();
            let read = |head: &[u8]| outcome(&request(head)) == "read";
            let named = with(b"GET / HTTP/1.1\r\n", b": b\r\n\r\n");
            // A colon ends the name early, and then it is another name.
            assert_eq!(
                read(&named),
                token(byte) || (byte == b':' && at > 0),
                "{byte} {at}"
            );
            let valued = with(b"GET / HTTP/1.1\r\nA: ", b"\r\n\r\n");
            assert_eq!(read(&valued), value(byte), "{byte} {at}");
            let target = with(b"GET ", b" HTTP/1.1\r\n\r\n");
            assert_eq!(read(&target), value(byte) && byte > b' ', "{byte} {at}");
            let reason = with(b"HTTP/1.1 200 ", b"\r\n\r\n");
            let reason = outcome(&answer(&reason)) == "read";
            assert_eq!(reason, value(byte), "{byte} {at}");
        }
    }
}

/// Heads that are right or almost.
fn heads(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(first);
    let field = prop_oneof![
        "[A-Za-z0-9_.!~-]{1,20}:[ \t]{0,3}[ -~\t\u{80}-\u{ff}]{0,40}\r\n",
        "[ -~]{0,12}:?[ -~]{0,12}\r\n",
    ];
    let odd = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (first, prop::collection::vec(field, 0..6), odd).prop_map(|(first, fields, odd)| {
        let mut head = format!("{first}{}\r\n", fields.concat()).into_bytes();
        if let Some((at, byte)) = odd {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// What another parser has that is left to it here: lines that end in a bare LF, and empty ones before.
fn has_bare_line_feeds(head: &[u8]) -> bool {
    let ends = memchr::memchr_iter(b'\n', head);
    let mut bare = ends.filter(|&at| at == 0 || head[at - 1] != b'\r');
    bare.next().is_some() || head.starts_with(b"\r\n")
}

fn fields_of(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let field = |it: &httparse::Header<'_>| (it.name.to_owned(), text(it.value));
    headers.iter().map(field).collect()
}

fn by_another_parser(head: &[u8], is_request: bool) -> Option<Read> {
    let mut space = [httparse::EMPTY_HEADER; MOST];
    if is_request {
        let mut it = httparse::Request::new(&mut space);
        let httparse::Status::Complete(length) = it.parse(head).ok()? else {
            return None;
        };
        let (method, target) = (it.method?, it.path?);
        let line = vec![
            method.to_owned(),
            text(target.as_bytes()),
            it.version?.to_string(),
        ];
        return Some((line, fields_of(it.headers), length));
    }
    let mut it = httparse::Response::new(&mut space);
    let httparse::Status::Complete(length) = it.parse(head).ok()? else {
        return None;
    };
    let line = vec![format!("{:03}", it.code?), it.version?.to_string()];
    Some((line, fields_of(it.headers), length))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn another_parser_reads_the_same_requests(
        head in heads(&["GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.0\r\n", "X-Y http://a/ HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n"]),
    ) {
        prop_assume!(!has_bare_line_feeds(&head));
        // Bytes that are no text are left to whoever takes a target apart.
        let is_text = |it: &Read| it.0[1].is_ascii() || String::from_utf8(head.clone()).is_ok();
        let read = request(&head).ok().filter(is_text);
        prop_assert_eq!(read, by_another_parser(&head, true), "{}", text(&head));
    }

    #[test]
    fn another_parser_reads_the_same_answers(
        head in heads(&["HTTP/1.1 200 OK\r\n", "HTTP/1.0 404\r\n", "HTTP/1.1 200 \r\n", "HTTP/1.1 20 OK\r\n"]),
    ) {
        prop_assume!(!has_bare_line_feeds(&head));
        // More than three digits are left to whoever takes the status.
        let read = answer(&head).ok().filter(|(line, ..)| line[0].len() == 3);
        prop_assert_eq!(read, by_another_parser(&head, false), "{}", text(&head));
    }

    #[test]
    fn what_is_short_is_a_beginning_and_its_end_decides(
        head in heads(&["GET / HTTP/1.1\r\n", "GET / HTTP/1.2\r\n"]),
    ) {
        let whole = outcome(&request(&head));
        let mut decided = None;
        for length in 0..=head.len() {
            let outcome = outcome(&request(&head[..length]));
            if outcome != "Short" {
                decided.get_or_insert(outcome);
            }
        }
        prop_assert_eq!(decided.unwrap_or_else(|| "Short".to_owned()), whole);
    }
}

#[test]
fn a_method_that_is_read_is_one_for_everybody_else() {
    let (line, ..) = request(b"M-SEARCH * HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(
        Method::from_bytes(line[0].as_bytes()).unwrap().as_str(),
        "M-SEARCH"
    );
}
