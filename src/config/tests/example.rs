//! `config.example.toml` is held to the code: every key, every default.

use super::*;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// As WeChat's console draws them.
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
/// As `openssl rand -base64 32` makes them.
const PROOF_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// As the example says to make them.
const SEAL_KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";

/// A line of the example that is a comment but would be configuration.
fn uncommented(line: &str) -> Option<&str> {
    let code = line.strip_prefix("# ")?;
    let is_key = |text: &str| {
        let (name, _) = text.split_once(" = ")?;
        let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '.');
        name.chars().all(plain).then_some(())
    };
    (code.starts_with('[') || code.starts_with("# ") || is_key(code).is_some()).then_some(code)
}

fn line(number: usize) -> &'static str {
    EXAMPLE.lines().nth(number).unwrap()
}

/// Which secret below a table a line gives in another form than the first, which is as good as any.
/// The three forms of a secret stand together.
fn other_form(number: usize) -> Option<&'static str> {
    let name = line(number).trim_start_matches("# ").split(" = ").next()?;
    let stem = name.strip_suffix("_file").unwrap_or(name);
    let first = format!("# {stem}_env = ");
    let is_first = |before: usize| line(number.saturating_sub(before)).starts_with(&first);
    let of_a_table = !stem.ends_with("secret") && stem != "user_key";
    (of_a_table && (1..=2).any(is_first)).then_some(stem)
}

/// The example with everything uncommented that `wanted` says, by line from 0.
fn example_with(wanted: impl Fn(usize) -> bool) -> String {
    let line = |(number, line)| match uncommented(line) {
        Some(code) if wanted(number) => code,
        _ => line,
    };
    let lines: Vec<_> = EXAMPLE.lines().enumerate().map(line).collect();
    lines.join("\n")
}

fn patterns(node: &Node, path: &str, found: &mut BTreeSet<String>) {
    match &node.value {
        Value::Table(entries) => {
            for (name, child) in entries {
                let name = if path == "upstreams" { "NAME" } else { name };
                let dot = if path.is_empty() { "" } else { "." };
                patterns(child, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::List(items) if matches!(items.first(), Some(first) if matches!(first.value, Value::Table(_))) => {
            for item in items {
                patterns(item, &format!("{path}[]"), found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_example_is_valid_and_says_nothing_but_defaults() {
    let loaded = parse_with(EXAMPLE, &[]).unwrap();
    assert_eq!(
        format!("{:#?}", loaded.config),
        format!("{:#?}", config(SHORTEST))
    );
    assert!(loaded.warnings.is_empty());
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let tree = document::parse(&example_with(|_| true), &"example".into())
        .map_err(|fault| fault.to_string());
    let mut shown = BTreeSet::new();
    patterns(&tree.unwrap(), "", &mut shown);
    let same_as_upstream = |key: &String| {
        key.strip_prefix("upstreams.NAME.")
            .is_some_and(|name| shown.contains(&format!("upstream.{name}")))
    };
    let known = known_keys();
    let missing: Vec<_> = known
        .iter()
        .filter(|key| !shown.contains(*key) && !same_as_upstream(key))
        .collect();
    assert!(missing.is_empty(), "not in the example: {missing:?}");
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(unknown.is_empty(), "not known: {unknown:?}");
}

/// What the example shows, and what a test has in its place.
fn real_values(directory: &Path) -> Vec<(&'static str, String)> {
    let file = |name: &str, content: &str| {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let secret = file("secret", PLANTED);
    let aes_key = file("aes_key", AES_KEY);
    let seal_key = file("seal_key", SEAL_KEY);
    let proof_key = file("proof_key", PROOF_KEY);
    let pem = file("ca.pem", "-----BEGIN CERTIFICATE-----");
    let (cert, key) = tls::pair(|_params| {});
    let (cert, key) = (file("cert.pem", &cert), file("key.pem", &key));
    let (app_cert, app_key) = upstream_tls::pair();
    let app_cert = file("app-cert.pem", &app_cert);
    let app_key = file("app-key.pem", &app_key);
    vec![
        ("/run/secrets/wx_app_secret_previous", secret.clone()),
        ("/run/secrets/wx_app_secret", secret.clone()),
        ("/run/secrets/wxgate_user_key", secret.clone()),
        ("/run/secrets/wx_push_token", secret.clone()),
        ("/run/secrets/wx_push_aes_key", aes_key.clone()),
        ("/run/secrets/wx_push_old_aes_key", aes_key),
        ("/run/secrets/wxgate_seal_key", seal_key.clone()),
        ("/run/secrets/wxgate_old_seal_key", seal_key),
        ("seal_key = \"…\"", format!("seal_key = \"{SEAL_KEY}\"")),
        ("forward_to = \"\"", "forward_to = \"/push\"".to_owned()),
        ("/run/secrets/wxgate_egress_token", secret),
        ("redis://127.0.0.1", "rediss://127.0.0.1".to_owned()),
        ("/etc/wxgate/redis/ca.pem", app_cert.clone()),
        ("/run/secrets/wxgate_proof_key_previous", proof_key.clone()),
        ("/run/secrets/wxgate_proof_key", proof_key),
        ("the-random-text-before", PROOF_KEY.to_owned()),
        ("the-random-text", PROOF_KEY.to_owned()),
        ("/etc/wxgate/identity/key.pem", app_key.clone()),
        ("/etc/wxgate/identity/previous.pem", app_key.clone()),
        ("/etc/wxgate/ca.pem", pem),
        ("/etc/wxgate/tls/cert.pem", cert.clone()),
        ("/etc/wxgate/tls/key.pem", key),
        ("/etc/wxgate/tls/clients.pem", cert),
        ("http://127.0.0.1:3000", "https://127.0.0.1:3000".to_owned()),
        ("/etc/wxgate/app/ca.pem", app_cert.clone()),
        ("/etc/wxgate/app/cert.pem", app_cert),
        ("/etc/wxgate/app/key.pem", app_key),
    ]
}

/// The example with all that it shows as a comment, and once more for every other form of a secret.
fn uncommented_in_every_form() -> Vec<String> {
    let is_code = |number: usize| EXAMPLE.lines().nth(number).and_then(uncommented).is_some();
    let rules = |number: usize| {
        let line = line(number);
        other_form(number).is_none() && !line.contains("secret") && !line.contains("user_key")
    };
    let mut texts = vec![example_with(rules)];
    let alternatives =
        (0..EXAMPLE.lines().count()).filter(|&number| is_code(number) && !rules(number));
    texts.extend(alternatives.map(|number| {
        if let Some(stem) = other_form(number) {
            let first = format!("# {stem}_env = ");
            let same =
                |other: usize| other.abs_diff(number) <= 2 && line(other).starts_with(&first);
            let chosen = |other| rules(other) && !same(other);
            return example_with(|other| other == number || chosen(other));
        }
        let text = example_with(|other| other == number);
        // One form of the AppSecret takes the place of the other.
        if line(number).contains("# secret") {
            text.replace("secret_env = \"WX_APP_SECRET\"\n", "")
        } else {
            text
        }
    }));
    texts
}

#[test]
fn what_the_example_shows_as_a_comment_works_when_uncommented() {
    let directory = tempfile::tempdir().unwrap();
    let real = real_values(directory.path());
    let texts = uncommented_in_every_form();
    assert_eq!(texts.len(), 25);
    for text in texts {
        let text = real
            .iter()
            .fold(text, |text, (shown, real)| text.replace(shown, real));
        let variables = [
            ("WXGATE_EGRESS_TOKEN", PLANTED),
            ("WXGATE_USER_KEY", PLANTED),
            ("WX_APP_SECRET_PREVIOUS", PLANTED),
            ("WXGATE_SEAL_KEY", SEAL_KEY),
            ("WXGATE_OLD_SEAL_KEY", SEAL_KEY),
            ("WX_PUSH_TOKEN", PLANTED),
            ("WX_PUSH_AES_KEY", AES_KEY),
            ("WX_PUSH_OLD_AES_KEY", AES_KEY),
            ("WXGATE_PROOF_KEY", PROOF_KEY),
            ("WXGATE_PROOF_KEY_PREVIOUS", PROOF_KEY),
        ];
        let loaded = parse_with(&text, &variables);
        assert!(loaded.is_ok(), "{}", loaded.unwrap_err());
    }
}

#[test]
fn no_key_that_the_example_shows_for_proofs_is_taken() {
    let shown = |key: &str| {
        let mut lines = EXAMPLE.lines().filter_map(uncommented);
        lines.find(|code| code.starts_with(key)).unwrap()
    };
    let previous = format!("key = \"{PROOF_KEY}\"\n{}", shown("previous_key = \""));
    for lines in [shown("key = \""), &previous] {
        let loaded = parse_with(&format!("[identity.hmac]\n{lines}\n{SHORTEST}"), &[]);
        let fault = loaded.unwrap_err().to_string();
        assert!(fault.contains("is shorter than 32 bytes"), "{fault}");
    }
}

#[test]
fn every_key_of_the_example_has_a_comment() {
    let mut before = "";
    for line in EXAMPLE.lines() {
        let is_key = !line.starts_with(['#', '[', ' ', ']']) && !line.is_empty();
        assert!(!is_key || before.starts_with("# "), "{line}");
        before = line;
    }
}
