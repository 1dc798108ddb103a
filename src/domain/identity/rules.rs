//! What is taken out of a request and what is put in, as far as the operator decides it: names,
//! prefixes, places of tokens, trusted proxies. Takes nothing out itself but names.

use std::sync::LazyLock;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};

use crate::domain::cookie::CookieName;
use crate::domain::field::FieldName;
use crate::domain::fold::{Firsts, NameSet};
use crate::domain::forwarded;
use crate::domain::hop;
use crate::domain::identity::overrides::is_method_override;
use crate::domain::identity::signing::Signers;
use crate::domain::peer::TrustedProxies;

/// The names under which the app server learns who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityNames {
    /// The user's openid.
    pub openid: FieldName,
    /// The user's unionid, where known.
    pub unionid: FieldName,
    /// The mini program.
    pub appid: FieldName,
    /// That the request came from a mini program at all.
    pub source: FieldName,
    /// The cloud environment, a fixed text.
    pub env: FieldName,
    /// Who the user is, signed. Protected also where nothing is signed.
    pub assertion: FieldName,
    /// What the user asks for, signed. The same.
    pub proof: FieldName,
}

impl IdentityNames {
    /// All of them.
    pub fn all(&self) -> [&FieldName; 7] {
        [
            &self.openid,
            &self.unionid,
            &self.appid,
            &self.source,
            &self.env,
            &self.assertion,
            &self.proof,
        ]
    }
}

/// A place in a request where a session token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer wxg_…`. Anything else there is the app server's own.
    Authorization,
    /// A cookie that only the gate uses.
    Cookie(CookieName),
    /// A header that only the gate uses.
    Header(HeaderName),
    /// A parameter of the query, in WebSocket handshakes only: other requests leave their target
    /// in logs and histories.
    Query(Box<str>),
    /// `wxgate.wxg_…` among the subprotocols of a WebSocket handshake.
    WebSocketProtocol,
}

impl TokenPlace {
    /// Whether it is looked into in WebSocket handshakes only.
    pub fn is_for_websockets_only(&self) -> bool {
        match self {
            Self::Query(_) | Self::WebSocketProtocol => true,
            Self::Authorization | Self::Cookie(_) | Self::Header(_) => false,
        }
    }

    fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::Header(name) => Some(name),
            Self::Authorization | Self::Cookie(_) | Self::Query(_) | Self::WebSocketProtocol => {
                None
            }
        }
    }

    fn cookie(&self) -> Option<&CookieName> {
        match self {
            Self::Cookie(name) => Some(name),
            Self::Authorization | Self::Header(_) | Self::Query(_) | Self::WebSocketProtocol => {
                None
            }
        }
    }
}

/// What is taken out of every request beside the names that the gate writes.
#[derive(Clone, Debug, Default)]
pub struct Stripping {
    /// Everything whose name begins so.
    pub prefixes: Vec<String>,
    /// But for these names.
    pub keep: Vec<String>,
}

/// Everything that decides what is taken out of a request and what is put in.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    pub(in crate::domain::identity) names: IdentityNames,
    pub(in crate::domain::identity) env: Option<HeaderValue>,
    token_places: Vec<TokenPlace>,
    /// Whether tickets are taken out of queries.
    pub(in crate::domain::identity) tickets: bool,
    protected: NameSet,
    /// What the names begin with that are protected, or only for proxies.
    suspects: Firsts,
    pub(in crate::domain::identity) trusted: TrustedProxies,
    pub(in crate::domain::identity) signers: Signers,
}

impl IdentityRules {
    /// Rules with these names.
    pub fn new(
        names: IdentityNames,
        env: Option<HeaderValue>,
        token_places: Vec<TokenPlace>,
        trusted: TrustedProxies,
        stripping: &Stripping,
    ) -> Self {
        // Other spellings of a header that holds tokens go as well: what a server folds onto it may
        // hold one.
        let of_tokens = token_places.iter().filter_map(TokenPlace::header);
        let protected = NameSet::new(
            names
                .all()
                .into_iter()
                .map(FieldName::name)
                .chain(of_tokens)
                .map(HeaderName::as_str),
            stripping.prefixes.iter().map(String::as_str),
            stripping.keep.iter().map(String::as_str),
        );
        Self {
            names,
            env,
            token_places,
            tickets: false,
            suspects: protected.firsts().or(forwarded::firsts()),
            protected,
            trusted,
            signers: Signers::default(),
        }
    }

    /// The same, with identities signed by these.
    #[must_use]
    pub fn signed_by(self, signers: Signers) -> Self {
        Self { signers, ..self }
    }

    /// The same, with tickets read where there are any, and taken out.
    #[must_use]
    pub fn with_tickets(self, tickets: bool) -> Self {
        Self { tickets, ..self }
    }

    /// The cookies that tokens are looked for in.
    pub fn cookies(&self) -> impl Iterator<Item = &CookieName> {
        self.token_places.iter().filter_map(TokenPlace::cookie)
    }

    /// By whom identities are signed.
    pub fn signers(&self) -> &Signers {
        &self.signers
    }

    /// The names under which the app server learns who sent a request.
    pub fn names(&self) -> &IdentityNames {
        &self.names
    }

    /// Whether identified requests carry the cloud environment.
    pub fn has_env(&self) -> bool {
        self.env.is_some()
    }

    /// Where tokens are looked for, in this order.
    pub fn token_places(&self) -> &[TokenPlace] {
        &self.token_places
    }

    /// Whether the name may not stand in trailers: what headers are cleaned of, and what changes
    /// how a message is read (RFC 9110 §6.5.1).
    pub(in crate::domain::identity) fn forbids_in_trailers(&self, name: &HeaderName) -> bool {
        static NEVER: LazyLock<NameSet> = LazyLock::new(|| {
            let names = [
                AUTHORIZATION,
                CONTENT_LENGTH,
                CONTENT_TYPE,
                COOKIE,
                HOST,
                TRANSFER_ENCODING,
            ];
            NameSet::new(names.iter().map(HeaderName::as_str), ["proxy"], [])
        });
        let bytes = name.as_str().as_bytes();
        NEVER.has(bytes)
            || hop::is_hop_by_hop(name)
            || self.protected.has(bytes)
            || forwarded::is_forwarding(bytes)
            || is_method_override(bytes)
            || self
                .token_places
                .contains(&TokenPlace::Header(name.clone()))
    }

    /// Whether the name may be protected, or one that only a proxy may say. Most are told to be
    /// neither by their first letter.
    pub(in crate::domain::identity) fn suspects(&self, name: &[u8]) -> bool {
        self.suspects.has(name)
    }

    /// Whether only the gate may write this name, in any spelling.
    pub(in crate::domain::identity) fn protects(&self, name: &[u8]) -> bool {
        self.protected.has(name)
    }
}
