//! Session tokens in the query of a WebSocket handshake, for clients that can set no header: read
//! from one parameter, and taken out with it. Every other byte of the target stays as it came.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::domain::identity::Unclean;
use crate::domain::identity::tokens::{AmbiguousToken, TokenClaim};
use crate::domain::token::SessionToken;

/// Reads the parameter of this name and takes it out, whatever it holds. Twice is too often.
pub(in crate::domain::identity) fn take(uri: &mut Uri, name: &str) -> Result<TokenClaim, Unclean> {
    let mut claims = Vec::new();
    remove(uri, |parameter| {
        let value = value_of(parameter, name);
        let claim =
            value.map(|value| token(value).map_or(TokenClaim::Malformed, TokenClaim::Token));
        let is_ours = claim.is_some();
        claims.extend(claim);
        is_ours
    })?;
    match claims.pop() {
        Some(_) if !claims.is_empty() => Err(AmbiguousToken.into()),
        claim => Ok(claim.unwrap_or(TokenClaim::None)),
    }
}

/// Takes tokens out of the parameter of this name where it is not looked for. Anything else in it
/// is the app server's own.
pub(in crate::domain::identity) fn hide(uri: &mut Uri, name: &str) -> Result<(), Unclean> {
    remove(uri, |parameter| {
        value_of(parameter, name).and_then(token).is_some()
    })
}

/// The value of a parameter, if it has this name in any spelling.
fn value_of<'a>(parameter: &'a str, name: &str) -> Option<&'a str> {
    let (written, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    percent_decode_str(written)
        .eq(name.bytes())
        .then_some(value)
}

fn token(value: &str) -> Option<SessionToken> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(percent_decode_str(value).collect());
    SessionToken::parse(std::str::from_utf8(&text).ok()?)
}

/// Takes out the parameters of the query that `is_ours` names, each with one `&`; and the `?` when
/// nothing is left behind it.
fn remove(uri: &mut Uri, mut is_ours: impl FnMut(&str) -> bool) -> Result<(), Unclean> {
    let Some(query) = uri.query() else {
        return Ok(());
    };
    let all = query.split('&').count();
    let kept: Vec<_> = query
        .split('&')
        .filter(|parameter| !is_ours(parameter))
        .collect();
    if kept.len() == all {
        return Ok(());
    }
    let query = kept.join("&");
    let target = match (uri.path(), query.as_str()) {
        (path, "") => path.to_owned(),
        (path, query) => format!("{path}?{query}"),
    };
    // What is left of a good target is a good target.
    let target = PathAndQuery::try_from(target).map_err(|_invalid| Unclean::Target)?;
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(target);
    *uri = Uri::from_parts(parts).map_err(|_invalid| Unclean::Target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    /// What is found in the parameter `token`, and what is left of the target.
    #[track_caller]
    fn check(target: &str, found: Option<&str>, left: &str) {
        let target = target.replace("TOKEN", TOKEN);
        let mut uri: Uri = target.parse().unwrap();
        let claim = take(&mut uri, "token").unwrap();
        let claim = match &claim {
            TokenClaim::None => None,
            TokenClaim::Malformed => Some("malformed"),
            TokenClaim::Token(token) => Some(token.expose()),
        };
        assert_eq!(claim, found, "{target}");
        assert_eq!(uri.to_string(), left, "{target}");
    }

    #[test]
    fn a_token_goes_with_its_parameter_and_every_other_byte_stays() {
        let found = Some(TOKEN);
        check("/ws?a=1&token=TOKEN&b=%20", found, "/ws?a=1&b=%20");
        check("/ws?token=TOKEN&b=+%2B&&c", found, "/ws?b=+%2B&&c");
        check("/ws?a=%zz;token=x&token=TOKEN", found, "/ws?a=%zz;token=x");
        check("/ws?token=TOKEN", found, "/ws");
        check("/ws?&token=TOKEN", found, "/ws");
        check("/ws?&token=TOKEN&", found, "/ws?&");
        check("/a%2fb/?x=?&token=TOKEN", found, "/a%2fb/?x=?");
        check(
            "http://gate.example/ws?token=TOKEN",
            found,
            "http://gate.example/ws",
        );
        check("/ws?", None, "/ws?");
        check("/ws", None, "/ws");
    }

    #[test]
    fn the_name_counts_in_every_spelling_and_so_does_the_token() {
        let found = Some(TOKEN);
        check("/ws?%74oken=TOKEN", found, "/ws");
        check("/ws?%74%6F%6b%65%6E=TOKEN", found, "/ws");
        let body = TOKEN.trim_start_matches("wxg_");
        check(&format!("/ws?token=%77xg%5F{body}"), found, "/ws");
        for other in [
            "Token",
            "tokens",
            "token%00",
            "%2574oken",
            "token[]",
            "a;token",
            "+token",
        ] {
            let target = format!("/ws?{other}={TOKEN}");
            check(&target, None, &target);
        }
    }

    #[test]
    fn what_is_no_token_is_a_malformed_one() {
        for value in [
            "token",
            "token=",
            "token=x",
            "token=TOKENA",
            "token=TOKEN=",
            "token= TOKEN",
        ] {
            let value = value.replace(' ', "%20");
            check(&format!("/ws?{value}&b"), Some("malformed"), "/ws?b");
        }
        check("/ws?token=%ff", Some("malformed"), "/ws");
    }

    #[test]
    fn twice_is_too_often_even_the_same() {
        for query in [
            "token=TOKEN&token=TOKEN",
            "token=TOKEN&%74oken=TOKEN",
            "token=TOKEN&a=1&token",
            "token=&token=",
        ] {
            let target = format!("/ws?{query}").replace("TOKEN", TOKEN);
            let mut uri: Uri = target.parse().unwrap();
            let error = take(&mut uri, "token").unwrap_err();
            assert_eq!(error, AmbiguousToken.into(), "{target}");
        }
    }

    #[test]
    fn where_it_is_not_looked_for_only_tokens_go() {
        for (target, left) in [
            ("/x?a=1&token=TOKEN&b", "/x?a=1&b"),
            ("/x?token=TOKEN&%74oken=TOKEN", "/x"),
            ("/x?token=mine&token=", "/x?token=mine&token="),
            ("/x?other=TOKEN", "/x?other=TOKEN"),
        ] {
            let mut uri: Uri = target.replace("TOKEN", TOKEN).parse().unwrap();
            hide(&mut uri, "token").unwrap();
            assert_eq!(uri.to_string(), left.replace("TOKEN", TOKEN), "{target}");
        }
    }
}
