//! Whatever a client sends, reading it neither panics nor depends on the pieces in which it comes, and
//! what is passed on of a head can be read again as the same fields.
//!
//! Input: two bytes, little endian, that say where it is cut in two; then the request.

use bytes::BytesMut;
use wxgate::codec::{Fault, Piece};
use wxgate::server::http1::head::{HeadLimits, Received};

const LIMITS: HeadLimits = HeadLimits {
    bytes: 16 * 1024,
    fields: 100,
};

/// What came of reading: method, target, the field lines as they are passed on, the body, and the
/// bytes that were left over; or the fault.
type Outcome = Result<(String, String, Vec<u8>, Vec<u8>, usize), std::mem::Discriminant<Fault>>;

fn read(pieces: &[&[u8]]) -> Outcome {
    let kind = |fault: Fault| std::mem::discriminant(&fault);
    let (mut buffer, mut searched) = (BytesMut::new(), 0);
    let mut pieces = pieces.iter();
    let mut received = loop {
        match Received::take(&mut buffer, &mut searched, LIMITS).map_err(kind)? {
            Some(received) => break received,
            None => buffer.extend_from_slice(pieces.next().ok_or_else(|| kind(Fault::Closed))?),
        }
    };
    let mut body = Vec::new();
    loop {
        match received.body.take(&mut buffer).map_err(kind)? {
            Piece::End => break,
            Piece::Starved => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => received.body.closed().map_err(kind)?,
            },
            Piece::Frame(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    }
    let rest = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    let head = received.head;
    let mut lines = Vec::new();
    head.fields.write(&mut lines, |_| false);
    Ok((
        head.method.to_string(),
        head.uri.to_string(),
        lines,
        body,
        rest,
    ))
}

pub(crate) fn check(input: &[u8]) {
    let (cut, request) = input.split_first_chunk().unwrap_or((&[0; 2], &[]));
    let cut = usize::from(u16::from_le_bytes(*cut));
    let (first, second) = request.split_at(cut.min(request.len()));
    let whole = read(&[request]);
    assert_eq!(read(&[first, second]), whole);
    let Ok((_, _, lines, _, _)) = whole else {
        return;
    };
    let again = [b"GET / HTTP/1.1\r\n", &*lines, b"\r\n"].concat();
    let taken = Received::take(&mut BytesMut::from(&*again), &mut 0, LIMITS);
    let passed = taken
        .expect("lines that were read are lines")
        .expect("they are whole");
    let mut written = Vec::new();
    passed.head.fields.write(&mut written, |_| false);
    assert_eq!(written, lines);
}
