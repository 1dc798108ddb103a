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
    /// What keeps others from writing them.
    pub protection: Protection,
}

/// What keeps others from writing a push, by the mode that WeChat's console is set to. Neither falls
/// back to the other: where a message is to be encrypted, one that is not is refused, and the other
/// way round.
#[derive(Clone, Debug)]
pub enum Protection {
    /// Nothing is encrypted (明文模式), and no signature covers what a message says.
    Plain,
    /// The message is encrypted (安全模式). It may come in clear as well (兼容模式), which is not looked
    /// at.
    Encrypted(Keys),
}

/// What messages are encrypted with.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The EncodingAESKey.
    pub current: EncodingAesKey,
    /// The one before it, while WeChat may still use that.
    pub previous: Option<EncodingAesKey>,
}
