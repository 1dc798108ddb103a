//! `tls.*` of an app server: what is said about files that cannot be used, and that it is never what
//! is in them.

use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

const AUTHORITIES: &str =
    "expected a file with the certificates that vouch for the app server (PEM)";
const CERTIFICATE: &str =
    "expected a file with the gate's own certificate and the intermediate ones (PEM)";
const KEY: &str = "expected a file with the private key of the certificate (PEM, no passphrase)";

const CA: &str = "tls.ca_file = \"ca.pem\"\n";
const OWN: &str = "tls.cert_file = \"cert.pem\"\ntls.key_file = \"key.pem\"\n";

/// A certificate and its key.
pub(super) fn pair() -> (String, String) {
    let params = CertificateParams::new(["gate.example".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A folder with a certificate, its key, and an authority.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair();
    fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    fs::write(folder.path().join("ca.pem"), cert).unwrap();
    folder
}

/// The second line of the file is the url of the app server, and these follow.
fn load(folder: &TempDir, url: &str, lines: &str) -> Result<Loaded, String> {
    let file = folder.path().join("wxgate.toml");
    let directory = folder.path().display().to_string();
    let upstream = format!("{url}\"\n{lines}");
    let text = SHORTEST.replace("http://127.0.0.1:3000\"", &upstream);
    let text = text.trim_start();
    parse(text, &file, env(&[])).map_err(|faults| faults.to_string().replace(&directory, "DIR"))
}

#[track_caller]
fn check_in(folder: &TempDir, lines: &str, expected: &[String]) {
    let faults = load(folder, "https://app", lines).unwrap_err();
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("DIR/wxgate.toml:{fault}"))
        .collect();
    assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "{lines}");
    assert!(!faults.contains(PLANTED), "{faults}");
}

#[test]
fn an_https_app_server_has_its_port_and_its_tls() {
    let folder = folder();
    for (url, expected) in [
        ("https://app", ("app", 443, "app")),
        ("https://app:8443", ("app", 8443, "app:8443")),
        ("https://[::1]", ("::1", 443, "[::1]")),
        ("https://192.0.2.1:443", ("192.0.2.1", 443, "192.0.2.1")),
        ("https://app_1.", ("app_1.", 443, "app_1.")),
    ] {
        for lines in ["", CA, OWN, &format!("{CA}{OWN}")] {
            let config = load(&folder, url, lines).unwrap().config;
            let Target::Http {
                host,
                port,
                authority,
                tls: Some(_),
            } = &config.upstreams[0].target
            else {
                panic!("{url}: {:?}", config.upstreams[0].target)
            };
            assert_eq!(
                (host.as_str(), *port, authority.to_str().unwrap()),
                expected
            );
            // A private key is behind it.
            assert!(!format!("{config:?}").contains("PRIVATE"));
        }
    }
}

#[test]
fn what_is_for_https_is_a_fault_in_clear_text() {
    let folder = folder();
    for url in ["http://app", "unix:/run/app.sock"] {
        let faults = load(&folder, url, &format!("{CA}{OWN}")).unwrap_err();
        let expected = [(3, "ca_file"), (4, "cert_file"), (5, "key_file")].map(|(line, name)| {
            format!(
                "DIR/wxgate.toml:{line}: upstream.tls.{name}: is for https only, and the url is not"
            )
        });
        assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "{url}");
    }
}

#[test]
fn a_certificate_needs_its_own_key() {
    let folder = folder();
    check_in(
        &folder,
        "tls.cert_file = \"cert.pem\"\n",
        &[
            "3: upstream.tls.cert_file: is there without tls.key_file, expected both or neither"
                .to_owned(),
        ],
    );
    check_in(
        &folder,
        "tls.key_file = \"key.pem\"\n",
        &[
            "3: upstream.tls.key_file: is there without tls.cert_file, expected both or neither"
                .to_owned(),
        ],
    );
    fs::write(folder.path().join("key.pem"), pair().1).unwrap();
    check_in(
        &folder,
        OWN,
        &[format!(
            "4: upstream.tls.key_file: has another key than that of the first certificate in \
             cert_file, {KEY}"
        )],
    );
}

#[test]
fn every_file_that_cannot_be_used_is_told_at_once_and_why() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let lines = format!("{CA}{OWN}");
    let check = |ca: &str, cert: &str, key: &str| {
        check_in(
            &folder,
            &lines,
            &[
                format!("3: upstream.tls.ca_file: DIR/ca.pem {ca}, {AUTHORITIES}"),
                format!("4: upstream.tls.cert_file: DIR/cert.pem {cert}, {CERTIFICATE}"),
                format!("5: upstream.tls.key_file: DIR/key.pem {key}, {KEY}"),
            ],
        );
    };
    let all = ["ca.pem", "cert.pem", "key.pem"];
    for name in all {
        write(name, PLANTED);
    }
    let none = "has no certificate in it";
    check(none, none, "has no private key in it");
    for name in all {
        write(name, &format!("-----BEGIN CERTIFICATE-----\n{PLANTED}"));
    }
    write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    let broken = "is not PEM from its begin to its end";
    check(broken, broken, "has a private key behind a passphrase");
    write(
        "key.pem",
        &format!("-----BEGIN PRIVATE KEY-----\n{PLANTED}"),
    );
    check(broken, broken, broken);
    for name in all {
        write(name, &"x".repeat(1024 * 1024 + 1));
    }
    let large = "is larger than 1MiB";
    check(large, large, large);
    for name in all {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let gone = "cannot be read: No such file or directory (os error 2)";
    check(gone, gone, gone);
}

#[test]
fn what_is_no_certificate_or_key_inside_its_pem_is_told() {
    let planted = |kind: &str| format!("-----BEGIN {kind}-----\n{PLANTED}\n-----END {kind}-----\n");
    let unusable = "has a certificate that cannot be used: invalid peer certificate: BadEncoding";
    for (name, kind, lines, expected) in [
        (
            "ca.pem",
            "CERTIFICATE",
            CA,
            format!("3: upstream.tls.ca_file: {unusable}, {AUTHORITIES}"),
        ),
        (
            "cert.pem",
            "CERTIFICATE",
            OWN,
            format!("3: upstream.tls.cert_file: {unusable}, {CERTIFICATE}"),
        ),
        (
            "key.pem",
            "PRIVATE KEY",
            OWN,
            format!(
                "4: upstream.tls.key_file: has a private key of a kind that cannot be used, {KEY}"
            ),
        ),
    ] {
        let folder = folder();
        fs::write(folder.path().join(name), planted(kind)).unwrap();
        check_in(&folder, lines, &[expected]);
    }
}

#[test]
fn a_key_that_others_may_write_is_a_fault() {
    let folder = folder();
    for mode in [0o620, 0o602, 0o666] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join("key.pem"), permissions).unwrap();
        check_in(
            &folder,
            OWN,
            &[format!(
                "4: upstream.tls.key_file: DIR/key.pem can be written by its group or by everybody, \
                 so anybody might have put the key there, {KEY}"
            )],
        );
    }
}

#[test]
fn a_key_in_the_place_of_its_path_is_not_repeated() {
    let lines = format!(
        "tls.cert_file = \"cert.pem\"\ntls.key_file = \"-----BEGIN PRIVATE KEY-----\\n{PLANTED}\"\n"
    );
    let expected = KEY.replace("expected a file", "expected the path of a file");
    check_in(
        &folder(),
        &lines,
        &[format!(
            "4: upstream.tls.key_file: holds PEM itself, {expected}"
        )],
    );
}

#[test]
fn files_are_looked_at_even_when_the_url_is_faulty() {
    let folder = folder();
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let faults = load(&folder, "https://app/api", CA).unwrap_err();
    let faults: Vec<_> = faults.lines().collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("2: upstream.url: has a path"),
        "{faults:?}"
    );
    assert!(
        faults[1].contains("3: upstream.tls.ca_file: DIR/ca.pem"),
        "{faults:?}"
    );
}
