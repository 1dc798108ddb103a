//! Whatever stands in a configuration, it is taken whole or refused with everything that is wrong: never a
//! panic, no secret in what is said, a line for each fault. What is taken decides on requests.
//!
//! Input: the text of a configuration file.

use std::path::Path;

use http::Method;
use wxgate::config;
use wxgate::gateway::RouteIds;
use wxgate::upstream;

/// In the environment, under every name that the corpus asks for.
const PLANTED: &str = "planted0planted0planted0planted0";
const VARIABLES: [&str; 4] = [
    "WX_APP_SECRET",
    "WX_PUSH_TOKEN",
    "WXGATE_SEAL_KEY",
    "WXGATE_PROOF_KEY",
];

/// Keys whose values are secrets, in every table.
const SECRETS: [&str; 5] = [
    "secret",
    "previous_secret",
    "seal_key",
    "user_key",
    "encoding_aes_key",
];

/// Shorter ones would be found by chance.
const TELLING_CHARS: usize = 12;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Files are read where the text says so, and some would never end.
    if ["/dev", "/proc", "/sys"]
        .iter()
        .any(|place| text.contains(place))
    {
        return;
    }
    let environment = || VARIABLES.map(|name| (name.to_owned(), PLANTED.to_owned()));
    let file = Path::new("/nonexistent/wxgate.toml");
    let hidden = secrets(text);
    let silent = |said: &str| {
        let told = hidden.iter().find(|secret| said.contains(&***secret));
        assert!(told.is_none(), "{told:?} in {said}");
    };
    match config::parse(text, file, environment()) {
        Ok(loaded) => {
            silent(&format!("{loaded:?}"));
            for warning in &loaded.warnings {
                silent(&warning.to_string());
            }
            works(loaded.config);
        }
        Err(faults) => {
            let said = faults.to_string();
            silent(&said);
            assert!(faults.count() > 0);
            assert_eq!(said.split('\n').count(), faults.count(), "{said}");
            assert!(!said.contains("bug in the gate"), "{said}");
            let again = config::parse(text, file, environment());
            assert_eq!(again.unwrap_err(), faults);
        }
    }
}

/// The secrets of a text, and those of the environment, as far as they stand nowhere else.
fn secrets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // What stands in a text of several lines is no key.
    if !text.contains("\"\"\"") && !text.contains("'''") {
        let values = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(" = \"")?;
            let value = value.strip_suffix('"')?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric();
            let telling = value.len() >= TELLING_CHARS && value.bytes().all(plain);
            // What the messages say themselves has no digits, but for an appid.
            let telling = telling && value.contains(|c: char| c.is_ascii_digit());
            let telling = telling && !"wx0123456789abcdef".contains(value);
            (SECRETS.contains(&key) && telling).then(|| value.to_owned())
        });
        found.extend(values);
    }
    found.push(PLANTED.to_owned());
    let once = |secret: &String| text.matches(&**secret).count() <= 1;
    found
        .into_iter()
        .filter(|secret| secret != PLANTED || !text.contains(PLANTED))
        .filter(once)
        .collect()
}

/// What is made of a configuration at the start, as far as nothing has to be opened for it.
fn works(config: config::Config) {
    let routes = &config.gateway.routes;
    drop(RouteIds::of(routes));
    for path in ["/", "/wx/login", "/a/../%2e/b;c", "/\u{0}"] {
        for method in [Method::GET, Method::POST] {
            let decided = routes.decide(&method, &[Method::PUT], path.as_bytes());
            assert!(decided.is_ok() || path != "/", "{decided:?}");
        }
    }
    assert!(!config.gateway.apps.is_empty());
    for settings in config.upstreams {
        drop(upstream::Shared::new(settings, 2));
    }
}
