//! `[identity]`: the names under which the app server learns who sent a request, and what no
//! request may bring along.

use http::{HeaderName, HeaderValue};

use crate::config::header;
use crate::config::key::Key;
use crate::config::signing;
use crate::config::value;
use crate::domain::field::FieldName;
use crate::domain::fold::Folded;
use crate::domain::identity::{IdentityNames, IdentityRules, Stripping, TokenPlace};
use crate::domain::peer::TrustedProxies;
use crate::gateway::signing::KeySet;

/// Whose dialect is spoken where `headers` says nothing.
#[derive(Clone, Copy)]
enum Preset {
    CloudRun,
    RemoteUser,
    XForwardedUser,
}

impl Preset {
    fn openid(self) -> &'static str {
        match self {
            Self::CloudRun => "X-WX-OPENID",
            Self::RemoteUser => "Remote-User",
            Self::XForwardedUser => "X-Forwarded-User",
        }
    }
}

/// What `[identity]` says.
pub(super) struct Identity {
    pub(super) rules: IdentityRules,
    pub(super) key_set: Option<KeySet>,
}

/// `[identity]`, and the tables below it.
pub(super) struct Tables<'a> {
    table: Key<'a>,
    headers: Key<'a>,
    pub(super) jwt: Key<'a>,
    hmac: Key<'a>,
}

impl<'a> Tables<'a> {
    /// Of `[identity]`.
    pub(super) fn of(table: &Key<'a>) -> Self {
        Self {
            table: table.clone(),
            headers: table.table("headers"),
            jwt: table.table("jwt"),
            hmac: table.table("hmac"),
        }
    }

    /// The keys that name headers, in the order of [`IdentityNames::all`].
    fn keys_of_names(&self) -> [Key<'a>; 7] {
        let names = ["openid", "unionid", "appid", "source", "env"];
        let [openid, unionid, appid, source, env] = names.map(|name| self.headers.key(name));
        let [assertion, proof] = [&self.jwt, &self.hmac].map(|table| table.key("header"));
        [openid, unionid, appid, source, env, assertion, proof]
    }
}

/// Reads `[identity]`. `None` when there is a fault in the names.
pub(super) fn read(
    tables: &Tables<'_>,
    (token_places, tickets): (Vec<TokenPlace>, bool),
    trusted: TrustedProxies,
) -> Option<Identity> {
    let table = &tables.table;
    let preset = table.key("preset").choice(
        Preset::CloudRun,
        &[
            ("cloudrun", Preset::CloudRun),
            ("remote-user", Preset::RemoteUser),
            ("x-forwarded-user", Preset::XForwardedUser),
        ],
    );
    let names = read_names(&tables.keys_of_names(), preset);
    if let Some(names) = &names {
        for (table, name) in [
            (&tables.jwt, &names.assertion),
            (&tables.hmac, &names.proof),
        ] {
            refuse_token_place(&token_places, &table.key("header"), name);
        }
    }
    let signing = signing::read(&tables.jwt, &tables.hmac);
    let env = read_env(&table.key("env"));
    let prefixes = read_prefixes(&table.key("strip_prefixes"));
    let keep = read_keep(&table.key("keep"), names.as_ref(), &prefixes);
    let stripping = Stripping { prefixes, keep };
    let rules = IdentityRules::new(names?, env, token_places, trusted, &stripping);
    Some(Identity {
        rules: rules.signed_by(signing.signers).with_tickets(tickets),
        key_set: signing.key_set,
    })
}

fn read_names(keys: &[Key<'_>; 7], preset: Preset) -> Option<IdentityNames> {
    let defaults = [
        preset.openid(),
        "X-WX-UNIONID",
        "X-WX-APPID",
        "X-WX-SOURCE",
        "X-WX-ENV",
        signing::ASSERTION,
        signing::PROOF,
    ];
    let mut found: Vec<(&Key<'_>, FieldName)> = Vec::new();
    for (key, default) in keys.iter().zip(defaults) {
        let written = key.text();
        match header::parse_field(written.unwrap_or(default)) {
            Err(wrong) => key.fault(wrong),
            Ok(name) => {
                refuse_same(&found, key, &name);
                found.push((key, name));
            }
        }
    }
    let names: Vec<_> = found.into_iter().map(|(_, name)| name).collect();
    let [openid, unionid, appid, source, env, assertion, proof] = names.try_into().ok()?;
    Some(IdentityNames {
        openid,
        unionid,
        appid,
        source,
        env,
        assertion,
        proof,
    })
}

/// What a client shows its token in is no place for a signature of the gate's.
fn refuse_token_place(places: &[TokenPlace], key: &Key<'_>, name: &FieldName) {
    let folded = Folded::new(name.spelling());
    let is_it = |place: &TokenPlace| matches!(place, TokenPlace::Header(header) if folded.is(header.as_str().as_bytes()));
    if places.iter().any(is_it) {
        key.fault(format!(
            "is {name}, where session.token_from looks for tokens, expected different headers"
        ));
    }
}

fn refuse_same(found: &[(&Key<'_>, FieldName)], key: &Key<'_>, name: &FieldName) {
    let folded = Folded::new(name.spelling());
    if let Some((first, _)) = found
        .iter()
        .find(|(_, other)| folded.is(other.spelling().as_bytes()))
    {
        // At whichever of the two was written: the other is a default.
        let (at, other) = if key.is_present() {
            (key, *first)
        } else {
            (*first, key)
        };
        at.fault(format!(
            "is the same header as {} (for servers that fold letter case and - _ .), expected \
             different ones",
            other.path()
        ));
    }
}

fn read_env(key: &Key<'_>) -> Option<HeaderValue> {
    let text = key.text().filter(|text| !text.is_empty())?;
    let value = HeaderValue::from_str(text).ok();
    let plain = value.filter(|_| text.bytes().all(|byte| byte.is_ascii_graphic()));
    if plain.is_none() {
        key.fault("has a space or another character than printable ASCII, expected the id of an environment, or \"\" for off");
    }
    plain
}

fn read_prefixes(key: &Key<'_>) -> Vec<String> {
    let Some(items) = key.texts() else {
        return vec!["x-wx-".to_owned()];
    };
    let mut prefixes = Vec::new();
    for item in items {
        const EXPECTED: &str = "expected the beginning of header names such as \"x-wx-\"";
        let shown = value::quoted(&item.text);
        if HeaderName::from_bytes(item.text.as_bytes()).is_err() {
            item.key.fault(format!("is {shown}, {EXPECTED}"));
        } else if let Some(name) = header::essential_under(&item.text) {
            item.key
                .fault(format!("is {shown} and would take out {name}, {EXPECTED}"));
        } else {
            prefixes.push(item.text);
        }
    }
    prefixes
}

fn read_keep(key: &Key<'_>, names: Option<&IdentityNames>, prefixes: &[String]) -> Vec<String> {
    let mut keep = Vec::new();
    for item in key.texts().unwrap_or_default() {
        let shown = value::quoted(&item.text);
        let folded = Folded::new(&item.text);
        let injected = names.and_then(|names| {
            names
                .all()
                .into_iter()
                .find(|name| folded.is(name.spelling().as_bytes()))
        });
        if HeaderName::from_bytes(item.text.as_bytes()).is_err() {
            item.key
                .fault(format!("is {shown}, expected the name of a header"));
        } else if let Some(name) = injected {
            item.key.fault(format!(
                "is {shown}, but only the gate may write {name}, expected another header"
            ));
        } else {
            if !prefixes
                .iter()
                .any(|prefix| Folded::new(prefix).begins(item.text.as_bytes()))
            {
                item.key.warn(format!(
                    "{shown} is under none of identity.strip_prefixes, so it passes anyway"
                ));
            }
            keep.push(item.text);
        }
    }
    keep
}
