//! Session tokens among the subprotocols that a WebSocket handshake offers, for clients that can
//! set no other header: `wxgate.<token>`. A server answers with one of the subprotocols it was
//! offered, and a token must not come back that way; so whatever begins with `wxgate` is taken out,
//! and who offers nothing else offers plain `wxgate` too, for the gate to choose.

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::domain::fields::HeaderFields;
use crate::domain::identity::tokens::{AmbiguousToken, TokenClaim};
use crate::domain::token::SessionToken;
use crate::domain::websocket::{OWN_SUBPROTOCOL, WebSocketRequest};

/// What one offered subprotocol is to the gate.
enum Offer {
    /// The app server's business.
    Foreign,
    /// `wxgate`: something to be answered with.
    Plain,
    /// `wxgate.<token>`.
    Token(SessionToken),
    /// Anything else that begins so.
    Malformed,
}

impl Offer {
    fn of(offered: &[u8]) -> Self {
        let own = OWN_SUBPROTOCOL.as_bytes();
        let begin = offered.get(..own.len()).unwrap_or_default();
        if !begin.eq_ignore_ascii_case(own) {
            return Self::Foreign;
        }
        match offered.strip_prefix(own) {
            Some(b"") => Self::Plain,
            Some([b'.', token @ ..]) => std::str::from_utf8(token)
                .ok()
                .and_then(SessionToken::parse)
                .map_or(Self::Malformed, Self::Token),
            _ => Self::Malformed,
        }
    }
}

/// Reads what the handshake offers to the gate, and takes it out. Two tokens are one too many.
pub(in crate::domain::identity) fn take(
    fields: &mut HeaderFields,
    websocket: &mut WebSocketRequest,
) -> Result<TokenClaim, AmbiguousToken> {
    let mut claims = Vec::new();
    remove(fields, |offer| {
        match offer {
            Offer::Foreign => return false,
            Offer::Plain => websocket.offer_own_subprotocol(),
            Offer::Token(token) => claims.push(TokenClaim::Token(token)),
            Offer::Malformed => claims.push(TokenClaim::Malformed),
        }
        true
    });
    match claims.pop() {
        Some(_) if !claims.is_empty() => Err(AmbiguousToken),
        claim => Ok(claim.unwrap_or(TokenClaim::None)),
    }
}

/// Takes out tokens where they are not looked for.
pub(in crate::domain::identity) fn hide(fields: &mut HeaderFields) {
    remove(fields, |offer| matches!(offer, Offer::Token(_)));
}

/// Takes out what `is_ours` names. Lines in which nothing was stay as they came.
fn remove(fields: &mut HeaderFields, mut is_ours: impl FnMut(Offer) -> bool) {
    let mut left = Vec::new();
    let mut changed = false;
    for line in fields.all(&SEC_WEBSOCKET_PROTOCOL) {
        let offered = || line.value().split(|&byte| byte == b',');
        let kept: Vec<_> = offered()
            .map(<[u8]>::trim_ascii)
            .filter(|offered| !is_ours(Offer::of(offered)))
            .collect();
        if kept.len() == offered().count() {
            left.extend(line.to_value());
            continue;
        }
        changed = true;
        let kept = kept.join(&b", "[..]);
        // Pieces of a header value make a header value.
        left.extend(
            HeaderValue::from_bytes(&kept)
                .ok()
                .filter(|kept| !kept.is_empty()),
        );
    }
    if changed {
        fields.remove(&SEC_WEBSOCKET_PROTOCOL);
        for line in left {
            fields.append("Sec-WebSocket-Protocol", &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::domain::request::Request;

    const TOKEN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn websocket() -> WebSocketRequest {
        let request = http::Request::get("/ws")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let request = Request::from(request.body(()).unwrap());
        WebSocketRequest::find(&request.head).unwrap().unwrap()
    }

    fn fields(lines: &[&str]) -> HeaderFields {
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = line.replace("TOKEN", TOKEN);
            headers.append(SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
        }
        HeaderFields::from(&headers)
    }

    fn left(fields: &HeaderFields) -> Vec<&str> {
        let lines = fields.all(&SEC_WEBSOCKET_PROTOCOL);
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// What is found, what can be answered with, and what is left.
    #[track_caller]
    fn check(lines: &[&str], found: Option<&str>, answer: Option<&str>, expected: &[&str]) {
        let mut fields = fields(lines);
        let mut websocket = websocket();
        let claim = take(&mut fields, &mut websocket).unwrap();
        let claim = match &claim {
            TokenClaim::None => None,
            TokenClaim::Malformed => Some("malformed"),
            TokenClaim::Token(token) => Some(token.expose()),
        };
        assert_eq!(claim, found, "{lines:?}");
        let own = websocket.own_subprotocol();
        assert_eq!(
            own.as_ref().map(HeaderValue::as_bytes),
            answer.map(str::as_bytes)
        );
        assert_eq!(left(&fields), expected, "{lines:?}");
    }

    #[test]
    fn a_token_is_read_and_everything_of_the_gates_own_goes() {
        let (found, own) = (Some(TOKEN), Some("wxgate"));
        check(&["wxgate.TOKEN"], found, None, &[]);
        check(&["wxgate.TOKEN, wxgate"], found, own, &[]);
        check(&["wxgate", "wxgate.TOKEN"], found, own, &[]);
        check(&["chat,wxgate.TOKEN ,v2"], found, None, &["chat, v2"]);
        check(
            &["chat , v2", "wxgate.TOKEN,wxgate"],
            found,
            own,
            &["chat , v2"],
        );
        check(&["wxgate"], None, own, &[]);
        check(
            &["chat,wxgat,x.wxgate"],
            None,
            None,
            &["chat,wxgat,x.wxgate"],
        );
        check(&[], None, None, &[]);
    }

    #[test]
    fn what_begins_like_the_gates_own_and_is_not_is_a_malformed_token() {
        for wrong in [
            "wxgate.",
            "wxgate.x",
            "wxgate.TOKENA",
            "WXGATE.TOKEN",
            "Wxgate",
            "wxgate-TOKEN",
            "wxgateTOKEN",
        ] {
            check(&["chat", wrong], Some("malformed"), None, &["chat"]);
        }
    }

    #[test]
    fn two_tokens_are_one_too_many_even_the_same() {
        for lines in [
            ["wxgate.TOKEN, wxgate.TOKEN", "chat"],
            ["wxgate.TOKEN", "wxgate.TOKEN"],
            ["wxgate.TOKEN", "wxgate.x"],
        ] {
            let mut websocket = websocket();
            let error = take(&mut fields(&lines), &mut websocket).unwrap_err();
            assert_eq!(error, AmbiguousToken, "{lines:?}");
        }
    }

    #[test]
    fn where_it_is_not_looked_for_only_tokens_go() {
        for (line, expected) in [
            ("wxgate.TOKEN", [].as_slice()),
            ("wxgate, wxgate.TOKEN, chat", ["wxgate, chat"].as_slice()),
            ("wxgate,wxgate.x", ["wxgate,wxgate.x"].as_slice()),
        ] {
            let mut fields = fields(&[line]);
            hide(&mut fields);
            assert_eq!(left(&fields), expected);
        }
    }
}
