//! The cases of `tests/hostile`: how they are written, and what they say. Knows no socket.
//!
//! A file is a class. `== name` begins a case, and its reason follows in plain text. Then
//!
//! - `> ` is what the client sends: over HTTP/1 a line, with its CR LF unless it ends in `\`; over
//!   HTTP/2 a frame, or, indented, what is in it (`http2`).
//! - `!` says that the client then closes its side.
//! - `* ` is a line of what the app server answers instead of the usual; `*!` that it closes then.
//! - `< ` is what comes of it, in order: a status, with `bare` when there is no body or with the code
//!   of its problem; `closed`; over HTTP/2 `reset CODE` or `goaway CODE`, for stream 1 unless one is
//!   named (`3: reset CODE`). Indented below a status: a field that it has, or `no NAME`. Where the
//!   connection is not closed, the next request on it must get its own answer.
//! - `= ` is what the app server gets: `nothing`, not even the beginning of a request; `nothing
//!   whole`; or a request line, and indented below it fields, `no NAME`, `body TEXT`, `trailer FIELD`,
//!   `user alice`. There are exactly these requests; a body or trailers that are not named are not
//!   there.
//!
//! `@gate NAME` says in front of which gate the cases below stand. `@frame` is what those send in
//! which a line begins with `% `: such lines stand where `%` stands in the frame. `@expect` is what
//! comes of those that do not say. `#` begins a remark.
//!
//! Escapes: `\r \n \t \0 \\ \xNN`, `\s` for a space at an end, `\e` for nothing; `{token}`, `{bob}`
//! and the like for what a gate gave out, `{x*300}` for 300 of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wire {
    Http1,
    Http2,
}

/// A case as it is written.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) wire: Wire,
    pub(super) class: String,
    pub(super) name: String,
    pub(super) why: String,
    pub(super) gate: String,
    /// What the client sends.
    pub(super) sent: Vec<String>,
    /// Whether it closes its side then.
    pub(super) ends: bool,
    /// What the app server answers, if not the usual, and whether it closes then.
    pub(super) app_says: Option<(Vec<String>, bool)>,
    pub(super) comes: Vec<String>,
    pub(super) reaches: Vec<String>,
}

/// What holds for the cases below it.
#[derive(Default)]
struct Section {
    gate: String,
    frame: Vec<String>,
    comes: Vec<String>,
    reaches: Vec<String>,
}

/// All cases of one protocol.
pub(super) fn all(wire: Wire) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(match wire {
        Wire::Http1 => "tests/hostile/http1",
        Wire::Http2 => "tests/hostile/http2",
    });
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let class = path.file_stem().unwrap().to_str().unwrap().to_owned();
        parse(wire, &class, &fs::read_to_string(path).unwrap())
    };
    files.iter().flat_map(read).collect()
}

/// The text behind a marker, which may be alone.
fn behind<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(marker)?;
    if rest.is_empty() {
        Some("")
    } else {
        rest.strip_prefix(' ')
    }
}

fn parse(wire: Wire, class: &str, text: &str) -> Vec<Case> {
    let mut section = Section::default();
    let mut cases = Vec::new();
    let mut blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    for block in &mut blocks {
        let lines: Vec<_> = block
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        match lines.first().and_then(|line| line.strip_prefix("== ")) {
            Some(name) => cases.push(case((wire, class, name), &lines[1..], &section)),
            None => section.read(&lines),
        }
    }
    cases
}

impl Section {
    fn read(&mut self, lines: &[&str]) {
        for line in lines {
            if let Some(gate) = line.strip_prefix("@gate ") {
                gate.clone_into(&mut self.gate);
            } else if *line == "@frame" {
                self.frame.clear();
            } else if *line == "@expect" {
                self.comes.clear();
                self.reaches.clear();
            } else if let Some(sent) = behind(line, ">") {
                self.frame.push(sent.to_owned());
            } else if let Some(comes) = behind(line, "<") {
                self.comes.push(comes.to_owned());
            } else if let Some(reaches) = behind(line, "=") {
                self.reaches.push(reaches.to_owned());
            } else {
                panic!("not understood: {line}");
            }
        }
    }

    /// The frame with these lines where its `%` stands: instead of a line, or of a word in one.
    fn filled(&self, lines: &[String]) -> Vec<String> {
        let fill = |framed: &String| {
            if framed.trim() == "%" {
                let indent = framed.trim_end_matches('%');
                lines.iter().map(|line| format!("{indent}{line}")).collect()
            } else if framed.contains('%') {
                assert_eq!(lines.len(), 1, "one line for {framed}, please: {lines:?}");
                vec![framed.replacen('%', &lines[0], 1)]
            } else {
                vec![framed.clone()]
            }
        };
        self.frame.iter().flat_map(fill).collect()
    }
}

fn case((wire, class, name): (Wire, &str, &str), lines: &[&str], section: &Section) -> Case {
    let mut of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut why = Vec::new();
    let (mut ends, mut app_closes) = (false, false);
    for line in lines {
        let marked = [">", "%", "*", "<", "="]
            .into_iter()
            .find_map(|marker| Some((marker, behind(line, marker)?)));
        match (*line, marked) {
            ("!", _) => ends = true,
            ("*!", _) => app_closes = true,
            (_, Some((marker, text))) => of.entry(marker).or_default().push(text.to_owned()),
            (text, None) if of.is_empty() => why.push(text),
            (text, None) => panic!("{name}: not understood: {text}"),
        }
    }
    let mut take = |marker| of.remove(marker).unwrap_or_default();
    let (sent, filled) = (take(">"), take("%"));
    let sent = match (sent.is_empty(), filled.is_empty()) {
        (false, true) => sent,
        (true, false) => section.filled(&filled),
        _ => panic!("{name}: either the whole request or what stands in the frame"),
    };
    let or = |own: Vec<String>, usual: &[String]| {
        if own.is_empty() { usual.to_vec() } else { own }
    };
    let app_says = take("*");
    Case {
        wire,
        class: class.to_owned(),
        name: name.to_owned(),
        why: why.join(" "),
        gate: section.gate.clone(),
        sent,
        ends,
        app_says: (!app_says.is_empty()).then_some((app_says, app_closes)),
        comes: or(take("<"), &section.comes),
        reaches: or(take("="), &section.reaches),
    }
}

/// What of a stream or connection comes of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Answered),
    Closed,
    Reset(String),
    GoneAway(String),
}

/// An answer as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// `bare`, or the code of a problem; nothing where any body will do.
    pub(super) body: Option<String>,
    /// Fields that it has.
    pub(super) fields: Vec<String>,
    /// Names that it does not have.
    pub(super) lacks: Vec<String>,
}

/// What the app server gets.
#[derive(Clone, Debug)]
pub(super) enum Reaches {
    Nothing,
    NothingWhole,
    Requests(Vec<Reached>),
}

/// A request that the app server gets.
#[derive(Clone, Debug, Default)]
pub(super) struct Reached {
    pub(super) line: String,
    pub(super) fields: Vec<String>,
    pub(super) lacks: Vec<String>,
    pub(super) body: String,
    pub(super) trailers: Vec<String>,
    pub(super) has_user: bool,
}

impl Answered {
    fn detail(&mut self, detail: &str) {
        match detail.strip_prefix("no ") {
            Some(name) => self.lacks.push(name.to_owned()),
            None => self.fields.push(detail.to_owned()),
        }
    }
}

impl Case {
    /// What comes of it, each with its stream.
    pub(super) fn outcomes(&self) -> Vec<(u32, Outcome)> {
        let mut outcomes: Vec<(u32, Outcome)> = Vec::new();
        for line in &self.comes {
            if let Some(detail) = line.strip_prefix("  ") {
                match outcomes.last_mut() {
                    Some((_, Outcome::Answered(answered))) => answered.detail(detail),
                    other => panic!("{}: {detail} of {other:?}", self.name),
                }
                continue;
            }
            let (stream, what) = line.split_once(": ").unwrap_or(("1", line));
            let words: Vec<_> = what.split(' ').collect();
            let outcome = match *words {
                ["closed"] => Outcome::Closed,
                ["reset", code] => Outcome::Reset(code.to_owned()),
                ["goaway", code] => Outcome::GoneAway(code.to_owned()),
                [status, ref body @ ..] if body.len() < 2 => Outcome::Answered(Answered {
                    status: status
                        .parse()
                        .unwrap_or_else(|_| panic!("{}: {line}", self.name)),
                    body: body.first().map(|&body| body.to_owned()),
                    ..Answered::default()
                }),
                _ => panic!("{}: not understood: {line}", self.name),
            };
            outcomes.push((stream.parse().unwrap(), outcome));
        }
        assert!(!outcomes.is_empty(), "{}: nothing comes of it", self.name);
        outcomes
    }

    /// What of it reaches the app server.
    pub(super) fn reached(&self) -> Reaches {
        let mut requests: Vec<Reached> = Vec::new();
        for line in &self.reaches {
            let Some(detail) = line.strip_prefix("  ") else {
                requests.push(Reached {
                    line: line.clone(),
                    ..Reached::default()
                });
                continue;
            };
            let request = requests.last_mut().expect("a field of no request");
            match detail.split_once(' ') {
                Some(("no", name)) => request.lacks.push(name.to_owned()),
                Some(("body", text)) => text.clone_into(&mut request.body),
                Some(("trailer", field)) => request.trailers.push(field.to_owned()),
                Some(("user", "alice")) => request.has_user = true,
                _ => request.fields.push(detail.to_owned()),
            }
        }
        match requests.as_slice() {
            [one] if one.line == "nothing" => Reaches::Nothing,
            [one] if one.line == "nothing whole" => Reaches::NothingWhole,
            [] => panic!("{}: does not say what reaches the app server", self.name),
            _ => Reaches::Requests(requests),
        }
    }
}

/// What stands for something that a gate gave out.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(pub(super) Vec<(&'static str, String)>);

impl Words {
    /// The bytes that a text stands for.
    pub(super) fn bytes(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            match first {
                '\\' => rest = escape(rest, &mut bytes),
                '{' => match self.placeholder(rest) {
                    Some((meant, length)) => {
                        bytes.extend(meant);
                        rest = &rest[length..];
                    }
                    None => bytes.push(b'{'),
                },
                other => bytes.extend(other.to_string().bytes()),
            }
        }
        bytes
    }

    /// What a word in braces stands for, and how long it is with its brace.
    fn placeholder(&self, rest: &str) -> Option<(Vec<u8>, usize)> {
        let (word, _) = rest.split_once('}')?;
        if let Some((_, meant)) = self.0.iter().find(|(name, _)| *name == word) {
            return Some((meant.clone().into_bytes(), word.len() + 1));
        }
        let (what, times) = word.rsplit_once('*')?;
        Some((self.bytes(what).repeat(times.parse().ok()?), word.len() + 1))
    }
}

/// Puts what an escape stands for, and gives what follows it.
fn escape<'a>(rest: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let (length, meant) = match rest.as_bytes() {
        [b'r', ..] => (1, Some(b'\r')),
        [b'n', ..] => (1, Some(b'\n')),
        [b't', ..] => (1, Some(b'\t')),
        [b'0', ..] => (1, Some(0)),
        [b's', ..] => (1, Some(b' ')),
        [b'\\', ..] => (1, Some(b'\\')),
        [b'e', ..] => (1, None),
        [b'x', ..] => (3, Some(u8::from_str_radix(&rest[1..3], 16).unwrap())),
        _ => panic!("no such escape: \\{rest}"),
    };
    bytes.extend(meant);
    &rest[length..]
}
