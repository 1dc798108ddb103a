//! `[session]`: how long sessions live and where tokens are looked for.

use std::time::Duration;

use crate::config::header;
use crate::config::key::Key;
use crate::config::value;
use crate::domain::identity::TokenPlace;
use crate::domain::session::Lifetimes;
use crate::gateway::Session;

const DEFAULT_TTL: Duration = Duration::from_hours(7 * 24);
const DEFAULT_PER_USER: usize = 10;
const MAX_PER_USER: usize = 10_000;
const EXPECTED: &str = "expected \"authorization\" or \"header:NAME\"";

/// Reads `[session]`: the settings, and the places of tokens in their order.
pub(super) fn read(table: &Key<'_>) -> (Session, Vec<TokenPlace>) {
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
    (session, read_places(&table.key("token_from")))
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
        Some(("cookie" | "query", _)) => Err(format!(
            "is {shown}, which is not in this version, {EXPECTED}"
        )),
        None if text == "websocket-protocol" => Err(format!(
            "is {shown}, which is not in this version, {EXPECTED}"
        )),
        _ => Err(format!("is {shown}, {EXPECTED}")),
    }
}
