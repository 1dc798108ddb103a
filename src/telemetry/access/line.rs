//! How an access record looks when it is written. Written by hand, one line after another into one
//! buffer that is used again: at tens of thousands of lines a second, this is half of what a request costs
//! beside its system calls.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use crate::domain::bytes::ByteSet;
use crate::domain::peer::Address;
use crate::domain::token;
use crate::telemetry::UserField;
use crate::telemetry::access::{Flag, Record, Route};
use crate::telemetry::style::{Style, Times, three_digits};
use crate::telemetry::user::Names;

/// What JSON writes as it is.
static PLAIN: ByteSet = ByteSet::PRINTABLE.without(b"\"\\");

/// Writes records as lines.
pub(in crate::telemetry) struct LineWriter {
    style: Style,
    times: Times,
    names: Names,
    lines: Vec<u8>,
}

impl LineWriter {
    /// In this style; users are named as the field says.
    pub(in crate::telemetry) fn new(style: Style, field: UserField) -> Self {
        Self {
            style,
            times: Times::default(),
            names: Names::new(field),
            lines: Vec::new(),
        }
    }

    /// Adds the record as one line.
    pub(in crate::telemetry) fn add(&mut self, record: &Record) {
        match self.style {
            Style::Json => self.json(record),
            Style::Text => self.text(record),
        }
        self.lines.push(b'\n');
    }

    /// The lines that have been added.
    pub(in crate::telemetry) fn pending(&self) -> &[u8] {
        &self.lines
    }

    /// Hands the lines on, and forgets them whatever becomes of that. Fails with how many those
    /// were.
    pub(in crate::telemetry) fn write_out(&mut self, sink: &mut dyn Write) -> Result<(), u64> {
        let written = sink.write_all(&self.lines).map_err(|_nowhere_to_say| {
            let ends = self.lines.iter().filter(|byte| **byte == b'\n');
            u64::try_from(ends.count()).unwrap_or(u64::MAX)
        });
        self.lines.clear();
        written
    }

    /// Names and what stands around values are written in one piece each: a line has many, and each
    /// piece has its price.
    fn json(&mut self, record: &Record) {
        let out = &mut self.lines;
        out.extend_from_slice(br#"{"time":""#);
        self.times.write(record.time, out);
        out.extend_from_slice(br#"","level":"info","msg":"request","request_id":""#);
        escaped(out, record.request_id.as_bytes());
        out.extend_from_slice(br#"","trace_id":"#);
        match &record.trace {
            Some(trace) => {
                out.push(b'"');
                // Hexadecimal digits.
                out.extend_from_slice(trace.trace_id());
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","method":""#);
        escaped(out, token::mask(record.method.as_str()).as_bytes());
        out.extend_from_slice(br#"","path":""#);
        escaped(out, token::mask(&record.path).as_bytes());
        out.extend_from_slice(br#"","route":""#);
        route(out, record.route);
        out.extend_from_slice(br#"","status":"#);
        digits(out, record.status.into());
        out.extend_from_slice(br#","duration_ms":"#);
        millis(out, record.duration);
        out.extend_from_slice(br#","upstream_ms":"#);
        match record.upstream {
            Some(upstream) => millis(out, upstream),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","bytes_in":"#);
        digits(out, record.bytes_in);
        out.extend_from_slice(br#","bytes_out":"#);
        digits(out, record.bytes_out);
        out.extend_from_slice(br#","client_ip":""#);
        address(out, record.client);
        out.extend_from_slice(br#"","proto":""#);
        out.extend_from_slice(proto(record.version).as_bytes());
        out.extend_from_slice(br#"","appid":"#);
        or_null(out, record.who.app().map(|app| app.header().as_bytes()));
        out.extend_from_slice(br#","user":"#);
        or_null(out, self.names.of(&record.who).as_deref());
        out.extend_from_slice(br#","flags":""#);
        out.extend_from_slice(record.flag.map_or("", Flag::code).as_bytes());
        out.extend_from_slice(br#""}"#);
    }

    fn text(&mut self, record: &Record) {
        let out = &mut self.lines;
        self.times.write(record.time, out);
        out.extend_from_slice(b" info  ");
        // As JSON writes them, so that nothing in them can pass for another line.
        escaped(out, token::mask(record.method.as_str()).as_bytes());
        out.push(b' ');
        escaped(out, token::mask(&record.path).as_bytes());
        out.push(b' ');
        digits(out, record.status.into());
        out.push(b' ');
        millis(out, record.duration);
        out.extend_from_slice(b"ms route=");
        route(out, record.route);
        out.extend_from_slice(b" client_ip=");
        address(out, record.client);
        if let Some(user) = self.names.of(&record.who) {
            out.extend_from_slice(b" user=");
            out.extend_from_slice(&user);
        }
        if let Some(flag) = record.flag {
            out.extend_from_slice(b" flags=");
            out.extend_from_slice(flag.code().as_bytes());
        }
        out.extend_from_slice(b" request_id=");
        escaped(out, record.request_id.as_bytes());
    }
}

fn digits(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn or_null(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => {
            out.push(b'"');
            escaped(out, text);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The text as it stands between the quotes of JSON. Hardly any needs more than to be copied.
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    if PLAIN.has_all(text) {
        out.extend_from_slice(text);
        return;
    }
    let quoted = serde_json::to_vec(&String::from_utf8_lossy(text)).unwrap_or_default();
    let inner = quoted
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    out.extend_from_slice(inner.unwrap_or_default());
}

fn route(out: &mut Vec<u8>, route: Route) {
    match route {
        Route::Own(name) => out.extend_from_slice(name.as_bytes()),
        Route::Rule(index) => {
            out.extend_from_slice(b"rule ");
            digits(out, u64::try_from(index).unwrap_or(u64::MAX));
        }
        Route::Default => out.extend_from_slice(b"default"),
        Route::None => {}
    }
}

/// Milliseconds with three digits after the point.
fn millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    digits(out, micros / 1000);
    out.push(b'.');
    three_digits(out, micros % 1000);
}

fn address(out: &mut Vec<u8>, address: Address) {
    match address {
        Address::Ip(IpAddr::V4(ip)) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                digits(out, octet.into());
            }
        }
        // Writing to a string cannot fail.
        other => drop(write!(out, "{other}")),
    }
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
