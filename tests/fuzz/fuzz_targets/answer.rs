//! `checks/answer` for libFuzzer: tests/fuzz/run answer

#![no_main]

#[path = "../checks/answer.rs"]
mod answer;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer::check(input));
