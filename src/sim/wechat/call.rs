//! One call of an API, and how it is answered: what all APIs of WeChat have in common on the wire.
//! Knows nothing of what an API does.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::crypto::random;
use crate::server::plain::{self, BodyError, PlainBody};

/// Largest body of a call, in bytes: far more than any API here has use for.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Call {
    /// Reads the whole of it.
    pub(super) async fn read(request: Request<Incoming>) -> Result<Self, BodyError> {
        let (head, body) = request.into_parts();
        Ok(Self {
            method: head.method,
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: plain::read_body(body, MAX_BODY_BYTES).await?,
        })
    }

    /// A parameter of the query that is there and not empty.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _value)| key == name)
            .map(|(_key, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    }

    /// Refuses every method but GET.
    pub(super) fn require_get(&self) -> Result<(), Refusal> {
        if self.method == Method::GET {
            Ok(())
        } else {
            Err(Refusal::GET_REQUIRED)
        }
    }

    /// Refuses every method but POST.
    pub(super) fn require_post(&self) -> Result<(), Refusal> {
        if self.method == Method::POST {
            Ok(())
        } else {
            Err(Refusal::POST_REQUIRED)
        }
    }

    /// The JSON body of a POST, whatever its `Content-Type` says.
    pub(super) fn posted<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.body.is_empty() {
            return Err(Refusal::EMPTY_BODY);
        }
        serde_json::from_slice(&self.body).map_err(|_cause| Refusal::NOT_JSON)
    }
}

/// What a call is answered with, always with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

impl Answer {
    /// JSON that says so.
    pub(super) fn json(value: &Value) -> Self {
        Self {
            content_type: "application/json; encoding=utf-8",
            body: value.to_string().into(),
        }
    }

    /// Success, and nothing to tell.
    pub(super) fn ok() -> Self {
        Self::json(&json!({"errcode": 0, "errmsg": "ok"}))
    }

    /// JSON that calls itself text.
    pub(super) fn text(body: String) -> Self {
        Self {
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    pub(super) fn into_response(self) -> Response<PlainBody> {
        let body = PlainBody::full(self.body);
        plain::answer(StatusCode::OK, self.content_type, body)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::json(&refusal.to_json())
    }
}

/// A refusal: its `errcode`, and how WeChat words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(i64, &'static str);

impl Refusal {
    pub(super) const DATA_UNKNOWN: Self = Self(1, "data not found");
    pub(super) const TOKEN_INVALID: Self = Self(
        40001,
        "invalid credential, access_token is invalid or not latest",
    );
    pub(super) const GRANT_TYPE: Self = Self(40002, "invalid grant_type");
    pub(super) const OPENID: Self = Self(40003, "invalid openid");
    pub(super) const APPID: Self = Self(40013, "invalid appid");
    pub(super) const TOKEN_MALFORMED: Self = Self(40014, "invalid access_token");
    pub(super) const CODE: Self = Self(40029, "invalid code");
    pub(super) const ARGUMENT: Self = Self(40097, "invalid args");
    pub(super) const SECRET: Self = Self(40125, "invalid appsecret");
    pub(super) const SCENE: Self = Self(40129, "invalid scene");
    pub(super) const CODE_USED: Self = Self(40163, "code been used");
    pub(super) const CODE_SCENE: Self = Self(40169, "invalid length for scene");
    pub(super) const TOKEN_MISSING: Self = Self(41001, "access_token missing");
    pub(super) const APPID_MISSING: Self = Self(41002, "appid missing");
    pub(super) const SECRET_MISSING: Self = Self(41004, "appsecret missing");
    pub(super) const CODE_MISSING: Self = Self(41008, "missing code");
    pub(super) const TOKEN_EXPIRED: Self = Self(42001, "access_token expired");
    pub(super) const GET_REQUIRED: Self = Self(43001, "require GET method");
    pub(super) const POST_REQUIRED: Self = Self(43002, "require POST method");
    pub(super) const OPENID_ELSEWHERE: Self = Self(43104, "appid does not match openid");
    pub(super) const EMPTY_BODY: Self = Self(44002, "empty post data");
    pub(super) const TOO_LONG: Self = Self(45002, "content size out of limit");
    pub(super) const QUOTA: Self = Self(45009, "reach max api daily quota limit");
    pub(super) const NOT_JSON: Self = Self(47001, "data format error");
    pub(super) const SIG_METHOD: Self = Self(87008, "invalid sig_method");
    pub(super) const SIGNATURE: Self = Self(87009, "invalid signature");

    pub(super) fn to_json(self) -> Value {
        let Self(errcode, errmsg) = self;
        json!({"errcode": errcode, "errmsg": format!("{errmsg}, rid: {}", rid())})
    }
}

/// The request id that WeChat puts into its messages.
fn rid() -> String {
    let [one, two, three] = [random::bytes(), random::bytes(), random::bytes()];
    let [one, two, three] = [one, two, three].map(u32::from_be_bytes);
    format!("{one:08x}-{two:08x}-{three:08x}")
}
