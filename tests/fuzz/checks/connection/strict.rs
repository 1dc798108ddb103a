//! The strictest server: RFC 9112 to the letter, and nothing that it only permits.

use super::{Read, folded};

/// Reads all requests; says why, where there is something that is none.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Read>, &'static str> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(request(&mut bytes)?);
    }
    Ok(all)
}

fn request(bytes: &mut &[u8]) -> Result<Read, &'static str> {
    let first = line(bytes)?;
    let words: Vec<_> = first.split(|&byte| byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else {
        return Err("the request line has not three words");
    };
    if !is_token(method) {
        return Err("the method is no token");
    }
    // Some servers take bytes outside of ASCII; they are no matter of framing.
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#' || *byte >= 0x80;
    if !target.starts_with(b"/") || !target.iter().all(plain) {
        return Err("the target is no path");
    }
    let mut read = Read {
        method: String::from_utf8_lossy(method).into_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        fields: fields(bytes)?,
        ..Read::default()
    };
    let named = |wanted: &str| {
        let fields = read.fields.iter().filter(|(name, _)| name == wanted);
        fields.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    match (
        &named("content-length")[..],
        &named("transfer-encoding")[..],
    ) {
        ([], []) => {}
        ([length], []) => read.body = body(length, bytes)?,
        ([], [coding]) if coding == b"chunked" => chunks(bytes, &mut read)?,
        _ => return Err("it is framed in two ways"),
    }
    Ok(read)
}

fn body(length: &[u8], bytes: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    let plain = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok().filter(|_| plain);
    let length = length
        .and_then(|text| text.parse().ok())
        .ok_or("the length is no number")?;
    take(bytes, length)
}

fn chunks(bytes: &mut &[u8], read: &mut Read) -> Result<(), &'static str> {
    loop {
        let size = line(bytes)?;
        let digits = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(size).ok().filter(|_| digits);
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
        match size.ok_or("the size of a chunk is no number")? {
            0 => break,
            size => read.body.extend(take(bytes, size)?),
        }
        if !take(bytes, 2)?.starts_with(b"\r\n") {
            return Err("a chunk does not end where it says");
        }
    }
    let trailers = fields(bytes)?;
    read.trailers = trailers.into_iter().map(|(name, _)| name).collect();
    Ok(())
}

fn fields(bytes: &mut &[u8]) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut all = Vec::new();
    loop {
        let line = line(bytes)?;
        if line.is_empty() {
            return Ok(all);
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or("a field without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if !is_token(name) || !value.iter().all(text) {
            return Err("a field is malformed");
        }
        all.push((folded(name), value.to_vec()));
    }
}

/// A line that ends in CR LF, with neither in it.
fn line<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let end = bytes
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))
        .ok_or("no line end")?;
    let (line, rest) = bytes.split_at(end);
    *bytes = rest.strip_prefix(b"\r\n").ok_or("a bare line end")?;
    Ok(line)
}

fn take(bytes: &mut &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or("a body breaks off")?;
    *bytes = rest;
    Ok(taken.to_vec())
}

fn is_token(text: &[u8]) -> bool {
    let one = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(one)
}
