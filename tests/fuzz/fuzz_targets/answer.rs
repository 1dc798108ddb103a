//! Whatever an app server answers, reading it neither panics nor depends on the pieces in which it
//! comes. Run it with: cargo +nightly fuzz run --fuzz-dir tests/fuzz answer

#![no_main]

use bytes::BytesMut;
use http::Method;
use libfuzzer_sys::fuzz_target;
use wxgate::codec::{Fault, Piece};
use wxgate::upstream::http1::head::AnswerHead;

/// What came of reading: status, whether the connection goes on, the body, the number of trailers,
/// the bytes that were left over; or the fault.
type Outcome = Result<(u16, bool, Vec<u8>, usize, usize), std::mem::Discriminant<Fault>>;

fn read(pieces: &[&[u8]], asked: &Method) -> Outcome {
    let kind = |fault: Fault| std::mem::discriminant(&fault);
    let mut buffer = BytesMut::new();
    let mut pieces = pieces.iter();
    let mut head = loop {
        match AnswerHead::take(&mut buffer, asked).map_err(kind)? {
            Some(head) => break head,
            None => buffer.extend_from_slice(pieces.next().ok_or(kind(Fault::Closed))?),
        }
    };
    let (mut body, mut trailers) = (Vec::new(), 0);
    loop {
        match head.body.take(&mut buffer).map_err(kind)? {
            Piece::End => break,
            Piece::Starved => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => head.body.closed().map_err(kind)?,
            },
            Piece::Frame(frame) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers += frame.into_trailers().map_or(0, |fields| fields.len()),
            },
        }
    }
    let rest = buffer.len() + pieces.map(|piece| piece.len()).sum::<usize>();
    Ok((head.status.as_u16(), head.keep_alive, body, trailers, rest))
}

fuzz_target!(|input: (bool, u16, &[u8])| {
    let (head, cut, answer) = input;
    let asked = if head { Method::HEAD } else { Method::GET };
    let (first, second) = answer.split_at(usize::from(cut).min(answer.len()));
    assert_eq!(read(&[first, second], &asked), read(&[answer], &asked));
});
