//! `[push]` and `[apps.push]`: what is read, and what is said about each fault.

use super::*;
use crate::gateway::push::{Ack, AppPush, Keys, Protection};

const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const KEY_BEFORE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The shortest file with pushes and these lines of `[apps.push]`, then the rest.
fn with(lines: &str, rest: &str) -> String {
    format!("{SHORTEST}[apps.push]\n{lines}\n{rest}")
}

#[track_caller]
fn push_fault(lines: &str, rest: &str) -> String {
    faults_with(&with(lines, rest), &[])
}

fn whole() -> String {
    format!("token = \"AAAAA\"\nencoding_aes_key = \"{KEY}\"")
}

#[track_caller]
fn keys(app: &AppPush) -> &Keys {
    match &app.protection {
        Protection::Encrypted(keys) => keys,
        Protection::Plain => panic!("mode plain"),
    }
}

const NO_KEY: &str = "wxgate.toml:8: apps[0].push: has as encoding_aes_key what is no \
                      EncodingAESKey, expected the 43 letters and digits of WeChat";

const FORWARD: &str = "[push]\nforward_to = \"/push\"";

#[test]
fn an_app_with_pushes_gets_all_defaults_and_a_route() {
    let config = config(&with(&whole(), FORWARD)).gateway;
    let app = config.apps[0].push.as_ref().unwrap();
    assert_eq!(app.token.expose(), "AAAAA");
    assert!(keys(app).previous.is_none());
    let push = config.push.unwrap();
    assert_eq!(push.forward_to, "/push");
    assert_eq!(push.ack, Ack::Upstream);
    assert_eq!(push.dedupe_window, Duration::from_mins(1));
    let route = config.routes.endpoints.iter();
    let route: Vec<_> = route
        .filter(|(_, endpoint)| *endpoint == Endpoint::Push)
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(route, ["/wx/push/*"]);
}

#[test]
fn everything_can_be_said() {
    let lines = format!(
        "token_env = \"TOKEN\"\nencoding_aes_key_env = \"KEY\"\n\
         previous_encoding_aes_key = \"{KEY_BEFORE}\"\nmode = \"compatible\""
    );
    let rest = "[push]\nforward_to = \"/push\"\nack = \"immediate\"\ndedupe_window = \"1h\"\n\
                [paths]\npush = \"/from/{appid}/wechat\"";
    let variables = [("TOKEN", "AAAAA"), ("KEY", KEY)];
    let config = parse_with(&with(&lines, rest), &variables).unwrap();
    let config = config.config.gateway;
    let app = config.apps[0].push.as_ref().unwrap();
    let previous = keys(app).previous.as_ref().unwrap();
    assert_eq!(previous.expose(), &[0; 32]);
    let push = config.push.unwrap();
    assert_eq!(push.ack, Ack::Immediate);
    assert_eq!(push.dedupe_window, Duration::from_hours(1));
    assert_eq!(config.routes.endpoints[5].0.as_str(), "/from/*/wechat");
}

#[test]
fn without_an_app_that_has_pushes_there_is_no_route() {
    let config = shortest_with(FORWARD).gateway;
    assert!(config.push.is_none());
    assert_eq!(config.routes.endpoints.len(), 5);
}

#[test]
fn a_mode_without_proof_is_warned_of() {
    let text = with("token = \"AAAAA\"\nmode = \"plain\"", FORWARD);
    let parsed = parse_with(&text, &[]).unwrap();
    let app = parsed.config.gateway.apps[0].push.as_ref().unwrap();
    assert!(matches!(app.protection, Protection::Plain));
    assert_eq!(
        parsed.warnings[0].to_string(),
        "wxgate.toml:10: apps[0].push.mode: is \"plain\": no signature covers what a message says; \
         safer is \"safe\""
    );
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let wrong_key = |key: &str| format!("token = \"AAAAA\"\nencoding_aes_key = \"{key}\"");
    let cases = [
        (
            format!("encoding_aes_key = \"{KEY}\""),
            "wxgate.toml:8: apps[0].push.token: missing, expected exactly one of token, \
             token_file, token_env",
        ),
        (
            "token = \"AAAAA\"".to_owned(),
            "wxgate.toml:8: apps[0].push.encoding_aes_key: missing, expected exactly one of \
             encoding_aes_key, encoding_aes_key_file, encoding_aes_key_env, or mode = \"plain\"",
        ),
        (
            format!("token = \"A A\"\nencoding_aes_key = \"{KEY}\""),
            "wxgate.toml:8: apps[0].push: has a token that is no Token, expected the one you typed in \
             at WeChat, 3 to 32 letters and digits",
        ),
        (wrong_key(PLANTED), NO_KEY),
        (wrong_key(&format!("{KEY}=")), NO_KEY),
        (
            format!("{}\nmode = \"aes\"", whole()),
            "wxgate.toml:11: apps[0].push.mode: is \"aes\", expected one of \"safe\", \
             \"compatible\", \"plain\"",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(push_fault(&lines, FORWARD), expected, "{lines}");
    }
}

#[test]
fn pushes_need_a_path_on_the_app_server() {
    const EXPECTED: &str = "missing, expected the path of the app server that the pushes for \
                            wx0123456789abcdef are posted to, such as \"/wx-push\"";
    for rest in ["", "[push]\nforward_to = \"\""] {
        let told = push_fault(&whole(), rest);
        assert!(
            told.contains(": push.forward_to: ") && told.ends_with(EXPECTED),
            "{told}"
        );
    }
    for path in ["push", "/a/*", "/a/**", "/a?b", "/a#b", "/a b", "/../a"] {
        let told = push_fault(&whole(), &format!("[push]\nforward_to = \"{path}\""));
        assert!(
            told.contains("push.forward_to: is ")
                && told.contains("expected a path on the app server such as"),
            "{told}"
        );
    }
}

#[test]
fn the_window_and_the_route_are_checked() {
    for window in ["59s", "61m", "0"] {
        let told = faults(&format!("[push]\ndedupe_window = \"{window}\"\n"));
        assert!(told.contains("push.dedupe_window: is "), "{told}");
    }
    for path in [
        "/wx/push",
        "/wx/push/*",
        "/wx/*/{appid}",
        "/wx/{appid}/{appid}",
        "/wx/{app}",
        "/wx/push-{appid}",
        "wx/{appid}",
        "/wx/{appid}/**",
    ] {
        let told = faults(&format!("[paths]\npush = \"{path}\"\n"));
        assert!(
            told.contains("paths.push: is ")
                && told.contains("expected a path with one segment {appid} such as"),
            "{path}: {told}"
        );
    }
    let told = push_fault(
        &whole(),
        &format!("{FORWARD}\n[paths]\npush = \"/wx/{{appid}}\""),
    );
    assert!(told.contains("the same path as paths.login"), "{told}");
}

#[test]
fn no_path_is_called_for_two_purposes() {
    for rest in [
        "[push]\nforward_to = \"/a\"\n[login]\nhook = \"/a\"",
        "[push]\nforward_to = \"/a\"\n[decrypt]\ndeliver = \"upstream\"\ndeliver_to = \"/A/\"",
    ] {
        let told = push_fault(&whole(), rest);
        assert!(
            told.contains("the app server could not tell the two apart"),
            "{told}"
        );
    }
}
