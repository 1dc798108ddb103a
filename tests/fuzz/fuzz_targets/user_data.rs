//! `checks/user_data` for libFuzzer: tests/fuzz/run user_data

#![no_main]

#[path = "../checks/user_data.rs"]
mod user_data;

libfuzzer_sys::fuzz_target!(|input: &[u8]| user_data::check(input));
