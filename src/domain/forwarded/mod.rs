//! What proxies say about clients: `X-Forwarded-*` and its kin, or `Forwarded`. Believed from trusted
//! proxies only; from anybody else all of it is dropped. Writes `X-Forwarded-*` anew for the app
//! server.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use http::{HeaderName, HeaderValue};

use crate::domain::field::FieldName;
use crate::domain::fields::HeaderFields;
use crate::domain::fold::{Firsts, NameSet};
use crate::domain::limits;
use crate::domain::peer::{self, Address, Peer, TrustedProxies};
use crate::domain::rfc7239;
use crate::domain::trace::RequestId;
use crate::domain::web_origin::WebOrigin;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The name of the request id, towards the app server and on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static FORWARDED_FOR: FieldName = FieldName::fixed(X_FORWARDED_FOR, "X-Forwarded-For: ");
static FORWARDED_HOST: FieldName = FieldName::fixed(X_FORWARDED_HOST, "X-Forwarded-Host: ");
static FORWARDED_PORT: FieldName = FieldName::fixed(X_FORWARDED_PORT, "X-Forwarded-Port: ");
static FORWARDED_PROTO: FieldName = FieldName::fixed(X_FORWARDED_PROTO, "X-Forwarded-Proto: ");
static ORIGINAL_FORWARDED_FOR: FieldName = FieldName::fixed(
    HeaderName::from_static("x-original-forwarded-for"),
    "X-Original-Forwarded-For: ",
);
static REAL_IP: FieldName = FieldName::fixed(HeaderName::from_static("x-real-ip"), "X-Real-IP: ");

/// Everything by which a proxy says something about a request that it passes on.
static FORWARDING: LazyLock<NameSet> = LazyLock::new(|| {
    let names = ["forwarded", "x-real-ip", "x-rewrite-url", "x-request-id"];
    NameSet::new(names, ["x-forwarded-", "x-original-"], [])
});

/// What the names begin with that only a proxy may say.
pub fn firsts() -> Firsts {
    FORWARDING.firsts()
}

/// Whether the name says something about a request that only a proxy may say.
pub fn is_forwarding(name: &[u8]) -> bool {
    FORWARDING.has(name)
}

/// Where a request came from: what a trusted proxy said, or what the connection shows.
#[derive(Clone, Debug)]
pub struct Origin {
    peer: Arc<Peer>,
    /// What a trusted proxy said; nothing is believed of any other peer.
    told: Option<Box<Told>>,
}

/// What a trusted proxy said.
#[derive(Clone, Debug)]
struct Told {
    /// When it named a client.
    client: Option<Client>,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
    port: Option<HeaderValue>,
    request_id: Option<RequestId>,
}

/// The client as a trusted proxy named it.
#[derive(Clone, Debug)]
struct Client {
    address: Address,
    header: HeaderValue,
    /// The whole list of `X-Forwarded-For`, the proxy included.
    chain: HeaderValue,
}

impl Origin {
    /// Reads what a trusted proxy said. What nobody vouches for is left to [`Origin::disbelieves`].
    pub(in crate::domain) fn take(
        fields: &mut HeaderFields,
        peer: &Arc<Peer>,
        trusted: &TrustedProxies,
    ) -> Self {
        let told = peer
            .is_trusted()
            .then(|| Box::new(Told::take(fields, peer, trusted)));
        Self {
            peer: Arc::clone(peer),
            told,
        }
    }

    /// Whether nobody vouches for a header of this name. From a peer that is not trusted that is
    /// all that only a proxy may say. From a trusted one it is what the gate writes itself, the
    /// spellings that only fold onto a forwarding name, and everything outside `X-Forwarded-*`:
    /// proxies pass those on as a client sent them, and some app servers take `X-Original-URL` for
    /// the path.
    pub(in crate::domain) fn disbelieves(&self, name: &[u8]) -> bool {
        is_forwarding(name)
            && (self.told.is_none()
                || name.eq_ignore_ascii_case(X_FORWARDED_FOR.as_str().as_bytes())
                || !is_plainly_forwarded(name))
    }

    fn named(&self) -> Option<&Client> {
        self.told.as_ref()?.client.as_ref()
    }

    /// The client: the rightmost address that is not a trusted proxy's.
    pub fn client(&self) -> Address {
        self.named()
            .map_or_else(|| self.peer.address(), |client| client.address)
    }

    /// The request id that a trusted proxy gave.
    pub fn request_id(&self) -> Option<&RequestId> {
        self.told.as_ref()?.request_id.as_ref()
    }

    /// What a page of the gate's has for an origin, by what a trusted proxy says, else by the connection.
    /// `host` is the request's own.
    pub fn web_origin(&self, host: Option<&[u8]>) -> Option<WebOrigin> {
        let told = self.told.as_deref();
        let proto = told.and_then(|told| told.proto.as_ref());
        let proto = proto.unwrap_or_else(|| self.peer.scheme_header());
        let told_host = told.and_then(|told| told.host.as_ref());
        let host = told_host.map(HeaderValue::as_bytes).or(host)?;
        let host = std::str::from_utf8(host).ok()?;
        let port = told.and_then(|told| told.port.as_ref()?.to_str().ok());
        let scheme = proto.to_str().ok()?;
        // Some proxies say the port apart, and then it is in no host.
        let with_port = port.and_then(|port| WebOrigin::of(scheme, &format!("{host}:{port}")).ok());
        with_port.or_else(|| WebOrigin::of(scheme, host).ok())
    }

    /// Shows the forwarding headers for the app server, each once. `host` is the request's own.
    pub(in crate::domain) fn fields(
        &self,
        host: Option<&[u8]>,
        write: &mut impl FnMut(&FieldName, &[u8]),
    ) {
        let peer = &*self.peer;
        let told = self.told.as_deref();
        let (client, chain) = self.named().map_or_else(
            || (peer.address_header(), peer.address_header()),
            |named| (&named.header, &named.chain),
        );
        write(&FORWARDED_FOR, chain.as_bytes());
        write(&REAL_IP, client.as_bytes());
        write(&ORIGINAL_FORWARDED_FOR, client.as_bytes());
        let proto = told.and_then(|told| told.proto.as_ref());
        let proto = proto.unwrap_or_else(|| peer.scheme_header());
        write(&FORWARDED_PROTO, proto.as_bytes());
        let told_host = told.and_then(|told| told.host.as_ref());
        if let Some(host) = told_host.map(HeaderValue::as_bytes).or(host) {
            write(&FORWARDED_HOST, host);
        }
        let port = told.and_then(|told| told.port.as_ref());
        if let Some(port) = port.or_else(|| peer.local_port()) {
            write(&FORWARDED_PORT, port.as_bytes());
        }
    }
}

impl Told {
    /// What a trusted proxy says. A proxy that writes `X-Forwarded-For`
    /// may not know of `Forwarded`, and then passes on what a client says there; so one that has
    /// both is believed in the former only.
    fn take(fields: &mut HeaderFields, peer: &Peer, trusted: &TrustedProxies) -> Self {
        if fields.has(&X_FORWARDED_FOR) {
            let client = chain(fields).map(|chain| Client::of(&chain, peer, trusted));
            return Self::take_plain(client, fields);
        }
        let said: Vec<_> = rfc7239::from_the_end(fields).collect();
        let is_silent = [X_FORWARDED_PROTO, X_FORWARDED_HOST].map(|name| !fields.has(&name));
        let mut told = Self::take_plain(None, fields);
        if let (Some(last), [no_proto, no_host]) = (said.first(), is_silent) {
            let plain = |text: &Option<String>| {
                let value = HeaderValue::from_str(text.as_ref()?).ok();
                value.filter(is_plain)
            };
            told.proto = told
                .proto
                .or_else(|| plain(&last.proto).filter(|_| no_proto));
            told.host = told.host.or_else(|| plain(&last.host).filter(|_| no_host));
        }
        // What stands before one that hides its address was checked by nobody.
        let clients = said.iter().map_while(|element| element.client);
        let mut chain: Vec<_> = clients.map(|client| client.to_string()).collect();
        chain.reverse();
        if !chain.is_empty() {
            told.client = Some(Client::of(&chain.join(", "), peer, trusted));
        }
        told
    }

    fn take_plain(client: Option<Client>, fields: &mut HeaderFields) -> Self {
        // Of two values, one may be the client's own; then neither counts.
        let mut single = |name: &HeaderName| {
            let value = fields.only(name).and_then(|field| field.to_value());
            fields.remove(name);
            value.filter(is_plain)
        };
        Self {
            client,
            proto: single(&X_FORWARDED_PROTO),
            host: single(&X_FORWARDED_HOST),
            port: single(&X_FORWARDED_PORT),
            request_id: single(&X_REQUEST_ID).as_ref().and_then(RequestId::told),
        }
    }
}

impl Client {
    fn of(chain: &str, peer: &Peer, trusted: &TrustedProxies) -> Self {
        let address = rightmost_untrusted(chain, peer.address(), trusted);
        let whole = format!("{chain}, {}", peer.address());
        Self {
            address,
            header: peer::as_header(&address),
            chain: HeaderValue::try_from(whole).unwrap_or_else(|_| peer.address_header().clone()),
        }
    }
}

/// Short printable ASCII: fit to be written into logs and answers.
fn is_plain(value: &HeaderValue) -> bool {
    (1..=limits::MAX_FORWARDED_VALUE_BYTES).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// All `X-Forwarded-For` lines as one list (RFC 9110 §5.3). A byte that no address has stays as a
/// mark, so that it spoils its own entry and not the line.
fn chain(fields: &HeaderFields) -> Option<String> {
    let readable = |byte: &u8| {
        if matches!(byte, b' '..=b'~') {
            char::from(*byte)
        } else {
            '?'
        }
    };
    let name = X_FORWARDED_FOR;
    let lines = fields.all(&name);
    let lines = lines.map(|line| line.value().trim_ascii().iter().map(readable).collect());
    let lines: Vec<String> = lines.filter(|line: &String| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn is_plainly_forwarded(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let prefix = b"x-forwarded-";
    let begin = name.get(..prefix.len()).unwrap_or_default();
    begin.eq_ignore_ascii_case(prefix) && name.iter().all(plain)
}

/// Walks the list from the right, past trusted proxies, to the first address that is not one. An
/// entry that is no address ends the walk: what stands left of it was never checked by anybody.
fn rightmost_untrusted(chain: &str, peer: Address, trusted: &TrustedProxies) -> Address {
    let mut client = peer;
    for entry in chain.rsplit(',') {
        let Some(ip) = parse_address(entry.trim()) else {
            return client;
        };
        client = Address::from(ip);
        if !trusted.trusts(&client) {
            return client;
        }
    }
    client
}

/// An address with or without a port, an IPv6 one with or without brackets.
pub(in crate::domain) fn parse_address(entry: &str) -> Option<IpAddr> {
    if let Ok(ip) = entry.parse() {
        return Some(ip);
    }
    if let Ok(socket) = entry.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests;
