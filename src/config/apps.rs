//! `[[apps]]`: the registered mini programs.

use crate::config::key::{Given, Key, Noted};
use crate::config::{push, secret};
use crate::domain::id::AppId;
use crate::domain::secret::AppSecret;
use crate::gateway::App;
use crate::gateway::push::AppPush;

/// An `AppSecret` has 32 hexadecimal digits; an appid begins with `wx` and is shorter.
const SECRET_CHARS: usize = 32;

/// Reads `[[apps]]`. `None` when there is a fault, or no app.
pub(super) fn read(root: &Key<'_>) -> Option<Vec<App>> {
    let (list, tables) = root.table_list("apps");
    let tables = tables?;
    if tables.is_empty() {
        list.fault(
            "missing, expected a table [[apps]] with appid and secret_env for every mini program",
        );
    }
    let apps: Vec<_> = tables
        .iter()
        .map(|table| (table.key("appid"), read_one(table)))
        .collect();
    for (index, (key, app)) in apps.iter().enumerate() {
        let same = |(_, other): &&(Key<'_>, Read)| app.id.is_some() && other.id == app.id;
        if let Some((first, _)) = apps.iter().take(index).find(same) {
            key.fault(format!(
                "is the same as {} ({}), expected every mini program once",
                first.path(),
                first.place()
            ));
        }
    }
    let apps: Option<Vec<_>> = apps
        .into_iter()
        .map(|(_, app)| {
            Some(App {
                id: app.id?,
                secret: app.secret?,
                previous_secret: app.previous_secret,
                push: app.push.ok()?,
            })
        })
        .collect();
    apps.filter(|apps| !apps.is_empty())
}

struct Read {
    id: Option<AppId>,
    secret: Option<AppSecret>,
    previous_secret: Option<AppSecret>,
    push: Given<AppPush>,
}

fn read_one(table: &Key<'_>) -> Read {
    Read {
        id: read_id(&table.key("appid")),
        secret: read_secret(table),
        previous_secret: read_previous(table),
        push: push::read_app(&table.table("push")),
    }
}

fn read_id(key: &Key<'_>) -> Option<AppId> {
    const EXPECTED: &str = "the appid of the mini program such as \"wx0123456789abcdef\"";
    let text = key.required_text(EXPECTED)?;
    // Appids are public and appear in logs; so the two must not be confused.
    if text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        key.fault(format!("looks like an AppSecret, expected {EXPECTED}"));
        return None;
    }
    match AppId::parse(text) {
        Ok(id) => Some(id),
        Err(wrong) => {
            key.fault(format!("{wrong}, expected {EXPECTED}"));
            None
        }
    }
}

fn read_secret(table: &Key<'_>) -> Option<AppSecret> {
    let at = table.key("secret");
    match secret::read(table, "secret") {
        Ok(None) => {
            at.fault(format!(
                "missing, expected exactly one of {}",
                secret::forms_of("secret")
            ));
            None
        }
        Err(Noted) => None,
        Ok(Some(bytes)) => check(table, "secret", &bytes),
    }
}

/// `None` also when there is a fault: it is noted, and nothing comes of the configuration.
fn read_previous(table: &Key<'_>) -> Option<AppSecret> {
    const NAME: &str = "previous_secret";
    match secret::read(table, NAME) {
        Ok(None) | Err(Noted) => None,
        Ok(Some(bytes)) => check(table, NAME, &bytes),
    }
}

fn check(table: &Key<'_>, name: &str, bytes: &[u8]) -> Option<AppSecret> {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plausible(text) => Some(AppSecret::new(text.to_owned())),
        _ => {
            table.fault(format!(
                "has a {name} with a line break, a space at an end or a character that is not \
                 ASCII, expected the 32 characters that WeChat shows"
            ));
            None
        }
    }
}

/// What was copied badly is found here and not by WeChat, which would only say that it is invalid.
fn is_plausible(secret: &str) -> bool {
    secret.trim() == secret
        && secret
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
