//! One line per request. The request path fills in a plain record and puts it into a bounded ring;
//! the log thread does the formatting. Says nothing that a client chose but method, path and
//! trace id; of the path never the query, and of none a session token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use http::{HeaderValue, Method, Uri, Version};
use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::limits;
use crate::domain::peer::Address;
use crate::domain::session::{Holder, Live};
use crate::domain::token;
use crate::telemetry::style::{Style, rfc3339};
use crate::telemetry::{UserField, user};

/// Why a request did not end as it should, in the two letters that Envoy's users know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The client was gone before the answer was whole.
    ClientGone,
    /// The gate refused.
    Refused,
    /// The session ended while its stream was open.
    SessionEnded,
    /// The app server broke the protocol, the connection, or its answer off.
    UpstreamBroken,
    /// The app server could not be connected to.
    UpstreamUnreachable,
    /// The app server was too slow.
    UpstreamTimeout,
}

impl Flag {
    fn code(self) -> &'static str {
        match self {
            Self::ClientGone => "DC",
            Self::Refused => "RF",
            Self::SessionEnded => "SE",
            Self::UpstreamBroken => "UC",
            Self::UpstreamUnreachable => "UF",
            Self::UpstreamTimeout => "UT",
        }
    }
}

/// What is known of a request when it is over.
#[derive(Debug)]
pub struct Record {
    /// When it began.
    pub time: Timestamp,
    /// Its id.
    pub request_id: HeaderValue,
    /// Its trace, as `traceparent` says it.
    pub traceparent: Option<HeaderValue>,
    /// Its method.
    pub method: Method,
    /// Its target; the query is not written.
    pub uri: Uri,
    /// Which line of the route table decided.
    pub route: Route,
    /// The status of the answer.
    pub status: u16,
    /// From the head of the request to the end of the answer.
    pub duration: Duration,
    /// From the request to the head of the app server's answer.
    pub upstream: Option<Duration>,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Where it came from.
    pub client: Address,
    /// The protocol of the connection.
    pub version: Version,
    /// Who it was from.
    pub who: Who,
    /// Why it did not end as it should.
    pub flag: Option<Flag>,
}

/// Who a request was from, as far as that was found out.
#[derive(Clone, Debug)]
pub enum Who {
    /// Somebody logging in at this mini program, without success.
    App(AppId),
    /// Who has just logged in.
    LoggedIn(Box<Holder>),
    /// Nobody known.
    Nobody,
    /// The holder of a live session.
    Session(Live),
}

impl Who {
    fn app(&self) -> Option<&AppId> {
        match self {
            Self::App(app) => Some(app),
            Self::LoggedIn(_) | Self::Session(_) => self.holder().map(|holder| &holder.app),
            Self::Nobody => None,
        }
    }

    fn holder(&self) -> Option<&Holder> {
        match self {
            Self::LoggedIn(holder) => Some(holder),
            Self::Session(live) => Some(live.holder()),
            Self::App(_) | Self::Nobody => None,
        }
    }
}

/// Which line of the route table decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One of the gate's own, by name.
    Own(&'static str),
    /// `[[access.rules]]` number so and so, from 0.
    Rule(usize),
    /// `access.default`.
    Default,
    /// It was refused before one was found.
    None,
}

/// The ring between a worker and the log thread.
#[derive(Clone, Debug)]
pub struct Ring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: ArrayQueue<Record>,
    dropped: AtomicU64,
}

impl Record {
    /// When it was over.
    pub(in crate::telemetry) fn ended(&self) -> Timestamp {
        self.time.plus(self.duration)
    }
}

impl Ring {
    /// An empty ring.
    pub(in crate::telemetry) fn new() -> Self {
        let records = ArrayQueue::new(limits::MAX_ACCESS_RECORDS);
        Self(Arc::new(Inner {
            records,
            dropped: AtomicU64::new(0),
        }))
    }

    /// Leaves a record for the log thread. Never waits: when the ring is full it is dropped and
    /// counted.
    pub fn push(&self, record: Record) {
        if self.0.records.push(record).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes out what is in it now; what comes meanwhile waits for the next time.
    pub(in crate::telemetry) fn take(&self) -> impl Iterator<Item = Record> {
        let waiting = self.0.records.len();
        std::iter::from_fn(|| self.0.records.pop()).take(waiting)
    }

    pub(in crate::telemetry) fn take_dropped(&self) -> u64 {
        self.0.dropped.swap(0, Ordering::Relaxed)
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'static str,
    msg: &'static str,
    request_id: &'a str,
    trace_id: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    route: &'a str,
    status: u16,
    duration_ms: f64,
    upstream_ms: Option<f64>,
    bytes_in: u64,
    bytes_out: u64,
    client_ip: &'a str,
    proto: &'static str,
    appid: Option<&'a str>,
    user: Option<&'a str>,
    flags: &'static str,
}

/// Writes the record as one line.
pub(in crate::telemetry) fn write(record: &Record, field: &UserField, style: Style) -> String {
    let user = record
        .who
        .holder()
        .and_then(|holder| user::name(holder, field));
    let line = Line {
        time: &rfc3339(record.time),
        level: "info",
        msg: "request",
        request_id: record.request_id.to_str().unwrap_or_default(),
        trace_id: record.traceparent.as_ref().and_then(trace_id),
        method: &token::mask(record.method.as_str()),
        path: &token::mask(record.uri.path()),
        route: &route_name(record.route),
        status: record.status,
        duration_ms: millis(record.duration),
        upstream_ms: record.upstream.map(millis),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        client_ip: &record.client.to_string(),
        proto: proto(record.version),
        appid: record.who.app().map(AppId::as_str),
        user: user.as_deref(),
        flags: record.flag.map_or("", Flag::code),
    };
    match style {
        Style::Json => serde_json::to_string(&line).unwrap_or_default(),
        Style::Text => text(&line),
    }
}

fn text(line: &Line<'_>) -> String {
    let Line {
        time,
        method,
        path,
        status,
        duration_ms,
        route,
        client_ip,
        flags,
        ..
    } = line;
    let user = line
        .user
        .map(|user| format!(" user={user}"))
        .unwrap_or_default();
    let flags = if flags.is_empty() {
        String::new()
    } else {
        format!(" flags={flags}")
    };
    // A path is written as JSON writes it, so that nothing in it can pass for another line.
    let path = serde_json::to_string(path).unwrap_or_default();
    let path = path.trim_matches('"');
    format!(
        "{time} info  {method} {path} {status} {duration_ms}ms route={route} client_ip={client_ip}\
         {user}{flags} request_id={}",
        line.request_id
    )
}

fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    traceparent.to_str().ok()?.split('-').nth(1)
}

fn route_name(route: Route) -> String {
    match route {
        Route::Own(name) => name.to_owned(),
        Route::Rule(index) => format!("rule {index}"),
        Route::Default => "default".to_owned(),
        Route::None => String::new(),
    }
}

/// Milliseconds with three digits after the point.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
