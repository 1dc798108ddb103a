//! The configuration as an operator meets it: what is said about each fault, word for word.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::gateway::route::{Endpoint, Require};
use crate::server::Listen;
use crate::telemetry::UserField;
use crate::upstream::{Index, Protocol, Target};

mod answers;
mod browsers;
mod egress;
mod example;
mod faults;
mod overrides;
mod push;
mod redis;
mod secrets;
mod signing;
mod store;
mod tables;
mod tls;
mod upstream_tls;

/// A secret that must turn up nowhere.
const PLANTED: &str = "planted0planted0planted0planted0";

const SHORTEST: &str = r#"
[upstream]
url = "http://127.0.0.1:3000"

[[apps]]
appid = "wx0123456789abcdef"
secret_env = "WX_APP_SECRET"
"#;

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let fixed = [("WX_APP_SECRET", PLANTED)];
    let all = fixed.iter().chain(variables);
    all.map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Faults> {
    parse(text, Path::new("wxgate.toml"), env(variables))
}

#[track_caller]
fn config(text: &str) -> Config {
    match parse_with(text, &[]) {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults}"),
    }
}

/// The configuration that these lines make of the shortest file.
#[track_caller]
fn shortest_with(lines: &str) -> Config {
    config(&format!("{SHORTEST}{lines}"))
}

#[track_caller]
fn faults_with(text: &str, variables: &[(&str, &str)]) -> String {
    let faults = parse_with(text, variables).unwrap_err().to_string();
    assert!(!faults.contains(PLANTED), "{faults}");
    faults
}

/// The faults of these lines, which begin in line 1, before the shortest file.
#[track_caller]
fn faults(lines: &str) -> String {
    faults_with(&format!("{lines}{SHORTEST}"), &[])
}

/// One fault, in the text as it stands.
#[track_caller]
fn check(lines: &str, expected: &str) {
    assert_eq!(faults(lines), format!("wxgate.toml:{expected}"), "{lines}");
}

/// The warnings of these lines, which begin in line 1, before the shortest file.
#[track_caller]
fn warnings(lines: &str) -> Vec<String> {
    let loaded = parse_with(&format!("{lines}{SHORTEST}"), &[]).unwrap();
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_shortest_file_gets_all_defaults() {
    let config = config(SHORTEST);
    assert_eq!(
        config.server.listen,
        [Listen::Tcp("[::]:4180".parse().unwrap())]
    );
    assert!(config.server.listen_fallback);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(25));
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].idle_timeout, Duration::from_secs(4));
    assert_eq!(config.wechat, crate::wechat::Settings::default());
    assert_eq!(config.store.max_sessions, 1_000_000);
    assert!(config.store.seal_keys.is_none());
    let admin: SocketAddr = "127.0.0.1:4189".parse().unwrap();
    assert_eq!(config.admin.listen, Some(admin));
    let gateway = &config.gateway;
    assert_eq!(gateway.apps[0].id.as_str(), "wx0123456789abcdef");
    assert_eq!(gateway.apps[0].secret.expose(), PLANTED);
    assert_eq!(gateway.routes.default, Require::Session);
    assert_eq!(gateway.routes.endpoints.len(), 5);
    assert_eq!(gateway.session.lifetimes.ttl, Duration::from_hours(168));
    assert_eq!(gateway.session.max_per_user, Some(10));
    assert_eq!(gateway.identity.names().openid.spelling(), "X-WX-OPENID");
    assert!(parse_with(SHORTEST, &[]).unwrap().warnings.is_empty());
}

#[test]
fn every_table_reaches_its_module() {
    let config = shortest_with(
        r#"
[server]
listen = ["127.0.0.1:1", "unix:/run/wxgate.sock", "localhost:2"]
trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "unix"]
[server.limits]
max_body_bytes = "1MiB"
[upstreams.b]
url = "unix:/run/b.sock"
protocol = "http2"
[upstreams.a]
url = "http://[::1]"
stream_idle_timeout = "1m"
[wechat]
base_url = "http://127.0.0.1:4190/"
resolve = ["192.0.2.7"]
[paths]
login = ["/login", "/api/login"]
logout = ""
[login]
expose = ["unionid"]
retry_window = "0"
[decrypt]
max_age = "0"
[session]
token_from = ["header:X-WX-Token", "authorization"]
max_per_user = 0
[identity]
preset = "remote-user"
headers.appid = "X-App"
env = "prod-1"
[access]
default = "session"
preflight = "forward"
[[access.rules]]
path = "/a/**"
methods = ["GET"]
require = "public"
upstream = "a"
[[access.rules]]
path = "/b"
upstream = "b"
[admin]
listen = ""
[log]
user = "openid"
"#,
    );
    assert_eq!(config.server.listen.len(), 3);
    assert!(!config.server.listen_fallback);
    assert_eq!(config.server.limits.max_body_bytes, Some(1_048_576));
    let targets: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| &upstream.target)
        .collect();
    let protocols: Vec<_> = config.upstreams.iter().map(|it| it.protocol).collect();
    assert_eq!(
        protocols,
        [Protocol::Http1, Protocol::Http2, Protocol::Http1]
    );
    assert!(matches!(targets[1], Target::Unix(path) if path == "/run/b.sock"));
    assert!(
        matches!(targets[2], Target::Http { host, port: 80, authority, tls: None }
        if host == "::1" && authority == "[::1]")
    );
    assert_eq!(config.wechat.base_url, "http://127.0.0.1:4190");
    let gateway = &config.gateway;
    let logins = gateway
        .routes
        .endpoints
        .iter()
        .filter(|(_, to)| *to == Endpoint::Login);
    assert_eq!(logins.count(), 2);
    assert_eq!(gateway.routes.endpoints.len(), 5);
    assert!(gateway.login.expose_unionid && !gateway.login.expose_openid);
    assert_eq!(gateway.login.retry_window, Duration::ZERO);
    assert_eq!(gateway.decrypt.max_age, None);
    assert_eq!(gateway.session.max_per_user, None);
    assert_eq!(gateway.identity.token_places().len(), 2);
    assert_eq!(gateway.identity.names().openid.spelling(), "Remote-User");
    assert_eq!(gateway.identity.names().appid.spelling(), "X-App");
    let upstreams: Vec<_> = gateway
        .routes
        .rules
        .iter()
        .map(|rule| rule.upstream)
        .collect();
    assert_eq!(upstreams, [2, 1].map(Index::new));
    assert!(gateway.routes.forward_preflight);
    assert_eq!(config.admin.listen, None);
    assert!(matches!(config.log.user, UserField::OpenId));
}

#[test]
fn explicit_headers_win_over_the_preset() {
    let names = |lines: &str| {
        let identity = shortest_with(lines).gateway.identity;
        identity.names().openid.spelling().to_owned()
    };
    assert_eq!(
        names("[identity]\npreset = \"x-forwarded-user\""),
        "X-Forwarded-User"
    );
    let both = "[identity]\npreset = \"x-forwarded-user\"\nheaders.openid = \"X-User\"";
    assert_eq!(names(both), "X-User");
}

#[test]
fn the_key_of_user_hashes_follows_from_the_first_secret() {
    let key = |text: &str| match config(text).log.user {
        UserField::Hash(key) => key.expose().to_vec(),
        other => panic!("{other:?}"),
    };
    let derived = key(SHORTEST);
    assert_eq!(derived, key(&format!("{SHORTEST}[log]\nlevel = \"debug\"")));
    assert_ne!(derived, PLANTED.as_bytes());
    assert_eq!(derived.len(), 32);
    let other = SHORTEST.replace("secret_env = \"WX_APP_SECRET\"", "secret = \"other\"");
    assert_ne!(derived, key(&other));
    let given = format!("{SHORTEST}[log]\nuser_key = \"0123456789abcdef\"");
    assert_eq!(key(&given), b"0123456789abcdef");
}

#[test]
fn what_is_probably_not_meant_is_a_warning_with_its_line() {
    for (lines, expected) in [
        (
            "[paths]\nlogin = \"\"",
            "wxgate.toml:2: paths.login: is off: nobody can log in, so no request can have a session",
        ),
        (
            "[access]\ndefault = \"public\"\n[[access.rules]]\npath = \"/me/**\"",
            "wxgate.toml:2: access.default: public surrounds what needs a session (/me/**): a \
             spelling that only the app server understands would pass; safer is to require a \
             session all around and to list what is open",
        ),
        (
            "[[access.rules]]\npath = \"/a/b\"\n[[access.rules]]\npath = \"/a/**\"\nrequire = \"optional\"",
            "wxgate.toml:3: access.rules[1]: optional surrounds what needs a session (/a/b): a \
             spelling that only the app server understands would pass; safer is to require a \
             session all around and to list what is open",
        ),
        (
            "[[access.rules]]\npath = \"/a/**\"\n[[access.rules]]\npath = \"/a/b\"\nrequire = \"public\"",
            "wxgate.toml:3: access.rules[1]: never matches: the earlier rule for /a/** \
             (wxgate.toml:1) takes everything; the first match wins, so put the narrower rule first",
        ),
        (
            "[[access.rules]]\npath = \"/wx/login\"\nrequire = \"public\"",
            "wxgate.toml:1: access.rules[0]: never matches: the gate answers this path itself \
             (paths.login)",
        ),
        (
            "[upstreams.files]\nurl = \"http://files\"",
            "wxgate.toml:1: upstreams.files: is never used: no rule under [[access.rules]] says \
             upstream = \"files\"",
        ),
        (
            "[session]\nidle_ttl = \"8d\"",
            "wxgate.toml:2: session.idle_ttl: is not shorter than session.ttl, so it ends no session",
        ),
        (
            "[session]\ntoken_from = [\"query:token\", \"websocket-protocol\"]",
            "wxgate.toml:2: session.token_from: names places in WebSocket handshakes only, so no \
             other request can show a token; most want \"authorization\" as well",
        ),
        (
            "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]",
            "wxgate.toml:2: server.trusted_proxies[0]: trusts everybody: any client can claim any \
             address in X-Forwarded-For; name the proxies only",
        ),
        (
            "[identity]\nkeep = [\"X-Other\"]",
            "wxgate.toml:2: identity.keep[0]: \"X-Other\" is under none of \
             identity.strip_prefixes, so it passes anyway",
        ),
    ] {
        assert_eq!(warnings(lines), [expected], "{lines}");
    }
}

#[test]
fn rules_that_differ_by_method_or_path_are_no_cause_for_warning() {
    for lines in [
        "[[access.rules]]\npath = \"/a\"\nmethods = [\"GET\"]\n[[access.rules]]\npath = \"/a\"",
        "[[access.rules]]\npath = \"/a/b\"\nrequire = \"public\"\n[[access.rules]]\npath = \"/a/**\"",
        "[identity]\nkeep = [\"X-WX-Service\"]",
        "[session]\ntoken_from = [\"query:a-B_1.~\", \"websocket-protocol\", \"header:X-T\"]",
        "[server]\nlisten = \"0.0.0.0:4180\"",
    ] {
        assert_eq!(warnings(lines), [""; 0], "{lines}");
    }
}

#[test]
fn an_app_server_where_php_fpm_listens_is_warned_of() {
    let warnings = |url: &str| {
        let loaded = parse_with(SHORTEST, &[("WXGATE_UPSTREAM__URL", url)]).unwrap();
        let texts = loaded.warnings.iter().map(ToString::to_string);
        texts.collect::<Vec<_>>()
    };
    for url in ["http://127.0.0.1:9000", "unix:/run/php/php8.2-fpm.sock"] {
        let warned = warnings(url);
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains("upstream.url: is where PHP-FPM listens"));
        assert!(warned[0].contains("put nginx between"), "{warned:?}");
    }
    for url in [
        "http://127.0.0.1:9001",
        "https://app:9000",
        "unix:/run/app.sock",
    ] {
        assert_eq!(warnings(url), [""; 0], "{url}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let faults = load(&path, env(&[])).unwrap_err();
    assert_eq!(faults.count(), 1);
    assert_eq!(
        faults.to_string(),
        format!(
            "{}: cannot be read: No such file or directory (os error 2), expected a TOML file",
            path.display()
        )
    );
    fs::write(&path, b"\xff").unwrap();
    let faults = load(&path, env(&[])).unwrap_err().to_string();
    assert_eq!(
        faults,
        format!("{}: is not UTF-8, expected a TOML file", path.display())
    );
    fs::write(&path, SHORTEST).unwrap();
    assert!(load(&path, env(&[])).is_ok());
}
