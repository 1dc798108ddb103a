//! Session tokens in the query of a WebSocket handshake, and tickets in any query, for clients that can
//! set no header: read from one parameter, and taken out with it. Every other byte of the target stays as
//! it came.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::domain::identity::Unclean;
use crate::domain::identity::tickets::TicketClaim;
use crate::domain::identity::tokens::{AmbiguousToken, TokenClaim};
use crate::domain::ticket::{PARAMETER, TicketText};
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

/// Reads the parameter of this name and takes it out, whatever it holds. Twice is too often.
pub(in crate::domain::identity) fn take_ticket(uri: &mut Uri) -> Result<TicketClaim, Unclean> {
    let mut claims = Vec::new();
    remove(uri, |parameter| {
        let value = value_of(parameter, PARAMETER).map(decoded);
        let claim = value.map(|text| TicketText::parse(&text));
        let is_one = claim.is_some();
        claims.extend(claim);
        is_one
    })?;
    match claims.pop() {
        Some(_) if !claims.is_empty() => Err(AmbiguousToken.into()),
        None => Ok(TicketClaim::None),
        Some(text) => Ok(text.map_or(TicketClaim::Malformed, TicketClaim::Ticket)),
    }
}

/// A target, or a whole URL, without the tickets in its query; nothing when there is none in it.
pub(in crate::domain::identity) fn without_tickets(url: &str) -> Option<String> {
    let (path, query) = url.split_once('?')?;
    let query = kept(query, |parameter| value_of(parameter, PARAMETER).is_some())?;
    Some(joined(path, &query))
}

fn token(value: &str) -> Option<SessionToken> {
    SessionToken::from_bytes(&decoded(value))
}

fn decoded(value: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(percent_decode_str(value).collect())
}

/// Takes out the parameters of the query that `is_ours` names, each with one `&`; and the `?` when
/// nothing is left behind it.
fn remove(uri: &mut Uri, is_ours: impl FnMut(&str) -> bool) -> Result<(), Unclean> {
    let Some(query) = uri.query().and_then(|query| kept(query, is_ours)) else {
        return Ok(());
    };
    let target = joined(uri.path(), &query);
    // What is left of a good target is a good target.
    let target = PathAndQuery::try_from(target).map_err(|_invalid| Unclean::Target)?;
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(target);
    *uri = Uri::from_parts(parts).map_err(|_invalid| Unclean::Target)?;
    Ok(())
}

/// What is left of a query; nothing when all of it is.
fn kept(query: &str, mut is_ours: impl FnMut(&str) -> bool) -> Option<String> {
    let all = query.split('&').count();
    let kept: Vec<_> = query
        .split('&')
        .filter(|parameter| !is_ours(parameter))
        .collect();
    (kept.len() < all).then(|| kept.join("&"))
}

fn joined(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
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

    #[test]
    fn a_ticket_goes_with_its_parameter_and_every_other_byte_stays() {
        for (target, expected, left) in [
            (
                "/a?x=%20&wx_ticket=wxg_t-AA&y=+",
                Some("wxg_t-AA"),
                "/a?x=%20&y=+",
            ),
            ("/a?%77x_ticket=wxg%5Ft-AA", Some("wxg_t-AA"), "/a"),
            ("/a?wx_ticket", Some("malformed"), "/a"),
            ("/a?wx_ticket=TOKEN", Some("malformed"), "/a"),
            ("/a?wx_tickets=wxg_t-AA", None, "/a?wx_tickets=wxg_t-AA"),
        ] {
            let mut uri: Uri = target.replace("TOKEN", TOKEN).parse().unwrap();
            let claim = match take_ticket(&mut uri).unwrap() {
                TicketClaim::None => None,
                TicketClaim::Malformed => Some("malformed".to_owned()),
                TicketClaim::Ticket(text) => Some(text.expose().to_owned()),
            };
            assert_eq!(claim.as_deref(), expected, "{target}");
            assert_eq!(uri.to_string(), left, "{target}");
        }
        let mut twice: Uri = "/a?wx_ticket=wxg_t-AA&wx_ticket=wxg_t-AA".parse().unwrap();
        assert_eq!(take_ticket(&mut twice).unwrap_err(), AmbiguousToken.into());
    }

    #[test]
    fn no_ticket_is_left_in_a_url_that_others_are_shown() {
        let without = |url| without_tickets(url);
        let here = "https://gate.example/a";
        let left = without("https://gate.example/a?wx_ticket=wxg_t-AA");
        assert_eq!(left.as_deref(), Some(here));
        let left = without("/a?x=1&wx%5Fticket=y&wx_ticket=z");
        assert_eq!(left.as_deref(), Some("/a?x=1"));
        assert_eq!(without("/a?x=1"), None);
        assert_eq!(without(here), None);
    }
}
