//! The WebSocket handshake as far as a proxy must know it (RFC 6455 §4.2.1): whether a request is
//! one. What is said over the socket is not the gate's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderValue;
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{Method, Version};

use crate::domain::hop;
use crate::domain::names;
use crate::domain::request::RequestHead;

/// The subprotocol that the gate itself can choose: it means nothing, and is offered by clients
/// whose every other offer is for the gate alone. Browsers and `wx.connectSocket` give a socket up
/// when they offered subprotocols and none was chosen.
pub const OWN_SUBPROTOCOL: &str = "wxgate";

/// A request for a WebSocket, found to be well formed. The headers that make up the handshake stay
/// with the request, but for `Connection` and `Upgrade`, which this value stands for.
#[derive(Clone, Debug)]
pub struct WebSocketRequest {
    key: HeaderValue,
    own_subprotocol: bool,
}

/// Why a request that asks for a WebSocket cannot have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHandshake {
    /// A body would be taken for the first bytes of the socket.
    #[error("a WebSocket handshake has no body")]
    Body,
    /// Missing, twice, or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
    /// RFC 6455 knows GET only.
    #[error("a WebSocket handshake is a GET request")]
    Method,
    /// Another version than 13, or several.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
}

impl WebSocketRequest {
    /// Looks whether the request asks for a WebSocket. Other upgrades, and any upgrade that the
    /// `Connection` header does not list or that does not come over HTTP/1.1, are no request for
    /// one: HTTP lets a server ignore them.
    pub fn find(request: &RequestHead) -> Result<Option<Self>, BadHandshake> {
        let fields = &request.fields;
        let asked = request.version == Version::HTTP_11
            && hop::has_token(fields, names::UPGRADE, "websocket")
            && hop::has_token(fields, names::CONNECTION, "upgrade");
        if !asked {
            return Ok(None);
        }
        if request.method != Method::GET {
            return Err(BadHandshake::Method);
        }
        let length = fields.get(names::CONTENT_LENGTH);
        let empty = length.is_none_or(|length| length.value() == b"0");
        if !empty || fields.has(names::TRANSFER_ENCODING) {
            return Err(BadHandshake::Body);
        }
        let version = fields.only(&SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version.value() != b"13") {
            return Err(BadHandshake::Version);
        }
        let key = fields.only(&SEC_WEBSOCKET_KEY);
        let key = key.and_then(|key| key.to_value()).filter(is_nonce);
        Ok(Some(Self {
            key: key.ok_or(BadHandshake::Key)?,
            own_subprotocol: false,
        }))
    }

    /// The client's key, to which the app server's answer must fit.
    pub fn key(&self) -> &HeaderValue {
        &self.key
    }

    /// Notes that the client offered the gate's own subprotocol.
    pub(in crate::domain) fn offer_own_subprotocol(&mut self) {
        self.own_subprotocol = true;
    }

    /// The subprotocol to answer with when the app server chooses none, if the client offered it.
    pub fn own_subprotocol(&self) -> Option<HeaderValue> {
        self.own_subprotocol
            .then_some(HeaderValue::from_static(OWN_SUBPROTOCOL))
    }
}

fn is_nonce(key: &HeaderValue) -> bool {
    STANDARD
        .decode(key.as_bytes())
        .is_ok_and(|nonce| nonce.len() == 16)
}
