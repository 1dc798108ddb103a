//! Whatever the rules and the request, the table is looked through as somebody would who takes no short
//! cuts, and no request passes of which a server may read the path so that another rule is for it.
//!
//! Input: lines. `rule GET,PUT /a/** session` (`-` for all methods), `endpoint /wx/login`, `reserved /x` and
//! `open /y` make the table; `decide GET /path` asks it, and `decide GET,PUT /path` asks it about a request
//! that wants to be taken for a PUT as well.

use std::collections::BTreeSet;

use http::Method;
use wxgate::domain::path::{Matching, PathPattern};
use wxgate::domain::readings;
use wxgate::gateway::route::{Ambiguous, Decision, Endpoint, Line, Require, Routes, Rule};
use wxgate::upstream::Index;

/// Lines of the table, each a multiple of work.
const MAX_LINES: usize = 12;

/// Readings that are looked at here, more than the gate puts up with.
const MAX_READINGS: usize = 512;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut routes = Routes {
        endpoints: Vec::new(),
        reserved: Vec::new(),
        open_data: Vec::new(),
        rules: Vec::new(),
        default: Require::Session,
        forward_preflight: false,
    };
    for line in text.split('\n').take(MAX_LINES) {
        // A path may have any byte that no line ends with.
        let mut words = line.splitn(3, ' ');
        let (what, one, other) = (words.next(), words.next(), words.next());
        match (what, one, other) {
            (Some("decide"), Some(methods), Some(path)) => ask(&routes, methods, path),
            (Some(what), Some(one), other) => {
                add(&mut routes, what, one, other);
            }
            _ => {}
        }
    }
}

/// Adds a line to the table, if it is one.
fn add(routes: &mut Routes, what: &str, one: &str, other: Option<&str>) -> Option<()> {
    match (what, other) {
        ("endpoint", None) => {
            let endpoint = *Endpoint::ALL.get(routes.endpoints.len())?;
            routes
                .endpoints
                .push((PathPattern::parse(one).ok()?, endpoint));
        }
        ("reserved", None) => {
            let pattern = PathPattern::parse(one).ok()?;
            routes
                .reserved
                .extend(Some(pattern).filter(PathPattern::is_exact));
        }
        ("open", None) => routes.open_data.push(PathPattern::parse(one).ok()?),
        ("rule", Some(path)) => routes.rules.push(Rule {
            path: PathPattern::parse(path).ok()?,
            methods: if one == "-" {
                Vec::new()
            } else {
                methods(one)?
            },
            require: Require::Session,
            upstream: Index::FIRST,
        }),
        _ => {}
    }
    Some(())
}

fn methods(list: &str) -> Option<Vec<Method>> {
    let methods = list
        .split(',')
        .map(|one| Method::from_bytes(one.as_bytes()).ok());
    methods.collect()
}

fn ask(routes: &Routes, list: &str, path: &str) {
    let Some(mut wanted) = methods(list) else {
        return;
    };
    let path = path.as_bytes();
    let decided = routes.decide(&wanted[0], &wanted[1..], path);
    let upper = wanted[0].as_str().to_ascii_uppercase();
    wanted.extend(Method::from_bytes(upper.as_bytes()));

    // By the gate's readings: neither stricter nor laxer than the table looked through line by line.
    let mut read = Vec::new();
    let readable = readings::all(path, |reading| {
        read.push(reading.to_vec());
        true
    });
    let found = decisions(routes, &wanted, &read);
    let reserved = found.contains(&Decision::Reserved);
    match decided {
        Ok(Decision::Reserved) => assert!(reserved),
        Ok(decision) => {
            assert_eq!(readable, Ok(true));
            assert_eq!(found, [decision]);
        }
        Err(Ambiguous::OtherRule) => assert!(found.len() > 1 && !reserved, "{found:?}"),
        Err(Ambiguous::Path(_)) => assert!(readable.is_err()),
    }

    // By readings that were found without the gate's: nothing passes that one of them speaks against.
    let Ok(decision) = decided else { return };
    if decision != Decision::Reserved {
        let all = Reader::all(path);
        assert_eq!(decisions(routes, &wanted, &all), [decision]);
        let control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
        assert!(!all.iter().flatten().any(control), "{path:?}");
    }
}

/// What the table says of all these paths, strictly and loosely, each decision once.
fn decisions(routes: &Routes, methods: &[Method], paths: &[Vec<u8>]) -> Vec<Decision> {
    let mut found = Vec::new();
    let both = [Matching::Strict, Matching::Loose];
    for (path, matching) in paths.iter().flat_map(|path| both.map(|how| (path, how))) {
        for method in methods {
            let decision = decide(routes, method, path, matching);
            if !found.contains(&decision) {
                found.push(decision);
            }
        }
    }
    found
}

fn decide(routes: &Routes, method: &Method, path: &[u8], matching: Matching) -> Decision {
    let meets = |pattern: &PathPattern| meets(pattern.as_str(), path, matching);
    if routes
        .reserved
        .iter()
        .any(|pattern| self::meets(pattern.as_str(), path, Matching::Loose))
    {
        return Decision::Reserved;
    }
    for (pattern, endpoint) in &routes.endpoints {
        if meets(pattern) {
            return Decision::Endpoint(*endpoint);
        }
    }
    let mut line = Line::Default;
    for (number, rule) in routes.rules.iter().enumerate().rev() {
        let head = method == Method::HEAD && rule.methods.contains(&Method::GET);
        if meets(&rule.path) && (rule.methods.is_empty() || rule.methods.contains(method) || head) {
            line = Line::Rule(number);
        }
    }
    if routes.open_data.iter().any(meets) {
        Decision::OpenData(line)
    } else {
        Decision::Forward(line)
    }
}

/// Whether a path falls under a pattern, segment by segment.
fn meets(pattern: &str, path: &[u8], matching: Matching) -> bool {
    let (mut pattern, mut path) = (pattern.as_bytes().to_vec(), path.to_vec());
    if matching == Matching::Loose {
        for text in [&mut pattern, &mut path] {
            text.make_ascii_lowercase();
            while text.len() > 1 && text.last() == Some(&b'/') {
                text.pop();
            }
        }
    }
    let pattern: Vec<&[u8]> = pattern.split(|&byte| byte == b'/').collect();
    let path: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    if path.first() != Some(&&b""[..]) || path.len() < 2 {
        return false;
    }
    falls_under(&pattern, &path)
}

fn falls_under(pattern: &[&[u8]], path: &[&[u8]]) -> bool {
    match (pattern, path) {
        ([b"**"], _) | ([], []) => true,
        ([b"*", pattern @ ..], [segment, path @ ..]) => {
            !segment.is_empty() && falls_under(pattern, path)
        }
        ([literal, pattern @ ..], [segment, path @ ..]) => {
            literal == segment && falls_under(pattern, path)
        }
        _ => false,
    }
}

/// Ways of servers to read a path, written down from what servers do and not from what the gate does.
struct Reader;

impl Reader {
    /// Everything that any sequence of ways leads to, each decoded twice at the most.
    fn all(path: &[u8]) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::from([(path.to_vec(), 0)]);
        let mut next = vec![(path.to_vec(), 0)];
        while let Some((path, decoded)) = next.pop() {
            assert!(
                seen.len() < MAX_READINGS,
                "a path passed that can be read in many ways"
            );
            let mut further = vec![
                (Self::without_dots(&path), decoded),
                (Self::replaced(&path, b"//", b"/"), decoded),
                (Self::replaced(&path, b"\\", b"/"), decoded),
                (Self::without_parameters(&path), decoded),
                (Self::up_to_query(&path), decoded),
            ];
            if decoded < 2 {
                further.push((Self::decoded(&path, &[]), decoded + 1));
                further.push((Self::decoded(&path, b"/\\"), decoded + 1));
            }
            let further = further.into_iter().filter(|(reading, _)| *reading != path);
            next.extend(further.filter(|reading| seen.insert(reading.clone())));
        }
        let paths: BTreeSet<_> = seen.into_iter().map(|(path, _)| path).collect();
        paths.into_iter().collect()
    }

    fn decoded(path: &[u8], but: &[u8]) -> Vec<u8> {
        let digit = |at: usize| path.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(&byte) = path.get(at) {
            let escaped = digit(at + 1).zip(digit(at + 2)).filter(|_| byte == b'%');
            let escaped = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            let escaped = escaped.filter(|byte| !but.contains(byte));
            out.push(escaped.unwrap_or(byte));
            at += if escaped.is_some() { 3 } else { 1 };
        }
        out
    }

    fn replaced(path: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
        let mut out = path.to_vec();
        while let Some(at) = out.windows(what.len()).position(|part| part == what) {
            out.splice(at..at + what.len(), with.iter().copied());
        }
        out
    }

    fn without_dots(path: &[u8]) -> Vec<u8> {
        let mut segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        // Where the path ends in dots it ends in a slash without them.
        if matches!(segments.last(), Some(&b"." | &b"..")) {
            segments.push(b"");
        }
        let mut kept: Vec<&[u8]> = Vec::new();
        for segment in segments.into_iter().skip(1) {
            match segment {
                b"." => {}
                b".." => drop(kept.pop()),
                _ => kept.push(segment),
            }
        }
        [b"/", &*kept.join(&b'/')].concat()
    }

    fn without_parameters(path: &[u8]) -> Vec<u8> {
        let segments = path.split(|&byte| byte == b'/');
        let plain = segments.map(|segment| segment.split(|&byte| byte == b';').next());
        plain
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
            .join(&b'/')
    }

    fn up_to_query(path: &[u8]) -> Vec<u8> {
        let mut parts = path.split(|&byte| byte == b'?' || byte == b'#');
        parts.next().unwrap_or_default().to_vec()
    }
}
