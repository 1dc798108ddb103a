//! A WebSocket that greets its user and sends back what it gets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use crate::domain::fields::HeaderFields;
use crate::domain::request::RequestHead;
use crate::domain::websocket::WebSocketRequest;
use crate::server::plain::{self, PlainBody};
use crate::sim::demo::DemoError;
use crate::sim::demo::identity::Identity;

/// Largest message, in bytes. One is in memory twice: once read, once on its way back.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// What the key is hashed with, to show that the handshake was understood (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Agrees to the handshake. What is said after it goes on in the future that is given back, until
/// the client leaves or `stop`.
pub(super) fn accept(
    who: Identity,
    request: Request<Incoming>,
    stop: CancellationToken,
) -> Result<(Response<PlainBody>, impl Future<Output = ()> + Send), DemoError> {
    let head = RequestHead {
        method: request.method().clone(),
        uri: request.uri().clone(),
        version: request.version(),
        fields: HeaderFields::from(request.headers()),
    };
    let handshake = WebSocketRequest::find(&head)?.ok_or(DemoError::Upgrade)?;
    let upgrade = hyper::upgrade::on(request);
    let conversation = async move {
        if let Ok(upgraded) = upgrade.await {
            // However it ends, it ends: there is nobody to tell.
            drop(converse(&who, upgraded, stop).await);
        }
    };
    Ok((switching(handshake.key()), conversation))
}

fn switching(key: &HeaderValue) -> Response<PlainBody> {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut response = plain::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(STANDARD.encode(hash)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn converse(
    who: &Identity,
    upgraded: Upgraded,
    stop: CancellationToken,
) -> Result<(), Error> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    let greeting = format!("hello {}", who.openid.as_str());
    socket.send(Message::text(greeting)).await?;
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return socket.close(None).await,
            message = socket.next() => message,
        };
        match message.transpose()? {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await?,
            // Pings are answered and a close is agreed to where they are read.
            Some(_control) => {}
            None => return Ok(()),
        }
    }
}
