//! One line per request. The request path fills in a plain record and puts it into a bounded ring;
//! the log thread does the formatting. Says nothing that a client chose but method, path and
//! trace id; of the path never the query, and of none a session token.

mod line;

pub(in crate::telemetry) use line::LineWriter;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use http::{Method, Version};

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::limits;
use crate::domain::peer::Address;
use crate::domain::session::{Holder, Live};
use crate::domain::trace::{RequestId, TraceParent};

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
    pub request_id: RequestId,
    /// Its place in a trace, when it has one.
    pub trace: Option<TraceParent>,
    /// Its method.
    pub method: Method,
    /// Its path, without the query. A copy: the target shares memory with everything else that came
    /// in one read, which a record that waits would keep.
    pub path: String,
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

    pub(in crate::telemetry) fn holder(&self) -> Option<&Holder> {
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

/// Written records that are kept for use again, per worker: as many as come between two times of writing
/// when there are many.
const MAX_BLANK: usize = 1024;

/// Memory of a text that a blank record keeps, in bytes.
const MAX_KEPT_TEXT_BYTES: usize = 256;

/// The ring between a worker and the log thread.
#[derive(Clone, Debug)]
pub struct Ring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: ArrayQueue<Box<Record>>,
    /// Records that have been written, for use again: what one thread allocates and another frees
    /// costs both.
    blank: ArrayQueue<Box<Record>>,
    dropped: AtomicU64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            time: Timestamp::EPOCH,
            request_id: RequestId::default(),
            trace: None,
            method: Method::GET,
            path: String::new(),
            route: Route::None,
            status: 0,
            duration: Duration::ZERO,
            upstream: None,
            bytes_in: 0,
            bytes_out: 0,
            client: Address::Unix,
            version: Version::HTTP_11,
            who: Who::Nobody,
            flag: None,
        }
    }
}

impl Record {
    /// Forgets everything but the memory of its path, unless that was large.
    fn clear(&mut self) {
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        path.shrink_to(MAX_KEPT_TEXT_BYTES);
        *self = Self {
            path,
            ..Self::default()
        };
    }

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
            blank: ArrayQueue::new(MAX_BLANK),
            dropped: AtomicU64::new(0),
        }))
    }

    /// A record to be filled in.
    pub fn blank(&self) -> Box<Record> {
        self.0.blank.pop().unwrap_or_default()
    }

    /// Takes a record back that has been written.
    pub(in crate::telemetry) fn give_back(&self, mut record: Box<Record>) {
        record.clear();
        // With enough of them there already, it goes.
        drop(self.0.blank.push(record));
    }

    /// Leaves a record for the log thread. Never waits: when the ring is full it is dropped and
    /// counted.
    pub fn push(&self, record: Box<Record>) {
        if self.0.records.push(record).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes out what is in it now; what comes meanwhile waits for the next time.
    pub(in crate::telemetry) fn take(&self) -> impl Iterator<Item = Box<Record>> {
        let waiting = self.0.records.len();
        std::iter::from_fn(|| self.0.records.pop()).take(waiting)
    }

    pub(in crate::telemetry) fn take_dropped(&self) -> u64 {
        self.0.dropped.swap(0, Ordering::Relaxed)
    }
}
