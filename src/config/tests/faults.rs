//! Every class of fault that any table can have, word for word.

use super::*;

#[test]
fn an_empty_file_is_told_what_it_needs() {
    assert_eq!(
        faults_with("", &[]),
        "wxgate.toml:1: upstream.url: missing, expected the address of the app server such as \
         \"http://127.0.0.1:3000\"\n\
         wxgate.toml:1: apps: missing, expected a table [[apps]] with appid and secret_env for \
         every mini program"
    );
    assert_eq!(
        faults_with("[upstream]\n\n[[apps]]\n", &[]),
        "wxgate.toml:1: upstream.url: missing, expected the address of the app server such as \
         \"http://127.0.0.1:3000\"\n\
         wxgate.toml:3: apps[0].appid: missing, expected the appid of the mini program such as \
         \"wx0123456789abcdef\"\n\
         wxgate.toml:3: apps[0].secret: missing, expected exactly one of secret, secret_file, \
         secret_env"
    );
}

#[test]
fn a_syntax_error_is_the_only_fault_and_does_not_show_its_line() {
    let text = format!("[[apps]]\nsecret = \"{PLANTED}\nlevel = 1");
    assert_eq!(
        faults_with(&text, &[]),
        "wxgate.toml:2: not TOML: invalid basic string, expected `\"`"
    );
    assert_eq!(
        faults_with("a = 1\na = 2", &[]),
        "wxgate.toml:2: not TOML: duplicate key"
    );
}

#[test]
fn all_faults_are_told_in_one_run_in_the_order_of_the_file() {
    let text = "\
[session]
ttl = \"0\"
idle = \"1h\"
[server]
workers = 5000
listen = []
[log]
level = \"loud\"
access = \"yes\"
";
    assert_eq!(
        faults(text),
        "\
wxgate.toml:2: session.ttl: is \"0\", expected a duration above zero such as \"15s\", \"5m\" or \"7d\"
wxgate.toml:3: session.idle: unknown key, the nearest known one is session.idle_ttl
wxgate.toml:5: server.workers: is 5000, expected a whole number from 0 to 1024
wxgate.toml:6: server.listen: is empty, expected an address to listen on such as \"[::]:4180\"
wxgate.toml:8: log.level: is \"loud\", expected one of \"error\", \"warn\", \"info\", \"debug\"
wxgate.toml:9: log.access: is \"yes\", expected true or false"
    );
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for (lines, expected) in [
        (
            "[sesion]\nttl = \"1d\"",
            "1: sesion: unknown key, the nearest known one is session",
        ),
        (
            "[server]\nmax_connections = 1",
            "2: server.max_connections: unknown key, the nearest known one is \
             server.limits.max_connections",
        ),
        (
            "[session]\nTTL = \"1d\"",
            "2: session.TTL: unknown key, the nearest known one is session.ttl",
        ),
        (
            "[identity.headers]\nopen_id = \"X\"",
            "2: identity.headers.open_id: unknown key, the nearest known one is \
             identity.headers.openid",
        ),
        (
            "[[access.rules]]\npath = \"/a\"\nmethod = [\"GET\"]",
            "3: access.rules[0].method: unknown key, the nearest known one is \
             access.rules[0].methods",
        ),
    ] {
        check(lines, expected);
    }
}

#[test]
fn a_key_of_a_later_version_is_said_to_be_one() {
    for lines in [
        "[paths]\nauth = \"/wx/auth\"",
        "[admin]\ntoken = \"x\"",
        "[tracing]\notlp_endpoint = \"x\"",
    ] {
        assert!(
            faults(lines).contains(": is not in this version; take it out"),
            "{lines}"
        );
    }
}

#[test]
fn wrong_types_say_what_they_are_and_what_is_expected() {
    for (lines, expected) in [
        ("server = 1", "1: server: is a number, expected a table"),
        (
            "upstreams = [1]",
            "1: upstreams: is a list, expected a table",
        ),
        (
            "access.rules = \"x\"",
            "1: access.rules: is one value, expected tables under [[access.rules]]",
        ),
        (
            "access.rules = [1]",
            "1: access.rules[0]: is a number, expected a table",
        ),
        (
            "[server]\nworkers = \"two\"",
            "2: server.workers: is \"two\", expected a whole number from 0 to 1024",
        ),
        (
            "[server]\nworkers = 1.5",
            "2: server.workers: is a number with a decimal point, expected a whole number from 0 to 1024",
        ),
        (
            "[server]\nworkers = 99999999999999999999",
            "2: server.workers: is a number that is far too large, expected a whole number from 0 to 1024",
        ),
        (
            "[server]\nworkers = -1",
            "2: server.workers: is -1, expected a whole number from 0 to 1024",
        ),
        (
            "[server]\nlisten = 4180",
            "2: server.listen: is a number, expected a list of texts",
        ),
        (
            "[server]\nlisten = [\n 4180]",
            "3: server.listen[0]: is a number, expected text in quotes",
        ),
        (
            "[server]\ntrusted_proxies = \"10.0.0.0/8\"",
            "2: server.trusted_proxies: is text, expected a list of texts",
        ),
        (
            "[session]\nttl = 7",
            "2: session.ttl: is 7, expected a duration above zero such as \"15s\", \"5m\" or \"7d\"",
        ),
        (
            "[session]\nttl = \"11y\"",
            "2: session.ttl: is \"11y\", expected a duration above zero such as \"15s\", \"5m\" or \"7d\"",
        ),
        (
            "[session]\nidle_ttl = \"x\"",
            "2: session.idle_ttl: is \"x\", expected a duration such as \"15s\", \"5m\" or \"7d\", or \"0\" for off",
        ),
        (
            "[store]\nkind = \"disk\"",
            "2: store.kind: is \"disk\", expected one of \"memory\", \"redis\"",
        ),
        (
            "[admin]\nlisten = true",
            "2: admin.listen: is true or false, expected text in quotes",
        ),
        (
            "[session]\nclose_streams_on_end = 1",
            "2: session.close_streams_on_end: is 1, expected true or false",
        ),
    ] {
        check(lines, expected);
    }
}
