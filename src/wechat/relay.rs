//! Passes a call of the app server on to WeChat: puts the access token in, and otherwise changes
//! nothing in either direction. Which calls may pass, and for whom, is its caller's business.
//!
//! The token goes into the query of the call and nowhere else: an answer that repeats it does not
//! get through, and breaks off where it would.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use memchr::memmem;
use tokio::time::Instant;

use crate::domain::hop;
use crate::domain::secret::AccessToken;
use crate::telemetry::metrics::{Failure, Said};
use crate::wechat::access_token::Keeper;
use crate::wechat::client::{Client, transport};
use crate::wechat::count::{self, Asking};
use crate::wechat::errcode::Errcode;
use crate::wechat::error::CallError;
use crate::wechat::reply;
use crate::wechat::token_error::TokenError;
use crate::wechat::watched::Watched;

/// How long a call may take, from the request's head to the answer's last byte: enough for the
/// 10 MB of a media file over a slow line.
const RELAY_TIMEOUT: Duration = Duration::from_mins(1);

/// Largest body that is kept so that the call can be made again, in bytes. JSON calls are far
/// smaller; what is larger is a file, and is passed on as it comes.
const MAX_KEPT_BODY: usize = 1024 * 1024;

/// How much of an answer in JSON is held back to see whether WeChat refused the token, in bytes.
/// Refusals have some hundred.
const MAX_HELD_BACK: usize = 4096;

/// The headers of a call that mean something to WeChat. Nothing else goes there: neither who the
/// user is nor how the app server proved itself to the gate.
const PASSED: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    USER_AGENT,
];

/// How the headers begin with which a call is signed (服务端 API 签名).
const SIGNED: &str = "wechatmp-";

/// A call to pass on.
#[derive(Debug)]
pub struct Call<B> {
    /// GET or POST.
    pub method: Method,
    /// The path of the API.
    pub path: String,
    /// The query without an access token.
    pub query: String,
    /// As they came.
    pub headers: HeaderMap,
    /// As it comes.
    pub body: B,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The caller's: its body broke off.
    #[error("the body of the call broke off")]
    Body,
    /// WeChat's: it repeats the token, which must not get out.
    #[error("WeChat's answer repeats the access token")]
    Leak,
    /// WeChat's or the network's.
    #[error(transparent)]
    NoAnswer(#[from] CallError),
    /// There is no token.
    #[error("there is no access token")]
    NoToken(#[from] TokenError),
}

/// The body of WeChat's answer.
pub type AnswerBody = Watched<Resumed<reqwest::Body>>;

impl Client {
    /// Makes a call in the name of the keeper's mini program. When WeChat refuses the token, the call
    /// is made once more with another, if its body is small enough to have been kept.
    pub async fn relay<B>(
        &self,
        keeper: &Keeper,
        call: Call<B>,
    ) -> Result<Response<AnswerBody>, RelayError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let deadline = Instant::now() + RELAY_TIMEOUT;
        let mut asking = Asking::new(&self.counts, &call.path);
        let relayed = self.relay_until(&mut asking, deadline, keeper, call);
        let relayed = tokio::time::timeout_at(deadline, relayed).await;
        relayed.map_err(|_elapsed| {
            asking.timed_out();
            CallError::TimedOut
        })?
    }

    async fn relay_until<B>(
        &self,
        asking: &mut Asking,
        deadline: Instant,
        keeper: &Keeper,
        call: Call<B>,
    ) -> Result<Response<AnswerBody>, RelayError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Call {
            method,
            path,
            query,
            headers,
            body,
        } = call;
        let outgoing = Outgoing {
            method,
            path,
            query,
            headers: passed(&headers),
            deadline,
        };
        let (kept, body) = match Upload::read(body).await? {
            Upload::Kept(bytes) => (Some(bytes.clone()), reqwest::Body::from(bytes)),
            Upload::Stream(body) => (None, body),
        };
        let token = keeper.token().await?;
        let first = self.call_once(asking, &outgoing, &token, body).await?;
        if !first.refuses_token() {
            return first.into_response(token);
        }
        // Asked for even when this call cannot be made again: the next one needs it.
        match (keeper.after_refusal(&token).await, kept) {
            (Ok(another), Some(bytes)) => {
                let body = bytes.into();
                let second = self.call_once(asking, &outgoing, &another, body).await?;
                second.into_response(another)
            }
            // What WeChat said is as good an answer as any.
            _ => first.into_response(token),
        }
    }

    async fn call_once(
        &self,
        asking: &mut Asking,
        call: &Outgoing,
        token: &AccessToken,
        body: reqwest::Body,
    ) -> Result<Peeked, CallError> {
        let mut url = self.endpoint(&call.path);
        // Exposed to WeChat: this is what it is for.
        let encoded: String = byte_serialize(token.expose().as_bytes()).collect();
        let and = if call.query.is_empty() { "" } else { "&" };
        url.set_query(Some(&format!("{}{and}access_token={encoded}", call.query)));
        let left = call.deadline.saturating_duration_since(Instant::now());
        let request = self.http.request(call.method.clone(), url);
        let request = request.headers(call.headers.clone()).timeout(left);
        asking.begin(&call.method);
        let answer = async {
            let response = request.body(body).send().await.map_err(transport)?;
            Peeked::read(response).await
        };
        let answer = answer.await.inspect_err(|error| asking.failed(error))?;
        asking.answered(answer.status.as_u16(), answer.said());
        Ok(answer)
    }
}

/// A call as it is made, as often as it is.
struct Outgoing {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    deadline: Instant,
}

fn passed(headers: &HeaderMap) -> HeaderMap {
    let means = |name: &HeaderName| PASSED.contains(name) || name.as_str().starts_with(SIGNED);
    let pairs = headers.iter().filter(|(name, _)| means(name));
    let mut passed = HeaderMap::new();
    for (name, value) in pairs {
        passed.append(name, value.clone());
    }
    passed
}

/// The body of a call.
enum Upload {
    /// All of it.
    Kept(Bytes),
    /// More than is kept.
    Stream(reqwest::Body),
}

impl Upload {
    async fn read<B>(mut body: B) -> Result<Self, RelayError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let length = body.size_hint().exact();
        if length.is_some_and(|length| usize::try_from(length).is_ok_and(|n| n > MAX_KEPT_BODY)) {
            return Ok(Self::Stream(reqwest::Body::wrap(body)));
        }
        let mut before = Held::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_broken| RelayError::Body)?;
            if let Ok(bytes) = frame.into_data() {
                before.push(bytes);
            }
            if before.length > MAX_KEPT_BODY {
                let rest = Some(body);
                return Ok(Self::Stream(reqwest::Body::wrap(Resumed { before, rest })));
            }
        }
        Ok(Self::Kept(before.concat().into()))
    }
}

/// The beginning of a body.
#[derive(Debug, Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Held {
    fn push(&mut self, bytes: Bytes) {
        self.length = self.length.saturating_add(bytes.len());
        self.pieces.push_back(bytes);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.pieces.pop_front()?;
        self.length = self.length.saturating_sub(bytes.len());
        Some(bytes)
    }

    fn concat(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.length);
        self.pieces
            .iter()
            .for_each(|bytes| all.extend_from_slice(bytes));
        all
    }
}

/// A body whose beginning has been read already.
#[derive(Debug)]
pub struct Resumed<R> {
    before: Held,
    rest: Option<R>,
}

impl<R: Body<Data = Bytes> + Unpin> Body for Resumed<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        if let Some(bytes) = self.before.pop() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.before.pieces.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            None => SizeHint::with_exact(u64::try_from(self.before.length).unwrap_or(u64::MAX)),
            Some(_) => SizeHint::default(),
        }
    }
}

/// An answer of which the beginning is known.
struct Peeked {
    status: StatusCode,
    headers: HeaderMap,
    body: Resumed<reqwest::Body>,
}

impl Peeked {
    /// Reads on for as long as it may be a refusal of the token: the whole of a short JSON answer.
    async fn read(mut response: reqwest::Response) -> Result<Self, CallError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut before = Held::default();
        let rest = loop {
            if before.length > MAX_HELD_BACK || !may_be_object(&before) {
                break Some(response.into());
            }
            match response.chunk().await.map_err(transport)? {
                Some(bytes) => before.push(bytes),
                None => break None,
            }
        };
        let body = Resumed { before, rest };
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    fn errcode(&self) -> Option<Errcode> {
        let whole = self.body.rest.is_none();
        let errcode = whole.then(|| reply::errcode_of(&self.body.before.concat()));
        errcode.flatten()
    }

    fn refuses_token(&self) -> bool {
        self.errcode().is_some_and(Errcode::is_about_token)
    }

    /// What it says, as far as that is known: an answer without errcode has what was asked for.
    fn said(&self) -> Said {
        match self.errcode() {
            Some(errcode) => count::of_number(errcode.number()),
            None if self.status.is_success() => Said::Errcode(0),
            None => Said::Failure(Failure::HttpStatus),
        }
    }

    /// The answer for the app server.
    fn into_response(self, token: Arc<AccessToken>) -> Result<Response<AnswerBody>, RelayError> {
        let Self {
            status,
            mut headers,
            body,
        } = self;
        // Exposed to nobody: it is looked for.
        let secret = token.expose().as_bytes();
        let repeats = |bytes: &[u8]| memmem::find(bytes, secret).is_some();
        if headers.values().any(|value| repeats(value.as_bytes())) || repeats(&body.before.concat())
        {
            return Err(RelayError::Leak);
        }
        hop::remove(&mut headers);
        let mut response = Response::new(Watched::new(body, token));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Whether what has come so far can be the beginning of a JSON object.
fn may_be_object(held: &Held) -> bool {
    let mut bytes = held.pieces.iter().flat_map(|piece| piece.iter());
    bytes
        .find(|byte| !byte.is_ascii_whitespace())
        .is_none_or(|first| *first == b'{')
}
