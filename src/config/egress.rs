//! `[egress]`: the listener for calls of the app server to WeChat.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::config::key::{Given, Key, Noted};
use crate::config::reader::Item;
use crate::config::{address, secret, tls, value};
use crate::domain::id::AppId;
use crate::egress::policy::{ApiPath, DEFAULT_ALLOW, Rules};
use crate::egress::{Settings, Token};
use crate::gateway::App;
use crate::server::Listen;

/// Reads `[egress]`; `None` when it is off, or faulty. `taken` is where the gate listens already.
pub(super) fn read(table: &Key<'_>, taken: &[Listen], apps: Option<&[App]>) -> Option<Settings> {
    let listen_key = table.key("listen");
    let listen = read_listen(&listen_key, taken);
    let allow = read_allow(&table.key("allow"));
    let default_appid = read_appid(&table.key("default_appid"), apps);
    let token = read_token(table);
    let allow_from = read_networks(&table.key("allow_from"));
    let tls_table = table.table("tls");
    let tls = tls::read_of_server(&tls_table);
    let listen = listen?;
    let on_loopback = listen.ip().to_canonical().is_loopback();
    if !on_loopback && matches!(token, Ok(None)) && allow_from.is_empty() {
        listen_key.fault(
            "is not a loopback address, so everybody there could call WeChat in the mini program's \
             name, expected egress.token or egress.allow_from beside it",
        );
    }
    Some(Settings {
        listen,
        rules: Rules {
            allow,
            default_appid: default_appid?,
            on_loopback,
        },
        token: token.ok()?,
        allow_from,
        tls,
    })
}

fn read_listen(key: &Key<'_>, taken: &[Listen]) -> Option<SocketAddr> {
    let text = key.text().filter(|text| !text.is_empty())?;
    let Some(address) = address::socket(text) else {
        let shown = value::quoted(text);
        key.fault(format!(
            "is {shown}, expected an IP address and a port such as \"127.0.0.1:4181\", or \"\" for off"
        ));
        return None;
    };
    if address.port() != 0 && taken.contains(&Listen::Tcp(address)) {
        key.fault("is where the gate listens already, expected an address of its own");
    }
    Some(address)
}

fn read_allow(key: &Key<'_>) -> BTreeSet<ApiPath> {
    let Some(items) = key.texts() else {
        let paths = DEFAULT_ALLOW.iter();
        return paths.filter_map(|path| ApiPath::parse(path).ok()).collect();
    };
    let path = |item: Item<'_>| {
        let parsed = ApiPath::parse(&item.text);
        parsed
            .map_err(|wrong| {
                let shown = value::quoted(&item.text);
                item.key.fault(format!(
                    "{shown} {wrong}, expected the path of an API such as \"/wxa/msg_sec_check\""
                ));
            })
            .ok()
    };
    items.into_iter().filter_map(path).collect()
}

/// The first mini program, unless another is named.
fn read_appid(key: &Key<'_>, apps: Option<&[App]>) -> Option<AppId> {
    let text = key.text();
    let apps = apps?;
    let Some(text) = text else {
        return apps.first().map(|app| app.id.clone());
    };
    let named = apps.iter().find(|app| app.id.as_str() == text);
    if named.is_none() {
        // Not repeated: it may be a secret in the wrong place.
        key.fault("is not configured, expected the appid of one of [[apps]]");
    }
    named.map(|app| app.id.clone())
}

/// What callers show.
fn read_token(table: &Key<'_>) -> Given<Token> {
    let Some(bytes) = secret::read(table, "token")? else {
        return Ok(None);
    };
    let token = Token::parse(bytes);
    if token.is_none() {
        table.fault(
            "has a token that cannot be used, expected at least 16 characters of ASCII without spaces",
        );
    }
    token.map(Some).ok_or(Noted)
}

fn read_networks(key: &Key<'_>) -> Vec<IpNet> {
    let items = key.texts().unwrap_or_default();
    let networks = items.iter().filter_map(|item| {
        address::network(
            item,
            "or an address",
            "lets everybody call WeChat in the mini program's name; name the app servers only",
        )
    });
    networks.collect()
}
