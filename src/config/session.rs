//! `[session]`: how long sessions live and where tokens are looked for.

use std::time::Duration;

use crate::config::header;
use crate::config::key::Key;
use crate::config::paths::Paths;
use crate::config::value;
use crate::domain::cookie::CookieName;
use crate::domain::identity::TokenPlace;
use crate::domain::session::Lifetimes;
use crate::domain::ticket::PARAMETER;
use crate::gateway::Session;

const DEFAULT_TTL: Duration = Duration::from_hours(7 * 24);
const DEFAULT_PER_USER: usize = 10;
const MAX_PER_USER: usize = 10_000;
const EXPECTED: &str = "expected \"authorization\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\" or \
                        \"websocket-protocol\"";

/// Reads `[session]`: the settings, and the places of tokens in their order.
pub(super) fn read(table: &Key<'_>, paths: &Paths<'_>) -> (Session, Vec<TokenPlace>) {
    let idle = table.key("idle_ttl");
    let lifetimes = Lifetimes {
        ttl: table.key("ttl").duration(DEFAULT_TTL),
        idle_ttl: idle.duration_or_off(None),
    };
    if lifetimes.idle_ttl.is_some_and(|idle| idle >= lifetimes.ttl) {
        idle.warn("is not shorter than session.ttl, so it ends no session");
    }
    let max_per_user = table
        .key("max_per_user")
        .number(DEFAULT_PER_USER, 0..=MAX_PER_USER);
    let session = Session {
        lifetimes,
        max_per_user: (max_per_user != 0).then_some(max_per_user),
        close_streams_on_end: table.key("close_streams_on_end").flag(true),
    };
    let key = table.key("token_from");
    let places = read_places(&key);
    if paths.have_tickets() && places.contains(&TokenPlace::Query(PARAMETER.into())) {
        key.fault(format!(
            "has \"query:{PARAMETER}\", which is where tickets are (paths.ticket), expected another \
             parameter"
        ));
    }
    (session, places)
}

fn read_places(key: &Key<'_>) -> Vec<TokenPlace> {
    let Some(items) = key.texts() else {
        return vec![TokenPlace::Authorization];
    };
    if items.is_empty() {
        key.fault(format!(
            "is empty, so no token would ever be found, {EXPECTED}"
        ));
    }
    let mut places = Vec::new();
    for item in items {
        match parse_place(&item.text) {
            Err(wrong) => item.key.fault(wrong),
            Ok(place) if places.contains(&place) => {
                item.key.fault(format!(
                    "is {} for the second time, expected every place once",
                    value::quoted(&item.text)
                ));
            }
            Ok(place) => places.push(place),
        }
    }
    if !places.is_empty() && places.iter().all(TokenPlace::is_for_websockets_only) {
        key.warn(
            "names places in WebSocket handshakes only, so no other request can show a token; \
             most want \"authorization\" as well",
        );
    }
    places
}

fn parse_place(text: &str) -> Result<TokenPlace, String> {
    let shown = value::quoted(text);
    match text.split_once(':') {
        None if text == "authorization" => Ok(TokenPlace::Authorization),
        Some(("header", name)) if name.eq_ignore_ascii_case("authorization") => Err(format!(
            "is {shown}, expected \"authorization\", which takes Bearer tokens there"
        )),
        Some(("header", name)) => header::parse(name).map(TokenPlace::Header),
        Some(("query", name)) if is_plain(name) => Ok(TokenPlace::Query(name.into())),
        Some(("query", _)) => Err(format!(
            "is {shown}, expected the name of a parameter, of letters, digits and - . _ ~"
        )),
        None if text == "websocket-protocol" => Ok(TokenPlace::WebSocketProtocol),
        Some(("cookie", name)) => match CookieName::parse(name) {
            Ok(name) => Ok(TokenPlace::Cookie(name)),
            Err(_not_one) => Err(format!(
                "is {shown}, expected the name of a cookie such as \"cookie:__Host-wxgate\""
            )),
        },
        _ => Err(format!("is {shown}, {EXPECTED}")),
    }
}

/// Whether a name reads the same in every query, encoded or not (RFC 3986 §2.3).
fn is_plain(name: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !name.is_empty() && name.bytes().all(unreserved)
}
