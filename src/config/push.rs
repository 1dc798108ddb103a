//! `[push]` and `[apps.push]`: messages that WeChat pushes to the mini programs' server (消息推送).

use std::time::Duration;

use crate::config::app_path::AppPaths;
use crate::config::key::{Given, Key, Noted};
use crate::config::secret;
use crate::domain::limits::{MAX_PUSH_DEDUPE_WINDOW, MIN_PUSH_DEDUPE_WINDOW};
use crate::domain::secret::{EncodingAesKey, PushToken};
use crate::gateway::App;
use crate::gateway::push::{Ack, AppPush, Keys, Protection, Push};

const DEDUPE_WINDOW: Duration = Duration::from_mins(1);

/// Reads `[push]`. Nothing when no app has pushes.
pub(super) fn read<'a>(table: &Key<'a>, apps: &[App], app_paths: &mut AppPaths<'a>) -> Given<Push> {
    let forward_to = table.key("forward_to");
    let path = app_paths.read(&forward_to);
    let ack = table.key("ack").choice(
        Ack::Upstream,
        &[("upstream", Ack::Upstream), ("immediate", Ack::Immediate)],
    );
    let window = table.key("dedupe_window");
    let dedupe_window = window.duration(DEDUPE_WINDOW);
    if !(MIN_PUSH_DEDUPE_WINDOW..=MAX_PUSH_DEDUPE_WINDOW).contains(&dedupe_window) {
        window.fault("is out of range, expected a duration from 1m to 1h");
    }
    let Some(app) = apps.iter().find(|app| app.push.is_some()) else {
        return Ok(None);
    };
    if !forward_to.is_present() || forward_to.text() == Some("") {
        forward_to.fault(format!(
            "missing, expected the path of the app server that the pushes for {} are posted to, \
             such as \"/wx-push\"",
            app.id
        ));
    }
    let forward_to = path.ok_or(Noted)?;
    Ok(Some(Push {
        forward_to,
        ack,
        dedupe_window,
    }))
}

/// Reads `[apps.push]`. Nothing when there is no such table.
pub(super) fn read_app(table: &Key<'_>) -> Given<AppPush> {
    let mode = table.key("mode");
    // What is in clear beside the ciphertext in mode compatible is nobody's word.
    let modes = [("safe", true), ("compatible", true), ("plain", false)];
    let is_encrypted = mode.choice(true, &modes);
    let token = read_token(table);
    let key = read_key(table, "encoding_aes_key");
    let previous = read_key(table, "previous_encoding_aes_key");
    if !table.is_present() {
        return Ok(None);
    }
    let protection = match key? {
        _ if !is_encrypted => {
            mode.warn("is \"plain\": no signature covers what a message says; safer is \"safe\"");
            Protection::Plain
        }
        Some(current) => Protection::Encrypted(Keys {
            current,
            previous: previous?,
        }),
        None => {
            table.key("encoding_aes_key").fault(format!(
                "missing, expected exactly one of {}, or mode = \"plain\"",
                secret::forms_of("encoding_aes_key")
            ));
            return Err(Noted);
        }
    };
    Ok(Some(AppPush {
        token: token?.ok_or(Noted)?,
        protection,
    }))
}

/// Nothing when there is no such table.
fn read_token(table: &Key<'_>) -> Given<PushToken> {
    let found = secret::read(table, "token")?;
    if !table.is_present() {
        return Ok(None);
    }
    let Some(bytes) = found else {
        table.key("token").fault(format!(
            "missing, expected exactly one of {}",
            secret::forms_of("token")
        ));
        return Err(Noted);
    };
    let token = std::str::from_utf8(&bytes).ok().and_then(PushToken::parse);
    if token.is_none() {
        table.fault(
            "has a token that is no Token, expected the one you typed in at WeChat, 3 to 32 letters \
             and digits",
        );
    }
    token.map(Some).ok_or(Noted)
}

/// A key that may be missing.
fn read_key(table: &Key<'_>, name: &str) -> Given<EncodingAesKey> {
    let Some(bytes) = secret::read(table, name)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes).ok();
    let key = text.and_then(EncodingAesKey::parse);
    if key.is_none() {
        table.fault(format!(
            "has as {name} what is no EncodingAESKey, expected the 43 letters and digits of WeChat"
        ));
    }
    key.map(Some).ok_or(Noted)
}
