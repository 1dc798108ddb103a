//! The control routes of pushes: what is to be pushed and where to, in JSON. Knows nothing of how it
//! is done.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::id::{AppId, IdError};
use crate::domain::secret::{EncodingAesKey, PushToken};
use crate::sim::wechat::MockWechat;
use crate::sim::wechat::push::{BadMessage, PushFormat, PushMode, PushRequest, PushSettings};
use crate::sim::wechat::push_send::{Delivered, SendError};

/// The body of `/_mock/push`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushOrder {
    appid: String,
    token: String,
    encoding_aes_key: Option<String>,
    mode: OrderedMode,
    #[serde(default)]
    format: PushFormat,
    message: Map<String, Value>,
    /// Where it is to be sent. Without, it is only told.
    url: Option<String>,
}

/// The body of `/_mock/push_verify`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyOrder {
    token: String,
    #[serde(default = "default_echostr")]
    echostr: String,
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderedMode {
    Plain,
    Compatible,
    Safe,
}

fn default_echostr() -> String {
    "4375120948345356249".to_owned()
}

/// Why nothing was pushed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPush {
    #[error("appid: {0}")]
    AppId(#[source] IdError),
    #[error("encoding_aes_key: it is not 43 characters of base64, which this mode needs")]
    Key,
    #[error("message: {0}")]
    Message(#[from] BadMessage),
    #[error("url: {0}")]
    Send(#[from] SendError),
    #[error("token: it is not short printable ASCII")]
    Token,
}

impl MockWechat {
    /// Builds a push and sends it, if told where.
    pub(super) async fn order_push(&self, order: PushOrder) -> Result<Value, BadPush> {
        let key = order.encoding_aes_key.as_deref();
        let key = key.and_then(EncodingAesKey::parse).ok_or(BadPush::Key);
        let settings = PushSettings {
            app: AppId::parse(&order.appid).map_err(BadPush::AppId)?,
            token: PushToken::parse(&order.token).ok_or(BadPush::Token)?,
            mode: match order.mode {
                OrderedMode::Plain => PushMode::Plain,
                OrderedMode::Compatible => PushMode::Compatible(key?),
                OrderedMode::Safe => PushMode::Safe(key?),
            },
            format: order.format,
        };
        let request = self.push(&settings, &order.message)?;
        let mut told = told(&request);
        if let Some(url) = order.url {
            let delivered = request.send(&url).await?;
            told.insert("answer".to_owned(), answer(&delivered));
        }
        Ok(Value::Object(told))
    }

    /// Asks a URL whether it knows the token.
    pub(super) async fn order_verification(&self, order: VerifyOrder) -> Result<Value, BadPush> {
        let token = PushToken::parse(&order.token).ok_or(BadPush::Token)?;
        let request = self.push_verification(&token, &order.echostr);
        let mut told = told(&request);
        if let Some(url) = order.url {
            let delivered = request.send(&url).await?;
            let verified = delivered.status == StatusCode::OK && delivered.body == order.echostr;
            told.insert("answer".to_owned(), answer(&delivered));
            told.insert("verified".to_owned(), json!(verified));
        }
        Ok(Value::Object(told))
    }
}

/// The request as anybody else may send it.
fn told(request: &PushRequest) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("query".to_owned(), json!(request.query));
    told.insert("content_type".to_owned(), json!(request.content_type));
    told.insert("body".to_owned(), json!(request.body));
    told
}

fn answer(delivered: &Delivered) -> Value {
    json!({
        "tries": delivered.tries,
        "status": delivered.status.as_u16(),
        "body": delivered.body,
    })
}
