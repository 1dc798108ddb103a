//! What is for browsers: the session cookie, tickets, pages of other origins.

use super::*;

const COOKIE: &str = "[session]\ntoken_from = [\"cookie:sid\"]\n[session.cookie]\nname = \"sid\"\n";

#[test]
fn a_cookie_that_no_browser_takes_is_a_fault() {
    for (name, lines, expected) in [
        (
            "a b",
            "",
            "4: session.cookie.name: is \"a b\", expected the name of a cookie such as \"__Host-wxgate\"",
        ),
        (
            "%61",
            "",
            "4: session.cookie.name: is \"%61\", expected the name of a cookie such as \"__Host-wxgate\"",
        ),
        (
            "sid",
            "same_site = \"Lax\"",
            "5: session.cookie.same_site: is \"Lax\", expected one of \"lax\", \"strict\", \"none\"",
        ),
        (
            "sid",
            "domain = \".a.example\"",
            "5: session.cookie.domain: is \".a.example\", expected a domain such as \"example.com\", or \"\" for the host of each request",
        ),
        (
            "sid",
            "domain = \"a.example; Path=/x\"",
            "5: session.cookie.domain: is \"a.example; Path=/x\", expected a domain such as \"example.com\", or \"\" for the host of each request",
        ),
        (
            "sid",
            "path = \"a\"",
            "5: session.cookie.path: is \"a\", expected a path such as \"/\"",
        ),
        (
            "sid",
            "path = \"/;Secure\"",
            "5: session.cookie.path: is \"/;Secure\", expected a path such as \"/\"",
        ),
        (
            "sid",
            "secure = false\nsame_site = \"none\"",
            "6: session.cookie.same_site: is \"none\", and secure is false: browsers take no such cookie, expected secure = true",
        ),
    ] {
        check_cookie(name, lines, expected);
    }
}

#[test]
fn a_name_with_a_promise_in_it_is_held_to_it() {
    for (name, lines, expected) in [
        (
            "__Secure-sid",
            "secure = false",
            "5: session.cookie.secure: is false: browsers take no cookie of the name __Secure-sid so, expected true",
        ),
        (
            "__host-sid",
            "secure = false",
            "5: session.cookie.secure: is false: browsers take no cookie of the name __host-sid so, expected true",
        ),
        (
            "__Host-sid",
            "domain = \"a.example\"",
            "5: session.cookie.domain: is set: browsers take a cookie of the name __Host-sid with no domain and the path / only, expected neither, or another name",
        ),
        (
            "__Host-sid",
            "path = \"/a\"",
            "5: session.cookie.path: is set: browsers take a cookie of the name __Host-sid with no domain and the path / only, expected neither, or another name",
        ),
    ] {
        check_cookie(name, lines, expected);
    }
}

/// One fault in a cookie that is looked for under its name.
#[track_caller]
fn check_cookie(name: &str, lines: &str, expected: &str) {
    let is_none = expected.contains("expected the name");
    let place = if is_none { "other" } else { name };
    let table = format!(
        "[session]\ntoken_from = [\"cookie:{place}\"]\n[session.cookie]\nname = \"{name}\"\n{lines}"
    );
    check(&table, expected);
}

#[test]
fn a_cookie_that_is_set_is_one_that_is_looked_for() {
    check(
        "[session.cookie]\nname = \"sid\"",
        "2: session.cookie.name: is \"sid\", and nobody looks for tokens there, expected \"cookie:sid\" in \
         session.token_from too",
    );
    check(
        "[session]\ntoken_from = [\"cookie:a b\"]",
        "2: session.token_from[0]: is \"cookie:a b\", expected the name of a cookie such as \
         \"cookie:__Host-wxgate\"",
    );
    // The other way round it is the pages that set it.
    let config = shortest_with("[session]\ntoken_from = [\"authorization\", \"cookie:sid\"]");
    assert!(config.gateway.cookie.is_none());
    assert_eq!(config.gateway.identity.cookies().count(), 1);
}

#[test]
fn what_is_said_of_the_cookie_is_what_browsers_are_told() {
    let told = |lines: &str| {
        let config = shortest_with(&format!("{COOKIE}{lines}"));
        format!("{:?}", config.gateway.cookie.unwrap())
    };
    assert_eq!(told(""), "sid; Path=/; HttpOnly; Secure; SameSite=Lax");
    let lines = "domain = \"a.example\"\npath = \"/h5\"\nsame_site = \"none\"";
    let expected = "sid; Path=/h5; Domain=a.example; HttpOnly; Secure; SameSite=None";
    assert_eq!(told(lines), expected);
    assert_eq!(
        warnings(&format!("{COOKIE}secure = false\nsame_site = \"strict\"\n")),
        [
            "wxgate.toml:5: session.cookie.secure: is false: browsers send sessions in clear text too; for tests \
          without TLS alone"
        ]
    );
}

#[test]
fn only_whole_origins_are_allowed_and_never_all() {
    const EXPECTED: &str = "expected an origin such as \"https://app.example.com\", without a path";
    for wrong in [
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://user@app.example.com",
        "ftp://app.example.com",
        "",
    ] {
        let expected = format!("2: cors.allowed_origins[0]: is \"{wrong}\", {EXPECTED}");
        check(
            &format!("[cors]\nallowed_origins = [\"{wrong}\"]"),
            &expected,
        );
    }
    check(
        "[cors]\nallowed_origins = [\"*\"]",
        &format!(
            "2: cors.allowed_origins[0]: is \"*\", by which every page could use sessions, {EXPECTED}"
        ),
    );
    let lines = "[session]\ntoken_from = [\"header:X-Session\", \"cookie:sid\"]\n[cors]\n\
                 allowed_origins = [\"HTTPS://App.example.com:443\", \"https://app.example.com\"]\nmax_age = \"1h\"";
    let cors = shortest_with(lines).gateway.cors.unwrap();
    let origins: Vec<_> = cors
        .allowed_origins
        .iter()
        .map(crate::domain::web_origin::WebOrigin::as_str)
        .collect();
    assert_eq!(origins, ["https://app.example.com"]);
    assert_eq!(cors.max_age, Duration::from_hours(1));
    assert_eq!(cors.allowed_headers, "content-type, x-session");
    assert!(cors.credentials);
    assert!(config(SHORTEST).gateway.cors.is_none());
}

#[test]
fn tickets_have_paths_of_their_own_and_everything_below_in_one_segment() {
    check(
        "[paths]\nticket = \"/wx/ticket/\"",
        "2: paths.ticket: is \"/wx/ticket/\", and below it tickets are exchanged, expected a path without a \
         slash at its end",
    );
    check(
        "[paths]\nticket = \"/wx\"",
        "2: paths.ticket: has below it the same path as paths.login, expected different ones (letter case and a \
         slash at the end make no difference)",
    );
    check(
        "[paths]\nticket = \"/wx/ticket\"\n[session]\ntoken_from = [\"query:wx_ticket\"]",
        "4: session.token_from: has \"query:wx_ticket\", which is where tickets are (paths.ticket), expected \
         another parameter",
    );
    let endpoints = shortest_with("[paths]\nticket = [\"/wx/ticket\", \"/t\"]")
        .gateway
        .routes
        .endpoints;
    let count = |wanted| {
        endpoints
            .iter()
            .filter(|(_, endpoint)| *endpoint == wanted)
            .count()
    };
    assert_eq!([count(Endpoint::Ticket), count(Endpoint::HandOver)], [2, 2]);
}
