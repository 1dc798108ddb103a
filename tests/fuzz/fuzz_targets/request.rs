//! `checks/request` for libFuzzer: tests/fuzz/run request

#![no_main]

#[path = "../checks/request.rs"]
mod request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| request::check(input));
