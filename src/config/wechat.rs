//! `[wechat]`: how WeChat is reached.

use crate::config::address::Origin;
use crate::config::key::Key;
use crate::config::reader::Item;
use crate::config::value;
use crate::wechat::Settings;

const MAX_IN_FLIGHT: usize = 10_000;
/// What every PEM file with a certificate has.
const PEM_MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Reads `[wechat]`.
pub(super) fn read(table: &Key<'_>) -> Settings {
    let default = Settings::default();
    Settings {
        base_url: read_base_url(&table.key("base_url")).unwrap_or(default.base_url),
        resolve: read_resolve(&table.key("resolve")),
        connect_timeout: table
            .key("connect_timeout")
            .duration(default.connect_timeout),
        timeout: table.key("timeout").duration(default.timeout),
        max_in_flight: table
            .key("max_in_flight")
            .number(default.max_in_flight, 1..=MAX_IN_FLIGHT),
        ca_pem: read_ca(&table.key("ca_file")),
        proxy_url: read_proxy(&table.key("proxy_url")),
    }
}

fn read_base_url(key: &Key<'_>) -> Option<String> {
    const EXPECTED: &str = "expected scheme and host such as \"https://api.weixin.qq.com\"";
    let text = key.text()?;
    let origin = match Origin::parse(text) {
        Ok(origin) => origin,
        Err(wrong) => {
            key.fault(format!("{wrong}, {EXPECTED}"));
            return None;
        }
    };
    match origin.scheme.as_str() {
        "https" => Some(format!("https://{}", origin.authority(443))),
        "http" if origin.is_loopback() => Some(format!("http://{}", origin.authority(80))),
        "http" => {
            key.fault(
                "is http to another machine, which would carry the AppSecret in clear text, \
                 expected https, or a loopback address for a simulated WeChat",
            );
            None
        }
        _ => {
            key.fault(format!("has an unknown scheme, {EXPECTED}"));
            None
        }
    }
}

fn read_resolve(key: &Key<'_>) -> Vec<std::net::IpAddr> {
    let items = key.texts().unwrap_or_default();
    let address = |item: Item<'_>| {
        let parsed = item.text.parse().ok();
        if parsed.is_none() {
            let shown = value::quoted(&item.text);
            item.key
                .fault(format!("is {shown}, expected an IP address without a port"));
        }
        parsed
    };
    items.into_iter().filter_map(address).collect()
}

fn read_ca(key: &Key<'_>) -> Option<Vec<u8>> {
    let name = key.text()?;
    let path = key.context().directory.join(name);
    match std::fs::read(&path) {
        Ok(pem) if pem.windows(PEM_MARK.len()).any(|window| window == PEM_MARK) => Some(pem),
        Ok(_other) => {
            key.fault(format!(
                "{} has no certificate in it, expected PEM (-----BEGIN CERTIFICATE-----)",
                path.display()
            ));
            None
        }
        Err(error) => {
            key.fault(format!(
                "cannot read {}: {error}, expected a file with certificates (PEM)",
                path.display()
            ));
            None
        }
    }
}

/// The URL may hold a password: no message shows it.
fn read_proxy(key: &Key<'_>) -> Option<String> {
    const EXPECTED: &str = "expected \"http://host:port\" or \"socks5h://host:port\"";
    let text = key.text()?;
    let (scheme, rest) = text.split_once("://").unwrap_or(("", ""));
    let bare = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if !["http", "https", "socks5", "socks5h"].contains(&scheme) {
        key.fault(format!("has no scheme of a proxy, {EXPECTED}"));
        return None;
    }
    if let Err(wrong) = Origin::parse(&format!("{scheme}://{bare}")) {
        key.fault(format!("{wrong}, {EXPECTED}"));
        return None;
    }
    Some(text.to_owned())
}
