//! Promises about calls to WeChat: what its answers mean, and how the client behaves on the wire.

mod access_token;
mod client;
mod open_api;
mod played;
mod replies;
