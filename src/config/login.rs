//! `[login]`, `[decrypt]` and `[phone]`: what the gate's own routes do.

use std::time::Duration;

use crate::config::app_path::AppPaths;
use crate::config::key::Key;
use crate::config::reader::Item;
use crate::config::value;
use crate::domain::limits;
use crate::domain::path::PathPattern;
use crate::gateway::{AppHints, Decrypt, Deliver, Login};

const RETRY_WINDOW: Duration = Duration::from_secs(10);
const MAX_AGE: Duration = Duration::from_hours(1);
const KEY_GRACE: Duration = Duration::from_mins(10);

/// Reads `[login]`.
pub(super) fn read<'a>(table: &Key<'a>, app_paths: &mut AppPaths<'a>) -> Login {
    let window = table.key("retry_window");
    let mut login = Login {
        expose_openid: false,
        expose_unionid: false,
        retry_window: window
            .duration_or_off(Some(RETRY_WINDOW))
            .unwrap_or_default(),
        app_hints: AppHints::Binding,
        hook: app_paths.read(&table.key("hook")),
    };
    if login.retry_window > limits::LOGIN_CODE_LIFE {
        window.fault("is longer than a login code lives, expected at most 5m");
    }
    for item in table.key("expose").texts().unwrap_or_default() {
        match item.text.as_str() {
            "openid" => login.expose_openid = true,
            "unionid" => login.expose_unionid = true,
            other => {
                let shown = value::quoted(other);
                item.key
                    .fault(format!("is {shown}, expected \"openid\" or \"unionid\""));
            }
        }
    }
    login
}

/// Reads `[decrypt]`.
pub(super) fn read_decrypt<'a>(table: &Key<'a>, app_paths: &mut AppPaths<'a>) -> Decrypt {
    let grace = table.key("key_grace");
    Decrypt {
        max_age: table.key("max_age").duration_or_off(Some(MAX_AGE)),
        key_grace: grace.duration_or_off(Some(KEY_GRACE)).unwrap_or_default(),
        authenticate_phone: table.key("authenticate_phone").flag(false),
        deliver: read_deliver(table, app_paths),
    }
}

/// Reads `[phone]`: `deliver` and `deliver_to`, which mean the same for everything that is delivered.
pub(super) fn read_deliver<'a>(table: &Key<'a>, app_paths: &mut AppPaths<'a>) -> Deliver {
    let to_app_server = table
        .key("deliver")
        .choice(false, &[("client", false), ("upstream", true)]);
    let key = table.key("deliver_to");
    let path = app_paths.read(&key);
    if !to_app_server {
        if path.is_some() {
            key.warn("has no effect: deliver is \"client\"");
        }
        return Deliver::Client;
    }
    path.map_or(Deliver::SamePath, Deliver::Path)
}

/// Reads `decrypt.in_flight`.
pub(super) fn read_open_data(table: &Key<'_>) -> Vec<PathPattern> {
    const EXPECTED: &str = "expected a path such as \"/a\", \"/a/**\" or \"/a/*/b\"";
    let items = table.key("in_flight").texts().unwrap_or_default();
    let parse = |item: &Item<'_>| match PathPattern::parse(&item.text) {
        Ok(pattern) => Some(pattern),
        Err(wrong) => {
            let shown = value::quoted(&item.text);
            item.key.fault(format!("is {shown}: {wrong}, {EXPECTED}"));
            None
        }
    };
    items.iter().filter_map(parse).collect()
}
