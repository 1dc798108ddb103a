//! `[cors]`: which pages of other origins may use the gate's own routes.

use std::time::Duration;

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::config::key::Key;
use crate::config::value;
use crate::domain::identity::TokenPlace;
use crate::domain::web_origin::WebOrigin;
use crate::gateway::Cors;

const DEFAULT_MAX_AGE: Duration = Duration::from_mins(10);
const EXPECTED: &str = "expected an origin such as \"https://app.example.com\", without a path";

/// Reads `[cors]`; nothing when no origin is allowed.
pub(super) fn read(table: &Key<'_>, places: &[TokenPlace]) -> Option<Cors> {
    let max_age = table.key("max_age").duration_or_off(Some(DEFAULT_MAX_AGE));
    let items = table.key("allowed_origins").texts().unwrap_or_default();
    let mut allowed_origins: Vec<WebOrigin> = Vec::new();
    for item in items {
        let shown = value::quoted(&item.text);
        match WebOrigin::parse(&item.text) {
            Err(_) if item.text == "*" => item.key.fault(format!(
                "is {shown}, by which every page could use sessions, {EXPECTED}"
            )),
            Err(_) => item.key.fault(format!("is {shown}, {EXPECTED}")),
            Ok(origin) if allowed_origins.contains(&origin) => {}
            Ok(origin) => allowed_origins.push(origin),
        }
    }
    let is_cookie = |place: &TokenPlace| matches!(place, TokenPlace::Cookie(_));
    (!allowed_origins.is_empty()).then(|| Cors {
        allowed_origins,
        max_age: max_age.unwrap_or_default(),
        allowed_headers: allowed_headers(places),
        credentials: places.iter().any(is_cookie),
    })
}

/// What says what a body is, and what holds tokens.
fn allowed_headers(places: &[TokenPlace]) -> HeaderValue {
    let header = |place: &TokenPlace| match place {
        TokenPlace::Authorization => Some(AUTHORIZATION),
        TokenPlace::Header(name) => Some(name.clone()),
        TokenPlace::Cookie(_) | TokenPlace::Query(_) | TokenPlace::WebSocketProtocol => None,
    };
    let mut names = vec![CONTENT_TYPE];
    names.extend(places.iter().filter_map(header));
    let names: Vec<_> = names.iter().map(http::HeaderName::as_str).collect();
    // Names of headers make a header value.
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static("content-type"))
}
