//! What a client asks: of the app server and of the gate, with tokens of every kind, with forged
//! identity, and with bodies in every form.

use crate::simulation::app::pattern;
use crate::simulation::dice::Dice;
use crate::simulation::ledger::{About, Ask, Claim, Ledger};
use crate::simulation::world::{Scene, wall};

/// Identity that is not the client's to say.
const FORGED: [&str; 7] = [
    "X-WX-OPENID",
    "x-wx-openid",
    "X_WX_OPENID",
    "X.Wx-OpenId",
    "X-WX-UNIONID",
    "X-WX-SOURCE",
    "X-WX-Anything",
];

/// A request as it stands in the ledger, and as it is written.
#[derive(Clone, Debug)]
pub(super) struct Composed {
    pub(super) tag: usize,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Chooses what is asked next by who knows the tokens of these sessions.
pub(super) fn compose(dice: &mut Dice, scene: &Scene, own: &[usize]) -> Composed {
    let mut ledger = scene.ledger.lock();
    let logs_in = if own.is_empty() { 60 } else { 12 };
    let (claim, token) = claim(dice, &ledger, own);
    let composed = if dice.chance(logs_in) {
        login(dice, &mut ledger, (scene.users, claim))
    } else if dice.chance(12) {
        own_route(dice, &mut ledger, claim)
    } else {
        forward(dice, &mut ledger, claim)
    };
    drop(ledger);
    let mut composed = composed;
    if let Some(token) = token {
        let bearer = format!("Bearer {token}");
        composed.fields.push(("Authorization".to_owned(), bearer));
    }
    for name in FORGED {
        if dice.chance(12) {
            composed
                .fields
                .push((name.to_owned(), "oForged".to_owned()));
        }
    }
    composed
}

fn claim(dice: &mut Dice, ledger: &Ledger, own: &[usize]) -> (Claim, Option<String>) {
    let all = ledger.sessions.known();
    let of = |session: usize| {
        let token = ledger.sessions.token(session).map(str::to_owned);
        (Claim::Of(session), token)
    };
    match dice.below(100) {
        0..70 if !own.is_empty() => of(dice.pick(own)),
        0..85 if !all.is_empty() => of(dice.pick(all)),
        85..92 => {
            if dice.chance(60) {
                return (Claim::Strange, Some(format!("wxg_{:0>43}", dice.roll())));
            }
            // The app server's business, and as good as none.
            let other = dice.pick(&["wxg_short", "wxg_", "nothing.of.ours"]);
            (Claim::None, Some(other.to_owned()))
        }
        _ => (Claim::None, None),
    }
}

fn login(dice: &mut Dice, ledger: &mut Ledger, (users, claim): (usize, Claim)) -> Composed {
    let issued = ledger.codes.count();
    let code = match dice.below(100) {
        0..25 if issued > 0 => format!("code-{}", issued - 1),
        25..35 if issued > 0 => format!("code-{}", dice.below(issued)),
        35..40 => "no-such-code".to_owned(),
        _ => ledger.codes.issue(dice.below(users), wall()),
    };
    let body = format!(r#"{{"code":"{code}"}}"#);
    let about = About::Login { code };
    let mut composed = note(
        ledger,
        about,
        claim,
        ("POST", "/wx/login"),
        body.into_bytes(),
    );
    let json = ("Content-Type".to_owned(), "application/json".to_owned());
    composed.fields.push(json);
    composed
}

fn own_route(dice: &mut Dice, ledger: &mut Ledger, claim: Claim) -> Composed {
    let all = dice.chance(40);
    let (about, method, target) = match dice.below(4) {
        0 | 1 => (About::Session, "GET", "/wx/session"),
        2 if all => (About::Logout { all }, "DELETE", "/wx/session?all=true"),
        2 => (About::Logout { all }, "DELETE", "/wx/session"),
        _ if all => (About::Logout { all }, "POST", "/wx/logout?all=true"),
        _ => (About::Logout { all }, "POST", "/wx/logout"),
    };
    note(ledger, about, claim, (method, target), Vec::new())
}

fn forward(dice: &mut Dice, ledger: &mut Ledger, claim: Claim) -> Composed {
    let (about, place) = match dice.below(10) {
        0 | 1 => (About::Public, "public"),
        2 | 3 => (About::Optional, "optional"),
        _ => (About::Private, "private"),
    };
    let method = dice.pick(&[
        "GET", "GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "POST", "POST", "PUT", "DELETE",
    ]);
    let most = dice.pick(&[0, 1, 20, 300, 3000, 3000, 30_000]);
    let has_body = matches!(method, "POST" | "PUT") || dice.chance(5);
    let length = if has_body { dice.below(most + 1) } else { 0 };
    let body = pattern(dice.below(29), length);
    let target = format!("/{place}/{}", ledger.asks.len());
    note(ledger, about, claim, (method, &target), body)
}

fn note(
    ledger: &mut Ledger,
    about: About,
    claim: Claim,
    (method, target): (&'static str, &str),
    body: Vec<u8>,
) -> Composed {
    let tag = ledger.ask(about, claim, (method, body));
    let Ask { body, .. } = ledger.asks[tag].clone();
    Composed {
        tag,
        method,
        target: target.to_owned(),
        fields: Vec::new(),
        body,
    }
}

impl Composed {
    /// The request in HTTP/1.1, framed in one way or another.
    pub(super) fn write(&mut self, dice: &mut Dice) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: app.example\r\n",
            self.method, self.target
        );
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() && dice.chance(10) {
            text.push_str("Expect: 100-continue\r\n");
        }
        let chunked = dice.chance(if self.body.is_empty() { 5 } else { 40 });
        if chunked {
            text.push_str("Transfer-Encoding: chunked\r\n\r\n");
            let mut bytes = text.into_bytes();
            self.write_chunks(dice, &mut bytes);
            return bytes;
        }
        let expects = matches!(self.method, "POST" | "PUT");
        if !self.body.is_empty() || expects {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn write_chunks(&mut self, dice: &mut Dice, bytes: &mut Vec<u8>) {
        let most = dice.pick(&[5, 100, 10_000]).max(self.body.len() / 20);
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.len().min(1 + dice.below(most)));
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(b"0\r\n");
        if dice.chance(30) {
            bytes.extend_from_slice(b"X-WX-OPENID: oForged\r\nX_Wx_Unionid: oForged\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
    }
}
