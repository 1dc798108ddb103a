//! x
mod message;
