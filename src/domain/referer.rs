//! The `Referer` that WeChat sets on every request of a mini program, which the mini program cannot
//! change (`wx.request`, field `header`). Anything but WeChat can: it says which mini program a
//! request is meant for, and never who it comes from.

use crate::domain::id::AppId;

/// The text is not the Referer of a mini program. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the Referer of a mini program")]
pub struct NotMiniProgram;

/// Which state of a mini program sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A development, trial or review build on a phone (开发版, 体验版, 审核版).
    DevTrialOrReview,
    /// The developer tools (开发者工具).
    Devtools,
    /// A released version.
    Release,
}

/// `https://servicewechat.com/{appid}/{version}/page-frame.html`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referer {
    app: AppId,
    version: Box<str>,
    kind: Kind,
}

impl Referer {
    /// Takes exactly that form and nothing like it: no other scheme, host, port or letter case, no
    /// query, nothing after it.
    pub fn parse(text: &str) -> Result<Self, NotMiniProgram> {
        let (appid, rest) = text
            .strip_prefix("https://servicewechat.com/")
            .and_then(|path| path.split_once('/'))
            .ok_or(NotMiniProgram)?;
        let version = rest
            .strip_suffix("/page-frame.html")
            .ok_or(NotMiniProgram)?;
        if !is_registered_form(appid) {
            return Err(NotMiniProgram);
        }
        let kind = match version {
            "0" => Kind::DevTrialOrReview,
            "devtools" => Kind::Devtools,
            release if is_release(release) => Kind::Release,
            _ => return Err(NotMiniProgram),
        };
        Ok(Self {
            app: AppId::parse(appid).map_err(|_error| NotMiniProgram)?,
            version: version.into(),
            kind,
        })
    }

    /// The mini program it names.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// The version as written: a number, or `devtools`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the version says.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// `wx` and 16 lower-case hex digits: every appid that WeChat has given so far.
fn is_registered_form(appid: &str) -> bool {
    appid.strip_prefix("wx").is_some_and(|hex| {
        hex.len() == 16
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A number from 1 on, without leading zeros, that fits 32 bits.
fn is_release(version: &str) -> bool {
    version.bytes().all(|byte| byte.is_ascii_digit())
        && !version.starts_with('0')
        && version.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/wechat-vectors.json"
    ));

    fn kind_name(kind: Kind) -> &'static str {
        match kind {
            Kind::DevTrialOrReview => "dev_trial_or_review",
            Kind::Devtools => "devtools",
            Kind::Release => "release",
        }
    }

    #[test]
    fn every_vector_of_the_referer_holds() {
        let file: Value = serde_json::from_str(VECTORS).unwrap();
        let mut ran = 0;
        for vector in file["vectors"].as_array().unwrap() {
            if vector["op"] != "referer.parse" {
                continue;
            }
            ran += 1;
            let expect = &vector["expect"];
            match Referer::parse(vector["input"]["referer"].as_str().unwrap()) {
                Ok(referer) => {
                    assert_eq!(expect["ok"], true, "{vector}");
                    assert_eq!(expect["appid"], referer.app().as_str(), "{vector}");
                    assert_eq!(expect["version"], referer.version(), "{vector}");
                    assert_eq!(expect["kind"], kind_name(referer.kind()), "{vector}");
                }
                Err(NotMiniProgram) => assert_eq!(expect["error"], "not_mini_program", "{vector}"),
            }
        }
        assert_eq!(ran, 10);
    }

    #[test]
    fn what_is_only_like_it_is_not_taken() {
        for wrong in [
            "https://servicewechat.com:443/wx4f4bc4dec97d474b/1/page-frame.html",
            "HTTPS://servicewechat.com/wx4f4bc4dec97d474b/1/page-frame.html",
            "https://servicewechat.com//wx4f4bc4dec97d474b/1/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474B/1/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/1/2/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b//page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/+1/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/00/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/-1/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/99999999999/page-frame.html",
            "https://servicewechat.com/wx4f4bc4dec97d474b/1/page-frame.html?a=b",
            "https://servicewechat.com/wx4f4bc4dec97d474b/1/page-frame.html ",
            " https://servicewechat.com/wx4f4bc4dec97d474b/1/page-frame.html",
        ] {
            assert_eq!(Referer::parse(wrong), Err(NotMiniProgram), "{wrong}");
        }
    }
}
