//! What is signed of an identity, for app servers that can be reached around the gate: there, a header
//! alone shows nothing of who wrote it. How it is signed is the business of whoever implements
//! [`Sign`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UnionId};
use crate::domain::identity::Identity;
use crate::domain::session::Holder;
use crate::domain::token::TokenDigest;
use crate::domain::trace::RequestId;

/// Whom a request is from, by all that is known of one who is known at all.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// The mini program.
    pub app: &'a AppId,
    /// The user within it; a push may name none.
    pub openid: Option<&'a OpenId>,
    /// The person across mini programs, when WeChat knows.
    pub unionid: Option<&'a UnionId>,
    /// The session, when it is by one.
    pub session: Option<&'a TokenDigest>,
}

impl<'a> User<'a> {
    pub(in crate::domain::identity) fn of(identity: &'a Identity) -> Option<Self> {
        match identity {
            Identity::Session(live) => {
                let session = Some(live.session().digest());
                Some(Self::holder(live.holder(), session))
            }
            Identity::LoggedIn(redeemed) => Some(Self::holder(redeemed.holder(), None)),
            Identity::Sender(sender) => Some(Self {
                app: sender.app(),
                openid: sender.openid(),
                unionid: None,
                session: None,
            }),
            Identity::Anonymous => None,
        }
    }

    fn holder(holder: &'a Holder, session: Option<&'a TokenDigest>) -> Self {
        Self {
            app: &holder.app,
            openid: Some(&holder.openid),
            unionid: holder.unionid.as_ref(),
            session,
        }
    }
}

/// What the gate says of a request that it sends to the app server.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// Whom it is from.
    pub user: User<'a>,
    /// Its method.
    pub method: &'a Method,
    /// Its path and query, byte for byte as they go out.
    pub target: &'a str,
    /// The id under which the log knows it, and which it carries.
    pub request_id: &'a RequestId,
    /// When this was said.
    pub now: Timestamp,
}

/// Signs statements.
pub trait Sign: fmt::Debug + Send + Sync {
    /// The value of a header, signed; nothing when it cannot be made, so that an app server that looks
    /// for it refuses. Waits for nothing.
    fn sign(&self, statement: &Statement<'_>) -> Option<Bytes>;
}

/// By whom identities are signed, each in a header of its own.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    /// Says who the user is.
    pub assertion: Option<Arc<dyn Sign>>,
    /// Says what the user asks for as well.
    pub proof: Option<Arc<dyn Sign>>,
}
