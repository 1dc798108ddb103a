//! The form of the gate's own answers: as HTTP has it, or in the envelope `{code, msg, data}` that
//! many front ends expect around everything. The status and the headers say the same in both.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::gateway::reply::json_text;
use crate::server::problem::Problem;

/// `errors.envelope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `{code, msg, data}` around successes and refusals alike.
    CodeMsgData,
    /// No envelope: an answer is its data, and a refusal is a problem document.
    Problem,
}

/// What front ends look at: anything but 0 is a failure, and `msg` is shown.
#[derive(Serialize)]
struct Enveloped<'a> {
    code: u16,
    msg: &'a str,
    data: &'a Problem<'a>,
}

impl Envelope {
    /// An answer that is this JSON text.
    pub(in crate::gateway) fn success(self, text: impl Into<Bytes>) -> Response<Bytes> {
        match self {
            Self::CodeMsgData => {
                // The text as it is: reading it anew could change its numbers.
                let parts: [&[u8]; 3] = [br#"{"code":0,"msg":"ok","data":"#, &text.into(), b"}"];
                json_text(parts.concat())
            }
            Self::Problem => json_text(text),
        }
    }

    /// An answer that has nothing to say but that all went well. A front end that looks for a code
    /// in every answer must find one, so in an envelope it is not 204.
    pub(in crate::gateway) fn done(self) -> Response<Bytes> {
        match self {
            Self::CodeMsgData => self.success("null"),
            Self::Problem => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
        }
    }

    /// A refusal. In an envelope the code is the HTTP status, which is never 0, and the message is
    /// the title: the detail is for developers.
    pub(in crate::gateway) fn refusal(self, problem: &Problem<'_>) -> Response<Bytes> {
        let mut response = problem.into_response();
        if self == Self::CodeMsgData {
            let enveloped = Enveloped {
                code: problem.status,
                msg: problem.title,
                data: problem,
            };
            // A struct of texts and numbers cannot fail to serialise.
            *response.body_mut() = serde_json::to_vec(&enveloped).unwrap_or_default().into();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        response
    }
}
