//! The log: events and access records, written by one thread of its own, so that neither a request
//! nor a slow terminal waits for the other. What does not fit into its queue, or cannot be
//! written, is counted and said later.

use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::domain::clock::Clock;
use crate::domain::limits;
use crate::telemetry::access::{LineWriter, Ring};
use crate::telemetry::style::{Style, rfc3339};
use crate::telemetry::{Level, Settings, event};

/// How long a record waits at most for the log thread.
const WRITE_EVERY: Duration = Duration::from_millis(50);

/// The same while there are many. Writing takes processor time that requests may want, so it is done in
/// small parts; still smaller ones would cost more in wake-ups.
const WRITE_MANY_EVERY: Duration = Duration::from_millis(10);

/// Access records in one go from which on there are many.
const MANY_RECORDS: usize = 64;

/// Bytes of access lines that are written at once: a system call for each line would cost more than
/// the line.
const WRITE_AT_ONCE_BYTES: usize = 64 * 1024;

/// The log of one process: a handle, and the thread behind it.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: ArrayQueue<String>,
    /// Lines that did not fit into the queue, or could not be written.
    dropped: AtomicU64,
    rings: Mutex<Vec<Ring>>,
    style: Style,
    level: Level,
    access: bool,
    clock: Clock,
    closed: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Starts the thread. Every line goes to `sink`.
    pub fn start(
        settings: &Settings,
        style: Style,
        clock: Clock,
        sink: Box<dyn Write + Send>,
    ) -> std::io::Result<Self> {
        let log = Self(Arc::new(Inner::new(settings, style, clock)));
        let inner = Arc::clone(&log.0);
        let lines = LineWriter::new(style, settings.user.clone());
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || inner.run(sink, lines))?;
        *log.0.thread.lock() = Some(thread);
        Ok(log)
    }

    /// A ring for the access records of one worker; `None` when requests get no line.
    pub fn ring(&self) -> Option<Ring> {
        if !self.0.access {
            return None;
        }
        let ring = Ring::new();
        self.0.rings.lock().push(ring.clone());
        Some(ring)
    }

    /// Writes everything that is waiting, and ends the thread.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        let Some(thread) = self.0.thread.lock().take() else {
            return;
        };
        thread.thread().unpark();
        // The thread has nothing to panic about; and there is nobody left to tell.
        drop(thread.join());
    }
}

impl Inner {
    fn new(settings: &Settings, style: Style, clock: Clock) -> Self {
        Self {
            events: ArrayQueue::new(limits::MAX_LOG_EVENTS),
            dropped: AtomicU64::new(0),
            rings: Mutex::default(),
            style,
            level: settings.level,
            access: settings.access,
            clock,
            closed: AtomicBool::new(false),
            thread: Mutex::default(),
        }
    }

    fn run(&self, mut sink: Box<dyn Write + Send>, mut lines: LineWriter) {
        loop {
            let closing = self.closed.load(Ordering::Acquire);
            let records = self.drain(&mut *sink, &mut lines);
            if closing {
                return;
            }
            std::thread::park_timeout(match records {
                MANY_RECORDS.. => WRITE_MANY_EVERY,
                _ => WRITE_EVERY,
            });
        }
    }

    /// Writes what is waiting. Gives how many access records that was.
    fn drain(&self, sink: &mut dyn Write, lines: &mut LineWriter) -> usize {
        let events = self.write_events(sink);
        let rings = self.rings.lock().clone();
        let records = self.write_records(&rings, sink, lines);
        let dropped = rings.iter().map(Ring::take_dropped).sum::<u64>()
            + self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let mut fields = Fields::default();
            fields.add("count", dropped.into());
            let event = event::LOG_LINES_DROPPED;
            let line = self.line("warn", "wxgate::telemetry", event, &fields);
            self.count_lost(writeln!(sink, "{line}").map_err(|_nowhere_to_say| dropped));
        }
        if events + records > 0 || dropped > 0 {
            // What a buffer behind the sink still holds goes out with the next lines.
            let _later = sink.flush();
        }
        records
    }

    /// Writes the events that wait. Gives how many.
    fn write_events(&self, sink: &mut dyn Write) -> usize {
        let mut count = 0;
        // No more than wait now: what is logged meanwhile has its turn next.
        for _ in 0..self.events.len() {
            let Some(line) = self.events.pop() else { break };
            self.count_lost(writeln!(sink, "{line}").map_err(|_nowhere_to_say| 1));
            count += 1;
        }
        count
    }

    /// Writes the records that wait. Gives how many.
    fn write_records(&self, rings: &[Ring], sink: &mut dyn Write, lines: &mut LineWriter) -> usize {
        let of_ring = |ring| Ring::take(ring).map(move |record| (record, ring));
        let mut records: Vec<(_, &Ring)> = rings.iter().flat_map(of_ring).collect();
        // Workers fill their rings side by side; a reader wants to see what happened in order.
        if rings.len() > 1 {
            records.sort_by_key(|(record, _)| record.ended());
        }
        let count = records.len();
        for (record, ring) in records {
            lines.add(&record);
            ring.give_back(record);
            if lines.pending().len() >= WRITE_AT_ONCE_BYTES {
                self.count_lost(lines.write_out(sink));
            }
        }
        self.count_lost(lines.write_out(sink));
        count
    }

    /// A sink that cannot be written to has nowhere to say so. It is told how much is missing as soon as
    /// it can be written to again.
    fn count_lost(&self, lines: Result<(), u64>) {
        if let Err(lines) = lines {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    fn line(&self, level: &str, target: &str, message: &str, fields: &Fields) -> String {
        let time = rfc3339(self.clock.now());
        match self.style {
            Style::Json => {
                let fields = &fields.0;
                let line = Line {
                    time: &time,
                    level,
                    msg: message,
                    target,
                    fields,
                };
                serde_json::to_string(&line).unwrap_or_default()
            }
            Style::Text => {
                let mut line = format!("{time} {level:<5} {message}");
                for (name, value) in &fields.0 {
                    // Writing to a string cannot fail.
                    let _written = write!(line, " {name}={value}");
                }
                line
            }
        }
    }
}

/// An event as JSON writes it, in the order of an access line.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'a str,
    msg: &'a str,
    target: &'a str,
    #[serde(flatten)]
    fields: &'a serde_json::Map<String, serde_json::Value>,
}

/// What the fields of an event say.
#[derive(Default)]
struct Fields(serde_json::Map<String, serde_json::Value>);

impl Fields {
    fn add(&mut self, name: &str, value: serde_json::Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        // Libraries below log what passes through them, secrets included; they are not listened to.
        let ours = metadata.target().starts_with("wxgate");
        let (level, name) = match *metadata.level() {
            tracing::Level::ERROR => (Level::Error, "error"),
            tracing::Level::WARN => (Level::Warn, "warn"),
            tracing::Level::INFO => (Level::Info, "info"),
            tracing::Level::DEBUG | tracing::Level::TRACE => (Level::Debug, "debug"),
        };
        if !ours || level > self.0.level {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message");
        let message = message
            .as_ref()
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let line = self.0.line(name, metadata.target(), message, &fields);
        if self.0.events.push(line).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::telemetry::{Format, UserField};

    /// A sink that takes no line while it is full.
    #[derive(Default)]
    struct Disk {
        full: bool,
        taken: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_said_when_there_is_room_again() {
        let settings = Settings {
            level: Level::Info,
            format: Format::Json,
            access: true,
            user: UserField::Off,
        };
        let log = Inner::new(&settings, Style::Json, Clock::System);
        let mut lines = LineWriter::new(Style::Json, settings.user);
        let mut disk = Disk::default();
        let say = |text: &str| log.events.push(text.to_owned());

        disk.full = true;
        assert_eq!(say("one"), Ok(()));
        assert_eq!(say("two"), Ok(()));
        log.drain(&mut disk, &mut lines);
        log.drain(&mut disk, &mut lines);
        assert!(disk.taken.is_empty());

        disk.full = false;
        assert_eq!(say("three"), Ok(()));
        log.drain(&mut disk, &mut lines);
        let taken = String::from_utf8(disk.taken).unwrap();
        let said: Vec<&str> = taken.lines().collect();
        assert_eq!(said[0], "three");
        assert!(said[1].contains(event::LOG_LINES_DROPPED), "{taken}");
        assert!(said[1].contains(r#""count":2"#), "{taken}");
        assert_eq!(said.len(), 2);
    }
}
