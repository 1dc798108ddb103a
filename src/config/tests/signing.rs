//! `[identity.jwt]` and `[identity.hmac]`: what is read, and what is said about each fault.

use std::os::unix::fs::PermissionsExt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use tempfile::TempDir;

use super::*;

const KEY: &str = "expected a file with a private key, Ed25519 or P-256 (PEM, PKCS #8, no \
                   passphrase), such as `openssl genpkey -algorithm ed25519` makes";
const RANDOM: &str = "expected a random text such as `openssl rand -base64 32` makes";
const LONG: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What `openssl genrsa 512` made: the form is that of any RSA key.
const RSA: &str = "-----BEGIN PRIVATE KEY-----
MIIBVAIBADANBgkqhkiG9w0BAQEFAASCAT4wggE6AgEAAkEAuNrIHhJK2yEFFPZM
-----END PRIVATE KEY-----
";

/// A folder with a key of each kind.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519)
        .unwrap()
        .serialize_pem();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let (certificate, _) = tls::pair(|_params| {});
    for (name, text) in [
        ("ed25519.pem", &ed25519),
        ("p256.pem", &p256.serialize_pem()),
        ("p384.pem", &p384.serialize_pem()),
        ("public.pem", &p256.public_key_pem()),
        ("certificate.pem", &certificate),
        ("rsa.pem", &RSA.to_owned()),
        (
            "encrypted.pem",
            &ed25519.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        ),
        ("older.pem", &ed25519.replace("PRIVATE", "EC PRIVATE")),
        ("cut.pem", &ed25519.replace("-----END PRIVATE KEY-----", "")),
        ("empty.pem", &String::new()),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn load_in(folder: &TempDir, lines: &str) -> Result<Loaded, String> {
    let text = format!("{lines}\n{SHORTEST}");
    let file = folder.path().join("wxgate.toml");
    let directory = folder.path().display().to_string();
    let loaded = parse(&text, &file, env(&[("SHORT", "short")]));
    loaded.map_err(|faults| faults.to_string().replace(&directory, "DIR"))
}

fn with_jwt(folder: &TempDir, lines: &str) -> Result<Loaded, String> {
    load_in(folder, &format!("[identity.jwt]\n{lines}"))
}

/// How many keys are published.
fn published(loaded: &Loaded) -> usize {
    let key_set = loaded.config.gateway.key_set.as_ref().unwrap();
    let json: serde_json::Value = serde_json::from_slice(key_set.json()).unwrap();
    json["keys"].as_array().unwrap().len()
}

#[test]
fn what_is_no_key_that_signs_is_said_with_the_command_that_makes_one() {
    let folder = folder();
    for (name, wrong) in [
        ("empty.pem", "has no private key in it"),
        ("public.pem", "has no private key in it"),
        ("certificate.pem", "has no private key in it"),
        (
            "rsa.pem",
            "has a private key that is neither Ed25519 nor P-256",
        ),
        (
            "p384.pem",
            "has a private key that is neither Ed25519 nor P-256",
        ),
        ("encrypted.pem", "has a private key behind a passphrase"),
        ("cut.pem", "is not PEM from its begin to its end"),
        (
            "older.pem",
            "has a private key in the older form (BEGIN EC PRIVATE KEY), which `openssl pkcs8 \
             -topk8 -nocrypt` converts",
        ),
        (
            "nothing.pem",
            "cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        let faults = with_jwt(&folder, &format!("key_file = \"{name}\"")).unwrap_err();
        let expected =
            format!("DIR/wxgate.toml:2: identity.jwt.key_file: DIR/{name} {wrong}, {KEY}");
        assert_eq!(faults, expected);
    }
    let faults = with_jwt(&folder, "issuer = \"a\"").unwrap_err();
    assert_eq!(
        faults,
        format!("DIR/wxgate.toml:1: identity.jwt.key_file: missing, {KEY}")
    );
    let pem = "key_file = \"-----BEGIN PRIVATE KEY-----planted\"";
    let faults = with_jwt(&folder, pem).unwrap_err();
    assert!(
        faults.contains("holds PEM itself") && !faults.contains("planted"),
        "{faults}"
    );
    let previous = "key_file = \"p256.pem\"\nprevious_key_file = \"rsa.pem\"";
    let faults = with_jwt(&folder, previous).unwrap_err();
    assert!(
        faults.contains("3: identity.jwt.previous_key_file: DIR/rsa.pem"),
        "{faults}"
    );
}

#[test]
fn a_key_that_others_may_write_is_not_used() {
    let folder = folder();
    let file = folder.path().join("p256.pem");
    for (mode, is_used) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = with_jwt(&folder, "key_file = \"p256.pem\"");
        assert_eq!(loaded.is_ok(), is_used, "{mode:o}");
    }
}

#[test]
fn one_key_signs_and_the_one_before_is_published_with_it() {
    let folder = folder();
    for (lines, keys) in [
        ("key_file = \"ed25519.pem\"", 1),
        ("key_file = \"p256.pem\"", 1),
        (
            "key_file = \"p256.pem\"\nprevious_key_file = \"ed25519.pem\"",
            2,
        ),
    ] {
        let loaded = with_jwt(&folder, lines).unwrap();
        assert_eq!(published(&loaded), keys, "{lines}");
        assert!(loaded.warnings.is_empty());
        let signers = loaded.config.gateway.identity.signers();
        assert!(signers.assertion.is_some() && signers.proof.is_none());
    }
    let same = "key_file = \"p256.pem\"\nprevious_key_file = \"p256.pem\"";
    let loaded = with_jwt(&folder, same).unwrap();
    assert_eq!(published(&loaded), 1);
    let warning = loaded.warnings[0].to_string();
    assert!(
        warning.contains("previous_key_file: is the same key as"),
        "{warning}"
    );
    let none = config(SHORTEST).gateway;
    assert!(none.key_set.is_none() && none.identity.signers().assertion.is_none());
}

#[test]
fn claims_are_names_and_the_life_of_an_assertion_is_short() {
    let folder = folder();
    let fault =
        |line: &str| with_jwt(&folder, &format!("key_file = \"p256.pem\"\n{line}")).unwrap_err();
    for ttl in ["9s", "61m"] {
        assert_eq!(
            fault(&format!("ttl = \"{ttl}\"")),
            "DIR/wxgate.toml:3: identity.jwt.ttl: is out of range, expected a duration from 10s to 1h"
        );
    }
    for line in [
        "issuer = \"\"",
        "audience = \" a\"",
        "issuer = \"a\\u0007b\"",
    ] {
        let fault = fault(line);
        assert!(
            fault.contains("expected a name that verifiers compare"),
            "{fault}"
        );
    }
    for line in [
        "ttl = \"10s\"",
        "ttl = \"1h\"",
        "issuer = \"https://gate.example\"",
        "audience = \"网店\"",
    ] {
        with_jwt(&folder, &format!("key_file = \"p256.pem\"\n{line}")).unwrap();
    }
}

#[test]
fn keys_to_verify_by_have_a_route_only_where_there_are_any() {
    let folder = folder();
    let route = "[paths]\njwks = [\"/.well-known/jwks.json\", \"/keys\"]";
    let loaded = with_jwt(&folder, &format!("key_file = \"p256.pem\"\n{route}")).unwrap();
    assert_eq!(loaded.config.gateway.routes.endpoints.len(), 7);
    assert_eq!(
        load_in(&folder, "[paths]\njwks = \"/keys\"").unwrap_err(),
        "DIR/wxgate.toml:2: paths.jwks: is on, but there is no key to be published, expected a table \
         [identity.jwt]"
    );
    assert!(load_in(&folder, "[paths]\njwks = \"\"").is_ok());
}

#[test]
fn a_key_of_proofs_is_long_and_the_same_in_every_language() {
    let folder = folder();
    let fault = |lines: &str| load_in(&folder, &format!("[identity.hmac]\n{lines}")).unwrap_err();
    assert_eq!(
        fault("header = \"X-Proof\""),
        "DIR/wxgate.toml:1: identity.hmac.key: missing, expected exactly one of key, key_file, key_env \
         with a random text such as `openssl rand -base64 32` makes"
    );
    let short = format!("is shorter than 32 bytes and could be guessed, {RANDOM}");
    assert_eq!(
        fault("key_env = \"SHORT\""),
        format!("DIR/wxgate.toml:1: identity.hmac.key: {short}")
    );
    assert_eq!(
        fault(&format!("key = \"{LONG}\"\nprevious_key = \"short\"")),
        format!("DIR/wxgate.toml:3: identity.hmac.previous_key: {short}")
    );
    for odd in [
        "planted planted planted planted plan",
        "plantedplantedplantedplantedplanted\\n",
        "密钥密钥密钥密钥密钥密钥",
    ] {
        assert_eq!(
            fault(&format!("key = \"{odd}\"")),
            format!(
                "DIR/wxgate.toml:2: identity.hmac.key: has a space, a line break or another character \
                 than printable ASCII, {RANDOM}"
            )
        );
    }
    let both = format!("key = \"{LONG}\"\nkey_env = \"SHORT\"");
    assert!(fault(&both).contains("expected exactly one of key, key_file, key_env"));
}

#[test]
fn a_previous_key_of_proofs_is_checked_and_the_new_one_signs() {
    let folder = folder();
    let lines = format!("[identity.hmac]\nkey = \"{LONG}\"\nprevious_key = \"{LONG}\"");
    let loaded = load_in(&folder, &lines).unwrap();
    let signers = loaded.config.gateway.identity.signers();
    assert!(signers.proof.is_some() && signers.assertion.is_none());
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("previous_key: is the same as identity.hmac.key")
    );
    let printed = format!("{loaded:?}");
    assert!(!printed.contains(LONG), "{printed}");
}

#[test]
fn headers_of_signatures_clash_with_no_other() {
    let hmac = format!("key = \"{LONG}\"\n");
    for (lines, expected) in [
        (
            format!("[identity.hmac]\nheader = \"x_wx.openid\"\n{hmac}"),
            "2: identity.hmac.header: is the same header as identity.headers.openid",
        ),
        (
            format!("[identity.hmac]\nheader = \"X-WX-Assertion\"\n{hmac}"),
            "2: identity.hmac.header: is the same header as identity.jwt.header",
        ),
        (
            "[identity]\nheaders.unionid = \"X_WX_Proof\"\n".to_owned(),
            "2: identity.headers.unionid: is the same header as identity.hmac.header",
        ),
        (
            "[identity]\nkeep = [\"x-wx_assertion\"]\n".to_owned(),
            "2: identity.keep[0]: is \"x-wx_assertion\", but only the gate may write X-WX-Assertion",
        ),
        (
            format!("[identity.hmac]\nheader = \"X-Request-Id\"\n{hmac}"),
            "2: identity.hmac.header: is \"X-Request-Id\", which says where a request came from",
        ),
        (
            format!(
                "[identity.hmac]\nheader = \"X-Token\"\n{hmac}[session]\ntoken_from = [\"header:x_token\"]\n"
            ),
            "2: identity.hmac.header: is X-Token, where session.token_from looks for tokens",
        ),
    ] {
        let faults = faults(&lines);
        assert!(
            faults.starts_with(&format!("wxgate.toml:{expected}")),
            "{faults}"
        );
        assert_eq!(faults.lines().count(), 1, "{faults}");
    }
}
