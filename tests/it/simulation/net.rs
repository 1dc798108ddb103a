//! A network in memory: pairs of ends between which bytes take their time, come in other pieces than
//! they were sent in, and are lost when one side breaks off. Each connection has its own weather, so
//! what goes over two of them comes in another order. Behaves as TCP does, and knows nothing of what
//! is said.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::simulation::dice::Dice;

/// Reads and writes of one story. More are a gate that turns in circles.
const MOST_CALLS: u64 = 2_000_000;

/// What is seen of the network as a whole.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Ends of the gate that are open.
    pub(super) open: AtomicUsize,
    /// Whether a task panicked that had one.
    pub(super) panicked: AtomicBool,
    calls: AtomicU64,
}

/// What a connection is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Milliseconds that a piece takes: fewer than this.
    pub(super) latency: usize,
    /// How many of a hundred pieces take seconds.
    pub(super) stalls: usize,
    /// Bytes that come, or go, in tiny pieces before it gets better.
    pub(super) crumbs: usize,
    /// How many of a hundred reads and writes are of a part only.
    pub(super) splits: usize,
    /// Bytes that may be under way.
    pub(super) room: usize,
}

impl Weather {
    pub(super) const FAIR: Self = Self {
        latency: 1,
        stalls: 0,
        crumbs: 0,
        splits: 0,
        room: 64 * 1024,
    };

    pub(super) fn any(dice: &mut Dice) -> Self {
        if dice.chance(30) {
            return Self::FAIR;
        }
        Self {
            latency: dice.pick(&[1, 1, 2, 20, 200]),
            stalls: dice.pick(&[0, 0, 0, 3]),
            crumbs: dice.pick(&[0, 0, 120, 600]),
            splits: dice.pick(&[0, 20, 60]),
            room: dice.pick(&[300, 5000, 64 * 1024, 64 * 1024]),
        }
    }
}

/// What is under way to one side.
#[derive(Debug)]
struct Way {
    pieces: VecDeque<(Instant, Bytes)>,
    queued: usize,
    /// When the last piece arrives.
    last: Instant,
    /// When the end arrives.
    end: Option<Instant>,
    /// When the news arrives that the other side broke off.
    reset: Option<Instant>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Everything that was written, whatever became of it.
    written: Vec<u8>,
    /// For each write, where it began, and how much had been read of the other way until then.
    writes: Vec<(usize, usize)>,
    /// Bytes that were read.
    read: usize,
}

#[derive(Debug)]
struct Pair {
    dice: Dice,
    weather: Weather,
    crumbs: usize,
    /// By the side to which it goes.
    ways: [Way; 2],
    gone: [bool; 2],
}

/// Looks at a connection after its end.
#[derive(Clone, Debug)]
pub(super) struct Tap(Arc<Mutex<Pair>>);

/// One end of a connection.
pub(super) struct End {
    pair: Arc<Mutex<Pair>>,
    side: usize,
    breaks: AtomicBool,
    /// Of the gate's ends.
    gauge: Option<Arc<Gauge>>,
    timers: [Option<Pin<Box<Sleep>>>; 2],
}

/// A connection: the other's end, the gate's, and what was written.
pub(super) fn connection(dice: &mut Dice, weather: Weather, gauge: &Arc<Gauge>) -> (End, End, Tap) {
    let way = || Way {
        pieces: VecDeque::new(),
        queued: 0,
        last: Instant::now(),
        end: None,
        reset: None,
        reader: None,
        writer: None,
        written: Vec::new(),
        writes: Vec::new(),
        read: 0,
    };
    let pair = Arc::new(Mutex::new(Pair {
        dice: dice.fork(),
        weather,
        crumbs: weather.crumbs,
        ways: [way(), way()],
        gone: [false; 2],
    }));
    let end = |side, gauge| End {
        pair: Arc::clone(&pair),
        side,
        breaks: AtomicBool::new(false),
        gauge,
        timers: [None, None],
    };
    gauge.open.fetch_add(1, Ordering::Relaxed);
    let gate = end(1, Some(Arc::clone(gauge)));
    (end(0, None), gate, Tap(Arc::clone(&pair)))
}

impl Tap {
    /// What the gate wrote.
    pub(super) fn written_by_gate(&self) -> Vec<u8> {
        self.0.lock().ways[0].written.clone()
    }

    /// Whether the gate has read nothing since it wrote the byte at this place.
    pub(super) fn is_silent_since(&self, place: usize) -> bool {
        let pair = self.0.lock();
        let mut writes = pair.ways[0].writes.iter().rev();
        let write = writes.find(|(began, _)| *began <= place);
        write.is_some_and(|(_, read)| *read == pair.ways[1].read)
    }
}

impl Pair {
    fn latency(&mut self) -> Duration {
        let stalls = self.dice.chance(self.weather.stalls);
        let stall = if stalls {
            Duration::from_secs(1) + self.dice.millis(4000)
        } else {
            Duration::ZERO
        };
        stall + self.dice.millis(self.weather.latency)
    }

    /// How much of so many bytes is moved at once.
    fn portion(&mut self, most: usize) -> usize {
        let portion = if self.crumbs > 0 {
            1 + self.dice.below(most.min(7))
        } else if self.dice.chance(self.weather.splits) {
            1 + self.dice.below(most)
        } else {
            most
        };
        self.crumbs = self.crumbs.saturating_sub(portion);
        portion
    }

    fn read(&mut self, side: usize, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        let now = Instant::now();
        let way = &self.ways[side];
        let is_there = way.pieces.front().is_some_and(|(at, _)| *at <= now);
        if !is_there {
            if way.reset.is_some_and(|at| at <= now) {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let ended = way.pieces.is_empty() && way.end.is_some_and(|at| at <= now);
            return ended.then_some(Ok(()));
        }
        let there: usize = way
            .pieces
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, piece)| piece.len())
            .sum();
        let mut left = self.portion(there.min(buffer.remaining()));
        let way = &mut self.ways[side];
        way.read += left;
        while left > 0 {
            let (_, piece) = way.pieces.front_mut().unwrap();
            let taken = left.min(piece.len());
            buffer.put_slice(&piece.split_to(taken));
            left -= taken;
            way.queued -= taken;
            if piece.is_empty() {
                way.pieces.pop_front();
            }
        }
        if let Some(writer) = way.writer.take() {
            writer.wake();
        }
        Some(Ok(()))
    }

    fn write(&mut self, side: usize, data: &[u8]) -> Option<io::Result<usize>> {
        let now = Instant::now();
        let other = 1 - side;
        if self.ways[side].reset.is_some_and(|at| at <= now) {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.ways[other].end.is_some() {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.is_empty() {
            return Some(Ok(0));
        }
        let room = self.weather.room.saturating_sub(self.ways[other].queued);
        if room == 0 && !self.gone[other] {
            return None;
        }
        let length = self.portion(data.len().min(room.max(1)));
        let read = self.ways[side].read;
        let way = &mut self.ways[other];
        way.writes.push((way.written.len(), read));
        way.written.extend_from_slice(&data[..length]);
        if self.gone[other] {
            // Nobody is there: that is what comes back.
            self.reset(side);
            return Some(Ok(length));
        }
        let at = (now + self.latency()).max(self.ways[other].last);
        let way = &mut self.ways[other];
        way.last = at;
        way.queued += length;
        let piece = Bytes::copy_from_slice(&data[..length]);
        way.pieces.push_back((at, piece));
        wake(&mut way.reader);
        Some(Ok(length))
    }

    /// This side will hear that the other one broke off. What was on its way may be lost.
    fn reset(&mut self, side: usize) {
        let at = Instant::now() + self.latency();
        let loses = self.dice.chance(50);
        let way = &mut self.ways[side];
        if way.reset.is_some() {
            return;
        }
        way.reset = Some(at);
        if loses {
            way.pieces.clear();
            way.queued = 0;
        }
        wake(&mut way.reader);
        wake(&mut self.ways[1 - side].writer);
    }

    fn end(&mut self, side: usize) {
        let at = (Instant::now() + self.latency()).max(self.ways[1 - side].last);
        let way = &mut self.ways[1 - side];
        way.end.get_or_insert(at);
        wake(&mut way.reader);
    }

    /// When something happens next for who waits here.
    fn next(&self, side: usize) -> Option<Instant> {
        let way = &self.ways[side];
        let piece = way.pieces.front().map(|(at, _)| *at);
        let end = way.end.filter(|_| way.pieces.is_empty());
        piece.into_iter().chain(end).chain(way.reset).min()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl End {
    /// Breaks off.
    pub(super) fn reset(self) {
        self.breaks.store(true, Ordering::Relaxed);
    }

    fn count(&self) {
        if let Some(gauge) = &self.gauge {
            let calls = gauge.calls.fetch_add(1, Ordering::Relaxed);
            assert!(calls < MOST_CALLS, "the gate turns in circles");
        }
    }

    /// Comes back when something happens.
    fn wait(&mut self, which: usize, until: Option<Instant>, context: &mut Context<'_>) {
        let Some(until) = until else {
            self.timers[which] = None;
            return;
        };
        let timer =
            self.timers[which].get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until || timer.is_elapsed() {
            timer.as_mut().reset(until);
        }
        if timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    fn write_some(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.count();
        let until = {
            let mut pair = self.pair.lock();
            if let Some(written) = pair.write(self.side, data) {
                return Poll::Ready(written);
            }
            pair.ways[1 - self.side].writer = Some(context.waker().clone());
            pair.ways[self.side].reset
        };
        self.wait(1, until, context);
        Poll::Pending
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.count();
        let until = {
            let mut pair = self.pair.lock();
            if let Some(read) = pair.read(self.side, buffer) {
                return Poll::Ready(read);
            }
            pair.ways[self.side].reader = Some(context.waker().clone());
            pair.next(self.side)
        };
        self.wait(0, until, context);
        Poll::Pending
    }
}

impl AsyncWrite for End {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_some(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut whole = Vec::new();
        for part in data {
            whole.extend_from_slice(part);
        }
        self.write_some(context, &whole)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pair.lock().end(self.side);
        Poll::Ready(Ok(()))
    }
}

impl wxgate::played::Connection for End {
    fn break_off(&self) {
        self.breaks.store(true, Ordering::Relaxed);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut pair = self.pair.lock();
        let side = self.side;
        // Closing over unread bytes is a reset.
        if self.breaks.load(Ordering::Relaxed) || pair.ways[side].queued > 0 {
            pair.reset(1 - side);
        } else {
            pair.end(side);
        }
        pair.gone[side] = true;
        wake(&mut pair.ways[side].writer);
        if let Some(gauge) = &self.gauge {
            gauge.open.fetch_sub(1, Ordering::Relaxed);
            gauge
                .panicked
                .fetch_or(std::thread::panicking(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End(..)")
    }
}
