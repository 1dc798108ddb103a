//! One connection over HTTP/2: how it comes about, and the task that moves its bytes until it ends.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::upstream::http1::head::MAX_HEAD_BYTES;
use crate::upstream::http2::fault::Fault;
use crate::upstream::socket::Socket;
use crate::upstream::{Error, Protocol, Settings, connect};

/// Requests under way on one connection. What app servers allow by default is about as much.
pub(in crate::upstream::http2) const MAX_STREAMS: usize = 100;

/// As much of one answer may come before any of it is read, in bytes.
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// The same of all answers on one connection: a client that reads nothing holds up nobody else.
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;

/// As much of one request waits for the connection to take it, in bytes.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// Requests that were given up and whose late answers are still let pass by. They pile up when
/// clients leave, for as long as the app server takes to notice.
const MAX_GIVEN_UP: usize = 10 * MAX_STREAMS;

/// Memory that small pieces of answers may take beside what is in them, in bytes. Beyond, the
/// connection is closed; so there must be more than clients who take nothing can use up.
const SMALL_PIECES_BYTES: usize = 64 * 1024 * 1024;

/// What moves a connection's bytes.
pub(in crate::upstream::http2) type Driver = client::Connection<Socket, Bytes>;

/// One connection, as its requests share it.
#[derive(Debug)]
pub(in crate::upstream::http2) struct Connection {
    sender: SendRequest<Bytes>,
    /// The how-manieth of its pool, from 1.
    pub(in crate::upstream::http2) number: u64,
    /// Requests under way.
    streams: Cell<usize>,
    /// Whether it has carried a request.
    used: Cell<bool>,
    /// How long it may be kept unused.
    pub(in crate::upstream::http2) until: Cell<Instant>,
    /// Whether its place is one that all workers share.
    pub(in crate::upstream::http2) is_shared: bool,
    link: Rc<Link>,
}

/// What a connection and its task tell each other.
#[derive(Debug, Default)]
pub(in crate::upstream::http2) struct Link {
    /// Whether the task is over.
    ended: Cell<bool>,
    /// Told when the app server has been silent for too long, or the connection has been let go.
    doubted: Notify,
}

/// Connects, and waits for the app server to say what it can take: nothing is sent before to
/// somebody who may not speak HTTP/2.
pub(in crate::upstream::http2) async fn open(
    settings: &Settings,
) -> Result<(SendRequest<Bytes>, Driver), Error> {
    let opening = async {
        let socket = connect::open(&settings.target, Protocol::Http2).await;
        let socket = socket.map_err(Error::Connect)?;
        if !socket.may_speak_http2() {
            return Err(Fault::NotChosen.into());
        }
        Ok(begin(socket).await?)
    };
    let opened = tokio::time::timeout(settings.connect_timeout, opening).await;
    opened.map_err(|_elapsed| Error::ConnectTimeout)?
}

async fn begin(socket: Socket) -> Result<(SendRequest<Bytes>, Driver), Fault> {
    let begun = client::Builder::new()
        .data_frame_budget(SMALL_PIECES_BYTES)
        .enable_push(false)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // Until the app server has said how many there may be.
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .max_concurrent_reset_streams(MAX_GIVEN_UP)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        // Every late piece of an answer that is forgotten counts as an error of the app server's,
        // and those pile up when clients leave: none of them may cost the others the connection.
        .max_local_error_reset_streams(None)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake(socket)
        .await;
    let (sender, mut driver) = begun.map_err(|error| Fault::NotSpoken(Some(error)))?;
    poll_fn(|context| match Pin::new(&mut driver).poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(Fault::NotSpoken(ended.err()))),
        Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    Ok((sender, driver))
}

/// Moves the bytes of a connection until it ends. Why it ends is told to the requests on it.
pub(in crate::upstream::http2) async fn drive(
    mut driver: Driver,
    link: Rc<Link>,
    patience: Duration,
) {
    let pings = driver.ping_pong();
    tokio::select! {
        _ended = &mut driver => {}
        () = silent(&link, pings, patience) => {}
    }
    link.ended.set(true);
}

/// Waits until the app server owes a sign of life for too long. It is asked for one only when in
/// doubt: app servers take pings without need for an attack.
async fn silent(link: &Link, pings: Option<PingPong>, patience: Duration) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        link.doubted.notified().await;
        let pong = tokio::time::timeout(patience, pings.ping(Ping::opaque()));
        if !matches!(pong.await, Ok(Ok(_alive))) {
            return;
        }
    }
}

impl Connection {
    pub(in crate::upstream::http2) fn new(
        sender: SendRequest<Bytes>,
        link: Rc<Link>,
        (number, is_shared): (u64, bool),
        until: Instant,
    ) -> Self {
        Self {
            sender,
            number,
            streams: Cell::new(0),
            used: Cell::new(false),
            until: Cell::new(until),
            is_shared,
            link,
        }
    }

    /// Whether another request could be sent, were there room: the app server has not said that it
    /// is going away.
    pub(in crate::upstream::http2) fn is_open(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut sender = self.sender.clone();
        !self.link.ended.get() && matches!(sender.poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// Whether there is room for another request.
    pub(in crate::upstream::http2) fn has_room(&self) -> bool {
        let allowed = self.sender.current_max_send_streams();
        self.streams.get() < allowed.min(MAX_STREAMS)
    }

    /// Whether no request is under way.
    pub(in crate::upstream::http2) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    /// Takes room for a request; gives whether there has been one before.
    pub(in crate::upstream::http2) fn enter(&self) -> bool {
        self.streams.set(self.streams.get() + 1);
        self.used.replace(true)
    }

    /// Gives the room of a request back.
    pub(in crate::upstream::http2) fn leave(&self) {
        self.streams.set(self.streams.get() - 1);
    }

    /// Sends the head of a request; the body may follow unless that was all.
    pub(in crate::upstream::http2) fn send(
        &self,
        head: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.sender.clone().send_request(head, is_all)
    }

    /// Has the app server asked for a sign of life.
    pub(in crate::upstream::http2) fn doubt(&self) {
        self.link.doubted.notify_one();
    }
}

/// A connection that has been let go ends by itself when its last request has; it may not take
/// for ever over that.
impl Drop for Connection {
    fn drop(&mut self) {
        self.doubt();
    }
}
