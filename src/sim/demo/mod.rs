//! A small app server, as an example of how an old one uses the gate: whoever the identity headers
//! name is the user, and there is no other way to say who one is.
//!
//! It refuses to know tokens, codes and WeChat. Like any server behind the gate it believes what it
//! receives, so it belongs where only the gate reaches it.

mod avatar;
mod events;
mod identity;
mod socket;

use std::fmt;
use std::sync::Arc;

use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::id::{UnionId, UserKey};
use crate::domain::websocket::BadHandshake;
use crate::server::plain::{self, BodyError, Handler, PlainBody};
use crate::sim::demo::avatar::Avatar;
use crate::sim::demo::identity::Identity;
use crate::sim::recent::Recent;

/// Largest profile, in bytes.
const MAX_PROFILE_BYTES: usize = 64 * 1024;

/// Largest upload, in bytes.
const MAX_AVATAR_BYTES: usize = 5 * 1024 * 1024;

/// Users whose profile is kept: 64 MiB at most.
const MAX_PROFILES: usize = 1000;

/// Users whose avatar is kept: 250 MiB at most.
const MAX_AVATARS: usize = 50;

/// WebSockets at once.
const MAX_SOCKETS: usize = 256;

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>wxgate demo app</title>
<h1>wxgate demo app</h1>
<p>It knows you by the headers that the gate adds: X-WX-OPENID, X-WX-APPID, X-WX-UNIONID.</p>
<ul>
<li>GET <a href="/public/hello">/public/hello</a>: a greeting, for everybody
<li>GET <a href="/me">/me</a>: who you are, and what was saved for you
<li>POST /saveUserInfo: saves a JSON object
<li>POST /avatar: saves a picture; GET <a href="/avatar">/avatar</a> gives it back
<li>GET /socket: a WebSocket that sends back what it gets
<li>GET <a href="/events">/events</a>: an event a second
</ul>
</html>
"#;

/// The demo app. Copies share what was saved.
#[derive(Clone)]
pub struct DemoApp {
    saved: Arc<Mutex<Saved>>,
    /// Upgraded connections are not counted by the server.
    sockets: Arc<Semaphore>,
}

struct Saved {
    profiles: Recent<UserKey, Map<String, Value>>,
    avatars: Recent<UserKey, Avatar>,
}

impl fmt::Debug for DemoApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DemoApp(..)")
    }
}

impl Default for DemoApp {
    fn default() -> Self {
        Self::new()
    }
}

impl DemoApp {
    /// An app that nobody has used yet.
    pub fn new() -> Self {
        Self {
            saved: Arc::new(Mutex::new(Saved {
                profiles: Recent::new(MAX_PROFILES),
                avatars: Recent::new(MAX_AVATARS),
            })),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
        }
    }

    /// Answers on this listener until `stop`, which ends sockets and event streams too.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let serving = Serving {
            app: self,
            stop: stop.clone(),
        };
        plain::serve(listener, serving, stop).await;
    }

    fn me(&self, who: &Identity) -> Response<PlainBody> {
        let mut saved = self.saved.lock();
        let profile = saved.profiles.get(&who.key()).cloned();
        let avatar = saved.avatars.get(&who.key()).map(|_avatar| "/avatar");
        let me = json!({
            "openid": who.openid.as_str(),
            "appid": who.app.as_str(),
            "unionid": who.unionid.as_ref().map(UnionId::as_str),
            "profile": profile,
            "avatar": avatar,
        });
        plain::json(StatusCode::OK, &me)
    }

    async fn save_profile(
        &self,
        who: &Identity,
        body: Incoming,
    ) -> Result<Response<PlainBody>, DemoError> {
        let body = plain::read_body(body, MAX_PROFILE_BYTES).await?;
        let profile = serde_json::from_slice(&body)?;
        let mut saved = self.saved.lock();
        *saved.profiles.get_or_insert_with(who.key(), Map::new) = profile;
        Ok(plain::json(StatusCode::OK, &json!({"saved": true})))
    }

    async fn save_avatar(
        &self,
        who: &Identity,
        request: Request<Incoming>,
    ) -> Result<Response<PlainBody>, DemoError> {
        let (head, body) = request.into_parts();
        let body = plain::read_body(body, MAX_AVATAR_BYTES).await?;
        let avatar = Avatar::find(&head.headers, &body).ok_or(DemoError::Picture)?;
        let answer = json!({"avatar": "/avatar", "bytes": avatar.bytes()});
        let mut saved = self.saved.lock();
        *saved.avatars.get_or_insert_with(who.key(), Avatar::none) = avatar;
        Ok(plain::json(StatusCode::OK, &answer))
    }

    fn avatar(&self, who: &Identity) -> Result<Response<PlainBody>, DemoError> {
        let mut saved = self.saved.lock();
        let avatar = saved.avatars.get(&who.key());
        avatar.map_or(Err(DemoError::NoAvatar), |avatar| Ok(avatar.answer()))
    }
}

/// The app while it is served: what lasts longer than a request asks `stop` when to end.
#[derive(Clone)]
struct Serving {
    app: DemoApp,
    stop: CancellationToken,
}

impl Serving {
    async fn route(&self, request: Request<Incoming>) -> Result<Response<PlainBody>, DemoError> {
        let who = Identity::of(request.headers()).ok_or(DemoError::Anonymous);
        let path = request.uri().path().to_owned();
        let method = match request.method() {
            // The same answer; that its body is not sent is the server's business.
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        match (path.as_str(), &method) {
            ("/", &Method::GET) => Ok(plain::answer(
                StatusCode::OK,
                "text/html; charset=utf-8",
                PlainBody::full(INDEX),
            )),
            ("/public/hello", &Method::GET) => Ok(plain::text(
                StatusCode::OK,
                "Hello, whoever you are. 你好！\n",
            )),
            ("/me", &Method::GET) => Ok(self.app.me(&who?)),
            ("/saveUserInfo", &Method::POST) => {
                self.app.save_profile(&who?, request.into_body()).await
            }
            ("/avatar", &Method::POST) => self.app.save_avatar(&who?, request).await,
            ("/avatar", &Method::GET) => self.app.avatar(&who?),
            ("/socket", &Method::GET) => self.open_socket(who?, request),
            ("/events", &Method::GET) => Ok(events::answer(who?, self.stop.clone())),
            _ => Err(allowed(&path).map_or(DemoError::Route, DemoError::Method)),
        }
    }

    fn open_socket(
        &self,
        who: Identity,
        request: Request<Incoming>,
    ) -> Result<Response<PlainBody>, DemoError> {
        let place = Arc::clone(&self.app.sockets).try_acquire_owned();
        let place = place.map_err(|_full| DemoError::Full)?;
        let (answer, conversation) = socket::accept(who, request, self.stop.clone())?;
        tokio::spawn(async move {
            conversation.await;
            drop(place);
        });
        Ok(answer)
    }
}

impl Handler for Serving {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => error.answer(),
        }
    }
}

/// The methods of a route, when there is such a route.
fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "/" | "/public/hello" | "/me" | "/socket" | "/events" => Some("GET, HEAD"),
        "/saveUserInfo" => Some("POST"),
        "/avatar" => Some("GET, HEAD, POST"),
        _ => None,
    }
}

/// Why a request is not answered as it wished.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("no X-WX-OPENID and X-WX-APPID: did the request come through the gate, with a token?")]
    Anonymous,
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("too many sockets")]
    Full,
    #[error("{0}")]
    Handshake(#[from] BadHandshake),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("this route takes {0}")]
    Method(&'static str),
    #[error("no avatar was saved")]
    NoAvatar,
    #[error("send an image, or multipart/form-data with a file")]
    Picture,
    #[error("there is no such route; GET / lists them")]
    Route,
    #[error("this route is a WebSocket")]
    Upgrade,
}

impl DemoError {
    fn answer(&self) -> Response<PlainBody> {
        let status = match self {
            Self::Anonymous => StatusCode::UNAUTHORIZED,
            Self::Body(error) => error.status(),
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Handshake(_) | Self::Json(_) | Self::Picture => StatusCode::BAD_REQUEST,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoAvatar | Self::Route => StatusCode::NOT_FOUND,
            Self::Upgrade => StatusCode::UPGRADE_REQUIRED,
        };
        let mut response = plain::json(status, &json!({"error": self.to_string()}));
        if let Self::Method(methods) = self {
            let methods = HeaderValue::from_static(methods);
            response.headers_mut().insert(ALLOW, methods);
        }
        response
    }
}

#[cfg(test)]
mod tests;
