//! WeChat as it pushes. Signed and put together here and not by the simulator, which shares the gate's
//! code: a fault there would be on both sides and show nowhere. Only the encryption is the gate's own,
//! and that the vectors prove.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::OnceLock;

use sha1::{Digest, Sha1};
use wxgate::crypto::push;
use wxgate::domain::clock::Clock;
use wxgate::domain::secret::EncodingAesKey;

use crate::support::raw::Request;
use crate::support::{APPID, World, appid};

pub(crate) const TOKEN: &str = "AAAAA";
pub(crate) const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
pub(crate) const OLD_KEY: &str = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR";
pub(crate) const OPENID: &str = "oPusher-0123456789abcdefghij";

/// Lower-case hex of the SHA-1 over the sorted parts.
pub(crate) fn sign(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    let digest = Sha1::digest(parts.concat());
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// A message of this id, in either format, written when the tests began.
pub(crate) fn message(xml: bool, id: u64) -> String {
    static BEGUN: OnceLock<u64> = OnceLock::new();
    message_of(
        *BEGUN.get_or_init(|| Clock::System.now().as_secs()),
        xml,
        id,
    )
}

/// One that was written at this moment.
pub(crate) fn message_of(at: u64, xml: bool, id: u64) -> String {
    if xml {
        format!(
            "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\
             <FromUserName><![CDATA[{OPENID}]]></FromUserName><CreateTime>{at}</CreateTime>\
             <MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content>\
             <MsgId>{id}</MsgId></xml>"
        )
    } else {
        format!(
            r#"{{"ToUserName":"gh_1","FromUserName":"{OPENID}","CreateTime":{at},"MsgType":"text","Content":"你好","MsgId":{id}}}"#
        )
    }
}

/// A push that is about to be sent, any part of which can be made wrong.
#[derive(Clone)]
pub(crate) struct Pushed {
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Pushed {
    pub(crate) fn to(&self, world: &World) -> Request {
        self.to_address(world.address())
    }

    pub(crate) fn to_address(&self, gate: SocketAddr) -> Request {
        let query: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let target = format!("{}?{}", self.path, query.join("&"));
        Request::new(gate, "POST", &target).body(self.body.clone())
    }

    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.query.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.query.retain(|(other, _)| *other != name);
        self
    }
}

/// WeChat, pushing to the first mini program.
#[derive(Clone)]
pub(crate) struct Wechat {
    pub(crate) app: String,
    pub(crate) token: String,
    pub(crate) key: String,
    /// Seconds since 1970 that it stamps with.
    pub(crate) at: u64,
}

impl Wechat {
    pub(crate) fn of(world: &World) -> Self {
        Self::at(&Clock::Held(world.clock.clone()))
    }

    pub(crate) fn at(clock: &Clock) -> Self {
        Self {
            app: APPID.to_owned(),
            token: TOKEN.to_owned(),
            key: KEY.to_owned(),
            at: clock.now().as_secs(),
        }
    }

    fn stamped(&self, body: String) -> Pushed {
        let at = self.at.to_string();
        Pushed {
            path: format!("/wx/push/{APPID}"),
            query: vec![
                ("signature", sign(&[&self.token, &at, "415670741"])),
                ("timestamp", at),
                ("nonce", "415670741".to_owned()),
                ("openid", OPENID.to_owned()),
            ],
            body,
        }
    }

    pub(crate) fn plain(&self, message: &str) -> Pushed {
        self.stamped(message.to_owned())
    }

    /// In mode safe; `beside` is what stands in clear beside the ciphertext, as in mode compatible.
    pub(crate) fn sealed(&self, message: &str, beside: &str) -> Pushed {
        let key = EncodingAesKey::parse(&self.key).unwrap();
        let random = b"0123456789abcdef";
        let encrypt = push::seal(&key, &appid(&self.app), random, message).unwrap();
        let at = self.at.to_string();
        let signature = sign(&[&self.token, &at, "415670741", &encrypt]);
        let body = if message.starts_with('<') {
            format!("<xml>{beside}<Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>")
        } else {
            format!(r#"{{{beside}"Encrypt":"{encrypt}"}}"#)
        };
        self.stamped(body)
            .set("encrypt_type", "aes")
            .set("msg_signature", &signature)
    }

    /// In mode safe, stamped so.
    pub(crate) fn stamped_with(&self, timestamp: &str, nonce: &str, message: &str) -> Pushed {
        let sealed = self.sealed(message, "");
        let encrypt = sealed.body.split('"').nth(3).unwrap().to_owned();
        let signature = sign(&[&self.token, timestamp, nonce, &encrypt]);
        let stamped = sealed.set("timestamp", &timestamp.replace('+', "%2B"));
        stamped.set("nonce", nonce).set("msg_signature", &signature)
    }

    pub(crate) fn of_mode(&self, mode: &str, message: &str) -> Pushed {
        match (mode, message.starts_with('<')) {
            ("plain", _) => self.plain(message),
            ("safe", _) => self.sealed(message, ""),
            (_, true) => self.sealed(message, "<FromUserName>somebody</FromUserName>"),
            (_, false) => self.sealed(message, r#""FromUserName":"somebody","#),
        }
    }
}
