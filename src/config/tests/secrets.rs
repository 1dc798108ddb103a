//! Secrets: where they come from, and that they turn up nowhere else.

use super::*;

const EXPECTED: &str = "expected a file with the secret in it";

fn with_secret(line: &str) -> String {
    SHORTEST.replace("secret_env = \"WX_APP_SECRET\"", line)
}

/// A directory with a configuration that names the file `app.secret` beside it.
fn with_file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.secret");
    fs::write(&file, content).unwrap();
    only_for_owner(&file);
    let config = directory.path().join("wxgate.toml");
    fs::write(&config, with_secret("secret_file = \"app.secret\"")).unwrap();
    (directory, config)
}

/// Whatever the umask of whoever runs the tests.
fn only_for_owner(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(file.exists());
}

#[track_caller]
fn file_fault(config: &Path) -> String {
    let faults = load(config, env(&[])).unwrap_err().to_string();
    assert!(!faults.contains(PLANTED), "{faults}");
    let directory = config.parent().unwrap().display().to_string();
    faults.replace(&directory, "DIR")
}

#[test]
fn exactly_one_form_is_expected() {
    let text = with_secret("secret = \"x\"\nsecret_env = \"WX_APP_SECRET\"");
    assert_eq!(
        faults_with(&text, &[]),
        "wxgate.toml:8: apps[0].secret_env: given beside apps[0].secret (wxgate.toml:7), expected \
         exactly one of secret, secret_file, secret_env"
    );
}

#[test]
fn a_file_beside_the_configuration_loses_one_line_break() {
    for (content, secret) in [
        (&b"abc"[..], Some("abc")),
        (b"abc\n", Some("abc")),
        (b"abc\r\n", Some("abc")),
        (b"abc\n\n", None),
        (b"abc \n", None),
        (b"\xff\n", None),
    ] {
        let (_directory, config) = with_file(content);
        let loaded = load(&config, env(&[]));
        let found = loaded.map(|loaded| loaded.config.gateway.apps[0].secret.expose().to_owned());
        assert_eq!(found.ok().as_deref(), secret, "{content:?}");
    }
}

#[test]
fn a_secret_with_a_line_break_in_it_is_a_fault() {
    let (_directory, config) = with_file(format!("{PLANTED}\n{PLANTED}").as_bytes());
    assert_eq!(
        file_fault(&config),
        "DIR/wxgate.toml:5: apps[0]: has a secret with a line break, a space at an end or a \
         character that is not ASCII, expected the 32 characters that WeChat shows"
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_write_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, trusted) in [(0o600, true), (0o644, true), (0o660, false), (0o606, false)] {
        let (directory, config) = with_file(PLANTED.as_bytes());
        let file = directory.path().join("app.secret");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        if trusted {
            assert!(load(&config, env(&[])).is_ok(), "{mode:o}");
        } else {
            assert_eq!(
                file_fault(&config),
                "DIR/wxgate.toml:7: apps[0].secret_file: DIR/app.secret can be written by its \
                 group or by everybody, so anybody might have put the secret there; expected \
                 `chmod go-w`"
            );
        }
    }
}

#[test]
fn files_that_hold_no_secret_say_so() {
    let (directory, config) = with_file(b"\n");
    let file = directory.path().join("app.secret");
    let prefix = "DIR/wxgate.toml:7: apps[0].secret_file:";
    assert_eq!(
        file_fault(&config),
        format!("{prefix} names an empty file, expected one with the secret in it")
    );
    fs::write(&file, vec![b'x'; 70_000]).unwrap();
    assert_eq!(
        file_fault(&config),
        format!("{prefix} DIR/app.secret is larger than 64KiB, expected only the secret in it")
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(
        file_fault(&config),
        format!(
            "{prefix} cannot read DIR/app.secret: No such file or directory (os error 2), {EXPECTED}"
        )
    );
    fs::create_dir(&file).unwrap();
    assert_eq!(
        file_fault(&config),
        format!("{prefix} cannot read DIR/app.secret: Is a directory (os error 21), {EXPECTED}")
    );
}

#[test]
fn a_variable_that_is_not_set_is_named() {
    let check = |line: &str, expected: &str| {
        let faults = faults_with(&with_secret(line), &[("EMPTY", "")]);
        assert_eq!(
            faults,
            format!("wxgate.toml:7: apps[0].secret_env: {expected}")
        );
    };
    check(
        "secret_env = \"WX_SECRET\"",
        "the environment variable WX_SECRET is not set, expected it to hold the secret",
    );
    check(
        "secret_env = \"EMPTY\"",
        "names an empty variable, expected one with the secret in it",
    );
}

#[test]
fn a_secret_in_any_wrong_place_is_not_repeated() {
    for line in [
        format!("secret_env = \"{PLANTED}\""),
        format!("secret_file = \"{PLANTED}\""),
        format!("secret = [\"{PLANTED}\"]"),
        format!("secret = \"{PLANTED} \""),
        format!("secret = \"{PLANTED}"),
        format!("secret = {PLANTED}"),
        format!("secert = \"{PLANTED}\""),
        format!("secret = \"x\"\n{PLANTED} = \"x"),
        format!("secret = \"x\"\n[log]\nuser_key_env = \"{PLANTED}\""),
    ] {
        faults_with(&with_secret(&line), &[]);
    }
    let short = "secret = \"x\"\n[log]\nuser_key = \"short\"";
    assert_eq!(
        faults_with(&with_secret(short), &[]),
        "wxgate.toml:9: log.user_key: is shorter than 16 bytes and could be guessed, expected a \
         long random text"
    );
}

#[test]
fn a_configuration_prints_no_secret() {
    let text = format!(
        "{SHORTEST}[log]\nuser_key = \"{PLANTED}\"\n[wechat]\nproxy_url = \"http://u:{PLANTED}@p\""
    );
    let loaded = parse_with(&text, &[]).unwrap();
    let printed = format!("{loaded:?}{loaded:#?}");
    assert!(!printed.contains(PLANTED), "{printed}");
    let bytes = format!("{:?}", PLANTED.as_bytes());
    assert!(
        !printed.contains(bytes.trim_matches(['[', ']'])),
        "{printed}"
    );
}

#[test]
fn a_previous_secret_is_optional_and_read_like_the_secret() {
    let with = |line: &str| format!("{SHORTEST}{line}\n");
    let previous = |text: &str| {
        let loaded = parse_with(text, &[("OLD", "older")]);
        loaded.map(|loaded| loaded.config.gateway.apps[0].previous_secret.clone())
    };
    assert!(previous(SHORTEST).unwrap().is_none());
    let found = previous(&with("previous_secret_env = \"OLD\"")).unwrap();
    assert_eq!(found.unwrap().expose(), "older");
    let faults = previous(&with(&format!("previous_secret = \"{PLANTED} \""))).unwrap_err();
    let told = faults.to_string();
    assert!(
        told.contains("has a previous_secret with a line break"),
        "{told}"
    );
    assert!(!told.contains(PLANTED), "{told}");
    let both = "previous_secret = \"a\"\nprevious_secret_env = \"OLD\"";
    let told = previous(&with(both)).unwrap_err().to_string();
    assert!(
        told.contains("expected exactly one of previous_secret,"),
        "{told}"
    );
}
