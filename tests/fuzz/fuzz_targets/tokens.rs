//! `checks/tokens` for libFuzzer: tests/fuzz/run tokens

#![no_main]

#[path = "../checks/tokens.rs"]
mod tokens;

libfuzzer_sys::fuzz_target!(|input: &[u8]| tokens::check(input));
