//! The control routes of the simulated WeChat, under `/_mock/`: what a test or a developer does to
//! it over HTTP. Each is a method of [`MockWechat`] with its arguments in JSON.

use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, IdError};
use crate::server::plain::{self, BodyError, PlainBody};
use crate::sim::wechat::misbehave::{BadOrder, Misbehaviour, Order};
use crate::sim::wechat::push_control::BadPush;
use crate::sim::wechat::push_send::SendError;
use crate::sim::wechat::{Api, MockWechat, UserName, Wanted};

/// Largest body of a control request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

const HELP: &str = "\
This is a simulated WeChat. 这是模拟的微信接口，仅供开发和测试使用。

As the real ones:
GET    /sns/jscode2session               code mock-NAME logs in as NAME, as often as wanted
GET    /cgi-bin/token                    a new access token each time
POST   /cgi-bin/stable_token             the same access token until its last 5 minutes
POST   /wxa/business/getuserphonenumber  with a code of /_mock/phone_code
POST   /wxa/business/checkencryptedmsg   knows what /_mock/userdata and /_mock/phone encrypted
GET    /wxa/checksession
GET    /wxa/resetusersessionkey
POST   /wxa/msg_sec_check                finds the text of WeChat's documentation risky
POST   /wxa/getwxacodeunlimit            image/jpeg without a picture
POST   /cgi-bin/message/subscribe/send   sends nothing, and tells which body came

POST   /_mock/code          {appid,user}                    a code that works once, for 5 minutes
POST   /_mock/userdata      {appid,user[,data][,timestamp]} encryptedData, iv, rawData, signature
POST   /_mock/phone         {appid,user}                    encryptedData, iv of a phone button
POST   /_mock/phone_code    {appid,user}                    a code of a phone button: once, 5 minutes
POST   /_mock/rotate        {appid,user}                    gives the user a new session_key
POST   /_mock/invalidate_tokens {appid}                     its access tokens are no good any more
POST   /_mock/push          {appid,token,mode,message[,encoding_aes_key][,format][,url]}
       what WeChat pushes, told and sent to url, on loopback only; mode is plain, compatible or
       safe, format json or xml
POST   /_mock/push_verify   {token[,echostr][,url]}         asks url whether it knows the token
POST   /_mock/misbehave     {times,with[,api]}              fails the next calls of an API, named by its
       path (default /sns/jscode2session); with is one of
       {\"errcode\":45011} {\"errcode\":\"40029\"} {\"status\":502} {\"delay_ms\":3000} {\"reset\":true}
       {\"garbage\":true} {\"huge_bytes\":10485760} {\"redirect\":\"http://...\"} {\"body\":\"...\"}
DELETE /_mock/misbehave     takes all that back
GET    /_mock/calls         how often each API was called
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    appid: String,
    user: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserDataRequest {
    appid: String,
    user: String,
    data: Option<Map<String, Value>>,
    /// Seconds since 1970-01-01 UTC, as in a watermark.
    timestamp: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichApp {
    appid: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MisbehaveRequest {
    /// The path of an API; that of logins when there is none.
    api: Option<String>,
    times: u32,
    with: Order,
}

/// Why a control request was not understood.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("api: no API is simulated at this path; GET /_mock/calls lists them")]
    Api,
    #[error("appid: {0}")]
    AppId(#[source] IdError),
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("this route takes {0}")]
    Method(&'static str),
    #[error("with: {0}")]
    Misbehaviour(#[from] BadOrder),
    #[error("{0}")]
    Push(#[from] BadPush),
    #[error("there is no such route; GET /_mock/ lists them")]
    Route,
    #[error("user: it is not 1 to 32 of A-Z a-z 0-9 _ -")]
    User,
}

impl MockWechat {
    /// Answers everything that is not one of WeChat's own routes.
    pub(super) async fn answer_control(&self, request: Request<Incoming>) -> Response<PlainBody> {
        match self.control(request).await {
            Ok(response) => response,
            Err(error) => error.answer(),
        }
    }

    async fn control(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<PlainBody>, ControlError> {
        let path = request.uri().path().to_owned();
        match (path.as_str(), request.method()) {
            ("/_mock" | "/_mock/", &Method::GET) => Ok(plain::text(StatusCode::OK, HELP)),
            ("/_mock/calls", &Method::GET) => Ok(found(&self.all_calls())),
            ("/_mock/misbehave", &Method::DELETE) => {
                self.behave();
                Ok(done())
            }
            ("/_mock/misbehave", &Method::POST) => {
                let MisbehaveRequest { api, times, with } = read(request).await?;
                let api = api.map_or(Some(Api::Jscode2session), |path| Api::at(&path));
                let api = api.ok_or(ControlError::Api)?;
                self.misbehave_at(api, times, Misbehaviour::try_from(with)?);
                Ok(done())
            }
            ("/_mock/invalidate_tokens", &Method::POST) => {
                let WhichApp { appid } = read(request).await?;
                self.invalidate_tokens(&AppId::parse(&appid).map_err(ControlError::AppId)?);
                Ok(done())
            }
            ("/_mock/push", &Method::POST) => {
                Ok(found(&self.order_push(read(request).await?).await?))
            }
            ("/_mock/push_verify", &Method::POST) => {
                Ok(found(&self.order_verification(read(request).await?).await?))
            }
            ("/_mock/userdata", &Method::POST) => {
                let asked: UserDataRequest = read(request).await?;
                let (app, user) = who(&asked.appid, &asked.user)?;
                let wanted = Wanted {
                    data: asked.data,
                    at: asked.timestamp.map(from_secs),
                };
                Ok(found(&self.user_data(&app, &user, wanted).to_json()))
            }
            (
                "/_mock/code" | "/_mock/phone" | "/_mock/phone_code" | "/_mock/rotate",
                &Method::POST,
            ) => {
                let Who { appid, user } = read(request).await?;
                let (app, user) = who(&appid, &user)?;
                Ok(self.do_for(&path, &app, &user))
            }
            _ => Err(allowed(&path).map_or(ControlError::Route, ControlError::Method)),
        }
    }

    fn all_calls(&self) -> Value {
        let count = |api: Api| (api.path().to_owned(), json!(self.calls_of(api)));
        Value::Object(Api::ALL.into_iter().map(count).collect())
    }

    /// The routes that are told a user and nothing else.
    fn do_for(&self, path: &str, app: &AppId, user: &UserName) -> Response<PlainBody> {
        match path {
            "/_mock/code" => found(&json!({"code": self.issue_code(app, user)})),
            "/_mock/phone_code" => found(&json!({"code": self.issue_phone_code(app, user)})),
            "/_mock/phone" => found(&self.phone(app, user).to_json()),
            _ => {
                self.rotate(app, user);
                done()
            }
        }
    }
}

impl ControlError {
    fn answer(&self) -> Response<PlainBody> {
        let status = match self {
            Self::Api | Self::AppId(_) | Self::Json(_) | Self::Misbehaviour(_) | Self::User => {
                StatusCode::BAD_REQUEST
            }
            Self::Push(BadPush::Send(SendError::NoAnswer(_))) => StatusCode::BAD_GATEWAY,
            Self::Push(BadPush::Send(SendError::Client(_))) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Push(_) => StatusCode::BAD_REQUEST,
            Self::Body(error) => error.status(),
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Route => StatusCode::NOT_FOUND,
        };
        let mut response = plain::json(status, &json!({"error": self.to_string()}));
        if let Self::Method(methods) = self {
            let methods = HeaderValue::from_static(methods);
            response.headers_mut().insert(ALLOW, methods);
        }
        response
    }
}

/// The methods of a route, when there is such a route.
fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "/_mock" | "/_mock/" | "/_mock/calls" => Some("GET"),
        "/_mock/misbehave" => Some("POST, DELETE"),
        "/_mock/code"
        | "/_mock/invalidate_tokens"
        | "/_mock/phone"
        | "/_mock/phone_code"
        | "/_mock/push"
        | "/_mock/push_verify"
        | "/_mock/rotate"
        | "/_mock/userdata" => Some("POST"),
        _ => None,
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, ControlError> {
    let body = plain::read_body(request.into_body(), MAX_BODY_BYTES).await?;
    Ok(serde_json::from_slice(&body)?)
}

fn who(appid: &str, user: &str) -> Result<(AppId, UserName), ControlError> {
    let app = AppId::parse(appid).map_err(ControlError::AppId)?;
    let user = UserName::parse(user).ok_or(ControlError::User)?;
    Ok((app, user))
}

fn from_secs(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs.saturating_mul(1000))
}

fn found(value: &Value) -> Response<PlainBody> {
    plain::json(StatusCode::OK, value)
}

fn done() -> Response<PlainBody> {
    plain::empty(StatusCode::NO_CONTENT)
}
