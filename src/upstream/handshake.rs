//! The answer to a WebSocket handshake (RFC 6455 §4.1, from "Once the client's opening handshake"):
//! whether it opens the socket that was asked for, and nothing else. Strict, since from there on
//! nobody reads along: what the two sides understand differently, the client's next bytes could make
//! a request of. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use sha1::{Digest, Sha1};

use crate::domain::fields::HeaderFields;
use crate::domain::hop;
use crate::domain::names;
use crate::domain::response::Response;
use crate::domain::websocket::WebSocketRequest;

/// RFC 6455 §1.3: what turns a key into the answer that only a WebSocket server gives.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a handshake asks for, as it went to the app server.
#[derive(Debug)]
pub(in crate::upstream) struct Offer {
    accept: String,
    /// Subprotocols, in their letter case.
    subprotocols: Vec<Vec<u8>>,
    /// The names of extensions, without their parameters.
    extensions: Vec<Vec<u8>>,
}

impl Offer {
    /// Of a request with these fields.
    pub(in crate::upstream) fn of(asked: &WebSocketRequest, fields: &HeaderFields) -> Self {
        Self {
            accept: accept_of(asked.key()),
            subprotocols: listed(fields, &SEC_WEBSOCKET_PROTOCOL).collect(),
            extensions: listed(fields, &SEC_WEBSOCKET_EXTENSIONS)
                .map(|extension| name_of(&extension))
                .collect(),
        }
    }

    /// Whether the answer `101` with these fields takes it.
    pub(in crate::upstream) fn is_taken_by(&self, fields: &HeaderFields) -> bool {
        let says = |name, value: &[u8]| {
            let said = fields.only(name);
            said.is_some_and(|said| said.value().eq_ignore_ascii_case(value))
        };
        let accept = fields.only(&SEC_WEBSOCKET_ACCEPT);
        // RFC 9110 §8.6, RFC 9112 §6.1: neither stands in a 101. Who reads one takes the first bytes
        // of the socket for a body.
        let has_body = fields.has(names::CONTENT_LENGTH) || fields.has(names::TRANSFER_ENCODING);
        says(names::UPGRADE, b"websocket")
            && hop::has_token(fields, names::CONNECTION, "upgrade")
            && accept.is_some_and(|accept| accept.value() == self.accept.as_bytes())
            && !has_body
            && self.has_subprotocol_of(fields)
            && listed(fields, &SEC_WEBSOCKET_EXTENSIONS)
                .map(|extension| name_of(&extension))
                .all(|name| self.extensions.contains(&name))
    }

    /// Whether none was chosen, or one of those that were offered.
    fn has_subprotocol_of(&self, fields: &HeaderFields) -> bool {
        if !fields.has(&SEC_WEBSOCKET_PROTOCOL) {
            return true;
        }
        let chosen = fields.only(&SEC_WEBSOCKET_PROTOCOL);
        chosen.is_some_and(|chosen| {
            let mut offered = self.subprotocols.iter();
            offered.any(|offered| offered == chosen.value())
        })
    }
}

/// What stands between the commas of all fields of this name.
fn listed<'a>(
    fields: &'a HeaderFields,
    name: &'a http::HeaderName,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let values = fields.all(name).map(|field| field.value());
    values.flat_map(|value| {
        value
            .split(|&byte| byte == b',')
            .map(|item| item.trim_ascii().to_vec())
            .filter(|item| !item.is_empty())
    })
}

/// The name of an extension, in lower case.
fn name_of(extension: &[u8]) -> Vec<u8> {
    let name = extension.split(|&byte| byte == b';').next();
    name.unwrap_or_default().trim_ascii().to_ascii_lowercase()
}

/// Leaves of the answer what is for the client, and says that its connection is a WebSocket from now
/// on (RFC 6455 §4.2.2).
pub(in crate::upstream) fn confirm(response: &mut Response<()>) {
    let connections = response.passed.all(names::CONNECTION);
    let listed: Vec<_> = connections
        .flat_map(|field| hop::listed_in(field.value()))
        .collect();
    response
        .passed
        .retain(|field| !hop::is_hop_by_hop(field) && !hop::is_one_of(field.name(), &listed));
    response.set(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.set(UPGRADE, HeaderValue::from_static("websocket"));
}

fn accept_of(key: &HeaderValue) -> String {
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(WEBSOCKET_GUID)
        .finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_value_is_that_of_the_rfc() {
        // RFC 6455 §1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_of(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
