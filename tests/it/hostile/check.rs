//! What must hold of every request that an app server gets, and whether it got what a case says.

use crate::hostile::cases::{Case, Reached, Reaches, Words};
use crate::hostile::recorder::{Field, Heard};
use crate::support::APPID;

/// Written into every request by the gate, once.
const OWN: [&str; 7] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// The value under which cases forge an identity.
const FORGED: &str = "oForged";

/// The target of requests that begin to reach the app server, and never as a whole.
const BROKEN: &[u8] = b"/broken";

/// A name as CGI, WSGI, PHP and others know it.
fn folded(name: &[u8]) -> String {
    let dash = |&byte: &u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte),
        b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
        _ => '-',
    };
    name.iter().map(dash).collect()
}

/// Whether only the gate may say something under this name, folded.
fn is_guarded(name: &str) -> bool {
    let forwarding = ["x-forwarded-", "x-original-"];
    let names = ["forwarded", "x-real-ip", "x-rewrite-url", "x-request-id"];
    name.starts_with("x-wx-")
        || forwarding.iter().any(|prefix| name.starts_with(prefix))
        || names.contains(&name)
        || is_of_the_message(name)
}

/// Whether it frames or routes the message, or belongs to the connection.
fn is_of_the_message(name: &str) -> bool {
    let names = [
        "content-length",
        "host",
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    names.contains(&name) || name.starts_with("proxy-")
}

fn shown(fields: &[Field]) -> String {
    let line = |(name, value): &Field| {
        format!("\n      {}: {}", name.escape_ascii(), value.escape_ascii())
    };
    fields.iter().map(line).collect()
}

/// A request for people to read.
pub(super) fn show(heard: &Heard) -> String {
    let Heard {
        line,
        fields,
        body,
        trailers,
        is_whole,
        odd,
    } = heard;
    format!(
        "    {}{}\n      body: {}\n      trailers:{}\n      whole: {is_whole}, odd: {odd:?}",
        line.escape_ascii(),
        shown(fields),
        body.escape_ascii(),
        shown(trailers),
    )
}

/// What is wrong with a request, whatever a case says of it.
fn odd(heard: &Heard, user: Option<&Words>) -> Result<(), String> {
    if let Some(odd) = &heard.odd {
        return Err(odd.clone());
    }
    let mut all = heard.fields.iter().chain(&heard.trailers);
    let has_token = |(_, value): &&Field| value.windows(4).any(|part| part == b"wxg_");
    if let Some((_, value)) = all.find(has_token) {
        return Err(format!("a token arrived: {}", value.escape_ascii()));
    }
    if let Some((name, _)) = heard.trailers.iter().find(|(n, _)| is_guarded(&folded(n))) {
        return Err(format!("as a trailer: {}", name.escape_ascii()));
    }
    is_of_the_gate(heard)?;
    is_from(heard, user)
}

/// Whether what only the gate may write is there once each, and what is not for the app server is not.
fn is_of_the_gate(heard: &Heard) -> Result<(), String> {
    let upgrades = !heard.values("upgrade").is_empty();
    let mut own: Vec<String> = Vec::new();
    for (name, _) in &heard.fields {
        let folded = folded(name);
        if !is_guarded(&folded) || folded.starts_with("x-wx-") {
            continue;
        }
        let switches = ["connection", "upgrade"].contains(&&*folded);
        let framing = ["content-length", "transfer-encoding"].contains(&&*folded);
        if !name.eq_ignore_ascii_case(folded.as_bytes()) {
            return Err(format!("in another spelling: {}", name.escape_ascii()));
        }
        if OWN.contains(&&*folded) || folded == "x-forwarded-host" {
            own.push(folded);
        } else if !(framing || switches && upgrades) {
            return Err(format!("not for the app server: {folded}"));
        }
    }
    own.sort_unstable();
    // Over HTTP/1.0 a client may name no host.
    own.retain(|name| name != "x-forwarded-host" || heard.values(name).len() > 1);
    if own != OWN {
        return Err(format!("of the gate's own there is {own:?}, not one each"));
    }
    Ok(())
}

/// Whether the request says that it is from this user, or from nobody, and says so once.
fn is_from(heard: &Heard, user: Option<&Words>) -> Result<(), String> {
    let name_and_value =
        |(name, value): &Field| (folded(name), String::from_utf8_lossy(value).into_owned());
    let mut identity: Vec<_> = heard.fields.iter().map(name_and_value).collect();
    identity.retain(|(name, _)| name.starts_with("x-wx-"));
    identity.sort_unstable();
    let expected = match user {
        None => identity.is_empty(),
        Some(words) => match identity.as_slice() {
            [appid, openid, source, (name, unionid)] => {
                let pair = |(name, value): &(String, String)| format!("{name}: {value}");
                let mine = String::from_utf8(words.bytes("x-wx-openid: {openid}")).unwrap();
                pair(appid) == format!("x-wx-appid: {APPID}")
                    && pair(openid) == mine
                    && pair(source) == "x-wx-source: wx_client"
                    && name == "x-wx-unionid"
                    && unionid != FORGED
            }
            _ => false,
        },
    };
    if expected {
        Ok(())
    } else {
        Err(format!("identity: {identity:?}"))
    }
}

/// Splits a field as cases write it, its value as bytes.
fn wanted(text: &str, words: &Words) -> (String, Vec<u8>) {
    // A name of several colons is none, so the last one that can be is the first.
    let (name, value) = text.split_once(": ").unwrap_or((text, ""));
    (name.to_owned(), words.bytes(value))
}

/// Whether it is the request that a case says.
fn differs(heard: &Heard, reached: &Reached, words: &Words) -> Result<(), String> {
    odd(heard, reached.has_user.then_some(words))?;
    if !heard.is_whole {
        return Err("it is not whole".to_owned());
    }
    if heard.line != words.bytes(&reached.line) {
        return Err(format!("it is not {}", reached.line));
    }
    for field in &reached.fields {
        let (name, value) = wanted(field, words);
        if heard.values(&name) != [value.as_slice()] {
            return Err(format!("it does not say {field}"));
        }
    }
    for lack in &reached.lacks {
        let (name, value) = lack.split_once(' ').unwrap_or((lack, ""));
        let is_it = |(own, said): &Field| {
            folded(own) == folded(name.as_bytes())
                && (value.is_empty() || *said == words.bytes(value))
        };
        if heard.fields.iter().any(is_it) {
            return Err(format!("it says {lack}"));
        }
    }
    if heard.body != words.bytes(&reached.body) {
        return Err(format!("the body is not {}", reached.body));
    }
    let lower = |(name, value): &Field| (name.to_ascii_lowercase(), value.clone());
    let trailers: Vec<_> = heard.trailers.iter().map(lower).collect();
    let listed = reached.trailers.iter().map(|trailer| {
        let (name, value) = wanted(trailer, words);
        (name.to_ascii_lowercase().into_bytes(), value)
    });
    if trailers != listed.collect::<Vec<_>>() {
        return Err(format!("the trailers are not {:?}", reached.trailers));
    }
    Ok(())
}

/// Whether the app server got what the case says, and then the good requests for these targets.
pub(super) fn reached(
    case: &Case,
    words: &Words,
    heard: &[Heard],
    then: &[String],
) -> Result<(), String> {
    let good = |target: &String| Reached {
        line: format!("GET {target} HTTP/1.1"),
        ..Reached::default()
    };
    let (mut expected, may_begin) = match case.reached() {
        Reaches::Nothing => (Vec::new(), false),
        Reaches::NothingWhole => (Vec::new(), true),
        Reaches::Requests(requests) => (requests, false),
    };
    expected.extend(then.iter().map(good));
    // The beginning of one may also arrive late, when the next case is being looked at.
    let begun = |heard: &&Heard| !heard.is_whole && heard.target().starts_with(BROKEN);
    if let Some(odd) = heard.iter().filter(begun).find_map(|heard| {
        let odd = odd(heard, None).err();
        odd.filter(|_| may_begin)
    }) {
        return Err(odd);
    }
    let heard: Vec<_> = heard.iter().filter(|heard| !begun(heard)).collect();
    for (heard, expected) in heard.iter().zip(&expected) {
        differs(heard, expected, words)?;
    }
    if heard.len() != expected.len() {
        return Err(format!(
            "the app server got {} requests, not {}",
            heard.len(),
            expected.len()
        ));
    }
    Ok(())
}
