//! What the configuration says about pushes: `[push]`, and `[apps.push]` of every mini program.

use std::time::Duration;

use http::uri::PathAndQuery;

use crate::domain::secret::{EncodingAesKey, PushToken};

/// `[push]`. There is one where any app has `[apps.push]`.
#[derive(Clone, Debug)]
pub struct Push {
    /// The path of the app server that messages are posted to.
    pub forward_to: PathAndQuery,
    /// When WeChat is told that a message was taken.
    pub ack: Ack,
    /// How long a repeated message is known as one, at least.
    pub dedupe_window: Duration,
}

/// When WeChat is told that a message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// When the app server has taken it; until then WeChat repeats it.
    Upstream,
    /// At once; from then on the gate repeats it.
    Immediate,
}

/// `[apps.push]`: what one mini program's pushes are like.
#[derive(Clone, Debug)]
pub struct AppPush {
    /// What WeChat signs with.
    pub token: PushToken,
    /// How much of a push is encrypted.
    pub mode: Mode,
    /// The EncodingAESKey, then the one before it. Empty only in mode plain.
    pub keys: Vec<EncodingAesKey>,
}

/// How much of a push is encrypted, as WeChat's console says it. None falls back to a weaker one: where
/// something is to be encrypted, what is not is refused, and in mode plain what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything (安全模式).
    Safe,
    /// The message comes both in clear and encrypted (兼容模式); what is in clear is not looked at.
    Compatible,
    /// Nothing (明文模式), so that no signature covers what a message says.
    Plain,
}
