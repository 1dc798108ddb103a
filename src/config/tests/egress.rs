//! `[egress]`: what may be called, and by whom.

use super::*;

const ON: &str = "[egress]\nlisten = \"127.0.0.1:4181\"\n";

fn egress(lines: &str) -> crate::egress::Settings {
    let config = config(&format!("{ON}{lines}{SHORTEST}"));
    config.egress.unwrap()
}

#[test]
fn what_is_never_relayed_cannot_be_allowed() {
    for path in [
        "/cgi-bin/token",
        "/cgi-bin/stable_token",
        "/sns/jscode2session",
        "/cgi-bin/clear_quota",
    ] {
        check(
            &format!("{ON}allow = [\"{path}\"]\n"),
            &format!(
                "3: egress.allow[0]: \"{path}\" is never relayed: tokens, sessions and quotas stay \
                 with the gate, expected the path of an API such as \"/wxa/msg_sec_check\""
            ),
        );
    }
    check(
        &format!("{ON}allow = [\"/wxa/*\"]\n"),
        "3: egress.allow[0]: \"/wxa/*\" is no plain path: letters, digits, _ and - between single \
         slashes, expected the path of an API such as \"/wxa/msg_sec_check\"",
    );
}

#[test]
fn away_from_loopback_callers_must_be_told_from_others() {
    for listen in ["0.0.0.0:4181", "[::]:4181", "10.0.0.1:4181"] {
        check(
            &format!("[egress]\nlisten = \"{listen}\"\n"),
            "2: egress.listen: is not a loopback address, so everybody there could call WeChat in \
             the mini program's name, expected egress.token or egress.allow_from beside it",
        );
        for proof in [
            "allow_from = [\"10.0.0.0/8\"]",
            "token = \"0123456789abcdef\"",
        ] {
            let text = format!("[egress]\nlisten = \"{listen}\"\n{proof}\n{SHORTEST}");
            assert!(config(&text).egress.is_some(), "{listen} {proof}");
        }
    }
}

#[test]
fn a_token_that_could_be_guessed_or_not_be_sent_is_a_fault() {
    for token in ["short", "with a space in it", "planted\tplanted\tplanted"] {
        let token = token.replace('\t', "\\t");
        check(
            &format!("{ON}token = \"{token}\"\n"),
            "1: egress: has a token that cannot be used, expected at least 16 characters of ASCII \
             without spaces",
        );
    }
    let printed = format!("{:?}", egress("token_env = \"WX_APP_SECRET\"\n"));
    assert!(!printed.contains(PLANTED), "{printed}");
}

#[test]
fn calls_are_in_the_name_of_a_configured_mini_program() {
    assert_eq!(
        egress("").rules.default_appid.as_str(),
        "wx0123456789abcdef"
    );
    check(
        &format!("{ON}default_appid = \"wxfedcba9876543210\"\n"),
        "3: egress.default_appid: is not configured, expected the appid of one of [[apps]]",
    );
}

#[test]
fn the_listener_has_an_address_of_its_own() {
    for taken in ["127.0.0.1:4189", "127.0.0.1:4180"] {
        check(
            &format!("server.listen = \"127.0.0.1:4180\"\n[egress]\nlisten = \"{taken}\"\n"),
            "3: egress.listen: is where the gate listens already, expected an address of its own",
        );
    }
    check(
        "[egress]\nlisten = \"4181\"\n",
        "2: egress.listen: is \"4181\", expected an IP address and a port such as \
         \"127.0.0.1:4181\", or \"\" for off",
    );
    assert!(config(SHORTEST).egress.is_none());
    assert!(shortest_with("[egress]\nlisten = \"\"\n").egress.is_none());
}

#[test]
fn the_example_allows_what_is_allowed_by_default() {
    let example = include_str!("../../../config.example.toml");
    let example = example.replace(
        "[egress]\n# Where the app server calls WeChat without an access token, such as \
         \"127.0.0.1:4181\"; \"\" = off.\nlisten = \"\"",
        ON,
    );
    assert_eq!(
        config(&example).egress.unwrap().rules.allow,
        egress("").rules.allow
    );
}
