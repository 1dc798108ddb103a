//! Who a request comes from, read from the headers that the gate writes. An app server needs no
//! more than this.

use http::HeaderMap;

use crate::domain::id::{AppId, OpenId, UnionId, UserKey};

/// The user that the gate names.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) app: AppId,
    pub(super) openid: OpenId,
    pub(super) unionid: Option<UnionId>,
}

impl Identity {
    /// The user, when the gate names one. `X-WX-SOURCE` says by which way the user came, and
    /// nothing about who it is.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        Some(Self {
            app: AppId::parse(text("x-wx-appid")?).ok()?,
            openid: OpenId::parse(text("x-wx-openid")?).ok()?,
            unionid: text("x-wx-unionid").and_then(|text| UnionId::parse(text).ok()),
        })
    }

    /// Under what the user's things are saved.
    pub(super) fn key(&self) -> UserKey {
        UserKey::new(&self.app, &self.openid)
    }
}
