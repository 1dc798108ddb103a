//! Patterns for request paths, and how strictly they are compared. Knows nothing of what a match
//! means.

/// How a path is compared with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Byte for byte.
    Strict,
    /// Letter case and a trailing slash make no difference. Whatever matches strictly matches
    /// loosely too, and whatever a server might match in between lies in between.
    Loose,
}

/// Why a text is not a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Does not begin with a slash.
    #[error("a path begins with /")]
    NoSlash,
    /// Has something that no server reads as it stands.
    #[error("a path has printable ASCII only, and none of % \\ ; ? #, no // and no dot segment")]
    Plain,
    /// A star among other characters, or `**` before the end.
    #[error("* stands for one whole segment, ** for a whole subtree at the end")]
    Star,
}

/// A path of the configuration: exact `/a`, a subtree `/a/**` (which includes `/a`), one segment
/// `/a/*/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Vec<Segment>,
    subtree: bool,
    /// Whether it names exactly one path.
    exact: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Any,
    Literal(Box<str>),
}

impl PathPattern {
    /// Reads a pattern. Only paths of one reading can be named: no escapes, no dot segments.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        let plain = |byte: u8| byte.is_ascii_graphic() && !br"%\;?#".contains(&byte);
        if !text.bytes().all(plain) || text.contains("//") {
            return Err(PatternError::Plain);
        }
        let (rest, subtree) = match rest.strip_suffix("**") {
            Some("") => ("", true),
            Some(before) => (before.strip_suffix('/').ok_or(PatternError::Star)?, true),
            None => (rest, false),
        };
        let segments = match rest {
            "" if subtree => Vec::new(),
            _ => rest
                .split('/')
                .map(Segment::parse)
                .collect::<Result<_, _>>()?,
        };
        let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        Ok(Self {
            text: text.into(),
            exact: !subtree && segments.iter().all(literal),
            segments,
            subtree,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern names exactly one path.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether the path, given without its query, falls under the pattern.
    pub fn matches(&self, path: &[u8], matching: Matching) -> bool {
        if self.exact {
            let text = self.text.as_bytes();
            return match matching {
                Matching::Strict => text == path,
                Matching::Loose => {
                    without_trailing_slash(text).eq_ignore_ascii_case(without_trailing_slash(path))
                }
            };
        }
        let Some(path) = path.strip_prefix(b"/") else {
            return false;
        };
        let (path, pattern) = match matching {
            Matching::Strict => (path, self.segments.as_slice()),
            Matching::Loose => (without_trailing_slash(path), self.without_trailing_slash()),
        };
        let mut parts = path.split(|&byte| byte == b'/');
        for segment in pattern {
            match parts.next() {
                Some(part) if segment.matches(part, matching) => {}
                _ => return false,
            }
        }
        self.subtree || parts.next().is_none()
    }

    /// What stands in a path of this pattern where the pattern has its first `*`. `None` when it has
    /// none, and for other paths.
    pub fn captured<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        if !self.matches(path, Matching::Strict) {
            return None;
        }
        let star = |segment: &Segment| *segment == Segment::Any;
        let at = self.segments.iter().position(star)?;
        path.split(|&byte| byte == b'/').nth(at + 1)
    }

    /// The segments without the empty one that a trailing slash makes; the root keeps its own.
    fn without_trailing_slash(&self) -> &[Segment] {
        match self.segments.as_slice() {
            [rest @ .., Segment::Literal(last)] if last.is_empty() && !rest.is_empty() => rest,
            all => all,
        }
    }
}

/// The path after its leading slash, without the slashes at its end.
fn without_trailing_slash(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "*" => Ok(Self::Any),
            "." | ".." => Err(PatternError::Plain),
            _ if text.contains('*') => Err(PatternError::Star),
            _ => Ok(Self::Literal(text.into())),
        }
    }

    fn matches(&self, part: &[u8], matching: Matching) -> bool {
        match (self, matching) {
            (Self::Any, _) => !part.is_empty(),
            (Self::Literal(literal), Matching::Strict) => literal.as_bytes() == part,
            (Self::Literal(literal), Matching::Loose) => {
                literal.as_bytes().eq_ignore_ascii_case(part)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &str, matches: [bool; 2]) {
        let parsed = PathPattern::parse(pattern).unwrap();
        let found = [Matching::Strict, Matching::Loose].map(|m| parsed.matches(path.as_bytes(), m));
        assert_eq!(found, matches, "{pattern} against {path}");
    }

    #[test]
    fn a_pattern_matches_what_it_says() {
        check("/a", "/a", [true, true]);
        check("/a", "/a/", [false, true]);
        check("/a", "/A", [false, true]);
        check("/a", "/a/b", [false, false]);
        check("/a", "/ab", [false, false]);
        check("/a/", "/a", [false, true]);
        check("/a/**", "/a", [true, true]);
        check("/a/**", "/a/", [true, true]);
        check("/a/**", "/a/b/c", [true, true]);
        check("/a/**", "/ab", [false, false]);
        check("/a/**", "/A/b", [false, true]);
        check("/a/*/b", "/a/x/b", [true, true]);
        check("/a/*/b", "/a//b", [false, false]);
        check("/a/*/b", "/a/x/y/b", [false, false]);
        check("/a/*/b", "/a/x/b/", [false, true]);
        check("/**", "/", [true, true]);
        check("/**", "/x//y", [true, true]);
        check("/", "/", [true, true]);
        check("/", "/x", [false, false]);
        check("/a", "*", [false, false]);
    }

    #[test]
    fn what_stands_in_the_place_of_a_star_is_given_as_it_is() {
        let captured = |pattern, path: &'static str| {
            PathPattern::parse(pattern)
                .unwrap()
                .captured(path.as_bytes())
        };
        assert_eq!(captured("/a/*", "/a/wx1"), Some(&b"wx1"[..]));
        assert_eq!(captured("/*/b/*", "/x/b/y"), Some(&b"x"[..]));
        for (pattern, path) in [
            ("/a/*", "/a/"),
            ("/a/*", "/a/wx1/"),
            ("/a/*", "/A/wx1"),
            ("/a/*", "/a/wx1/b"),
            ("/a", "/a"),
            ("/a/**", "/a/wx1"),
        ] {
            assert_eq!(captured(pattern, path), None, "{pattern} {path}");
        }
    }

    proptest! {
        #[test]
        fn what_matches_strictly_matches_loosely(
            pattern in "(/([aB]|\\*)){0,3}(/|/\\*\\*)?",
            path in "(/[aAbB]?){0,4}",
        ) {
            if let Ok(pattern) = PathPattern::parse(&pattern) {
                let matches = |matching| pattern.matches(path.as_bytes(), matching);
                prop_assert!(!matches(Matching::Strict) || matches(Matching::Loose));
            }
        }
    }

    #[test]
    fn a_pattern_that_servers_could_read_in_two_ways_is_a_fault() {
        for (text, error) in [
            ("", PatternError::NoSlash),
            ("a", PatternError::NoSlash),
            ("/a b", PatternError::Plain),
            ("/文件", PatternError::Plain),
            ("/a%2fb", PatternError::Plain),
            ("/a;b", PatternError::Plain),
            ("/a//b", PatternError::Plain),
            ("/a/../b", PatternError::Plain),
            ("/a?b", PatternError::Plain),
            ("/a*", PatternError::Star),
            ("/a/**/b", PatternError::Star),
            ("/a**", PatternError::Star),
        ] {
            assert_eq!(PathPattern::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
