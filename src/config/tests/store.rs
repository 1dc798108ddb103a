//! `[store]`: the keys under which sessions are sealed, and where they outlive the process.

use super::*;
use crate::domain::secret::SealKey;

const SEAL_KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";
const OTHER_KEY: &str = "MJZ33XnZSqFc2CVzkqLKYnQXHPEJzW8mLWe8hSeSWCM=";

#[test]
fn a_seal_key_that_could_be_guessed_is_a_fault_that_says_how_to_make_one() {
    for short in [
        PLANTED,
        "planted-planted-planted-planted-planted",
        "cGxhbnRlZC1wbGFudGVkLXBsYW50ZWQ=",
    ] {
        check(
            &format!("[store]\nseal_key = \"{short}\"\n"),
            "1: store: has a seal_key that could be guessed or is no base64, expected at least 32 \
             random bytes in base64, as `openssl rand -base64 32` makes them",
        );
    }
}

#[test]
fn an_empty_seal_key_is_a_fault() {
    check(
        "[store]\nseal_key = \"\"\n",
        "2: store.seal_key: is empty, expected the secret",
    );
}

#[test]
fn a_previous_seal_key_alone_is_a_fault() {
    check(
        &format!("[store]\nprevious_seal_key = \"{OTHER_KEY}\"\n"),
        "1: store.seal_key: missing beside previous_seal_key, expected exactly one of seal_key, \
         seal_key_file, seal_key_env: the key that takes its place",
    );
}

#[test]
fn a_seal_key_that_nothing_uses_is_accepted() {
    let config = shortest_with(&format!("[store]\nseal_key = \"{SEAL_KEY}\"\n"));
    let keys = config.store.seal_keys.unwrap();
    assert_eq!(keys.current.expose().len(), 32);
    assert!(keys.previous.is_none());
}

#[test]
fn seal_keys_are_given_as_every_secret_is() {
    let lines = "[store]\nseal_key_env = \"NEW_KEY\"\nprevious_seal_key_env = \"OLD_KEY\"\n";
    let environment = [("NEW_KEY", SEAL_KEY), ("OLD_KEY", OTHER_KEY)];
    let loaded = parse_with(&format!("{SHORTEST}{lines}"), &environment).unwrap();
    let keys = loaded.config.store.seal_keys.unwrap();
    let bytes = |text: &str| SealKey::parse(text).unwrap().expose().to_vec();
    assert_eq!(keys.current.expose(), bytes(SEAL_KEY));
    assert_eq!(keys.previous.unwrap().expose(), bytes(OTHER_KEY));
}

#[test]
fn a_snapshot_file_without_a_seal_key_is_a_fault_that_says_how_to_make_one() {
    check(
        "[store]\nsnapshot_file = \"sessions\"\n",
        "1: store.seal_key: missing beside snapshot_file, which is encrypted under it, expected exactly \
         one of seal_key, seal_key_file, seal_key_env; `openssl rand -base64 32` makes one",
    );
}

#[test]
fn a_snapshot_file_where_none_can_be_is_a_fault() {
    let lines =
        |path: &str| format!("[store]\nsnapshot_file = \"{path}\"\nseal_key = \"{SEAL_KEY}\"\n");
    check(
        &lines("/"),
        "2: store.snapshot_file: is a directory, expected the path of a file",
    );
    check(
        &lines("/nowhere/sessions"),
        "2: store.snapshot_file: is in a directory that does not exist, expected a directory that the \
         gate may write to",
    );
}

#[cfg(unix)]
#[test]
fn a_snapshot_file_that_is_no_regular_file_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("nothing"), &link).unwrap();
    for path in [Path::new("/dev/null"), &link] {
        let path = path.display();
        check(
            &format!("[store]\nsnapshot_file = \"{path}\"\nseal_key = \"{SEAL_KEY}\"\n"),
            "2: store.snapshot_file: is a link, a pipe or a device, expected the path of a regular file, \
             or of none yet",
        );
    }
}

#[cfg(unix)]
#[test]
fn a_snapshot_file_where_others_may_write_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions");
    let path = path.display();
    let lines = format!("[store]\nsnapshot_file = \"{path}\"\nseal_key = \"{SEAL_KEY}\"\n");
    assert!(warnings(&lines).is_empty());
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let warnings = warnings(&lines);
    assert_eq!(warnings.len(), 1);
    let expected = "wxgate.toml:2: store.snapshot_file: is in a directory that others may write to";
    assert!(warnings[0].starts_with(expected), "{warnings:?}");
}

#[test]
fn a_snapshot_file_is_beside_the_configuration_and_sealed_under_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wxgate.toml");
    let lines = format!("[store]\nsnapshot_file = \"sessions\"\nseal_key = \"{SEAL_KEY}\"\n");
    fs::write(&file, format!("{SHORTEST}{lines}")).unwrap();
    let snapshot = load(&file, env(&[]))
        .unwrap()
        .config
        .store
        .snapshot
        .unwrap();
    assert_eq!(snapshot.path, directory.path().join("sessions"));
    assert_eq!(snapshot.keys.current.expose().len(), 32);
    assert!(
        shortest_with("[store]\nsnapshot_file = \"\"\n")
            .store
            .snapshot
            .is_none()
    );
}
