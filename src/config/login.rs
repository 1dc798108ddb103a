//! `[login]` and `[decrypt]`: what the gate's own routes do.

use std::time::Duration;

use crate::config::key::Key;
use crate::config::value;
use crate::domain::limits;
use crate::gateway::{AppHints, Decrypt, Login};

const RETRY_WINDOW: Duration = Duration::from_secs(10);
const MAX_AGE: Duration = Duration::from_hours(1);
const KEY_GRACE: Duration = Duration::from_mins(10);

/// Reads `[login]`.
pub(super) fn read(table: &Key<'_>) -> Login {
    let window = table.key("retry_window");
    let mut login = Login {
        expose_openid: false,
        expose_unionid: false,
        retry_window: window
            .duration_or_off(Some(RETRY_WINDOW))
            .unwrap_or_default(),
        app_hints: AppHints::Binding,
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
pub(super) fn read_decrypt(table: &Key<'_>) -> Decrypt {
    let grace = table.key("key_grace");
    Decrypt {
        max_age: table.key("max_age").duration_or_off(Some(MAX_AGE)),
        key_grace: grace.duration_or_off(Some(KEY_GRACE)).unwrap_or_default(),
    }
}
