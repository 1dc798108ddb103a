//! Whether WeChat wrote a push. No mode falls back to a weaker one, and what is not proven is one
//! answer to whoever sent it, whatever is wrong: the reason is for the log.

use std::time::Duration;

use crate::crypto::push::{self, AppKeys, PushError, Stamp};
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::limits;
use crate::domain::secret::{EncodingAesKey, PushToken};
use crate::gateway::push::AppPush;
use crate::gateway::push::message::{self, Fields, Format, Unreadable};
use crate::gateway::push::settings::{Keys, Protection};

/// How far the moment that a signed message names may be from now. Far more than WeChat takes to push
/// it and to repeat that; it keeps old messages from coming again under a stamp that was turned round.
const MESSAGE_WITHIN: Duration = Duration::from_hours(24);

/// Longest text that is given back to show that the gate knows the token, in bytes. Today's have 19.
const MAX_ECHO_BYTES: usize = 128;

/// Why nothing shows that WeChat wrote a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Unproven {
    #[error("the query lacks a parameter or has one twice")]
    Query,
    #[error("the signature is not that of the token")]
    Signature,
    #[error("the timestamp is too old, or in the future: check the clock of this machine")]
    Stale,
    #[error("the message is of another day: check the clock of this machine")]
    OldMessage,
    #[error("it is an answer of the gate's own")]
    OwnAnswer,
    #[error("the push is not of the mode that is configured")]
    Mode,
    #[error("the push is signed and does not open: {0}")]
    Closed(PushError),
    #[error("the body is not UTF-8")]
    NotText,
    #[error("the body cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
}

/// The parameters that WeChat puts into the query. Others are not looked at.
#[derive(Default)]
pub(in crate::gateway) struct Query {
    signature: Option<String>,
    msg_signature: Option<String>,
    timestamp: Option<String>,
    nonce: Option<String>,
    echostr: Option<String>,
}

impl Query {
    /// Reads a query. One parameter twice would be read by the gate in one way and by somebody else
    /// in another.
    pub(in crate::gateway) fn parse(query: Option<&str>) -> Result<Self, Unproven> {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let slot = match &*name {
                "signature" => &mut read.signature,
                "msg_signature" => &mut read.msg_signature,
                "timestamp" => &mut read.timestamp,
                "nonce" => &mut read.nonce,
                "echostr" => &mut read.echostr,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Unproven::Query);
            }
        }
        Ok(read)
    }

    fn stamp(&self) -> Result<Stamp<'_>, Unproven> {
        match (&self.timestamp, &self.nonce) {
            (Some(timestamp), Some(nonce)) => Ok(Stamp { timestamp, nonce }),
            _ => Err(Unproven::Query),
        }
    }

    /// What WeChat wants to hear when it is given the address of the gate, if it is WeChat that asks.
    pub(in crate::gateway) fn echo(self, token: &PushToken) -> Result<String, Unproven> {
        let signature = self.signature.as_deref().ok_or(Unproven::Query)?;
        if !push::verify_stamp(token, self.stamp()?, signature) {
            return Err(Unproven::Signature);
        }
        let plain = |text: &String| {
            !text.is_empty()
                && text.len() <= MAX_ECHO_BYTES
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        // No signature covers it.
        self.echostr.filter(plain).ok_or(Unproven::Query)
    }
}

/// Whether a push is of today, and for how long it will be.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct Freshness {
    /// The present moment.
    pub(in crate::gateway) now: Timestamp,
    /// How long a repeat is known as one, at least.
    pub(in crate::gateway) dedupe_window: Duration,
}

impl Freshness {
    /// Whoever has seen a push cannot send it again once nobody remembers it any more.
    fn check(self, stamp: Stamp<'_>) -> Result<(), Unproven> {
        let signed = seconds(stamp.timestamp).ok_or(Unproven::Stale)?;
        let now = self.now.as_secs();
        let future = signed > now.saturating_add(limits::WATERMARK_SKEW.as_secs());
        let old = signed.saturating_add(limits::MAX_PUSH_AGE.as_secs()) <= now;
        if future || old {
            return Err(Unproven::Stale);
        }
        Ok(())
    }

    /// The same of a message that a signature covers. What names no moment, or not in seconds, is not
    /// judged by it.
    fn check_message(self, fields: &Fields) -> Result<(), Unproven> {
        let created = fields.create_time.as_deref().and_then(seconds);
        let within = MESSAGE_WITHIN.as_secs();
        if created.is_some_and(|created| created.abs_diff(self.now.as_secs()) > within) {
            return Err(Unproven::OldMessage);
        }
        Ok(())
    }

    /// Until when a push that comes now must be remembered, lest it be taken again: as long as its
    /// stamp could pass, whatever the window.
    pub(in crate::gateway) fn remember_until(self) -> Timestamp {
        let passes = limits::MAX_PUSH_AGE + limits::WATERMARK_SKEW;
        self.now.plus(self.dedupe_window.max(passes))
    }
}

/// Seconds since 1970 as WeChat writes them, which has ten digits until the year 2286. Nothing else is
/// taken for a moment: a signature covers timestamp and nonce with nothing between them, so that
/// digits could be moved from one to the other.
fn seconds(text: &str) -> Option<u64> {
    let digits = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !text.starts_with('0')).then(|| text.parse().ok())?
}

/// A push that WeChat wrote.
pub(in crate::gateway) struct Proven<'a> {
    /// How the message is written.
    pub(in crate::gateway) format: Format,
    /// The message in the clear, as it came.
    pub(in crate::gateway) text: String,
    /// What stands in it.
    pub(in crate::gateway) fields: Fields,
    /// What of it nobody but WeChat can have written.
    pub(in crate::gateway) covered: Covered<'a>,
}

/// What of a push the signature covers. Only what it covers may be believed of whom the push is from.
#[derive(Clone, Copy)]
pub(in crate::gateway) enum Covered<'a> {
    /// No word of it: the signature is that of the moment, and whoever has seen one may write under it.
    Nothing,
    /// The message.
    Message {
        /// What it was encrypted with.
        key: &'a EncodingAesKey,
        /// How the push around it was written.
        envelope: Format,
    },
}

/// Finds out whether WeChat wrote a push for this mini program.
pub(super) fn prove<'a>(
    (id, settings): (&'a AppId, &'a AppPush),
    query: &Query,
    body: &[u8],
    freshness: Freshness,
) -> Result<Proven<'a>, Unproven> {
    let body = std::str::from_utf8(body).map_err(|_position| Unproven::NotText)?;
    let stamp = query.stamp()?;
    if stamp.is_of_an_answer() {
        return Err(Unproven::OwnAnswer);
    }
    let (format, fields) = message::read(body)?;
    let token = &settings.token;
    match &settings.protection {
        Protection::Encrypted(Keys { current, previous }) => {
            let encrypt = fields.encrypt.as_deref().ok_or(Unproven::Mode)?;
            let signature = query.msg_signature.as_deref().ok_or(Unproven::Mode)?;
            let keys = AppKeys {
                app: id,
                token,
                current,
                previous: previous.as_ref(),
            };
            let opened =
                push::open(keys, stamp, encrypt, signature).map_err(|error| match error {
                    PushError::SignatureMismatch => Unproven::Signature,
                    other => Unproven::Closed(other),
                })?;
            freshness.check(stamp)?;
            let (inner, fields) = message::read(&opened.message)?;
            freshness.check_message(&fields)?;
            Ok(Proven {
                format: inner,
                text: opened.message,
                fields,
                covered: Covered::Message {
                    key: opened.key,
                    envelope: format,
                },
            })
        }
        Protection::Plain => {
            if fields.encrypt.is_some() || query.msg_signature.is_some() {
                return Err(Unproven::Mode);
            }
            let signature = query.signature.as_deref().ok_or(Unproven::Query)?;
            if !push::verify_stamp(token, stamp, signature) {
                return Err(Unproven::Signature);
            }
            freshness.check(stamp)?;
            Ok(Proven {
                format,
                text: body.to_owned(),
                fields,
                covered: Covered::Nothing,
            })
        }
    }
}
