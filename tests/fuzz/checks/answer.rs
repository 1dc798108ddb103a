//! Whatever an app server answers, reading it neither panics nor depends on the pieces in which it
//! comes.
//!
//! Input: a byte that says whether HEAD was asked, two that say where it is cut in two, and the answer.

use bytes::BytesMut;
use http::Method;
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
            None => buffer.extend_from_slice(pieces.next().ok_or_else(|| kind(Fault::Closed))?),
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

pub(crate) fn check(input: &[u8]) {
    let Some(([head, cut @ ..], answer)) = input.split_first_chunk::<3>() else {
        return;
    };
    let asked = if head & 1 == 1 {
        Method::HEAD
    } else {
        Method::GET
    };
    let cut = usize::from(u16::from_le_bytes(*cut));
    let (first, second) = answer.split_at(cut.min(answer.len()));
    assert_eq!(read(&[first, second], &asked), read(&[answer], &asked));
}
