//! wxgate: a reverse proxy that gives an app server WeChat mini-program users.
//!
//! The life of a request:
//!
//! ```text
//! server::worker ─▶ server::connection ─▶ gateway::answer ─▶ gateway::decide
//!   accept, limit     HTTP/1.1 or 2         access record,      │
//!                     deadlines             refusal ─▶ answer   │
//!                                                               ▼
//!                    strip identity ─▶ decide route ─┬▶ login, decrypt, session: answered here
//!                    domain::identity  gateway::route │
//!                                                     └▶ authenticate ─▶ identify ─▶ upstream
//!                                                        store           domain::identity
//! ```
//!
//! What can be forwarded is a type that only [`domain::identity`] makes, so a request whose identity
//! the gate did not decide cannot be sent to the app server.
//!
//! The modules, in the order in which to read them; each uses only such as stand above it, and not
//! all of those (see `ARCHITECTURE.md`):
//!
//! - [`domain`]: the words and their rules; pure
//! - [`telemetry`]: log events, access records and metrics
//! - [`crypto`]: what WeChat and the gate encrypt, sign and hash
//! - [`store`]: where sessions are kept
//! - [`played`]: connections that a simulation has in the place of sockets
//! - [`splice`]: bytes that go from one socket to another without coming by
//! - [`upstream`]: the app server
//! - [`server`]: connections from clients
//! - [`wechat`]: WeChat's servers
//! - [`gateway`]: the request path, and the gate's own routes
//! - [`egress`]: calls of the app server to WeChat
//! - [`admin`]: health, metrics and version, for operators
//! - [`sim`]: a simulated WeChat and a demo app
//! - [`config`]: from a file and the environment to everybody's settings
//! - [`app`]: puts it all together
//!
//! `main` is the command line.

pub mod admin;
pub mod app;
pub mod codec;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod egress;
pub mod gateway;
pub mod played;
pub mod server;
pub mod sim;
pub mod splice;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod wechat;
