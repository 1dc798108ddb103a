//! `checks/push` for libFuzzer: tests/fuzz/run push

#![no_main]

#[path = "../checks/push.rs"]
mod push;

libfuzzer_sys::fuzz_target!(|input: &[u8]| push::check(input));
