//! From fields to a header block. Only the fixed table is used: nothing has to be kept for a
//! connection, and no secret is put where a later guess could be compared with it (RFC 7541 §7.1).

use crate::codec::hpack::integer;
use crate::codec::hpack::table::STATIC;

/// A field that nobody on the way may put into a table, by name alone or with its name written out.
const NEVER_INDEXED: u8 = 0x10;

/// A field that is put into no table here.
const NOT_INDEXED: u8 = 0;

/// "There is no table" (RFC 7541 §6.3).
const NO_TABLE: u8 = 0x20;

/// Writes the header blocks of one connection, in their order.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Whether it is still to be said that there is no table.
    is_to_say: bool,
    /// Whether that was said.
    is_said: bool,
}

impl Encoder {
    /// The other side allows a table of this size from here on. Below the size that it began with,
    /// that has to be answered in the next block (RFC 7541 §4.2).
    pub fn allow_table(&mut self, bytes: u32) {
        let smaller = usize::try_from(bytes).is_ok_and(|bytes| bytes < super::TABLE_BYTES);
        self.is_to_say = !self.is_said && (self.is_to_say || smaller);
    }

    /// Begins a block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_to_say) {
            self.is_said = true;
            out.push(NO_TABLE);
        }
    }
}

/// Writes `:status`.
pub fn write_status(out: &mut Vec<u8>, status: http::StatusCode) {
    let known: u8 = match status.as_u16() {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            integer::write(out, NOT_INDEXED, 4, 8);
            write_string(out, status.as_str().as_bytes());
            return;
        }
    };
    out.push(0x80 | known);
}

/// Writes a field, its name in lower case.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 10);
    match static_name(name) {
        Some(SET_COOKIE) => integer::write(out, NEVER_INDEXED, 4, SET_COOKIE),
        Some(index) => integer::write(out, NOT_INDEXED, 4, index),
        None => {
            out.push(NOT_INDEXED);
            write_string(out, name);
            let from = out.len() - name.len();
            if let Some(written) = out.get_mut(from..) {
                written.make_ascii_lowercase();
            }
        }
    }
    write_string(out, value);
}

fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    integer::write(out, 0, 7, string.len());
    out.extend_from_slice(string);
}

const SET_COOKIE: usize = 55;

/// The numbers of names in the fixed table that answers have, by their length: few names have to be
/// compared with each.
fn static_name(name: &[u8]) -> Option<usize> {
    let same_length: &[usize] = match name.len() {
        3 => &[21, 60],
        4 => &[33, 34, 45, 59],
        5 => &[22],
        6 => &[54],
        7 => &[36, 52],
        8 => &[46],
        10 => &[SET_COOKIE],
        11 => &[53],
        12 => &[31],
        13 => &[24, 18, 44, 30],
        14 => &[28],
        16 => &[26, 27, 29, 61],
        19 => &[25],
        25 => &[56],
        27 => &[20],
        _ => &[],
    };
    let is_called = |index: usize| {
        let known = index.checked_sub(1).and_then(|at| STATIC.get(at));
        known.is_some_and(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
    };
    same_length.iter().copied().find(|&index| is_called(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_answers_are_found_in_any_case_and_no_others() {
        for (index, (name, value)) in (1..).zip(STATIC) {
            let Some(found) = static_name(name.as_bytes()) else {
                continue;
            };
            assert_eq!((found, value), (index, ""), "{name}");
            let loud = name.to_ascii_uppercase();
            assert_eq!(static_name(loud.as_bytes()), Some(index));
        }
        for name in [
            "date",
            "content-type",
            "content-length",
            "server",
            "etag",
            "set-cookie",
        ] {
            assert!(static_name(name.as_bytes()).is_some(), "{name}");
        }
        assert_eq!(static_name(b"x-request-id"), None);
    }

    #[test]
    fn that_there_is_no_table_is_said_once_and_only_when_it_was_taken_away() {
        let mut encoder = Encoder::default();
        let mut begun = |sizes: &[u32]| {
            for size in sizes {
                encoder.allow_table(*size);
            }
            let mut out = Vec::new();
            encoder.begin(&mut out);
            out
        };
        assert_eq!(begun(&[]), b"");
        assert_eq!(begun(&[4096, 65_536]), b"");
        assert_eq!(begun(&[0, 4096]), [0x20]);
        assert_eq!(begun(&[]), b"");
        assert_eq!(begun(&[100]), b"");
    }
}
