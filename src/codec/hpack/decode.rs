//! From a header block to fields. They are written into one buffer, as the lines that HTTP/1 has,
//! with the places where each stands.

use std::ops::Range;

use crate::codec::hpack::kind::Kind;
use crate::codec::hpack::table::{Known, STATIC, Table};
use crate::codec::hpack::{
    HpackFault, LINE_BYTES, LINE_END, SEPARATOR, TABLE_BYTES, huffman, integer,
};
use crate::domain::fields::{Places, TooLarge};

/// What the fields of a block may take.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    /// As lines, in bytes.
    pub bytes: usize,
    /// In number.
    pub fields: usize,
}

/// The fields of a block.
#[derive(Debug, Default)]
pub struct Block {
    /// Their lines.
    pub lines: Vec<u8>,
    /// Where each stands there.
    pub fields: Vec<Field>,
    /// Whether some were left out, because there are more than allowed.
    pub is_too_large: bool,
}

/// Where a field stands in the lines of its block.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    from: usize,
    name: usize,
    value: usize,
    /// What it is.
    pub kind: Kind,
}

impl Field {
    /// Its name, in the lines of its block.
    pub fn name<'a>(&self, lines: &'a [u8]) -> &'a [u8] {
        lines
            .get(self.from..self.from + self.name)
            .unwrap_or_default()
    }

    /// Its value, in the lines of its block.
    pub fn value<'a>(&self, lines: &'a [u8]) -> &'a [u8] {
        lines.get(self.value_range()).unwrap_or_default()
    }

    /// Notes where it stands in the lines of its block.
    pub fn note(&self, lines: &[u8], places: &mut Places) -> Result<(), TooLarge> {
        let value = self.value_range();
        let end = value.end + LINE_END.len();
        places.add((self.name(lines), self.from), value, end)
    }

    fn value_range(&self) -> Range<usize> {
        let from = self.from + self.name + SEPARATOR.len();
        from..from + self.value
    }
}

impl Block {
    /// Makes it ready for the next one. The memory of the lines may have been taken.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.fields.clear();
        self.is_too_large = false;
    }

    /// Adds a field with the value of one that is there.
    pub fn add_copy(&mut self, name: &[u8], of: Field) {
        let from = self.lines.len();
        self.lines.extend_from_slice(name);
        self.lines.extend_from_slice(SEPARATOR);
        let value = of.value_range();
        let value = if self.lines.get(value.clone()).is_some() {
            self.lines.extend_from_within(value.clone());
            value.len()
        } else {
            0
        };
        self.lines.extend_from_slice(LINE_END);
        self.fields.push(Field {
            from,
            name: name.len(),
            value,
            kind: of.kind,
        });
    }

    fn add_known(&mut self, known: Known<'_>) {
        self.fields.push(Field {
            from: self.lines.len(),
            name: known.name,
            value: known.value,
            kind: known.kind,
        });
        self.lines.extend_from_slice(known.line);
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let from = self.lines.len();
        for part in [name, SEPARATOR, value, LINE_END] {
            self.lines.extend_from_slice(part);
        }
        self.fields.push(Field {
            from,
            name: name.len(),
            value: value.len(),
            kind: Kind::of(name, value),
        });
    }

    /// Leaves the last field out if it is too much.
    fn bound(&mut self, limits: BlockLimits) {
        let too_many = self.fields.len() > limits.fields || self.lines.len() > limits.bytes;
        if too_many && let Some(last) = self.fields.pop() {
            self.lines.truncate(last.from);
            self.is_too_large = true;
        }
    }
}

/// How much more than is kept of a block may be written for it.
const MOST_WRITTEN: usize = 8;

/// Reads the header blocks of one connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: Table::new(TABLE_BYTES),
        }
    }
}

impl Decoder {
    /// Reads a whole block. Of more fields than allowed the rest is left out; all are read, as later
    /// blocks refer to them.
    pub fn decode(
        &mut self,
        mut input: &[u8],
        block: &mut Block,
        limits: BlockLimits,
    ) -> Result<(), HpackFault> {
        let (mut begun, mut written) = (false, 0_usize);
        while let Some((&first, rest)) = input.split_first() {
            input = rest;
            let before = block.lines.len();
            match first {
                0x80.. => {
                    let index = integer::take(&mut input, first, 7)?;
                    self.add_indexed(index, block, limits)?;
                }
                0x40.. => {
                    let said = self.take_literal(&mut input, (first, 6), block)?;
                    self.remember_last(block, said);
                }
                0x20.. => {
                    let size = integer::take(&mut input, first, 5)?;
                    self.resize(size, begun)?;
                    continue;
                }
                _ => {
                    self.take_literal(&mut input, (first, 4), block)?;
                }
            }
            begun = true;
            // A few bytes can stand for a whole table, also when it is left out again.
            written += block.lines.len().saturating_sub(before);
            if written > limits.bytes.saturating_mul(MOST_WRITTEN) {
                return Err(HpackFault::TooMuch);
            }
            block.bound(limits);
        }
        Ok(())
    }

    /// RFC 7541 §4.2: at the begin of a block, and no larger than was allowed.
    fn resize(&mut self, size: usize, begun: bool) -> Result<(), HpackFault> {
        if begun || size > TABLE_BYTES {
            return Err(HpackFault::Resize);
        }
        self.table.resize(size);
        Ok(())
    }

    fn add_indexed(
        &self,
        index: usize,
        block: &mut Block,
        limits: BlockLimits,
    ) -> Result<(), HpackFault> {
        let index = index.checked_sub(1).ok_or(HpackFault::Index)?;
        if let Some((name, value)) = STATIC.get(index) {
            block.add(name.as_bytes(), value.as_bytes());
            return Ok(());
        }
        let known = self.table.get(index - STATIC.len());
        let known = known.ok_or(HpackFault::Index)?;
        // Not written only to be left out again: a byte could cost a whole table each time.
        let is_full = block.fields.len() >= limits.fields;
        if is_full || block.lines.len() + known.line.len() > limits.bytes {
            block.is_too_large = true;
        } else {
            block.add_known(known);
        }
        Ok(())
    }

    /// Takes a field that is written out, but perhaps for its name. Gives the bytes that name and
    /// value were said in. White space around a value is wrong (RFC 9113 §8.2.1), and everybody
    /// behind the gate would take it away; so it is taken away here.
    fn take_literal(
        &self,
        input: &mut &[u8],
        (first, bits): (u8, u32),
        block: &mut Block,
    ) -> Result<usize, HpackFault> {
        let from = block.lines.len();
        match integer::take(input, first, bits)?.checked_sub(1) {
            None => take_string(input, &mut block.lines)?,
            Some(index) => self.write_name(index, &mut block.lines)?,
        }
        let name = block.lines.len() - from;
        block.lines.extend_from_slice(SEPARATOR);
        let value_from = block.lines.len();
        take_string(input, &mut block.lines)?;
        let said = name + block.lines.len() - value_from;
        let field = Field {
            from,
            name,
            value: trim(&mut block.lines, value_from),
            kind: Kind::Plain,
        };
        block.lines.extend_from_slice(LINE_END);
        let kind = Kind::of(field.name(&block.lines), field.value(&block.lines));
        block.fields.push(Field { kind, ..field });
        Ok(said)
    }

    fn write_name(&self, index: usize, lines: &mut Vec<u8>) -> Result<(), HpackFault> {
        if let Some((name, _)) = STATIC.get(index) {
            lines.extend_from_slice(name.as_bytes());
            return Ok(());
        }
        let known = self
            .table
            .get(index - STATIC.len())
            .ok_or(HpackFault::Index)?;
        lines.extend_from_slice(known.line.get(..known.name).unwrap_or_default());
        Ok(())
    }

    fn remember_last(&mut self, block: &Block, said: usize) {
        let Some(last) = block.fields.last() else {
            return;
        };
        let length = last.name + last.value + LINE_BYTES;
        let line = block.lines.get(last.from..last.from + length);
        let known = Known {
            line: line.unwrap_or_default(),
            name: last.name,
            value: last.value,
            kind: last.kind,
        };
        self.table.insert(known, said);
    }

    #[cfg(test)]
    pub(in crate::codec::hpack) fn table(&self) -> &Table {
        &self.table
    }
}

/// Takes a string (RFC 7541 §5.2).
fn take_string(input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HpackFault> {
    let (&first, rest) = input.split_first().ok_or(HpackFault::Truncated)?;
    *input = rest;
    let length = integer::take(input, first, 7)?;
    let (string, rest) = input
        .split_at_checked(length)
        .ok_or(HpackFault::Truncated)?;
    *input = rest;
    if first & 0x80 != 0 {
        return huffman::decode(string, out);
    }
    out.extend_from_slice(string);
    Ok(())
}

/// Takes the white space around the last value away, which begins there. Gives what is left of it.
fn trim(lines: &mut Vec<u8>, from: usize) -> usize {
    let value = lines.get(from..).unwrap_or_default();
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let before = value.iter().take_while(blank).count();
    let after = value.iter().rev().take_while(blank).count();
    if before + after == 0 {
        return value.len();
    }
    let length = value.len().saturating_sub(before + after);
    lines.truncate(from + before + length);
    lines.drain(from..from + before);
    length
}
