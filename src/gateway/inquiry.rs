//! What the gate asks WeChat in the name of a user who is logged in. On the control thread, where
//! the connections to WeChat are; each question in a place of its own, and none longer than a call
//! to WeChat may take. Knows nothing of what is done with the answers.

use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::id::AppId;
use crate::domain::secret::{PhoneCode, SessionKey};
use crate::domain::session::Holder;
use crate::domain::trace::RequestId;
use crate::gateway::control::{Control, NoOutcome};
use crate::telemetry::event;
use crate::telemetry::metrics::{KeyCheck, Metrics};
use crate::wechat::access_token::{Keeper, Keepers};
use crate::wechat::client::Client;
use crate::wechat::open_api::OpenApiError;
use crate::wechat::phone::{Phone, PhoneError};
use crate::wechat::session_key::{Authenticity, KeyState};

/// Looks at keys at once, and never more than half of the calls to WeChat that may be under way: they
/// are for the log alone.
const MAX_KEY_CHECKS: usize = 4;

/// Data of which it is remembered that WeChat encrypted it, per gate: a megabyte or two.
const MAX_AUTHENTIC: u64 = 16_384;

/// For how long. It stays true, but fresh data is hardly sent for longer than that.
const AUTHENTIC_FOR: Duration = Duration::from_hours(1);

/// Where WeChat is asked. A cheap handle, the same for all workers.
#[derive(Clone, Debug)]
pub struct Inquiries {
    control: Control,
    /// For looks at keys.
    aside: Control,
    wechat: Client,
    keepers: Keepers,
    metrics: Metrics,
    /// Data that WeChat encrypted.
    authentic: Cache<DataDigest, Authenticity>,
}

/// The hash of data of one mini program: a key for maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct DataDigest([u8; 32]);

impl DataDigest {
    fn of(app: &AppId, encrypted_data: &str) -> Self {
        let app = app.as_str();
        let mut sha256 = Sha256::new();
        // Its length goes first, so that no other app and data are hashed as the same bytes.
        sha256.update(app.len().to_be_bytes());
        sha256.update(app);
        sha256.update(encrypted_data);
        Self(sha256.finalize().into())
    }
}

impl Inquiries {
    /// On the control thread.
    pub fn new(control: Control, wechat: Client, keepers: Keepers, metrics: Metrics) -> Self {
        Self {
            aside: control.apart(MAX_KEY_CHECKS.min(wechat.max_in_flight() / 2)),
            control,
            wechat,
            keepers,
            metrics,
            authentic: Cache::builder()
                .max_capacity(MAX_AUTHENTIC)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(AUTHENTIC_FOR)
                .build(),
        }
    }

    /// The phone number that a code stands for, if it is this user's. Goes on when nobody waits for
    /// it any more: the code may be used up already.
    pub(in crate::gateway) async fn phone_number(
        &self,
        holder: &Holder,
        code: PhoneCode,
    ) -> Result<Result<Phone, PhoneError>, NoOutcome> {
        let (wechat, keeper) = (self.wechat.clone(), self.keeper(&holder.app)?);
        let openid = holder.openid.clone();
        let asked = async move { wechat.phone_number(&keeper, &openid, &code).await };
        self.control.run(asked).await
    }

    /// Whether WeChat itself encrypted this `encryptedData` for this mini program. What it did is
    /// remembered: who sends the same again and again costs one call.
    pub(in crate::gateway) async fn is_encrypted_by_wechat(
        &self,
        app: &AppId,
        encrypted_data: &str,
    ) -> Result<Result<Authenticity, OpenApiError>, NoOutcome> {
        let digest = DataDigest::of(app, encrypted_data);
        if let Some(known) = self.authentic.get(&digest) {
            return Ok(Ok(known));
        }
        let (wechat, keeper) = (self.wechat.clone(), self.keeper(app)?);
        let encrypted_data = encrypted_data.to_owned();
        let asked = async move { wechat.check_encrypted(&keeper, &encrypted_data).await };
        let answered = self.control.run(asked).await?;
        if let Ok(authentic @ Authenticity::Authentic { .. }) = answered {
            self.authentic.insert(digest, authentic);
        }
        Ok(answered)
    }

    /// Finds out for the log whether a key that did not open something is the user's of this moment.
    /// Returns at once, and does nothing when many such looks are under way.
    pub(in crate::gateway) fn check_key(
        &self,
        holder: &Holder,
        key: SessionKey,
        request_id: &RequestId,
    ) {
        let (Ok(keeper), Ok(place)) = (self.keeper(&holder.app), self.aside.place()) else {
            return;
        };
        let (wechat, metrics) = (self.wechat.clone(), self.metrics.clone());
        let (holder, request_id) = (holder.clone(), request_id.clone());
        place.start(async move {
            let checked = wechat.check_session(&keeper, &holder.openid, &key).await;
            tell_key(&checked, &holder.app, &request_id);
            metrics.key_checked(&holder.app, verdict(&checked));
        });
    }

    /// The access tokens of the apps.
    pub fn keepers(&self) -> &Keepers {
        &self.keepers
    }

    /// Every mini program that is configured has one.
    fn keeper(&self, app: &AppId) -> Result<Keeper, NoOutcome> {
        self.keepers.of(app).cloned().ok_or(NoOutcome::Lost)
    }
}

fn verdict(checked: &Result<KeyState, OpenApiError>) -> KeyCheck {
    match checked {
        Ok(KeyState::Current) => KeyCheck::Current,
        Ok(KeyState::Stale) => KeyCheck::Stale,
        Err(_) => KeyCheck::Unknown,
    }
}

/// Writes down what a failed decryption was due to, as far as WeChat can say.
fn tell_key(checked: &Result<KeyState, OpenApiError>, app: &AppId, request_id: &RequestId) {
    let (key, means) = match checked {
        Ok(KeyState::Stale) => (
            "stale",
            "wx.login was called meanwhile, or the user is on another phone: log in first, then \
             obtain the data",
        ),
        Ok(KeyState::Current) => (
            "current",
            "the data was changed, is old, or is not this user's",
        ),
        Err(_) => ("unknown", "wechat did not say"),
    };
    let error = checked.as_ref().err().map(ToString::to_string);
    let request_id = request_id.as_str();
    tracing::info!(message = event::SESSION_KEY_CHECKED, key, means, error, appid = %app, request_id);
}
