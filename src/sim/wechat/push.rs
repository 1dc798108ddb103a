//! What WeChat pushes to a developer's server (消息推送), built as WeChat builds it, in all three
//! modes and both formats. Knows nothing of who is to get it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::crypto::push::{self, Stamp};
use crate::crypto::random;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::secret::{EncodingAesKey, PushToken};
use crate::sim::wechat::MockWechat;
use crate::sim::wechat::users::UserName;

/// The mini program's account, to which all messages are.
const ACCOUNT: &str = "gh_simulated0000";

/// A `MsgId` of today is about this large: too large for a double.
const FIRST_MSG_ID: u64 = 23_637_352_235_060_880;

/// How the pushes of a mini program are set up in WeChat's console.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The mini program.
    pub app: AppId,
    /// What is signed with.
    pub token: PushToken,
    /// What is encrypted, and with which key.
    pub mode: PushMode,
    /// How messages are written.
    pub format: PushFormat,
}

/// What of a push is encrypted.
#[derive(Clone, Debug)]
pub enum PushMode {
    /// Nothing (明文模式).
    Plain,
    /// The message stands there in the clear and encrypted (兼容模式).
    Compatible(EncodingAesKey),
    /// Everything but the account (安全模式).
    Safe(EncodingAesKey),
}

/// How a push is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFormat {
    /// As a JSON object.
    #[default]
    Json,
    /// As elements of `<xml>`.
    Xml,
}

/// A push, ready to be sent to whatever URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRequest {
    /// What WeChat adds to the URL, without a question mark.
    pub query: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body. A verification of a URL has none, and is sent by GET.
    pub body: Option<String>,
}

/// Why a push cannot be built: the doing of whoever wrote the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// A field cannot be the name of an element.
    #[error("a field of the message is no name of an XML element")]
    Name,
    /// 4 GiB or more.
    #[error("the message is too large to be encrypted")]
    TooLarge,
}

impl MockWechat {
    /// A push with this message. What every message has (`ToUserName`, `FromUserName`, `CreateTime`,
    /// `MsgId` or `Event`) is added unless it is there; fields that are null are left out.
    pub fn push(
        &self,
        settings: &PushSettings,
        message: &Map<String, Value>,
    ) -> Result<PushRequest, BadMessage> {
        let now = self.now();
        let message = complete(message.clone(), &settings.app, now);
        let stamp = OwnedStamp::new(now);
        let mut query = stamp.query(&settings.token);
        if let Some(openid) = message.get("FromUserName").and_then(Value::as_str) {
            query.append_pair("openid", openid);
        }
        let text = settings.format.write(&message)?;
        let (key, mut around) = match &settings.mode {
            PushMode::Plain => {
                return Ok(settings.format.request(query.finish(), text));
            }
            PushMode::Compatible(key) => (key, message),
            PushMode::Safe(key) => {
                let account = message.get_key_value("ToUserName");
                let account = account.map(|(name, value)| (name.clone(), value.clone()));
                (key, account.into_iter().collect())
            }
        };
        let encrypt =
            push::seal(key, &settings.app, &random::bytes(), &text).ok_or(BadMessage::TooLarge)?;
        let signature = push::msg_signature(&settings.token, stamp.as_stamp(), &encrypt);
        query.append_pair("encrypt_type", "aes");
        query.append_pair("msg_signature", &signature);
        around.insert("Encrypt".to_owned(), Value::String(encrypt));
        let body = settings.format.write(&around)?;
        Ok(settings.format.request(query.finish(), body))
    }

    /// The request with which WeChat's console asks whether a URL is that of whoever knows the token:
    /// the answer must be `echostr` and nothing else.
    pub fn push_verification(&self, token: &PushToken, echostr: &str) -> PushRequest {
        let mut query = OwnedStamp::new(self.now()).query(token);
        query.append_pair("echostr", echostr);
        PushRequest {
            query: query.finish(),
            content_type: "text/plain",
            body: None,
        }
    }
}

/// When and with which number a push is signed.
struct OwnedStamp {
    timestamp: String,
    nonce: String,
}

impl OwnedStamp {
    fn new(now: Timestamp) -> Self {
        Self {
            timestamp: now.as_secs().to_string(),
            nonce: u32::from_be_bytes(random::bytes()).to_string(),
        }
    }

    fn as_stamp(&self) -> Stamp<'_> {
        Stamp {
            timestamp: &self.timestamp,
            nonce: &self.nonce,
        }
    }

    /// The beginning of the query. `signature` covers no ciphertext, which is like an empty one.
    fn query(&self, token: &PushToken) -> form_urlencoded::Serializer<'static, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let signature = push::msg_signature(token, self.as_stamp(), "");
        query.append_pair("signature", &signature);
        query.append_pair("timestamp", &self.timestamp);
        query.append_pair("nonce", &self.nonce);
        query
    }
}

/// Adds what every message has, and takes out what is null.
fn complete(mut message: Map<String, Value>, app: &AppId, now: Timestamp) -> Map<String, Value> {
    let mut add = |field: &str, value: Value| {
        message.entry(field).or_insert(value);
    };
    add("ToUserName", json!(ACCOUNT));
    let devtools = super::users::openid(app, &UserName::devtools());
    add("FromUserName", json!(devtools.as_str()));
    add("CreateTime", json!(now.as_secs()));
    if message.contains_key("Event") {
        message.entry("MsgType").or_insert(json!("event"));
    } else {
        let drawn = u64::from(u32::from_be_bytes(random::bytes()));
        message.entry("MsgType").or_insert(json!("text"));
        message
            .entry("MsgId")
            .or_insert(json!(FIRST_MSG_ID + drawn));
    }
    message.retain(|_field, value| !value.is_null());
    message
}

impl PushFormat {
    fn request(self, query: String, body: String) -> PushRequest {
        PushRequest {
            query,
            content_type: match self {
                Self::Json => "application/json",
                Self::Xml => "text/xml",
            },
            body: Some(body),
        }
    }

    fn write(self, fields: &Map<String, Value>) -> Result<String, BadMessage> {
        match self {
            Self::Json => Ok(Value::Object(fields.clone()).to_string()),
            Self::Xml => {
                let mut xml = String::from("<xml>");
                elements(&mut xml, fields)?;
                xml.push_str("</xml>");
                Ok(xml)
            }
        }
    }
}

/// A field as an element; a list as one element for each of its values.
fn elements(xml: &mut String, fields: &Map<String, Value>) -> Result<(), BadMessage> {
    for (name, value) in fields {
        if !is_element_name(name) {
            return Err(BadMessage::Name);
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            element(xml, name, value)?;
        }
    }
    Ok(())
}

fn element(xml: &mut String, name: &str, value: &Value) -> Result<(), BadMessage> {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    match value {
        Value::Object(fields) => elements(xml, fields)?,
        // Where the text ends a section itself, another one begins.
        Value::String(text) => {
            let text = text.replace("]]>", "]]]]><![CDATA[>");
            // Writing to a String cannot fail.
            write!(xml, "<![CDATA[{text}]]>").unwrap_or_default();
        }
        // Numbers and the like are written as in JSON.
        plain => write!(xml, "{plain}").unwrap_or_default(),
    }
    write!(xml, "</{name}>").unwrap_or_default();
    Ok(())
}

fn is_element_name(name: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.bytes().take(1).any(|byte| first(&byte))
        && name
            .bytes()
            .all(|byte| first(&byte) || byte.is_ascii_digit() || byte == b'-')
}
