//! The configuration as operators write it: a TOML file, laid over by the environment, checked as
//! a whole. Turns it into the `Settings` of every other module, or into everything that is wrong
//! with it, each fault with the line it stands in.
//!
//! A tree that knows its lines (`document`, `env`) is read through typed access that notes faults
//! and goes on (`context`, `key`, `reader`); one file per table says what may stand there. Nothing here is kept after
//! the start, and nothing listens, connects or looks a name up.

mod access;
mod address;
mod admin;
mod app_path;
mod apps;
mod compat;
mod context;
mod cookie;
mod cors;
mod cover;
mod document;
mod egress;
mod env;
mod errors;
mod fault;
mod header;
mod identity;
mod key;
mod limits;
mod log;
mod login;
mod nearest;
mod paths;
mod pem;
mod planned;
mod push;
mod reader;
mod redis;
mod secret;
mod server;
mod session;
mod signing;
mod store;
mod tls;
mod upstream;
mod upstream_tls;
mod value;
mod wechat;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::app_path::AppPaths;
use crate::config::context::Context;
use crate::config::document::{Node, Value};
use crate::config::fault::{Finding, Place};
use crate::config::key::Key;
use crate::config::paths::{Live, Paths};
use crate::config::upstream::Upstreams;
use crate::gateway;
use crate::server::Listen;
use crate::telemetry;

pub use crate::config::fault::{Faults, Warning};

/// A valid configuration: what each module is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: crate::server::Settings,
    /// `[upstream]` first, then `[upstreams.NAME]` in the order of the file.
    pub upstreams: Vec<crate::upstream::Settings>,
    /// `[wechat]`.
    pub wechat: crate::wechat::Settings,
    /// Everything about the request path.
    pub gateway: gateway::Settings,
    /// `[store]`.
    pub store: crate::store::Settings,
    /// `[admin]`.
    pub admin: crate::admin::Settings,
    /// `[egress]`; `None` is off.
    pub egress: Option<crate::egress::Settings>,
    /// `[log]`.
    pub log: telemetry::Settings,
}

/// A valid configuration, with what is probably not meant in it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// In the order of the file.
    pub warnings: Vec<Warning>,
}

/// Reads a configuration file. `environment` is where overrides and `_env` secrets are looked up.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Faults> {
    let failed = |text: String| {
        Faults::new(vec![Finding {
            place: Place::File(path.display().to_string().into()),
            path: String::new(),
            text,
        }])
    };
    let bytes = std::fs::read(path)
        .map_err(|error| failed(format!("cannot be read: {error}, expected a TOML file")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_not_utf8| failed("is not UTF-8, expected a TOML file".to_owned()))?;
    parse(&text, path, environment)
}

/// Reads a configuration text as if it stood in this file.
pub fn parse(
    text: &str,
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Faults> {
    let environment: BTreeMap<_, _> = environment.into_iter().collect();
    let name: Arc<str> = file.display().to_string().into();
    let mut root = document::parse(text, &name).map_err(|fault| Faults::new(vec![fault]))?;
    let lost = env::overlay(&mut root, environment.iter());
    let directory = file.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
    let context = Context::new(directory, environment);
    context.add_faults(lost);
    let config = read(&Key::root(&context, &root));
    context.refuse_unknown(&root);
    let (mut faults, warnings) = context.into_findings();
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded {
            config,
            warnings: Warning::all(warnings),
        }),
        _ => {
            if faults.is_empty() {
                faults.push(unexplained(root.place));
            }
            Err(Faults::new(faults))
        }
    }
}

/// Every table reader that gives nothing has noted why; should one forget, this is better than
/// silence.
fn unexplained(place: Place) -> Finding {
    Finding {
        place,
        path: String::new(),
        text: "cannot be used, and the gate cannot say why; this is a bug in the gate".to_owned(),
    }
}

/// Reads every table before it gives up on any, so that one run notes all faults.
fn read(root: &Key<'_>) -> Option<Config> {
    let server = server::read(&root.table("server"));
    let admin = admin::read(&root.table("admin"), &server.listen);
    let upstreams = Upstreams::read(root, &server.listen);
    let apps = apps::read(root);
    let wechat = wechat::read(&root.table("wechat"));
    let mut app_paths = AppPaths::default();
    let push = push::read(
        &root.table("push"),
        apps.as_deref().unwrap_or_default(),
        &mut app_paths,
    );
    let identity = identity::Tables::of(&root.table("identity"));
    let live = Live {
        pushes: !matches!(push, Ok(None)),
        assertions: identity.jwt.is_present(),
    };
    let paths = Paths::read(&root.table("paths"), live);
    let mut routes = access::read(&root.table("access"), &paths, &upstreams);
    let login = login::read(&root.table("login"), &mut app_paths);
    let decrypt = login::read_decrypt(&root.table("decrypt"), &mut app_paths);
    let phone = login::read_deliver(&root.table("phone"), &mut app_paths);
    routes.open_data = login::read_open_data(&root.table("decrypt"));
    routes.reserved = app_paths.reserved(&paths);
    let (session, places) = session::read(&root.table("session"), &paths);
    let cookie = cookie::read(&root.table("session").table("cookie"), &places);
    let cors = cors::read(&root.table("cors"), &places);
    let trusted = server.trusted_proxies.clone();
    let identity = identity::read(&identity, (places, paths.have_tickets()), trusted);
    let store = store::read(&root.table("store"));
    let limits = server.limits.clone();
    let mut taken = server.listen.clone();
    taken.extend(admin.listen.map(Listen::Tcp));
    let egress = egress::read(&root.table("egress"), &taken, apps.as_deref());
    let rate_limits = limits::read(&root.table("limits"));
    let errors = errors::read(&root.table("errors"));
    let field_names = compat::read(&root.table("compat"));
    let (rules, key_set) = identity
        .map(|identity| (identity.rules, identity.key_set))
        .unzip();
    let first = apps.as_ref().and_then(|apps| apps.first());
    let log = log::read(&root.table("log"), first.map(|app| &app.secret));
    Some(Config {
        server,
        upstreams: upstreams.into_settings()?,
        wechat,
        gateway: gateway::Settings {
            apps: apps?,
            routes,
            identity: Arc::new(rules?),
            key_set: key_set?,
            login,
            decrypt,
            phone,
            push: push.ok()?,
            session,
            cookie: cookie.map(Arc::new),
            cors: cors.map(Arc::new),
            limits,
            rate_limits,
            errors,
            field_names,
        },
        store: store?,
        admin,
        egress,
        log: log?,
    })
}

/// Every key of this version, such as `session.ttl`, `apps[].appid`, `upstreams.NAME.url`.
pub fn known_keys() -> BTreeSet<String> {
    let place = Place::File("".into());
    let node = |value| Node {
        place: place.clone(),
        value,
    };
    let table = |entries: Vec<(&str, Node)>| {
        let entries = entries
            .into_iter()
            .map(|(name, node)| (name.to_owned(), node));
        node(Value::Table(entries.collect()))
    };
    let one = || node(Value::List(vec![table(Vec::new())]));
    // One of everything that there may be many of, so that its keys are asked for.
    let root = table(vec![
        ("apps", one()),
        ("access", table(vec![("rules", one())])),
        ("upstreams", table(vec![("name", table(Vec::new()))])),
    ]);
    let context = Context::new(Path::new("").to_path_buf(), BTreeMap::new());
    // What is missing in it is of no interest.
    drop(read(&Key::root(&context, &root)));
    context.keys().collect()
}

#[cfg(test)]
mod tests;
