//! `checks/routes` for libFuzzer: tests/fuzz/run routes

#![no_main]

#[path = "../checks/routes.rs"]
mod routes;

libfuzzer_sys::fuzz_target!(|input: &[u8]| routes::check(input));
