//! How an access record looks when it is written. Written by hand into one string that is used again
//! for every line: at tens of thousands of lines a second, this is half of what a request costs
//! beside its system calls.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Version};

use crate::domain::id::AppId;
use crate::domain::peer::Address;
use crate::domain::token;
use crate::telemetry::UserField;
use crate::telemetry::access::{Flag, Record, Route};
use crate::telemetry::style::{Style, Times};
use crate::telemetry::user::Names;

/// Writes records as lines.
pub(in crate::telemetry) struct LineWriter {
    style: Style,
    times: Times,
    names: Names,
    line: String,
}

impl LineWriter {
    /// In this style; users are named as the field says.
    pub(in crate::telemetry) fn new(style: Style, field: UserField) -> Self {
        Self {
            style,
            times: Times::default(),
            names: Names::new(field),
            line: String::new(),
        }
    }

    /// The record as one line, with its end.
    pub(in crate::telemetry) fn write(&mut self, record: &Record) -> &str {
        self.line.clear();
        match self.style {
            Style::Json => self.json(record),
            Style::Text => self.text(record),
        }
        self.line.push('\n');
        &self.line
    }

    fn json(&mut self, record: &Record) {
        let out = &mut self.line;
        out.push_str("{\"time\":\"");
        self.times.write(record.time, out);
        out.push_str("\",\"level\":\"info\",\"msg\":\"request\"");
        let text = |out: &mut String, name: &str, value: &str| {
            key(out, name);
            quoted(out, value);
        };
        text(out, "request_id", as_text(&record.request_id));
        match record.traceparent.as_ref().and_then(trace_id) {
            Some(trace_id) => text(out, "trace_id", trace_id),
            None => null(out, "trace_id"),
        }
        text(out, "method", &token::mask(record.method.as_str()));
        text(out, "path", &token::mask(&record.path));
        key(out, "route");
        out.push('"');
        route(out, record.route);
        out.push('"');
        number(out, "status", record.status.into());
        key(out, "duration_ms");
        millis(out, record.duration);
        match record.upstream {
            Some(upstream) => {
                key(out, "upstream_ms");
                millis(out, upstream);
            }
            None => null(out, "upstream_ms"),
        }
        number(out, "bytes_in", record.bytes_in);
        number(out, "bytes_out", record.bytes_out);
        key(out, "client_ip");
        out.push('"');
        address(out, record.client);
        out.push('"');
        text(out, "proto", proto(record.version));
        match record.who.app().map(AppId::as_str) {
            Some(appid) => text(out, "appid", appid),
            None => null(out, "appid"),
        }
        match self.names.of(&record.who) {
            Some(user) => text(out, "user", &user),
            None => null(out, "user"),
        }
        text(out, "flags", record.flag.map_or("", Flag::code));
        out.push('}');
    }

    fn text(&mut self, record: &Record) {
        let out = &mut self.line;
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
        escaped(out, as_text(&record.request_id));
    }
}

fn as_text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    as_text(traceparent).split('-').nth(1)
}

fn key(out: &mut String, name: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
}

fn null(out: &mut String, name: &str) {
    key(out, name);
    out.push_str("null");
}

fn number(out: &mut String, name: &str, number: u64) {
    key(out, name);
    digits(out, number);
}

fn digits(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    escaped(out, text);
    out.push('"');
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
    let rest = micros % 1000;
    for digit in [rest / 100, rest / 10 % 10, rest % 10] {
        digits(out, digit);
    }
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
