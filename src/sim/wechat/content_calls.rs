//! What app servers call most beside the users' data: `wxa/msg_sec_check`, `wxa/getwxacodeunlimit`
//! and `cgi-bin/message/subscribe/send`. Nothing is checked, drawn or sent; what a caller can get
//! wrong is refused as by the real ones.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::sim::wechat::MockWechat;
use crate::sim::wechat::call::{Answer, Call, Refusal};

/// The text that WeChat's documentation names for trying a refusal out.
const RISKY: &str = "特3456书yuuo莞6543李zxcz蒜7782法fgnv级";

/// Label of content that nothing was found in.
const LABEL_NORMAL: u32 = 100;

/// Label of content that is bad in no way that has a label of its own.
const LABEL_OTHER: u32 = 21000;

/// Longest content that is checked, in characters.
const MAX_CONTENT_CHARS: usize = 2500;

/// Longest `scene` of a mini program code, in characters.
const MAX_SCENE_CHARS: usize = 32;

/// The beginning and the end of a JPEG file with no picture between. It is not UTF-8.
const PICTURE: &[u8] =
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9";

#[derive(Deserialize)]
struct CheckRequest {
    content: Option<String>,
    openid: Option<String>,
    scene: Option<u32>,
    version: Option<u32>,
}

#[derive(Deserialize)]
struct CodeRequest {
    scene: Option<String>,
}

impl MockWechat {
    /// Finds the documented text risky and everything else good. Whether the user was in the mini
    /// program of late is not looked at: only logins are seen here.
    pub(super) fn check_content(&self, call: &Call) -> Result<Answer, Refusal> {
        let app = self.authorized_post(call)?;
        let asked: CheckRequest = call.posted()?;
        let content = asked.content.filter(|content| !content.is_empty());
        let content = content.ok_or(Refusal::ARGUMENT)?;
        if asked.version != Some(2) {
            return Err(Refusal::ARGUMENT);
        }
        if !asked.scene.is_some_and(|scene| (1..=4).contains(&scene)) {
            return Err(Refusal::SCENE);
        }
        if content.chars().count() > MAX_CONTENT_CHARS {
            return Err(Refusal::TOO_LONG);
        }
        let openid = asked.openid.ok_or(Refusal::OPENID)?;
        if self.name_of(&app, &openid).is_none() {
            let elsewhere = self.0.state.lock().users.is_openid(&openid);
            return Err(if elsewhere {
                Refusal::OPENID_ELSEWHERE
            } else {
                Refusal::OPENID
            });
        }
        let (suggest, label) = if content.contains(RISKY) {
            ("risky", LABEL_OTHER)
        } else {
            ("pass", LABEL_NORMAL)
        };
        Ok(Answer::json(&json!({
            "errcode": 0,
            "errmsg": "ok",
            "result": {"suggest": suggest, "label": label},
            "detail": [
                {"strategy": "content_model", "errcode": 0, "suggest": suggest, "label": label, "prob": 90},
            ],
            "trace_id": "simulated",
        })))
    }

    /// A picture, or JSON when there is none.
    pub(super) fn mini_program_code(&self, call: &Call) -> Result<Answer, Refusal> {
        self.authorized_post(call)?;
        let asked: CodeRequest = call.posted()?;
        let length = asked.scene.map_or(0, |scene| scene.chars().count());
        if !(1..=MAX_SCENE_CHARS).contains(&length) {
            return Err(Refusal::CODE_SCENE);
        }
        Ok(Answer {
            content_type: "image/jpeg",
            body: Bytes::from_static(PICTURE),
        })
    }

    /// Sends nothing, and tells which text it was asked to send: a relay must not have changed it.
    pub(super) fn send_subscribed(&self, call: &Call) -> Result<Answer, Refusal> {
        self.authorized_post(call)?;
        let _object: Map<String, Value> = call.posted()?;
        Ok(Answer::json(&json!({
            "errcode": 0,
            "errmsg": "ok",
            "echo": String::from_utf8_lossy(&call.body),
        })))
    }
}
