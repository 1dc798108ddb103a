//! `checks/config` for libFuzzer: tests/fuzz/run config

#![no_main]

#[path = "../checks/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|input: &[u8]| config::check(input));
