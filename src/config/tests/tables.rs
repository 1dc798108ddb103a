//! Faults in the values of each table, word for word.

use super::*;

#[test]
fn addresses_and_limits_of_the_server_are_checked() {
    const ADDRESS: &str = "expected an IP address and a port such as \"0.0.0.0:4180\" or \"[::]:4180\", or \"unix:/path\"";
    for (lines, expected) in [
        ("[server]\nlisten = \":4180\"", format!("2: server.listen: is \":4180\", {ADDRESS}")),
        ("[server]\nlisten = \"unix:x\"", format!("2: server.listen: has no absolute path after unix:, {ADDRESS}")),
        ("[server]\nlisten = [\"[::1]:1\", \"[::1]:1\"]", "2: server.listen[1]: is there twice, expected every address once".to_owned()),
        ("[server]\ntrusted_proxies = [\"lan\"]", "2: server.trusted_proxies[0]: is \"lan\", expected a network such as \"10.0.0.0/8\", an address, or \"unix\"".to_owned()),
        ("[server]\ntrusted_proxies = [\"::ffff:10.0.0.0/104\"]", "2: server.trusted_proxies[0]: is IPv4 in IPv6 form and would never match, expected the IPv4 network".to_owned()),
        ("[server]\ndrain_timeout = \"0\"", "2: server.drain_timeout: is \"0\", expected a duration above zero such as \"15s\", \"5m\" or \"7d\"".to_owned()),
        ("[server.limits]\nmax_header_bytes = \"1KiB\"", "2: server.limits.max_header_bytes: is \"1KiB\", expected a size from \"8KiB\" to \"1MiB\"".to_owned()),
        ("[server.limits]\nmax_header_bytes = \"8KiB\"\nmax_uri_bytes = \"9KiB\"", "3: server.limits.max_uri_bytes: leaves no room for the target, expected max_uri_bytes not above max_header_bytes".to_owned()),
        ("[server.limits]\nidle_timeout = \"0\"", "2: server.limits.idle_timeout: is \"0\", expected a duration above zero such as \"15s\", \"5m\" or \"7d\"".to_owned()),
        ("[admin]\nlisten = \"4189\"", "2: admin.listen: is \"4189\", expected an IP address and a port such as \"127.0.0.1:4189\", or \"\" for off".to_owned()),
        ("[admin]\nlisten = \"[::]:4180\"", "2: admin.listen: is also in server.listen, expected an address that clients do not reach".to_owned()),
    ] {
        check(lines, &expected);
    }
}

#[test]
fn an_app_server_speaks_one_of_two_versions() {
    check(
        "[upstreams.a]\nurl = \"http://a\"\nprotocol = \"h2c\"",
        "3: upstreams.a.protocol: is \"h2c\", expected one of \"http1\", \"http2\"",
    );
}

#[test]
fn the_url_of_an_app_server_is_scheme_host_and_port() {
    const EXPECTED: &str = "expected \"http://host:port\", \"https://host:port\" or \"unix:/path\", \
                            without a path on the app server";
    for (url, wrong) in [
        ("http://app/api", format!("has a path, {EXPECTED}")),
        (
            "http://user:planted0planted0planted0planted0@app",
            format!("has a user or password, {EXPECTED}"),
        ),
        (
            "http://app?x",
            format!("has a query or fragment, {EXPECTED}"),
        ),
        ("ftp://app", format!("has an unknown scheme, {EXPECTED}")),
        ("app:3000", format!("has no scheme, {EXPECTED}")),
        (
            "unix:app",
            format!("has no absolute path after unix:, {EXPECTED}"),
        ),
        (
            "http://localhost:4180",
            "is the gate's own address (server.listen), expected that of the app server".to_owned(),
        ),
        (
            "https://localhost:4180",
            "is the gate's own address (server.listen), expected that of the app server".to_owned(),
        ),
        (
            "",
            "is empty, expected the address of the app server such as \"http://127.0.0.1:3000\""
                .to_owned(),
        ),
    ] {
        let text = SHORTEST.replace("http://127.0.0.1:3000", url);
        assert_eq!(
            faults_with(&text, &[]),
            format!("wxgate.toml:3: upstream.url: {wrong}")
        );
    }
    check(
        "[upstreams.A]\nurl = \"http://a\"",
        "1: upstreams.A: is not a name, expected lower-case letters, digits, - and single _",
    );
}

#[test]
fn apps_are_registered_once_and_not_under_their_secret() {
    const EXPECTED: &str = "expected the appid of the mini program such as \"wx0123456789abcdef\"";
    let second =
        |app: &str| faults_with(&format!("{SHORTEST}[[apps]]\n{app}\nsecret = \"x\""), &[]);
    assert_eq!(
        second("appid = \"wx0123456789abcdef\""),
        "wxgate.toml:9: apps[1].appid: is the same as apps[0].appid (wxgate.toml:6), expected \
         every mini program once"
    );
    assert_eq!(
        second("appid = \"0123456789abcdef0123456789abcdef\""),
        format!("wxgate.toml:9: apps[1].appid: looks like an AppSecret, {EXPECTED}")
    );
    assert_eq!(
        second("appid = \"wx 1\""),
        format!(
            "wxgate.toml:9: apps[1].appid: it has a character other than printable ASCII, {EXPECTED}"
        )
    );
    assert_eq!(
        faults_with("apps = []\nupstream.url = \"http://a\"", &[]),
        "wxgate.toml:1: apps: missing, expected a table [[apps]] with appid and secret_env for every mini program"
    );
    assert_eq!(
        faults_with("apps = 1\nupstream.url = \"http://a\"", &[]),
        "wxgate.toml:1: apps: is one value, expected tables under [[apps]]"
    );
}

#[test]
fn the_secret_does_not_travel_in_clear_text() {
    const EXPECTED: &str = "expected scheme and host such as \"https://api.weixin.qq.com\"";
    for (value, wrong) in [
        ("http://mock:4190", "is http to another machine, which would carry the AppSecret in clear text, expected https, or a loopback address for a simulated WeChat".to_owned()),
        ("https://api.weixin.qq.com/sns", format!("has a path, {EXPECTED}")),
        ("api.weixin.qq.com", format!("has no scheme, {EXPECTED}")),
        ("ws://localhost", format!("has an unknown scheme, {EXPECTED}")),
    ] {
        check(&format!("[wechat]\nbase_url = \"{value}\""), &format!("2: wechat.base_url: {wrong}"));
    }
    check(
        "[wechat]\nresolve = [\"192.0.2.1:443\"]",
        "2: wechat.resolve[0]: is \"192.0.2.1:443\", expected an IP address without a port",
    );
    check(
        "[wechat]\nca_file = \"/none.pem\"",
        "2: wechat.ca_file: cannot read /none.pem: No such file or directory (os error 2), expected a file with certificates (PEM)",
    );
    check(
        "[wechat]\nca_file = \"/dev/null\"",
        "2: wechat.ca_file: /dev/null has no certificate in it, expected PEM (-----BEGIN CERTIFICATE-----)",
    );
    check(
        &format!("[wechat]\nproxy_url = \"ftp://u:{PLANTED}@p\""),
        "2: wechat.proxy_url: has no scheme of a proxy, expected \"http://host:port\" or \"socks5h://host:port\"",
    );
    check(
        &format!("[wechat]\nproxy_url = \"http://u:{PLANTED}@p:x\""),
        "2: wechat.proxy_url: has a port that is no number from 1 to 65535, expected \"http://host:port\" or \"socks5h://host:port\"",
    );
}

#[test]
fn routes_of_the_gate_are_exact_and_different() {
    const EXPECTED: &str = "expected a path such as \"/wx/login\", or \"\" for off";
    for (lines, expected) in [
        ("login = \"wx\"", format!("2: paths.login: is \"wx\": a path begins with /, {EXPECTED}")),
        ("login = \"/wx/**\"", format!("2: paths.login: is \"/wx/**\": stands for more than one path, {EXPECTED}")),
        ("logout = \"/WX/Login/\"", "2: paths.logout: is \"/WX/Login/\": the same path as paths.login, expected different ones (letter case and a slash at the end make no difference)".to_owned()),
        ("login = [\"/a\", \"/a\"]", "2: paths.login[1]: is \"/a\": the same path as paths.login[0], expected different ones (letter case and a slash at the end make no difference)".to_owned()),
    ] {
        check(&format!("[paths]\n{lines}"), &expected);
    }
}

#[test]
fn rules_name_paths_methods_and_app_servers_that_exist() {
    for (lines, expected) in [
        (
            "require = \"public\"",
            "1: access.rules[0].path: missing, expected a path such as \"/a\", \"/a/**\" or \"/a/*/b\"",
        ),
        (
            "path = \"/a%2f\"",
            "2: access.rules[0].path: is \"/a%2f\": a path has printable ASCII only, and none of % \\ ; ? #, no // and no dot segment, expected a path such as \"/a\", \"/a/**\" or \"/a/*/b\"",
        ),
        (
            "path = \"/a\"\nmethods = [\"get\"]",
            "3: access.rules[0].methods[0]: is \"get\", expected \"GET\": the case of methods matters",
        ),
        (
            "path = \"/a\"\nmethods = [\"G T\"]",
            "3: access.rules[0].methods[0]: is \"G T\", expected a method such as \"GET\"",
        ),
        (
            "path = \"/a\"\nmethods = [\"CONNECT\"]",
            "3: access.rules[0].methods[0]: is \"CONNECT\", which the gate refuses on every path, expected another method",
        ),
        (
            "path = \"/a\"\nmethods = []",
            "3: access.rules[0].methods: is empty, expected methods such as [\"GET\", \"HEAD\"]; leave the key out for all",
        ),
        (
            "path = \"/a\"\nrequire = \"none\"",
            "3: access.rules[0].require: is \"none\", expected one of \"session\", \"optional\", \"public\"",
        ),
        (
            "path = \"/a\"\nupstream = \"b\"",
            "3: access.rules[0].upstream: is \"b\", but there is no table [upstreams.NAME]",
        ),
        (
            "path = \"/a\"\nupstream = \"b\"\n[upstreams.a]\nurl = \"http://a\"",
            "3: access.rules[0].upstream: is \"b\", but expected one of \"a\"",
        ),
    ] {
        check(&format!("[[access.rules]]\n{lines}"), expected);
    }
}

#[test]
fn identity_headers_are_headers_of_their_own() {
    for (lines, expected) in [
        (
            "headers.openid = \"a b\"",
            "2: identity.headers.openid: is \"a b\", expected the name of a header such as \"X-WX-OPENID\"",
        ),
        (
            "headers.openid = \"Connection\"",
            "2: identity.headers.openid: is \"Connection\", which belongs to one connection and goes no further, expected a header of its own",
        ),
        (
            "headers.openid = \"content_type\"",
            "2: identity.headers.openid: is \"content_type\", which decides how the request is read, expected a header of its own",
        ),
        (
            "headers.openid = \"Host\"",
            "2: identity.headers.openid: is \"Host\", which decides how the request is read, expected a header of its own",
        ),
        (
            "headers.openid = \"Cookie\"",
            "2: identity.headers.openid: is \"Cookie\", which carries credentials of the app server's own, expected a header of its own",
        ),
        (
            "headers.openid = \"X-Request-Id\"",
            "2: identity.headers.openid: is \"X-Request-Id\", which says where a request came from, expected a header of its own",
        ),
        (
            "headers.openid = \"X-Forwarded-For\"",
            "2: identity.headers.openid: is \"X-Forwarded-For\", which says where a request came from, expected a header of its own",
        ),
        (
            "headers.openid = \"x_wx_appid\"",
            "2: identity.headers.openid: is the same header as identity.headers.appid (for servers that fold letter case and - _ .), expected different ones",
        ),
        (
            "headers.unionid = \"X.WX.OpenId\"",
            "2: identity.headers.unionid: is the same header as identity.headers.openid (for servers that fold letter case and - _ .), expected different ones",
        ),
    ] {
        check(&format!("[identity]\n{lines}"), expected);
    }
}

#[test]
fn what_no_request_may_bring_along_leaves_the_request_whole() {
    for (lines, expected) in [
        (
            "preset = \"nginx\"",
            "2: identity.preset: is \"nginx\", expected one of \"cloudrun\", \"remote-user\", \"x-forwarded-user\"",
        ),
        (
            "env = \"a b\"",
            "2: identity.env: has a space or another character than printable ASCII, expected the id of an environment, or \"\" for off",
        ),
        (
            "strip_prefixes = [\"\"]",
            "2: identity.strip_prefixes[0]: is \"\", expected the beginning of header names such as \"x-wx-\"",
        ),
        (
            "strip_prefixes = [\"co\"]",
            "2: identity.strip_prefixes[0]: is \"co\" and would take out connection, expected the beginning of header names such as \"x-wx-\"",
        ),
        (
            "strip_prefixes = [\"Content-D\"]",
            "2: identity.strip_prefixes[0]: is \"Content-D\" and would take out content-*, expected the beginning of header names such as \"x-wx-\"",
        ),
        (
            "strip_prefixes = [\"x-\"]",
            "2: identity.strip_prefixes[0]: is \"x-\" and would take out x-forwarded-for, expected the beginning of header names such as \"x-wx-\"",
        ),
        (
            "strip_prefixes = [\"auth\"]",
            "2: identity.strip_prefixes[0]: is \"auth\" and would take out authorization, expected the beginning of header names such as \"x-wx-\"",
        ),
        (
            "keep = [\"x.wx.openid\"]",
            "2: identity.keep[0]: is \"x.wx.openid\", but only the gate may write X-WX-OPENID, expected another header",
        ),
        (
            "keep = [\"x wx\"]",
            "2: identity.keep[0]: is \"x wx\", expected the name of a header",
        ),
    ] {
        check(&format!("[identity]\n{lines}"), expected);
    }
}

#[test]
fn tokens_are_looked_for_in_places_that_mean_nothing_else() {
    const EXPECTED: &str = "expected \"authorization\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \"websocket-protocol\"";
    const PARAMETER: &str = "expected the name of a parameter, of letters, digits and - . _ ~";
    for (lines, wrong) in [
        ("[]", format!(": is empty, so no token would ever be found, {EXPECTED}")),
        ("[\"cookie\"]", format!("[0]: is \"cookie\", {EXPECTED}")),
        ("[\"query:\"]", format!("[0]: is \"query:\", {PARAMETER}")),
        ("[\"query:a b\"]", format!("[0]: is \"query:a b\", {PARAMETER}")),
        ("[\"query:%74oken\"]", format!("[0]: is \"query:%74oken\", {PARAMETER}")),
        ("[\"query\"]", format!("[0]: is \"query\", {EXPECTED}")),
        ("[\"websocket-protocol:x\"]", format!("[0]: is \"websocket-protocol:x\", {EXPECTED}")),
        ("[\"query:t\", \"query:t\"]", "[1]: is \"query:t\" for the second time, expected every place once".to_owned()),
        ("[\"body\"]", format!("[0]: is \"body\", {EXPECTED}")),
        ("[\"header:Authorization\"]", "[0]: is \"header:Authorization\", expected \"authorization\", which takes Bearer tokens there".to_owned()),
        ("[\"header:Upgrade\"]", "[0]: is \"Upgrade\", which belongs to one connection and goes no further, expected a header of its own".to_owned()),
        ("[\"header:host\"]", "[0]: is \"host\", which decides how the request is read, expected a header of its own".to_owned()),
        ("[\"header:\"]", "[0]: is \"\", expected the name of a header such as \"X-WX-OPENID\"".to_owned()),
        ("[\"header:x-t\", \"header:X-T\"]", "[1]: is \"header:X-T\" for the second time, expected every place once".to_owned()),
    ] {
        check(&format!("[session]\ntoken_from = {lines}"), &format!("2: session.token_from{wrong}"));
    }
    shortest_with("[session]\ntoken_from = [\"header:X-WX-Token\", \"header:X-WX-OPENID\"]");
}

#[test]
fn what_login_tells_is_one_of_two_things() {
    check(
        "[login]\nexpose = [\"session_key\"]",
        "2: login.expose[0]: is \"session_key\", expected \"openid\" or \"unionid\"",
    );
}

#[test]
fn the_proxy_protocol_needs_proxies_that_are_trusted() {
    check(
        "[server]\nproxy_protocol = true",
        "2: server.proxy_protocol: is true, and nobody may connect: server.trusted_proxies is \
         empty, expected the proxies there that say whose connections they pass on",
    );
    check(
        "[server]\nproxy_protocol = \"v2\"",
        "2: server.proxy_protocol: is \"v2\", expected true or false",
    );
    let lines = |trusted: &str| {
        format!(
            "[server]\nlisten = [\"[::]:4180\", \"unix:/run/gate.sock\"]\nproxy_protocol = true\n\
             trusted_proxies = [\"10.0.0.0/8\"{trusted}]\n"
        )
    };
    assert_eq!(
        warnings(&lines("")),
        [
            "wxgate.toml:2: server.listen: has unix:/run/gate.sock, and nobody may connect to it: \
             server.proxy_protocol is true, and \"unix\" is not in server.trusted_proxies"
        ]
    );
    assert_eq!(warnings(&lines(", \"unix\"")), [""; 0]);
    assert!(shortest_with(&lines("")).server.proxy_protocol);
    assert!(!config(SHORTEST).server.proxy_protocol);
}
