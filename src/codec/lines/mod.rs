//! The lines of a head, in one pass: which byte may stand where (RFC 9112 §2 to §5), and where the
//! parts are. Pure. What two readers could take for different things is refused: a line ends in CR LF
//! and nothing else, there is no space around a name, and no line goes on in the next.
//!
//! A line counts once its end is there, so that what is found does not depend on the pieces in which it
//! came.

use std::ops::Range;

use memchr::memchr;

use crate::codec::fault::{Fault, Malformed};
use crate::domain::bytes::ByteSet;
use crate::domain::fields::Places;

/// The only byte above the space that text may not have (RFC 9110 §5.5); below it only tabs are text.
const DELETE: u8 = 0x7f;

/// What a token is made of (RFC 9110 §5.6.2).
static TOKEN: ByteSet = ByteSet::ALPHANUMERIC.with(b"!#$%&'*+-.^_`|~");

/// Why there is no line to be had.
#[derive(Debug)]
pub enum Stop {
    /// Its end has not come yet.
    Short,
    /// What came is no line, whatever follows.
    Fault(Fault),
}

/// Reads a head from its front.
#[derive(Debug)]
pub struct Lines<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

/// The first line of a request (RFC 9112 §3).
#[derive(Debug)]
pub struct RequestLine {
    /// Where the method is.
    pub method: Range<usize>,
    /// Where the target is.
    pub target: Range<usize>,
    /// Of HTTP/1: 0 or 1.
    pub minor: u8,
}

/// The first line of an answer (RFC 9112 §4).
#[derive(Debug)]
pub struct StatusLine {
    /// Three digits.
    pub status: Range<usize>,
    /// Of HTTP/1: 0 or 1.
    pub minor: u8,
}

impl<'a> Lines<'a> {
    /// Of these bytes, beginning with byte number `at`.
    pub fn of(bytes: &'a [u8], at: usize) -> Self {
        Self {
            all: bytes,
            rest: bytes.get(at..).unwrap_or_default(),
        }
    }

    /// How much has been read.
    #[inline]
    pub fn at(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    /// Reads the first line of a request.
    pub fn request_line(&mut self) -> Result<RequestLine, Stop> {
        self.line(|it| {
            let from = it.at();
            let method = it.token(b' ', Malformed::Method)?;
            let target_from = it.at();
            let target = it.target()?;
            let minor = it.version()?;
            it.line_end(Malformed::Version)?;
            Ok(RequestLine {
                method: from..from + method.len(),
                target: target_from..target_from + target.len(),
                minor,
            })
        })
    }

    /// Reads the first line of an answer. The reason is of no interest, but it has to be text.
    pub fn status_line(&mut self) -> Result<StatusLine, Stop> {
        self.line(|it| {
            let minor = it.version()?;
            it.byte(b' ', Malformed::Status)?;
            let from = it.at();
            let digits = it.rest.iter().take_while(|byte| byte.is_ascii_digit());
            it.skip(digits.count());
            let status = from..it.at();
            if it.rest.first() == Some(&b' ') {
                it.text();
            }
            it.line_end(Malformed::Status)?;
            Ok(StatusLine { status, minor })
        })
    }

    /// Reads fields up to the empty line behind them, `most` at the most.
    pub fn fields(&mut self, most: usize) -> Result<Places, Stop> {
        let mut places = Places::with_room();
        loop {
            if let [b'\r', b'\n', rest @ ..] = self.rest {
                self.rest = rest;
                return Ok(places);
            }
            self.line(|it| match places.len() {
                count if count < most => it.field(&mut places),
                _ => Err(Fault::HeadTooLarge),
            })?;
        }
    }

    /// Reads a line. A fault in one whose end is not there is none yet.
    #[inline]
    fn line<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Stop> {
        let line = self.rest;
        read(self).map_err(|fault| match memchr(b'\n', line) {
            Some(_end) => Stop::Fault(fault),
            None => Stop::Short,
        })
    }

    #[inline]
    fn field(&mut self, places: &mut Places) -> Result<(), Fault> {
        let name_at = self.at();
        let name = self.token(b':', Malformed::Name)?;
        self.skip(spaces(self.rest.iter()));
        let value_at = self.at();
        let value = self.text();
        self.line_end(Malformed::Value)?;
        let value = value_at..value_at + value.len() - spaces(value.iter().rev());
        places
            .add((name, name_at), value, self.at())
            .map_err(|_too_large| Fault::HeadTooLarge)
    }

    /// Takes so many bytes.
    #[inline]
    fn skip(&mut self, count: usize) -> &'a [u8] {
        let split = self.rest.split_at_checked(count);
        let (part, rest) = split.unwrap_or((self.rest, &[]));
        self.rest = rest;
        part
    }

    /// What is wrong with the next byte.
    #[cold]
    fn odd(&self, malformed: Malformed) -> Fault {
        match self.rest {
            [b'\n', ..] => Fault::BareLineFeed,
            _ => Fault::Head(malformed),
        }
    }

    /// Takes exactly this byte.
    #[inline]
    fn byte(&mut self, byte: u8, malformed: Malformed) -> Result<(), Fault> {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(self.odd(malformed)),
        }
    }

    /// Takes a token (RFC 9110 §5.6.2) with the byte that ends it.
    #[inline]
    fn token(&mut self, end: u8, malformed: Malformed) -> Result<&'a [u8], Fault> {
        let mut bytes = self.rest.iter();
        let length = bytes.position(|&byte| !TOKEN.has(byte));
        let token = self.skip(length.unwrap_or(self.rest.len()));
        if token.is_empty() {
            return Err(self.odd(malformed));
        }
        self.byte(end, malformed)?;
        Ok(token)
    }

    /// Takes a target with the space behind it. What it may be made of is for those who take it apart.
    fn target(&mut self) -> Result<&'a [u8], Fault> {
        let target = self.skip(run(self.rest, b'!'));
        if target.is_empty() {
            return Err(self.odd(Malformed::Target));
        }
        self.byte(b' ', Malformed::Target)?;
        Ok(target)
    }

    /// Takes HTTP/1.0 or HTTP/1.1.
    fn version(&mut self) -> Result<u8, Fault> {
        let (minor, rest) = match self.rest {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', rest @ ..] => (0, rest),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', rest @ ..] => (1, rest),
            _ => return Err(Fault::Head(Malformed::Version)),
        };
        self.rest = rest;
        Ok(minor)
    }

    /// Takes text, tabs among it, as far as it goes.
    #[inline]
    fn text(&mut self) -> &'a [u8] {
        let mut length = run(self.rest, b' ');
        while let Some([b'\t', more @ ..]) = self.rest.get(length..) {
            length += 1 + run(more, b' ');
        }
        self.skip(length)
    }

    /// Takes a line end.
    #[inline]
    fn line_end(&mut self, malformed: Malformed) -> Result<(), Fault> {
        match self.rest {
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            [b'\r', ..] => Err(Fault::Head(Malformed::LineEnd)),
            _ => Err(self.odd(malformed)),
        }
    }
}

/// How many spaces and tabs there are at the front.
#[inline]
fn spaces<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// How many bytes from the front are `least` or more and no DELETE. Looks at eight at a time.
#[inline]
fn run(bytes: &[u8], least: u8) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut length = 0;
    for eight in eights {
        let odd = odd_ones(u64::from_le_bytes(*eight), least);
        if odd != 0 {
            let before = odd.trailing_zeros() / 8;
            return length + usize::try_from(before).unwrap_or_default();
        }
        length += 8;
    }
    let rest = rest
        .iter()
        .take_while(|&&byte| byte >= least && byte != DELETE);
    length + rest.count()
}

/// Marks bytes below `least`, which is ASCII, and DELETE by their high bit. The lowest mark is right; marks
/// above it may not be, as subtracting from a marked byte borrows from the next.
#[inline]
fn odd_ones(word: u64, least: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = word.wrapping_sub(ONES * u64::from(least)) & !word;
    let deletes = word ^ (ONES * u64::from(DELETE));
    let deletes = deletes.wrapping_sub(ONES) & !deletes;
    (below | deletes) & HIGHS
}

#[cfg(test)]
mod tests;
