//! The most lenient server: it takes everything for a request that some server has been seen to take for
//! one. Lines end in LF or CR, go on in the next, have spaces around names; names are folded; of several
//! lengths the last counts, however it is written, and whatever mentions chunks is in chunks.

use super::{Read, folded};

/// Reads all that can be taken for requests.
pub(super) fn read(mut bytes: &[u8]) -> Vec<Read> {
    let mut all = Vec::new();
    while let Some(read) = request(&mut bytes) {
        all.push(read);
    }
    all
}

fn request(bytes: &mut &[u8]) -> Option<Read> {
    // Empty lines before a request are skipped.
    let first = loop {
        match line(bytes)? {
            line if line.trim_ascii().is_empty() => {}
            line => break line,
        }
    };
    // The target is what stands between the first word and the last.
    let space = |byte: &u8| byte.is_ascii_whitespace();
    let first = first.trim_ascii();
    let (begin, end) = (
        first.iter().position(space)?,
        first.iter().rposition(space)?,
    );
    let target = first.get(begin..end).unwrap_or_default().trim_ascii();
    let mut read = Read {
        method: String::from_utf8_lossy(&first[..begin]).into_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        fields: fields(bytes),
        ..Read::default()
    };
    let mut named = read.fields.iter().rev();
    let chunked = read.fields.iter().any(|(name, value)| {
        let value = value.to_ascii_lowercase();
        name == "transfer-encoding" && value.windows(5).any(|part| part == b"chunk")
    });
    if chunked {
        chunks(bytes, &mut read);
    } else if let Some((_, length)) = named.find(|(name, _)| name == "content-length") {
        read.body = take(bytes, number(length, 10));
    }
    Some(read)
}

/// A number by the digits that it begins with, after a sign and spaces.
fn number(text: &[u8], radix: u32) -> usize {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let text = text
        .strip_prefix(b"0x")
        .filter(|_| radix == 16)
        .unwrap_or(text);
    let digits = text
        .iter()
        .map_while(|&byte| char::from(byte).to_digit(radix));
    digits.fold(0, |number: usize, digit| {
        let digit = usize::try_from(digit).unwrap_or_default();
        number
            .saturating_mul(usize::try_from(radix).unwrap_or_default())
            .saturating_add(digit)
    })
}

fn chunks(bytes: &mut &[u8], read: &mut Read) {
    while let Some(size) = line(bytes) {
        match number(size, 16) {
            0 => break,
            size => read.body.extend(take(bytes, size)),
        }
        // Whatever stands there is taken for the end of the chunk.
        line(bytes);
    }
    read.trailers = fields(bytes).into_iter().map(|(name, _)| name).collect();
}

fn fields(bytes: &mut &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some(line) = line(bytes).filter(|line| !line.trim_ascii().is_empty()) {
        let goes_on = line.starts_with(b" ") || line.starts_with(b"\t");
        if let (true, Some((_, value))) = (goes_on, all.last_mut()) {
            value.push(b' ');
            value.extend_from_slice(line.trim_ascii());
            continue;
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        all.push((folded(line[..colon].trim_ascii()), value.to_vec()));
    }
    all
}

/// A line that ends in LF, CR LF or CR.
fn line<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *bytes;
    if all.is_empty() {
        return None;
    }
    let end = all
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))
        .unwrap_or(all.len());
    let (line, rest) = all.split_at(end);
    *bytes = match rest {
        [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
        [] => rest,
    };
    Some(line)
}

fn take(bytes: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    taken.to_vec()
}
