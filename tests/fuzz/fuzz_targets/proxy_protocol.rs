//! `checks/proxy_protocol` for libFuzzer: tests/fuzz/run proxy_protocol

#![no_main]

#[path = "../checks/proxy_protocol.rs"]
mod proxy_protocol;

libfuzzer_sys::fuzz_target!(|input: &[u8]| proxy_protocol::check(input));
