//! `checks/http2` for libFuzzer: tests/fuzz/run http2

#![no_main]

#[path = "../checks/http2.rs"]
mod http2;

libfuzzer_sys::fuzz_target!(|input: &[u8]| http2::check(input));
