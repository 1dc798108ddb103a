//! A picture as it is uploaded: by `wx.uploadFile`, which sends `multipart/form-data` (RFC 7578),
//! or as a bare body. Knows nothing of pictures beyond their type.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Response, StatusCode};

use crate::server::plain::{self, PlainBody};

/// Types that are given back as they were sent. Any other could be a page with a script in it.
const PICTURE_TYPES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

const UNKNOWN_TYPE: &str = "application/octet-stream";

/// An uploaded picture.
#[derive(Clone, Debug)]
pub(super) struct Avatar {
    content_type: &'static str,
    picture: Bytes,
}

impl Avatar {
    /// Nothing uploaded yet.
    pub(super) fn none() -> Self {
        Self {
            content_type: UNKNOWN_TYPE,
            picture: Bytes::new(),
        }
    }

    /// The picture in a request: its first file, or its whole body.
    pub(super) fn find(headers: &HeaderMap, body: &Bytes) -> Option<Self> {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or(UNKNOWN_TYPE);
        let (content_type, picture) = match boundary(content_type) {
            Some(boundary) => first_file(body, &boundary)?,
            None => (content_type.to_owned(), body.clone()),
        };
        let found = Self {
            content_type: picture_type(&content_type),
            picture,
        };
        (!found.picture.is_empty()).then_some(found)
    }

    /// Its size.
    pub(super) fn bytes(&self) -> usize {
        self.picture.len()
    }

    /// The picture as an answer.
    pub(super) fn answer(&self) -> Response<PlainBody> {
        let body = PlainBody::full(self.picture.clone());
        let mut response = plain::answer(StatusCode::OK, self.content_type, body);
        let nosniff = HeaderValue::from_static("nosniff");
        response
            .headers_mut()
            .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        response
    }
}

fn picture_type(content_type: &str) -> &'static str {
    PICTURE_TYPES
        .into_iter()
        .find(|known| essence(content_type).eq_ignore_ascii_case(known))
        .unwrap_or(UNKNOWN_TYPE)
}

/// A content type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type
        .split_once(';')
        .map_or(content_type, |(essence, _parameters)| essence)
        .trim()
}

/// What stands between the parts of a multipart body. `None` for any other body.
fn boundary(content_type: &str) -> Option<String> {
    if !essence(content_type).eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let parameters = content_type.split(';').skip(1);
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _value)| name.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_name, value)| value.trim().trim_matches('"').to_owned())
}

/// The first part that has a file name, with its type.
fn first_file(body: &Bytes, boundary: &str) -> Option<(String, Bytes)> {
    let opening = format!("--{boundary}\r\n");
    let closing = format!("\r\n--{boundary}");
    let mut rest: &[u8] = body;
    loop {
        let (_before, part) = split_once(rest, opening.as_bytes())?;
        let (head, part) = split_once(part, b"\r\n\r\n")?;
        let (content, _next) = split_once(part, closing.as_bytes())?;
        let head = String::from_utf8_lossy(head).to_lowercase();
        if head.contains("filename") {
            let content_type = head
                .lines()
                .find_map(|line| line.strip_prefix("content-type:"))
                .unwrap_or(UNKNOWN_TYPE);
            return Some((content_type.to_owned(), body.slice_ref(content)));
        }
        rest = part;
    }
}

fn split_once<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle)?;
    let (before, rest) = bytes.split_at_checked(at)?;
    Some((before, rest.get(needle.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nalice\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\n\x01\r\n--\x02\r\n--b--\r\n";

    fn find(content_type: &str, body: &'static str) -> Option<(&'static str, Bytes)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let avatar = Avatar::find(&headers, &Bytes::from_static(body.as_bytes()))?;
        Some((avatar.content_type, avatar.picture))
    }

    #[test]
    fn the_picture_of_a_form_is_its_first_file() {
        for content_type in [
            "multipart/form-data; boundary=b",
            "Multipart/Form-Data; charset=utf-8; Boundary=\"b\"",
        ] {
            let (content_type, picture) = find(content_type, FORM).unwrap();
            assert_eq!(content_type, "image/png");
            assert_eq!(picture, "\x01\r\n--\x02");
        }
    }

    #[test]
    fn a_bare_body_is_a_picture_and_no_page() {
        let (content_type, picture) = find("image/jpeg; x=y", "jpeg").unwrap();
        assert_eq!((content_type, &picture[..]), ("image/jpeg", &b"jpeg"[..]));
        let (content_type, _page) = find("text/html", "<script>").unwrap();
        assert_eq!(content_type, UNKNOWN_TYPE);
    }

    #[test]
    fn a_body_without_a_file_is_no_picture() {
        for (content_type, body) in [
            ("image/png", ""),
            ("multipart/form-data; boundary=c", FORM),
            ("multipart/form-data; boundary=b", "--b--\r\n"),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nalice\r\n--b--\r\n",
            ),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\ntorn off",
            ),
        ] {
            assert!(find(content_type, body).is_none(), "{body}");
        }
    }
}
