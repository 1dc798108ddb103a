//! `checks/strip` for libFuzzer: tests/fuzz/run strip

#![no_main]

#[path = "../checks/strip.rs"]
mod strip;

libfuzzer_sys::fuzz_target!(|input: &[u8]| strip::check(input));
