//! `GET /sns/jscode2session` as the real one answers it: always with status 200, as `text/plain`,
//! with an `errcode` when it refuses. Knows nothing of misbehaviour.

use http::Method;
use serde_json::json;

use crate::crypto::{random, session_key};
use crate::domain::id::AppId;
use crate::sim::wechat::codes::Redeemed;
use crate::sim::wechat::users::{User, UserName};
use crate::sim::wechat::{Apps, Codes, MockWechat};

/// Codes with this beginning log the user in whose name follows, as often as wanted.
const NAMED_CODE: &str = "mock-";

/// A refusal, as WeChat words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(i64, &'static str);

impl Refusal {
    const GRANT_TYPE: Self = Self(40002, "invalid grant_type");
    const APPID: Self = Self(40013, "invalid appid");
    const CODE: Self = Self(40029, "invalid code");
    const SECRET: Self = Self(40125, "invalid appsecret");
    const CODE_USED: Self = Self(40163, "code been used");
    const APPID_MISSING: Self = Self(41002, "appid missing");
    const SECRET_MISSING: Self = Self(41004, "appsecret missing");
    const CODE_MISSING: Self = Self(41008, "missing code");
    const GET_REQUIRED: Self = Self(43001, "require GET method");
}

impl MockWechat {
    /// The text that answers a call.
    pub(super) fn jscode2session(&self, method: &Method, query: &str) -> String {
        match self.log_in(method, query) {
            Ok(user) => success(&user),
            Err(Refusal(errcode, errmsg)) => {
                let errmsg = format!("{errmsg}, rid: {}", rid());
                json!({"errcode": errcode, "errmsg": errmsg}).to_string()
            }
        }
    }

    fn log_in(&self, method: &Method, query: &str) -> Result<User, Refusal> {
        if method != Method::GET {
            return Err(Refusal::GET_REQUIRED);
        }
        let appid = parameter(query, "appid").ok_or(Refusal::APPID_MISSING)?;
        let secret = parameter(query, "secret").ok_or(Refusal::SECRET_MISSING)?;
        let code = parameter(query, "js_code").ok_or(Refusal::CODE_MISSING)?;
        if parameter(query, "grant_type").as_deref() != Some("authorization_code") {
            return Err(Refusal::GRANT_TYPE);
        }
        let app = AppId::parse(&appid).map_err(|_shape| Refusal::APPID)?;
        self.check_app(&app, &secret)?;
        let name = self.redeem(&app, &code)?;
        Ok(self.find(&app, &name))
    }

    fn check_app(&self, app: &AppId, secret: &str) -> Result<(), Refusal> {
        let Apps::Only(apps) = &self.options().apps else {
            return Ok(());
        };
        let known = apps.iter().find(|(known, _secret)| known == app);
        let (_app, known_secret) = known.ok_or(Refusal::APPID)?;
        // Exposed to be compared; nobody measures the time that a simulator takes.
        if known_secret.expose() == secret {
            Ok(())
        } else {
            Err(Refusal::SECRET)
        }
    }

    fn redeem(&self, app: &AppId, code: &str) -> Result<UserName, Refusal> {
        if let Some(name) = code.strip_prefix(NAMED_CODE).and_then(UserName::parse) {
            return Ok(name);
        }
        match (self.redeem_issued(app, code), self.options().codes) {
            (Redeemed::By(name), _) => Ok(name),
            (Redeemed::Used, _) => Err(Refusal::CODE_USED),
            (Redeemed::Unknown, Codes::Lenient) => Ok(UserName::devtools()),
            (Redeemed::Unknown, Codes::Strict) | (Redeemed::Wrong, _) => Err(Refusal::CODE),
        }
    }
}

/// A parameter that is there and not empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _value)| key == name)
        .map(|(_key, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// Written by hand for the `\/`, which is how the real one writes a slash. The three values are of
/// alphabets that need no other escape.
fn success(user: &User) -> String {
    let key = session_key::text(&user.key).replace('/', r"\/");
    format!(
        r#"{{"session_key":"{key}","openid":"{}","unionid":"{}"}}"#,
        user.openid.as_str(),
        user.unionid.as_str(),
    )
}

/// The request id that WeChat puts into its messages.
fn rid() -> String {
    let [one, two, three] = [random::bytes(), random::bytes(), random::bytes()];
    let [one, two, three] = [one, two, three].map(u32::from_be_bytes);
    format!("{one:08x}-{two:08x}-{three:08x}")
}
