//! How an access record looks when it is written. Written by hand, one line after another into one
//! string that is used again: at tens of thousands of lines a second, this is half of what a request costs
//! beside its system calls.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use http::Version;

use crate::domain::id::AppId;
use crate::domain::peer::Address;
use crate::domain::token;
use crate::telemetry::UserField;
use crate::telemetry::access::{Flag, Record, Route};
use crate::telemetry::style::{Style, Times, three_digits};
use crate::telemetry::user::Names;

/// Writes records as lines.
pub(in crate::telemetry) struct LineWriter {
    style: Style,
    times: Times,
    names: Names,
    lines: String,
}

impl LineWriter {
    /// In this style; users are named as the field says.
    pub(in crate::telemetry) fn new(style: Style, field: UserField) -> Self {
        Self {
            style,
            times: Times::default(),
            names: Names::new(field),
            lines: String::new(),
        }
    }

    /// Adds the record as one line.
    pub(in crate::telemetry) fn add(&mut self, record: &Record) {
        match self.style {
            Style::Json => self.json(record),
            Style::Text => self.text(record),
        }
        self.lines.push('\n');
    }

    /// The lines that have been added.
    pub(in crate::telemetry) fn pending(&self) -> &str {
        &self.lines
    }

    /// Hands the lines on, and forgets them whatever becomes of that.
    pub(in crate::telemetry) fn write_out(&mut self, sink: &mut dyn Write) -> std::io::Result<()> {
        let written = sink.write_all(self.lines.as_bytes());
        self.lines.clear();
        written
    }

    /// Names and what stands around values are written in one piece each: a line has many, and each
    /// piece has its price.
    fn json(&mut self, record: &Record) {
        let out = &mut self.lines;
        out.push_str("{\"time\":\"");
        self.times.write(record.time, out);
        out.push_str("\",\"level\":\"info\",\"msg\":\"request\",\"request_id\":\"");
        escaped(out, &record.request_id);
        out.push_str("\",\"trace_id\":");
        or_null(
            out,
            (!record.trace_id.is_empty()).then_some(&*record.trace_id),
        );
        out.push_str(",\"method\":\"");
        escaped(out, &token::mask(record.method.as_str()));
        out.push_str("\",\"path\":\"");
        escaped(out, &token::mask(&record.path));
        out.push_str("\",\"route\":\"");
        route(out, record.route);
        out.push_str("\",\"status\":");
        digits(out, record.status.into());
        out.push_str(",\"duration_ms\":");
        millis(out, record.duration);
        out.push_str(",\"upstream_ms\":");
        match record.upstream {
            Some(upstream) => millis(out, upstream),
            None => out.push_str("null"),
        }
        out.push_str(",\"bytes_in\":");
        digits(out, record.bytes_in);
        out.push_str(",\"bytes_out\":");
        digits(out, record.bytes_out);
        out.push_str(",\"client_ip\":\"");
        address(out, record.client);
        out.push_str("\",\"proto\":\"");
        out.push_str(proto(record.version));
        out.push_str("\",\"appid\":");
        or_null(out, record.who.app().map(AppId::as_str));
        out.push_str(",\"user\":");
        or_null(out, self.names.of(&record.who).as_deref());
        out.push_str(",\"flags\":\"");
        out.push_str(record.flag.map_or("", Flag::code));
        out.push_str("\"}");
    }

    fn text(&mut self, record: &Record) {
        let out = &mut self.lines;
        self.times.write(record.time, out);
        out.push_str(" info  ");
        // As JSON writes them, so that nothing in them can pass for another line.
        escaped(out, &token::mask(record.method.as_str()));
        out.push(' ');
        escaped(out, &token::mask(&record.path));
        out.push(' ');
        digits(out, record.status.into());
        out.push(' ');
        millis(out, record.duration);
        out.push_str("ms route=");
        route(out, record.route);
        out.push_str(" client_ip=");
        address(out, record.client);
        if let Some(user) = self.names.of(&record.who) {
            out.push_str(" user=");
            out.push_str(&user);
        }
        if let Some(flag) = record.flag {
            out.push_str(" flags=");
            out.push_str(flag.code());
        }
        out.push_str(" request_id=");
        escaped(out, &record.request_id);
    }
}

fn digits(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn or_null(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => {
            out.push('"');
            escaped(out, text);
            out.push('"');
        }
        None => out.push_str("null"),
    }
}

/// The text as it stands between the quotes of JSON. Hardly any needs more than to be copied.
fn escaped(out: &mut String, text: &str) {
    // Looks at every byte, without a way out in between: that takes a processor a few steps.
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    let odd = text
        .bytes()
        .fold(0, |odd, byte| odd | u8::from(!plain(byte)));
    if odd == 0 {
        out.push_str(text);
        return;
    }
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    out.push_str(inner.unwrap_or_default());
}

fn route(out: &mut String, route: Route) {
    match route {
        Route::Own(name) => out.push_str(name),
        Route::Rule(index) => {
            out.push_str("rule ");
            digits(out, u64::try_from(index).unwrap_or(u64::MAX));
        }
        Route::Default => out.push_str("default"),
        Route::None => {}
    }
}

/// Milliseconds with three digits after the point.
fn millis(out: &mut String, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    digits(out, micros / 1000);
    out.push('.');
    three_digits(out, micros % 1000);
}

fn address(out: &mut String, address: Address) {
    match address {
        Address::Ip(IpAddr::V4(ip)) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push('.');
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
