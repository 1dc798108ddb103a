//! The gate as a library.

pub mod domain;
