//! What the fuzzers of tests/fuzz look for, in short: everything in the committed corpus, and some thousands
//! of changes to it, the same in every run. `tests/fuzz/run` goes on from there, for as long as wanted.

mod changes;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::fuzz::changes::Changes;

/// Changes of one target in a run, and in one with `./tests/run --long`.
const CHANGES: u64 = 3_000;
const LONG_CHANGES: u64 = 300_000;

#[path = "../../fuzz/checks"]
mod checks {
    pub(super) mod answer;
    pub(super) mod config;
    pub(super) mod connection;
    pub(super) mod http2;
    pub(super) mod proxy_protocol;
    pub(super) mod push;
    pub(super) mod request;
    pub(super) mod routes;
    pub(super) mod seal;
    pub(super) mod strip;
    pub(super) mod tokens;
    pub(super) mod user_data;
}

/// The corpus of a target, by the names of its files.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let files = fs::read_dir(folder.join(target)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 1, "{target} has hardly a corpus");
    files
        .into_iter()
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

/// Checks the corpus of a target and changes of it.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    let inputs: Vec<_> = corpus.iter().map(|(_, input)| input.clone()).collect();
    for (file, input) in &corpus {
        tried(&file.display().to_string(), check, input);
    }
    let long = std::env::var_os("WXGATE_TESTS_LONG").is_some();
    let count = if long { LONG_CHANGES } else { CHANGES };
    let mut changes = Changes::of(inputs);
    for number in 0..count {
        tried(
            &format!("{target}, change {number}"),
            check,
            &changes.next(),
        );
    }
}

/// A failure says with which input.
fn tried(what: &str, check: fn(&[u8]), input: &[u8]) {
    let checked = catch_unwind(AssertUnwindSafe(|| check(input)));
    assert!(checked.is_ok(), "{what}: b\"{}\"", input.escape_ascii());
}

macro_rules! targets {
    ($($promise:ident: $target:ident;)*) => {
        $(
            #[test]
            fn $promise() {
                run(stringify!($target), checks::$target::check);
            }
        )*

        const TARGETS: &[&str] = &[$(stringify!($target)),*];
    };
}

targets! {
    a_configuration_is_taken_whole_or_refused_without_a_secret: config;
    a_connection_is_read_alike_by_the_strictest_server_and_the_most_lenient: connection;
    a_header_of_a_proxy_is_read_and_not_a_byte_more: proxy_protocol;
    a_push_is_opened_only_when_it_is_signed_and_of_now: push;
    a_request_is_read_alike_in_whatever_pieces_it_comes: request;
    a_sealed_text_opens_in_its_place_and_unchanged_only: seal;
    an_answer_is_read_alike_in_whatever_pieces_it_comes: answer;
    encrypted_data_opens_only_when_wechat_would_have_made_it: user_data;
    frames_of_http2_make_no_request_that_http1_could_not_say: http2;
    no_identity_header_is_left_and_all_else_stays_as_it_came: strip;
    no_request_passes_that_a_server_may_read_under_another_rule: routes;
    no_token_goes_on_and_every_other_byte_stays_as_it_came: tokens;
}

#[test]
fn every_target_of_the_fuzzers_is_checked_here_and_has_a_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let mut known = TARGETS.to_vec();
    known.sort_unstable();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("checks"), known);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for target in known {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target}"
        );
    }
}
