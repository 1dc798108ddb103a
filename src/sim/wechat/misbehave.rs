//! How the simulated WeChat can fail a caller, and the queue of what it will do next. Knows nothing
//! of codes and users: an honest answer comes from the caller.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time;

use crate::server::plain::{self, PlainBody};
use crate::sim::wechat::call::Answer;

/// Orders that may wait; the oldest makes room.
const MAX_ORDERS: usize = 1000;

/// Longest delay that is taken, far past any deadline of a caller.
const MAX_DELAY: Duration = Duration::from_hours(1);

/// Largest padding that is taken, far past what any caller should read.
const MAX_HUGE_BYTES: u64 = 1024 * 1024 * 1024;

/// Padding is sent in pieces of this size.
const PADDING: &[u8] = &[b' '; 16 * 1024];

/// What can go wrong with a call, seen by the caller. Unless said otherwise the code is not looked
/// at, and works afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// This text instead of an answer.
    Body(String),
    /// The honest answer, which spends the code at once and arrives late.
    Delay(Duration),
    /// A refusal with this `errcode`.
    Errcode(i64),
    /// A refusal with its `errcode` as a JSON string.
    ErrcodeText(String),
    /// Bytes that are neither JSON nor UTF-8.
    Garbage,
    /// The honest answer after so many spaces: still JSON, for a caller that reads that far.
    Huge(u64),
    /// A redirect to this place.
    Redirect(HeaderValue),
    /// An answer that begins well and then breaks off together with the connection.
    Reset,
    /// This HTTP status, from a gateway in front of the API.
    Status(StatusCode),
}

/// Why an order to misbehave is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadOrder {
    /// More than [`MAX_DELAY`] or [`MAX_HUGE_BYTES`].
    #[error("delay_ms is at most an hour, huge_bytes at most 1 GiB")]
    TooMuch,
    /// No text for a `Location` header.
    #[error("redirect is not a URL")]
    Redirect,
    /// Not a status code.
    #[error("status is a number from 200 to 599")]
    Status,
    /// `false` orders nothing.
    #[error("garbage and reset are true or absent")]
    Switch,
}

/// A misbehaviour as it is ordered: an object with one field.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Body(String),
    DelayMs(u64),
    Errcode(OrderedErrcode),
    Garbage(bool),
    HugeBytes(u64),
    Redirect(String),
    Reset(bool),
    Status(u16),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OrderedErrcode {
    Number(i64),
    Text(String),
}

impl TryFrom<Order> for Misbehaviour {
    type Error = BadOrder;

    fn try_from(order: Order) -> Result<Self, BadOrder> {
        match order {
            Order::Body(text) => Ok(Self::Body(text)),
            Order::DelayMs(millis) => Some(Duration::from_millis(millis))
                .filter(|delay| *delay <= MAX_DELAY)
                .map(Self::Delay)
                .ok_or(BadOrder::TooMuch),
            Order::Errcode(OrderedErrcode::Number(errcode)) => Ok(Self::Errcode(errcode)),
            Order::Errcode(OrderedErrcode::Text(errcode)) => Ok(Self::ErrcodeText(errcode)),
            Order::HugeBytes(bytes) => Some(bytes)
                .filter(|bytes| *bytes <= MAX_HUGE_BYTES)
                .map(Self::Huge)
                .ok_or(BadOrder::TooMuch),
            Order::Garbage(true) => Ok(Self::Garbage),
            Order::Reset(true) => Ok(Self::Reset),
            Order::Garbage(false) | Order::Reset(false) => Err(BadOrder::Switch),
            Order::Redirect(to) => HeaderValue::from_str(&to)
                .map(Self::Redirect)
                .map_err(|_invalid| BadOrder::Redirect),
            Order::Status(status) => Some(status)
                // An interim status is no answer, and hyper sends none as one.
                .filter(|status| (200..600).contains(status))
                .and_then(|status| StatusCode::from_u16(status).ok())
                .map(Self::Status)
                .ok_or(BadOrder::Status),
        }
    }
}

impl Misbehaviour {
    /// Answers a call badly.
    pub(super) async fn answer(self, honest: impl FnOnce() -> Answer) -> Response<PlainBody> {
        match self {
            Self::Body(text) => plain::text(StatusCode::OK, text),
            Self::Delay(delay) => {
                let answer = honest();
                time::sleep(delay).await;
                answer.into_response()
            }
            Self::Errcode(errcode) => refusal(&json!(errcode)),
            Self::ErrcodeText(errcode) => refusal(&json!(errcode)),
            Self::Garbage => garbage(),
            Self::Huge(bytes) => padded(bytes, honest()),
            Self::Redirect(to) => {
                let mut response = plain::empty(StatusCode::FOUND);
                response.headers_mut().insert(LOCATION, to);
                response
            }
            Self::Reset => Response::new(PlainBody::broken_after(r#"{"session_key":"#)),
            Self::Status(status) => plain::text(status, "ordered from the simulator"),
        }
    }
}

fn refusal(errcode: &Value) -> Response<PlainBody> {
    let body = json!({"errcode": errcode, "errmsg": "ordered from the simulator"});
    plain::text(StatusCode::OK, body.to_string())
}

fn garbage() -> Response<PlainBody> {
    let body = PlainBody::full(&b"<html>\xff\xfe{\"openid\":"[..]);
    plain::answer(StatusCode::OK, "text/plain", body)
}

fn padded(bytes: u64, honest: Answer) -> Response<PlainBody> {
    let (sender, body) = PlainBody::stream();
    tokio::spawn(async move {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        while left > 0 {
            let piece = Bytes::from_static(PADDING).slice(..left.min(PADDING.len()));
            left -= piece.len();
            // A caller that has seen enough hangs up, and that is the end of it.
            sender.send(piece).await?;
        }
        sender.send(honest.body).await
    });
    plain::answer(StatusCode::OK, honest.content_type, body)
}

/// What will be done with the next calls.
#[derive(Debug)]
pub(super) struct Queue(VecDeque<(u32, Misbehaviour)>);

impl Queue {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn push(&mut self, times: u32, what: Misbehaviour) {
        if times == 0 {
            return;
        }
        if self.0.len() >= MAX_ORDERS {
            self.0.pop_front();
        }
        self.0.push_back((times, what));
    }

    /// What is to be done with this call.
    pub(super) fn next(&mut self) -> Option<Misbehaviour> {
        let (times, what) = self.0.front_mut()?;
        *times -= 1;
        if *times > 0 {
            return Some(what.clone());
        }
        self.0.pop_front().map(|(_times, what)| what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Misbehaviour, String> {
        let order: Order = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Misbehaviour::try_from(order).map_err(|error| error.to_string())
    }

    #[test]
    fn every_misbehaviour_can_be_ordered() {
        for (order, expect) in [
            (r#"{"body":"x"}"#, Misbehaviour::Body("x".to_owned())),
            (
                r#"{"delay_ms":3000}"#,
                Misbehaviour::Delay(Duration::from_secs(3)),
            ),
            (r#"{"errcode":45011}"#, Misbehaviour::Errcode(45011)),
            (r#"{"errcode":-1}"#, Misbehaviour::Errcode(-1)),
            (
                r#"{"errcode":"40029"}"#,
                Misbehaviour::ErrcodeText("40029".to_owned()),
            ),
            (r#"{"garbage":true}"#, Misbehaviour::Garbage),
            (
                r#"{"huge_bytes":10485760}"#,
                Misbehaviour::Huge(10 * 1024 * 1024),
            ),
            (
                r#"{"redirect":"http://localhost/"}"#,
                Misbehaviour::Redirect(HeaderValue::from_static("http://localhost/")),
            ),
            (r#"{"reset":true}"#, Misbehaviour::Reset),
            (
                r#"{"status":502}"#,
                Misbehaviour::Status(StatusCode::BAD_GATEWAY),
            ),
        ] {
            assert_eq!(parse(order).unwrap(), expect, "{order}");
        }
    }

    #[test]
    fn an_order_that_means_nothing_is_not_taken() {
        for order in [
            "{}",
            r#"{"explode":true}"#,
            r#"{"reset":false}"#,
            r#"{"status":101}"#,
            r#"{"status":600}"#,
            r#"{"delay_ms":3600001}"#,
            r#"{"huge_bytes":1073741825}"#,
            r#"{"redirect":"a\nb"}"#,
            r#"{"errcode":true}"#,
        ] {
            assert!(parse(order).is_err(), "{order}");
        }
    }

    #[test]
    fn an_order_is_followed_as_often_as_it_says_and_in_turn() {
        let mut queue = Queue::new();
        queue.push(0, Misbehaviour::Garbage);
        queue.push(2, Misbehaviour::Reset);
        queue.push(1, Misbehaviour::Errcode(-1));
        let done: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        let expect = [
            Misbehaviour::Reset,
            Misbehaviour::Reset,
            Misbehaviour::Errcode(-1),
        ];
        assert_eq!(done, expect);
    }
}
