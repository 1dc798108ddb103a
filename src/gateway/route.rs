//! What a request is for: one of the gate's own routes, or the app server, and under which rule.
//! Pure: a table and a path go in, a decision comes out.

use http::Method;

use crate::domain::aliases::{self, Alias};
use crate::domain::path::{Matching, PathPattern};
use crate::domain::readings;
use crate::upstream::Index;

/// A route that the gate answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST {paths.decrypt}`
    Decrypt,
    /// `GET {paths.ticket}/{ticket}`, for web-views
    HandOver,
    /// `GET {paths.jwks}`, for app servers
    Jwks,
    /// `POST {paths.login}`
    Login,
    /// `POST {paths.logout}`
    Logout,
    /// `POST {paths.phone}`
    Phone,
    /// `GET` and `POST {paths.push}`, for WeChat
    Push,
    /// `GET` and `DELETE {paths.session}`
    Session,
    /// `POST {paths.ticket}`
    Ticket,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Decrypt,
        Self::HandOver,
        Self::Jwks,
        Self::Login,
        Self::Logout,
        Self::Phone,
        Self::Push,
        Self::Session,
        Self::Ticket,
    ];

    /// The name in logs and metrics, and that of the key below `[paths]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Jwks => "jwks",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Phone => "phone",
            Self::Push => "push",
            Self::Session => "session",
            Self::HandOver | Self::Ticket => "ticket",
        }
    }
}

/// What a rule asks of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// A live session.
    Session,
    /// A live session, or no token at all.
    Optional,
    /// Nothing; no identity is given either.
    Public,
}

impl Require {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Optional => "optional",
            Self::Public => "public",
        }
    }

    /// Whether it asks for something that the other does not.
    fn asks_more_than(self, other: Self) -> bool {
        let rank = |require| match require {
            Self::Public => 0,
            Self::Optional => 1,
            Self::Session => 2,
        };
        rank(self) > rank(other)
    }
}

/// One of `[[access.rules]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The paths it is for.
    pub path: PathPattern,
    /// The methods it is for; empty stands for all.
    pub methods: Vec<Method>,
    /// What it asks of a request.
    pub require: Require,
    /// Which app server it leads to.
    pub upstream: Index,
}

impl Rule {
    /// Whether the rule is for this method. One for GET is for HEAD as well: servers answer it with
    /// the same code.
    fn is_for(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// The whole table, in the order in which it is looked through.
#[derive(Clone, Debug)]
pub struct Routes {
    /// The gate's own routes. No two have the same path.
    pub endpoints: Vec<(PathPattern, Endpoint)>,
    /// Paths of the app server that only the gate itself may call; exact ones.
    pub reserved: Vec<PathPattern>,
    /// `decrypt.in_flight`: paths of the app server on which a body is opened on its way.
    pub open_data: Vec<PathPattern>,
    /// `[[access.rules]]`: the first match wins.
    pub rules: Vec<Rule>,
    /// What is asked where no rule matches.
    pub default: Require,
    /// Whether a CORS preflight passes without identity.
    pub forward_preflight: bool,
}

/// Which line of the table decides. Two requests with the same decision are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answered here.
    Endpoint(Endpoint),
    /// Forwarded under this line.
    Forward(Line),
    /// The same, its body opened on the way.
    OpenData(Line),
    /// Only the gate itself may call it: to a client, there is nothing there.
    Reserved,
}

/// A line of the table under which requests are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// `[[access.rules]]` number so and so, from 0.
    Rule(usize),
    /// `access.default`.
    Default,
}

/// What a forwarded request needs, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// What is asked of it.
    pub require: Require,
    /// The app server.
    pub upstream: Index,
}

/// Why no decision can be made. Always the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// The path has no safe set of readings.
    #[error(transparent)]
    Path(#[from] readings::Unreadable),
    /// A server might take it for a path or method under another rule.
    #[error("another reading of the request falls under another rule")]
    OtherRule,
    /// A server might serve it as a path of which more is asked.
    #[error("some servers serve it as a path that asks for more")]
    Alias,
}

impl Routes {
    /// Decides on every reading of the path, and of the method when the request asks to be taken
    /// for others. Refuses when they are not all decided alike, or when a reading has an alias of
    /// which more is asked. One that meets a reserved path is enough for that to be the decision.
    pub fn decide(
        &self,
        method: &Method,
        overridden: &[Method],
        path: &[u8],
    ) -> Result<Decision, Ambiguous> {
        let (raw, [decision, loose]) = (path, self.strict_and_loose(method, path));
        let same = |other: &Method, path: &[u8]| {
            // What decided need not be asked again: it is the one reading of most requests.
            if std::ptr::eq(path, raw) && std::ptr::eq(other, method) {
                return loose == decision;
            }
            self.strict_and_loose(other, path) == [decision; 2]
        };
        // Methods are told apart by case (RFC 9110 §9.1), but not by every server.
        let upper = upper_case(method);
        let others = upper.iter().chain(overridden);
        let (mut agreed, mut reserved) = (Ok(()), false);
        let mut look_at = |reading: &[u8]| {
            // A loose match takes in the strict one.
            reserved = matches_any(&self.reserved, reading, Matching::Loose);
            if !(same(method, reading) && others.clone().all(|other| same(other, reading))) {
                agreed = agreed.and(Err(Ambiguous::OtherRule));
            }
            let mut no_more = true;
            let all_shown = aliases::all(reading, |alias| {
                reserved = reserved || self.is_reserved_for(decision, alias);
                let mut methods = std::iter::once(method).chain(others.clone());
                no_more =
                    no_more && methods.all(|method| self.asks_no_more(decision, method, alias));
                !reserved && (no_more || !self.reserved.is_empty())
            });
            if !(no_more && all_shown) {
                agreed = agreed.and(Err(Ambiguous::Alias));
            }
            // The readings that follow a disagreement may still meet a reserved path.
            !reserved && (agreed.is_ok() || !self.reserved.is_empty())
        };
        readings::all(path, &mut look_at)?;
        if reserved {
            return Ok(Decision::Reserved);
        }
        agreed.map(|()| decision)
    }

    /// Whether a server might serve a request that is forwarded as a reserved path.
    fn is_reserved_for(&self, decision: Decision, alias: &Alias<'_>) -> bool {
        !matches!(decision, Decision::Endpoint(_))
            && matches_any(&self.reserved, &alias.path, Matching::Loose)
    }

    /// Whether nothing more is asked of an alias than of what was decided on. A rule that names what
    /// the alias lacks was made for that.
    fn asks_no_more(&self, decision: Decision, method: &Method, alias: &Alias<'_>) -> bool {
        let (Decision::Forward(line) | Decision::OpenData(line)) = decision else {
            return true;
        };
        if self.names(line, alias.named) {
            return true;
        }
        let asked = self.access(line).require;
        let no_more = |other| match other {
            Decision::Endpoint(_) | Decision::Reserved => false,
            Decision::Forward(other) => !self.access(other).require.asks_more_than(asked),
            Decision::OpenData(other) => {
                matches!(decision, Decision::OpenData(_))
                    && !self.access(other).require.asks_more_than(asked)
            }
        };
        self.strict_and_loose(method, &alias.path)
            .into_iter()
            .all(no_more)
    }

    /// Whether the pattern of a line begins with this, letter by letter.
    fn names(&self, line: Line, beginning: &[u8]) -> bool {
        let rule = match line {
            Line::Rule(index) => self.rules.get(index),
            Line::Default => None,
        };
        rule.is_some_and(|rule| rule.path.as_str().as_bytes().starts_with(beginning))
    }

    /// The first line of the table that matches one reading.
    pub fn first_match(&self, method: &Method, path: &[u8], matching: Matching) -> Decision {
        if matches_any(&self.reserved, path, matching) {
            return Decision::Reserved;
        }
        self.unreserved(method, path, matching)
    }

    /// The decisions on a reading that meets no reserved path. A pattern that does not match loosely
    /// does not match strictly, so most paths of the app server are looked for once.
    fn strict_and_loose(&self, method: &Method, path: &[u8]) -> [Decision; 2] {
        let loose = self.unreserved(method, path, Matching::Loose);
        let strict = match loose {
            Decision::Forward(Line::Default) => loose,
            _ => self.unreserved(method, path, Matching::Strict),
        };
        [strict, loose]
    }

    /// The same of a reading that meets no reserved path.
    fn unreserved(&self, method: &Method, path: &[u8], matching: Matching) -> Decision {
        let endpoint = self
            .endpoints
            .iter()
            .find(|(pattern, _)| pattern.matches(path, matching));
        if let Some(&(_, endpoint)) = endpoint {
            return Decision::Endpoint(endpoint);
        }
        let rule = self
            .rules
            .iter()
            .position(|rule| rule.is_for(method) && rule.path.matches(path, matching));
        let line = rule.map_or(Line::Default, Line::Rule);
        if matches_any(&self.open_data, path, matching) {
            Decision::OpenData(line)
        } else {
            Decision::Forward(line)
        }
    }

    /// What a request forwarded under this line needs, and where it goes. A line that is not in the
    /// table, which cannot be, asks for the most.
    pub fn access(&self, line: Line) -> Access {
        match line {
            Line::Default => Access {
                require: self.default,
                upstream: Index::FIRST,
            },
            Line::Rule(index) => self.rules.get(index).map_or(
                Access {
                    require: Require::Session,
                    upstream: Index::FIRST,
                },
                |rule| Access {
                    require: rule.require,
                    upstream: rule.upstream,
                },
            ),
        }
    }
}

fn matches_any(patterns: &[PathPattern], path: &[u8], matching: Matching) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.matches(path, matching))
}

/// The method in upper case, when that is another one.
fn upper_case(method: &Method) -> Option<Method> {
    let lower = method
        .as_str()
        .bytes()
        .any(|byte| byte.is_ascii_lowercase());
    lower
        .then(|| method.as_str().to_ascii_uppercase().parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let rule = |path, methods: &[Method], require| Rule {
            path: PathPattern::parse(path).unwrap(),
            methods: methods.to_vec(),
            require,
            upstream: Index::FIRST,
        };
        Routes {
            endpoints: vec![(PathPattern::parse("/wx/login").unwrap(), Endpoint::Login)],
            reserved: Vec::new(),
            open_data: Vec::new(),
            rules: vec![
                rule("/admin/**", &[], Require::Session),
                rule("/items/**", &[Method::DELETE], Require::Session),
                rule("/items/**", &[], Require::Optional),
            ],
            default: Require::Public,
            forward_preflight: false,
        }
    }

    fn decide(path: &str) -> Result<Decision, Ambiguous> {
        routes().decide(&Method::GET, &[], path.as_bytes())
    }

    #[test]
    fn no_spelling_of_a_path_reaches_what_a_stricter_rule_guards() {
        for path in [
            "/%61dmin",
            "/ADMIN/x",
            "/Admin",
            "//admin",
            "/x/../admin/y",
            "/x/..%2fadmin",
            "/x/%252e%252e/admin",
            "/admin;x/y",
            "/x\\..\\admin",
            "/x/..;/admin",
            "/wx/login/",
            "/wx/Login",
            "/wx//login",
            "/wx/login;x",
            "/wx/%6cogin",
        ] {
            assert_eq!(decide(path), Err(Ambiguous::OtherRule), "{path}");
        }
    }

    #[test]
    fn odd_spellings_that_mean_the_same_under_every_reading_pass() {
        for (path, decision) in [
            ("/admin/", Decision::Forward(Line::Rule(0))),
            ("/admin//x", Decision::Forward(Line::Rule(0))),
            ("/admin/%E5%BC%A0", Decision::Forward(Line::Rule(0))),
            ("/files/a%2Fb", Decision::Forward(Line::Default)),
            ("/saveUserInfo", Decision::Forward(Line::Default)),
            ("/a/../b;c=d//e", Decision::Forward(Line::Default)),
        ] {
            assert_eq!(decide(path), Ok(decision), "{path}");
        }
    }

    #[test]
    fn neither_letter_case_nor_head_dodges_a_rule_for_methods() {
        let decide = |method: &str| {
            let method = method.parse().unwrap();
            routes().decide(&method, &[], b"/items/1")
        };
        assert_eq!(decide("delete"), Err(Ambiguous::OtherRule));
        assert_eq!(decide("get"), Ok(Decision::Forward(Line::Rule(2))));
        let mut routes = routes();
        routes.rules[1].methods = vec![Method::GET];
        let head = routes.decide(&Method::HEAD, &[], b"/items/1");
        assert_eq!(head, Ok(Decision::Forward(Line::Rule(1))));
    }

    #[test]
    fn a_path_that_some_servers_serve_as_one_of_which_more_is_asked_is_refused() {
        for path in [
            "/admin.json",
            "/admin.tar.gz",
            "/admin.json/",
            "/ADMIN.json",
            "/x/../admin.json",
            "/index.php/admin",
            "/index.php/admin/x.html",
            "/admin.php/x",
            "/wx/login.json",
        ] {
            assert_eq!(decide(path), Err(Ambiguous::Alias), "{path}");
        }
        // Nothing more is asked of these, or somebody has named them.
        let mut routes = routes();
        let named = [
            ("/admin.json", Require::Public),
            ("/index.php/**", Require::Public),
        ];
        for (path, require) in named {
            routes.rules.insert(
                0,
                Rule {
                    path: PathPattern::parse(path).unwrap(),
                    require,
                    ..routes.rules[0].clone()
                },
            );
        }
        for path in [
            "/admin.json",
            "/index.php/admin/x",
            "/admin/x.json",
            "/x.json",
            "/v1.0/admin",
        ] {
            let decided = routes.decide(&Method::GET, &[], path.as_bytes());
            assert!(
                matches!(decided, Ok(Decision::Forward(_))),
                "{path} {decided:?}"
            );
        }
        routes.reserved = vec![PathPattern::parse("/hooks/login").unwrap()];
        for path in [
            "/hooks/login.json",
            "/index.php/hooks/login",
            "/hooks/login/index.html",
        ] {
            let decided = routes.decide(&Method::GET, &[], path.as_bytes());
            assert_eq!(decided, Ok(Decision::Reserved), "{path}");
        }
        routes.open_data = vec![PathPattern::parse("/profile").unwrap()];
        let decided = routes.decide(&Method::POST, &[], b"/profile.json");
        assert_eq!(decided, Err(Ambiguous::Alias));
    }

    #[test]
    fn a_method_override_that_meets_another_rule_is_refused() {
        let decide =
            |overridden: &[Method]| routes().decide(&Method::POST, overridden, b"/items/1");
        assert_eq!(decide(&[]), Ok(Decision::Forward(Line::Rule(2))));
        assert_eq!(decide(&[Method::PUT]), Ok(Decision::Forward(Line::Rule(2))));
        assert_eq!(
            decide(&[Method::PUT, Method::DELETE]),
            Err(Ambiguous::OtherRule)
        );
    }

    #[test]
    fn a_path_that_some_server_reads_as_a_reserved_one_is_reserved_whatever_else_it_may_be() {
        let mut routes = routes();
        routes.reserved = vec![PathPattern::parse("/hooks/login").unwrap()];
        for path in [
            "/hooks/login",
            "/hooks/login/",
            "/HOOKS/Login",
            "//hooks//login",
            "/hooks/%6cogin",
            "/hooks/%256cogin",
            "/hooks%2flogin",
            "/admin/../hooks/login",
            "/admin/..%2f..%2fhooks/login",
            "/hooks\\login",
            "/hooks;a=b/login;c",
            "/hooks/login%3fx",
            "/wx/login/../../hooks/login",
        ] {
            let decided = routes.decide(&Method::GET, &[Method::PUT], path.as_bytes());
            assert_eq!(decided, Ok(Decision::Reserved), "{path}");
        }
        for path in ["/hooks/loginx", "/hooks", "/x/hooks/login"] {
            let decided = routes.decide(&Method::GET, &[], path.as_bytes());
            assert_eq!(decided, Ok(Decision::Forward(Line::Default)), "{path}");
        }
    }

    #[test]
    fn no_spelling_of_a_path_goes_past_the_opening_of_its_body() {
        let mut routes = routes();
        routes.open_data = vec![PathPattern::parse("/profile").unwrap()];
        let decide = |path: &str| routes.decide(&Method::POST, &[], path.as_bytes());
        assert_eq!(decide("/profile"), Ok(Decision::OpenData(Line::Default)));
        for path in [
            "/Profile",
            "/profile/",
            "/pro%66ile",
            "//profile",
            "/profile;x",
        ] {
            assert_eq!(decide(path), Err(Ambiguous::OtherRule), "{path}");
        }
    }
}
