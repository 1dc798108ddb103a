//! `[session.cookie]`: how browsers keep the token.

use crate::config::key::Key;
use crate::config::value;
use crate::domain::cookie::CookieName;
use crate::domain::identity::TokenPlace;
use crate::gateway::{Attributes, SameSite, SessionCookie};

/// Reads `[session.cookie]`; nothing when it is off. A cookie that is set and looked for nowhere would
/// log nobody in.
pub(super) fn read(table: &Key<'_>, places: &[TokenPlace]) -> Option<SessionCookie> {
    let sites = [
        ("lax", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("none", SameSite::None),
    ];
    let (same_site, secure) = (table.key("same_site"), table.key("secure"));
    let (domain, path) = (table.key("domain"), table.key("path"));
    let attributes = Attributes {
        same_site: same_site.choice(SameSite::Lax, &sites),
        secure: secure.flag(true),
        domain: read_domain(&domain),
        path: read_path(&path),
    };
    let key = table.key("name");
    let text = key.text().filter(|text| !text.is_empty())?;
    let name = read_name(&key, text)?;
    if attributes.same_site == SameSite::None && !attributes.secure {
        same_site.fault(
            "is \"none\", and secure is false: browsers take no such cookie, expected secure = true",
        );
    }
    let is_host = name.begins("__Host-");
    if (is_host || name.begins("__Secure-")) && !attributes.secure {
        secure.fault(format!(
            "is false: browsers take no cookie of the name {} so, expected true",
            name.as_str()
        ));
    }
    if is_host && (attributes.domain.is_some() || attributes.path != "/") {
        let at = if attributes.domain.is_some() {
            &domain
        } else {
            &path
        };
        at.fault(format!(
            "is set: browsers take a cookie of the name {} with no domain and the path / only, expected \
             neither, or another name",
            name.as_str()
        ));
    }
    if !attributes.secure {
        secure.warn(
            "is false: browsers send sessions in clear text too; for tests without TLS alone",
        );
    }
    if !places.contains(&TokenPlace::Cookie(name.clone())) {
        key.fault(format!(
            "is {}, and nobody looks for tokens there, expected \"cookie:{}\" in session.token_from too",
            value::quoted(text),
            name.as_str()
        ));
    }
    Some(SessionCookie::new(name, attributes))
}

fn read_name(key: &Key<'_>, text: &str) -> Option<CookieName> {
    let name = CookieName::parse(text).ok();
    if name.is_none() {
        key.fault(format!(
            "is {}, expected the name of a cookie such as \"__Host-wxgate\"",
            value::quoted(text)
        ));
    }
    name
}

fn read_domain<'a>(key: &Key<'a>) -> Option<&'a str> {
    let text = key.text().filter(|text| !text.is_empty())?;
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain)
    };
    let is_domain = text.split('.').all(is_label);
    if !is_domain {
        key.fault(format!(
            "is {}, expected a domain such as \"example.com\", or \"\" for the host of each request",
            value::quoted(text)
        ));
    }
    is_domain.then_some(text)
}

fn read_path<'a>(key: &Key<'a>) -> &'a str {
    let text = key.text().unwrap_or("/");
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b';';
    if !text.starts_with('/') || !text.bytes().all(plain) {
        key.fault(format!(
            "is {}, expected a path such as \"/\"",
            value::quoted(text)
        ));
        return "/";
    }
    text
}
