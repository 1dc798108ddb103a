//! `checks/connection` for libFuzzer: tests/fuzz/run connection

#![no_main]

#[path = "../checks/connection/mod.rs"]
mod connection;

libfuzzer_sys::fuzz_target!(|input: &[u8]| connection::check(input));
