//! `[server.tls]`: what is said about files that cannot be used, and that it is never what is in them.

use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

const CERTIFICATE: &str =
    "expected a file with the server's certificate and the intermediate ones (PEM)";
const KEY: &str = "expected a file with the private key of the certificate (PEM, no passphrase)";
const CLIENT_CA: &str = "expected a file with the certificates that vouch for clients (PEM)";

const TABLE: &str = "[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"\n";

/// A certificate and its key.
pub(super) fn pair(special: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let mut params = CertificateParams::new(["gate.example".to_owned()]).unwrap();
    special(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A folder with a certificate, its key, and an authority.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = pair(|_params| {});
    fs::write(folder.path().join("cert.pem"), &cert).unwrap();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    fs::write(folder.path().join("ca.pem"), cert).unwrap();
    folder
}

fn load(folder: &TempDir, lines: &str) -> Result<Loaded, String> {
    let text = format!("{lines}{SHORTEST}");
    let file = folder.path().join("wxgate.toml");
    let directory = folder.path().display().to_string();
    parse(&text, &file, env(&[])).map_err(|faults| faults.to_string().replace(&directory, "DIR"))
}

#[track_caller]
fn check_in(folder: &TempDir, lines: &str, expected: &[String]) {
    let faults = load(folder, lines).unwrap_err();
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("DIR/wxgate.toml:{fault}"))
        .collect();
    assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "{lines}");
    assert!(!faults.contains(PLANTED), "{faults}");
}

#[test]
fn certificate_and_key_are_files_that_belong_together() {
    let folder = folder();
    let lines = format!("{TABLE}client_ca_file = \"ca.pem\"\n");
    let tls = load(&folder, &lines).unwrap().config.server.tls.unwrap();
    assert_eq!(tls.cert_file, folder.path().join("cert.pem"));
    assert_eq!(tls.key_file, folder.path().join("key.pem"));
    assert_eq!(tls.client_ca_file, Some(folder.path().join("ca.pem")));
    assert!(load(&folder, TABLE).unwrap().warnings.is_empty());
    assert!(config(SHORTEST).server.tls.is_none());

    fs::write(folder.path().join("key.pem"), pair(|_params| {}).1).unwrap();
    check_in(
        &folder,
        TABLE,
        &[format!(
            "3: server.tls.key_file: DIR/key.pem has another key than that of the first certificate \
         in cert_file, {KEY}"
        )],
    );
}

#[test]
fn a_table_without_both_files_is_faulty() {
    let folder = folder();
    check_in(
        &folder,
        "[server.tls]\n",
        &[
            format!("1: server.tls.cert_file: missing, {CERTIFICATE}"),
            format!("1: server.tls.key_file: missing, {KEY}"),
        ],
    );
    check_in(
        &folder,
        "[server.tls]\ncert_file = \"cert.pem\"\nkey_file = \"\"\n",
        &[format!("3: server.tls.key_file: is empty, {KEY}")],
    );
}

#[test]
fn every_file_that_cannot_be_used_is_told_at_once_and_why() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let lines = format!("{TABLE}client_ca_file = \"ca.pem\"\n");
    let check = |cert: &str, key: &str, ca: &str| {
        check_in(
            &folder,
            &lines,
            &[
                format!("2: server.tls.cert_file: DIR/cert.pem {cert}, {CERTIFICATE}"),
                format!("3: server.tls.key_file: DIR/key.pem {key}, {KEY}"),
                format!("4: server.tls.client_ca_file: DIR/ca.pem {ca}, {CLIENT_CA}"),
            ],
        );
    };
    let broken = format!("-----BEGIN CERTIFICATE-----\n{PLANTED}");
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        write(name, PLANTED);
    }
    let no_certificate = "has no certificate in it";
    check(no_certificate, "has no private key in it", no_certificate);
    write("cert.pem", &broken);
    write(
        "key.pem",
        &format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{PLANTED}"),
    );
    write("ca.pem", &format!("{broken}\n-----END CERTIFICATE-----\n"));
    let whole = "is not PEM from its begin to its end";
    let unusable = "has a certificate that cannot be used: invalid peer certificate: BadEncoding";
    check(whole, "has a private key behind a passphrase", unusable);
    write(
        "key.pem",
        &format!("-----BEGIN PRIVATE KEY-----\n{PLANTED}"),
    );
    check(whole, whole, unusable);
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        write(name, &"x".repeat(1024 * 1024 + 1));
    }
    let large = "is larger than 1MiB";
    check(large, large, large);
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let gone = "cannot be read: No such file or directory (os error 2)";
    check(gone, gone, gone);
}

#[test]
fn what_is_no_certificate_or_key_inside_its_pem_is_told() {
    let folder = folder();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let (good_cert, good_key) = (fs::read_to_string(&cert), fs::read_to_string(&key));
    let planted = |kind: &str| format!("-----BEGIN {kind}-----\n{PLANTED}\n-----END {kind}-----\n");
    fs::write(&key, planted("PRIVATE KEY")).unwrap();
    check_in(
        &folder,
        TABLE,
        &[format!(
            "3: server.tls.key_file: DIR/key.pem has a private key of a kind that cannot be used, {KEY}"
        )],
    );
    fs::write(&key, good_key.unwrap()).unwrap();
    fs::write(&cert, planted("CERTIFICATE")).unwrap();
    check_in(
        &folder,
        TABLE,
        &[format!(
            "2: server.tls.cert_file: DIR/cert.pem has a certificate that cannot be used: invalid peer \
         certificate: BadEncoding, {CERTIFICATE}"
        )],
    );
    fs::write(&cert, good_cert.unwrap()).unwrap();
    assert!(load(&folder, TABLE).is_ok());
}

#[test]
fn a_key_that_others_may_write_is_a_fault() {
    let folder = folder();
    for mode in [0o620, 0o602, 0o666] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.path().join("key.pem"), permissions).unwrap();
        check_in(
            &folder,
            TABLE,
            &[format!(
                "3: server.tls.key_file: DIR/key.pem can be written by its group or by everybody, so \
             anybody might have put the key there, {KEY}"
            )],
        );
    }
}

#[test]
fn a_key_in_the_place_of_its_path_is_not_repeated() {
    let folder = folder();
    let lines = format!(
        "[server.tls]\ncert_file = \"cert.pem\"\n\
         key_file = \"-----BEGIN PRIVATE KEY-----\\n{PLANTED}\"\n"
    );
    check_in(
        &folder,
        &lines,
        &[format!(
            "3: server.tls.key_file: holds PEM itself, {}",
            KEY.replace("expected a file", "expected the path of a file")
        )],
    );
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning() {
    let folder = folder();
    for (from, to, warning) in [
        (2019, 2020, "has expired: clients will not connect"),
        (2999, 3000, "is not valid yet: clients will not connect"),
    ] {
        let (cert, key) = pair(|params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        });
        fs::write(folder.path().join("cert.pem"), cert).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        let warnings = load(&folder, TABLE).unwrap().warnings;
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(&format!("toml:2: server.tls.cert_file: {warning}")));
    }
}
