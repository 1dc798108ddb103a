//! The environment over the file.

use super::*;

/// The faults of the shortest file under one variable.
#[track_caller]
fn check(name: &str, value: &str, expected: &str) {
    assert_eq!(
        faults_with(SHORTEST, &[(name, value)]),
        format!("environment {name}: {expected}")
    );
}

#[test]
fn a_variable_overrides_a_key_and_is_typed_by_it() {
    let loaded = parse_with(
        SHORTEST,
        &[
            ("WXGATE_SERVER__LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
            ("WXGATE_SERVER__WORKERS", "3"),
            ("WXGATE_SERVER__LIMITS__MAX_BODY_BYTES", "1MiB"),
            ("WXGATE_SESSION__TTL", "1h"),
            ("WXGATE_LOG__ACCESS", "false"),
            ("WXGATE_ADMIN__LISTEN", ""),
            ("WXGATE_PATHS__LOGOUT", ""),
            ("WXGATE_APPS__0__APPID", "wx1"),
            ("WXGATE_UPSTREAMS__FILES__URL", "http://files"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.server.limits.max_body_bytes, Some(1_048_576));
    assert_eq!(
        config.gateway.session.lifetimes.ttl,
        Duration::from_hours(1)
    );
    assert!(!config.log.access);
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.gateway.routes.endpoints.len(), 4);
    assert_eq!(config.gateway.apps[0].id.as_str(), "wx1");
    assert_eq!(config.upstreams.len(), 2);
}

#[test]
fn an_empty_file_can_be_filled_from_the_environment_alone() {
    let mut variables: Vec<_> = (0..11)
        .flat_map(|n| {
            [
                (format!("WXGATE_APPS__{n}__APPID"), format!("wx{n}")),
                (format!("WXGATE_APPS__{n}__SECRET"), PLANTED.to_owned()),
            ]
        })
        .collect();
    variables.push(("WXGATE_UPSTREAM__URL".to_owned(), "http://app".to_owned()));
    let loaded = parse("", Path::new("wxgate.toml"), variables).unwrap();
    assert_eq!(loaded.config.gateway.apps.len(), 11);
    assert_eq!(loaded.config.gateway.apps[10].id.as_str(), "wx10");
}

#[test]
fn names_without_two_underscores_are_somebody_elses() {
    let others = [
        ("WXGATE_PORT", "tcp://10.0.0.1:4180"),
        ("WXGATE_PORT_4180_TCP_ADDR", "10.0.0.1"),
        ("OTHER__X", "1"),
        ("wxgate_server__workers", "9"),
    ];
    let config = parse_with(SHORTEST, &others).unwrap().config;
    assert_eq!(config.server.workers, 0);
}

#[test]
fn faults_of_variables_name_the_variable_and_the_key() {
    check(
        "WXGATE_SERVER__LISEN",
        "x",
        "server.lisen: unknown key, the nearest known one is server.listen",
    );
    check(
        "WXGATE_SESION__TTL",
        PLANTED,
        "sesion: unknown key, the nearest known one is session",
    );
    check(
        "WXGATE_SERVER__WORKERS",
        "two",
        "server.workers: is \"two\", expected a whole number from 0 to 1024",
    );
    check(
        "WXGATE_SESSION__TTL",
        "7",
        "session.ttl: is \"7\", expected a duration above zero such as \"15s\", \"5m\" or \"7d\"",
    );
    check(
        "WXGATE_SERVER__LISTEN",
        "127.0.0.1:1,x",
        "server.listen: is \"x\", expected an IP address and a port such as \"0.0.0.0:4180\" or \"[::]:4180\", or \"unix:/path\"",
    );
    check(
        "WXGATE_SERVER__LIMITS",
        "x",
        "server.limits: is text, expected a table",
    );
    check(
        "WXGATE_UPSTREAM__URL__X",
        "x",
        "upstream.url.x: x is below text, which has no keys",
    );
    check(
        "WXGATE_APPS__5__APPID",
        "x",
        "apps[5].appid: 5 is too far, expected a number from 0 to 1",
    );
    check(
        "WXGATE_APPS__X__APPID",
        "x",
        "apps.x.appid: x is not a number, and this is a list",
    );
    check(
        "WXGATE_SERVER__",
        "x",
        "server.: a level has no name, expected names with __ between them",
    );
}

#[test]
fn faults_of_the_file_come_before_those_of_the_environment() {
    let text = format!("[store]\nkind = \"x\"{SHORTEST}");
    let faults = faults_with(&text, &[("WXGATE_A__B", "1"), ("WXGATE_LOG__LEVEL", "x")]);
    let places: Vec<_> = faults
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "wxgate.toml:2",
            "environment WXGATE_A__B",
            "environment WXGATE_LOG__LEVEL"
        ]
    );
}

#[test]
fn an_override_of_one_form_of_a_secret_replaces_the_others() {
    let secret = |variables: &[(&str, &str)]| {
        let config = parse_with(SHORTEST, variables).unwrap().config;
        config.gateway.apps[0].secret.expose().to_owned()
    };
    assert_eq!(secret(&[]), PLANTED);
    assert_eq!(secret(&[("WXGATE_APPS__0__SECRET", "direct")]), "direct");
    let other = [("WXGATE_APPS__0__SECRET_ENV", "OTHER"), ("OTHER", "named")];
    assert_eq!(secret(&other), "named");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "filed\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(secret(&[("WXGATE_APPS__0__SECRET_FILE", file)]), "filed");
    let both = [
        ("WXGATE_APPS__0__SECRET_FILE", file),
        ("WXGATE_APPS__0__SECRET", PLANTED),
    ];
    assert_eq!(
        faults_with(SHORTEST, &both),
        "environment WXGATE_APPS__0__SECRET_FILE: apps[0].secret_file: given beside \
         apps[0].secret (environment WXGATE_APPS__0__SECRET), expected exactly one of secret, \
         secret_file, secret_env"
    );
}

#[test]
fn a_key_with_capital_letters_can_be_overridden_too() {
    let variable = "WXGATE_COMPAT__FIELD_NAMES__ENCRYPTEDDATA";
    let lines = "[compat]\nfield_names = { encryptedData = [\"old\"] }";
    for text in [SHORTEST.to_owned(), format!("{SHORTEST}{lines}")] {
        let loaded = parse_with(&text, &[(variable, "encrypted_data, data")]);
        let names = loaded.unwrap().config.gateway.field_names;
        for (name, expected) in [
            ("encrypted_data", Some(gateway::Field::EncryptedData)),
            ("data", Some(gateway::Field::EncryptedData)),
            ("old", None),
        ] {
            assert_eq!(names.find(name), expected, "{name}");
        }
    }
    check(
        variable,
        "iv",
        "compat.field_names.encryptedData: is \"iv\", which is a name of iv already, expected \
         another one",
    );
    // In a file letter case matters.
    let lower = SHORTEST.to_owned() + "[compat]\nfield_names = { encrypteddata = [] }";
    assert!(faults_with(&lower, &[]).contains("unknown key"));
}
