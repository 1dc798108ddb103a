//! The single steps by which servers make one path of another. Each does one thing, and knows nothing
//! of the others: `readings` puts them together.

/// What changes a path, and the bytes without one of which it changes nothing. Zero stands for every byte
/// outside ASCII.
pub(in crate::domain::readings) struct Step {
    needs: &'static [u8],
    pub(in crate::domain::readings) take: fn(&[u8]) -> Vec<u8>,
}

/// Every step that needs no decoding.
pub(in crate::domain::readings) const STEPS: &[Step] = &[
    Step::of(b".", remove_dot_segments),
    Step::of(b"/", merge_slashes),
    Step::of(b"/", skip_authority),
    Step::of(b";", drop_parameters),
    Step::of(b";", cut_at_parameters),
    Step::of(b"\\", backslash_as_slash),
    Step::of(b"?#", cut_at_query),
    Step::of(b". ", trim_segments),
    Step::of(b"$", cut_streams),
    Step::of(b"\0", shorten_overlong),
    Step::of(b"\0", fold_letters),
    Step::of(b"\0", fold_marks),
];

/// Every way of percent-decoding.
pub(in crate::domain::readings) const DECODINGS: &[Step] = &[
    Step::of(b"%", decode),
    Step::of(b"%", decode_within_segments),
    Step::of(b"%", decode_but_slashes),
    Step::of(b"%", decode_wide),
];

/// Which bytes a path has.
pub(in crate::domain::readings) struct Bytes([bool; 128]);

impl Bytes {
    pub(in crate::domain::readings) fn of(path: &[u8]) -> Self {
        let mut has = [false; 128];
        for &byte in path {
            let place = if byte.is_ascii() { byte } else { 0 };
            if let Some(has) = has.get_mut(usize::from(place)) {
                *has = true;
            }
        }
        Self(has)
    }

    fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

impl Step {
    const fn of(needs: &'static [u8], take: fn(&[u8]) -> Vec<u8>) -> Self {
        Self { needs, take }
    }

    /// Whether it may change a path that has these bytes.
    pub(in crate::domain::readings) fn may_change(&self, bytes: &Bytes) -> bool {
        self.needs.iter().any(|&byte| bytes.has(byte))
    }
}

/// Whether no step changes the path: it has nothing that one of them looks for.
pub(in crate::domain::readings) fn is_plain(path: &[u8]) -> bool {
    let mut before = b' ';
    let plain = |&byte: &u8| {
        let special = matches!(byte, b'%' | b'\\' | b';' | b'#' | b'?');
        // `//`, `/.`, a segment that ends in a dot, and a stream of NTFS.
        let segment = match byte {
            b'/' => matches!(before, b'/' | b'.'),
            b'.' => before == b'/',
            b'$' => before == b':',
            _ => false,
        };
        before = byte;
        byte.is_ascii() && !byte.is_ascii_control() && byte != b' ' && !special && !segment
    };
    path.starts_with(b"/") && path.iter().all(plain) && before != b'.'
}

fn decode(path: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(path).collect()
}

/// Decodes all but slashes, which then stay part of their segment: routers do so that match segment
/// by segment.
fn decode_within_segments(path: &[u8]) -> Vec<u8> {
    decode_but(path, b"/\\")
}

/// The same of a server to which a backslash is a character like others.
fn decode_but_slashes(path: &[u8]) -> Vec<u8> {
    decode_but(path, b"/")
}

fn decode_but(path: &[u8], kept: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        match escape(rest) {
            Some((byte, behind)) if !kept.contains(&byte) => {
                out.push(byte);
                rest = behind;
            }
            Some((_, behind)) => {
                out.extend(rest.get(..3).unwrap_or_default());
                rest = behind;
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

/// What the escape stands for that these bytes begin with, and what follows it.
fn escape(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, behind) = bytes.strip_prefix(b"%")?.split_at_checked(2)?;
    Some((u8::try_from(hex(digits)?).ok()?, behind))
}

/// Decodes `%u0061` as well, the way of old JavaScript, which IIS takes.
fn decode_wide(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        let wide = match after {
            [b'u' | b'U', digits @ ..] if first == b'%' => digits.get(..4).and_then(hex),
            _ => None,
        };
        if let Some(unit) = wide {
            // Half of a pair stands for nothing by itself.
            let letter = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after.get(5..).unwrap_or_default();
        } else {
            out.push(first);
            rest = after;
        }
    }
    decode(&out)
}

/// A number in hexadecimal digits, and nothing but these.
fn hex(digits: &[u8]) -> Option<u32> {
    let digit = |&digit: &u8| char::from(digit).to_digit(16);
    digits
        .iter()
        .try_fold(0, |number, byte| Some(number * 16 + digit(byte)?))
}

/// RFC 3986 §5.2.4, except that a path which climbs above the root stays at the root.
fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_in_dots = false;
    for segment in segments(path) {
        ends_in_dots = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if ends_in_dots || out.is_empty() {
        out.push(b'/');
    }
    out
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
    out
}

/// What follows two slashes is a host to whoever resolves the target as a reference (RFC 3986 §4.2):
/// `new URL(request.url, base)`, `parse_url`, `urlsplit`, `new URI`.
fn skip_authority(path: &[u8]) -> Vec<u8> {
    let Some(mut rest) = path.strip_prefix(b"//") else {
        return path.to_vec();
    };
    // Browsers, and what reads like them, pass over further slashes.
    while let [b'/', further @ ..] = rest {
        rest = further;
    }
    let host = rest.iter().position(|&byte| byte == b'/');
    host.and_then(|end| rest.get(end..))
        .unwrap_or(b"/")
        .to_vec()
}

/// Drops `;name=value` from every segment, as servlet containers do.
fn drop_parameters(path: &[u8]) -> Vec<u8> {
    let mut inside = false;
    let keep = |&byte: &u8| {
        inside = match byte {
            b'/' => false,
            b';' => true,
            _ => inside,
        };
        !inside
    };
    path.iter().copied().filter(keep).collect()
}

/// Drops all that follows the first `;`, as old ones did.
fn cut_at_parameters(path: &[u8]) -> Vec<u8> {
    cut_at(path, |byte| byte == b';')
}

fn backslash_as_slash(path: &[u8]) -> Vec<u8> {
    let slash = |&byte: &u8| if byte == b'\\' { b'/' } else { byte };
    path.iter().map(slash).collect()
}

/// A question mark or hash in a path was encoded; a server that parses again ends the path there.
fn cut_at_query(path: &[u8]) -> Vec<u8> {
    cut_at(path, |byte| matches!(byte, b'?' | b'#'))
}

fn cut_at(path: &[u8], ends: impl Fn(u8) -> bool) -> Vec<u8> {
    path.iter()
        .copied()
        .take_while(|&byte| !ends(byte))
        .collect()
}

/// Windows passes over dots and spaces at the end of a name; some routers trim the segments.
fn trim_segments(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| match trim(segment, b" ") {
        dots @ (b"." | b"..") => dots,
        name => trim_end(name, b" ."),
    })
}

/// `name::$DATA`, `name:$I30:$INDEX_ALLOCATION`: to NTFS another name for `name`.
fn cut_streams(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| {
        let is_stream = segment.windows(2).any(|pair| pair == b":$");
        let end = segment.iter().position(|&byte| byte == b':');
        let name = end.filter(|_| is_stream).and_then(|end| segment.get(..end));
        name.unwrap_or(segment)
    })
}

/// UTF-8 that takes more bytes for a character than it needs. No decoder may take it (RFC 3629 §3);
/// old ones did.
fn shorten_overlong(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        if let Some((letter, behind)) = overlong(rest) {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            rest = behind;
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

/// The character that these bytes begin with, if they are too many for it; and what follows.
fn overlong(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (lead, length) = match bytes {
        [lead @ 0xc0..=0xc1, ..] => (lead & 0x1f, 2),
        [0xe0, 0x80..=0x9f, ..] => (0, 3),
        [0xf0, 0x80..=0x8f, ..] => (0, 4),
        _ => return None,
    };
    let (sequence, behind) = bytes.split_at_checked(length)?;
    let more = sequence.get(1..)?;
    if more.iter().any(|byte| byte & 0xc0 != 0x80) {
        return None;
    }
    let join = |code, byte: &u8| code << 6 | u32::from(byte & 0x3f);
    let code = more.iter().fold(u32::from(lead), join);
    Some((char::from_u32(code)?, behind))
}

/// Letters and digits outside ASCII that become ASCII ones: by the rules of letter case (`K`, the sign
/// of Kelvin, is a small `k`, and `ſ` a large `S`), or as their wide forms. Case within ASCII is left to
/// the comparison.
fn fold_letters(path: &[u8]) -> Vec<u8> {
    each_letter(path, |letter, out| {
        let narrow = narrow(letter).filter(char::is_ascii_alphanumeric);
        if let Some(narrow) = narrow {
            out.push(narrow.to_ascii_lowercase());
            return;
        }
        if letter.to_uppercase().all(|large| large.is_ascii()) {
            out.extend(
                letter
                    .to_uppercase()
                    .map(|large| large.to_ascii_lowercase()),
            );
        } else {
            // The dot that `İ` leaves behind is one to nobody who compares letters.
            out.extend(letter.to_lowercase().filter(|&letter| letter != '\u{307}'));
        }
    })
}

/// The same of marks, some of which part a path: wide forms, what "best fit" makes of look-alikes, and
/// spaces, which are trimmed like others.
fn fold_marks(path: &[u8]) -> Vec<u8> {
    each_letter(path, |letter, out| {
        out.push(match letter {
            '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
            '\u{2216}' | '\u{29f5}' | '\u{fe68}' => '\\',
            '\u{2024}' | '\u{fe52}' => '.',
            '\u{37e}' | '\u{fe54}' => ';',
            '\u{fe56}' => '?',
            '\u{fe5f}' => '#',
            '\u{fe6a}' => '%',
            space if space.is_whitespace() || space == '\u{feff}' => ' ',
            other => {
                let mark = narrow(other).filter(char::is_ascii_punctuation);
                mark.unwrap_or(other)
            }
        });
    })
}

/// The ASCII character of which this is the wide form.
fn narrow(letter: char) -> Option<char> {
    let wide = ('\u{ff01}'..='\u{ff5e}').contains(&letter);
    char::from_u32(u32::from(letter).wrapping_sub(0xfee0)).filter(|_| wide)
}

/// Changes the characters outside ASCII. What is no UTF-8 stays as it is.
fn each_letter(path: &[u8], change: impl Fn(char, &mut String)) -> Vec<u8> {
    if path.is_ascii() {
        return path.to_vec();
    }
    let mut out = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let mut text = String::with_capacity(chunk.valid().len());
        for letter in chunk.valid().chars() {
            if letter.is_ascii() {
                text.push(letter);
            } else {
                change(letter, &mut text);
            }
        }
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// What is between the slashes, beginning after the first.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').skip(1)
}

fn each_segment(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for segment in segments(path) {
        out.push(b'/');
        out.extend_from_slice(change(segment));
    }
    out
}

fn trim<'a>(text: &'a [u8], what: &[u8]) -> &'a [u8] {
    let begin = text.iter().position(|byte| !what.contains(byte));
    let text = begin
        .and_then(|begin| text.get(begin..))
        .unwrap_or_default();
    trim_end(text, what)
}

fn trim_end<'a>(text: &'a [u8], what: &[u8]) -> &'a [u8] {
    let end = text.iter().rposition(|byte| !what.contains(byte));
    end.and_then(|end| text.get(..=end)).unwrap_or_default()
}
