//! Which requests of the app server are relayed to WeChat, as what, and in which mini program's
//! name. Decided on the bytes of the request line and a few headers: nothing is decoded that WeChat
//! might decode differently. Pure; knows neither tokens nor connections.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

use crate::domain::id::AppId;
use crate::egress::refusal::Refusal;
use crate::wechat::client::LOOP_MARK;

/// The host of WeChat's open APIs.
pub const API_HOST: &str = "api.weixin.qq.com";

/// In whose name, said in the query.
const FROM_APPID: &str = "from_appid";
/// The same in a header.
const APPID_HEADER: &str = "x-wx-appid";

/// Parameters that go no further: tokens of others, and what is meant for the gate.
const DROPPED: [&str; 3] = ["access_token", "cloudbase_access_token", FROM_APPID];

/// Paths where SDKs ask for a token before anything else. The gate answers them itself.
const TOKEN_PATHS: [&str; 2] = ["/cgi-bin/token", "/cgi-bin/stable_token"];

/// Paths that are never relayed, beside those of whole families: the first shows a call as the gate
/// made it, access token and AppSecret included; the second is `clear_quota` by its new name.
const NEVER: [&str; 2] = ["/cgi-bin/openapi/rid/get", "/cgi-bin/openapi/quota/clear"];

/// The paths that are relayed when `allow` names none: what a mini program's server calls with its
/// users at hand, by the names that WeChat's list of server APIs has for them (read 2026-11). Nothing
/// here gives secrets away or changes settings of the account. `img_sec_check` is not on WeChat's list
/// any more.
pub const DEFAULT_ALLOW: [&str; 31] = [
    "/cgi-bin/media/get",                        // getTempMedia
    "/cgi-bin/media/upload",                     // uploadTempMedia
    "/cgi-bin/message/custom/business/typing",   // setTyping
    "/cgi-bin/message/custom/send",              // sendCustomMessage
    "/cgi-bin/message/custom/typing",            // setTyping, as older SDKs know it
    "/cgi-bin/message/subscribe/send",           // sendMessage (订阅消息)
    "/cgi-bin/message/wxopen/activityid/create", // createActivityId
    "/cgi-bin/message/wxopen/updatablemsg/send", // setUpdatableMsg
    "/cgi-bin/openapi/quota/get",                // getApiQuota
    "/cgi-bin/wxaapp/createwxaqrcode",           // createQRCode
    "/wxa/business/checkencryptedmsg",           // checkEncryptedData
    "/wxa/business/getuserphonenumber",          // getPhoneNumber
    "/wxa/checksession",                         // checkSessionKey
    "/wxa/generate_urllink",                     // generateUrlLink
    "/wxa/generatenfcscheme",                    // generateNFCScheme
    "/wxa/generatescheme",                       // generateScheme
    "/wxa/genwxashortlink",                      // generateShortLink
    "/wxa/get_user_notify",                      // getUserNotify (服务卡片)
    "/wxa/getopendata",                          // getOpenData
    "/wxa/getpaidunionid",                       // getPaidUnionid
    "/wxa/getpluginopenpid",                     // getPluginOpenPId
    "/wxa/getuserriskrank",                      // getUserRiskRank
    "/wxa/getwxacode",                           // getQRCode
    "/wxa/getwxacodeunlimit",                    // getUnlimitedQRCode
    "/wxa/media_check_async",                    // mediaCheckAsync
    "/wxa/msg_sec_check",                        // msgSecCheck
    "/wxa/query_urllink",                        // queryUrlLink
    "/wxa/queryscheme",                          // queryScheme
    "/wxa/set_user_notify",                      // setUserNotify (服务卡片)
    "/wxa/set_user_notifyext",                   // setUserNotifyExt (服务卡片)
    "/wxaapi/newtmpl/gettemplate",               // getMessageTemplateList
];

/// An API path that may be relayed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiPath(Box<str>);

/// Why a text is no path that may be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Something that two parsers may read differently.
    #[error("is no plain path: letters, digits, _ and - between single slashes")]
    NotPlain,
    /// It would give a token or a session away, or take the account's quota.
    #[error("is never relayed: tokens, sessions and quotas stay with the gate")]
    Never,
}

impl ApiPath {
    /// Takes a path that has one reading only, and that is not among those never relayed.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_plain = |segment: &str| !segment.is_empty() && segment.bytes().all(plain);
        let segments = text.strip_prefix('/').ok_or(PathError::NotPlain)?;
        if !segments.split('/').all(is_plain) {
            return Err(PathError::NotPlain);
        }
        // WeChat may not care about case.
        let lower = text.to_ascii_lowercase();
        let quota = lower.split('/').any(|name| name.starts_with("clear_quota"));
        let named = TOKEN_PATHS.iter().chain(&NEVER).any(|path| lower == *path);
        if quota || named || lower.starts_with("/sns/") {
            return Err(PathError::Never);
        }
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for ApiPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The paths.
    pub allow: BTreeSet<ApiPath>,
    /// In whose name a request is that says nothing about it.
    pub default_appid: AppId,
    /// Whether the listener is on loopback, so that only loopback names can mean it.
    pub on_loopback: bool,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered with a token that is none.
    Placeholder,
    /// It is relayed.
    Relay {
        /// In whose name.
        app: AppId,
        /// One of the allowed paths.
        path: String,
        /// The query, without what goes no further.
        query: String,
    },
}

impl Rules {
    /// Decides about a request. Whether the mini program is configured is for the caller to see.
    pub fn decide(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Verdict, Refusal> {
        if headers.contains_key(&LOOP_MARK) {
            return Err(Refusal::Loop);
        }
        if is_from_browser(headers) {
            return Err(Refusal::Browser);
        }
        if *method != Method::GET && *method != Method::POST {
            return Err(Refusal::Method);
        }
        self.check_host(uri, headers)?;
        let path = uri.path();
        if TOKEN_PATHS.contains(&path) {
            return Ok(Verdict::Placeholder);
        }
        if !self.allow.contains(path) {
            return Err(Refusal::Path);
        }
        let query = uri.query().unwrap_or_default();
        Ok(Verdict::Relay {
            app: self.app(query, headers)?,
            path: path.to_owned(),
            query: without_dropped(query),
        })
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Authority::try_from(host.as_bytes()),
            _ => return Err(Refusal::Host),
        };
        let host = host.map_err(|_malformed| Refusal::Host)?;
        match uri.authority() {
            // As a proxy is asked. RFC 9112 §3.2.2: Host says the same.
            Some(authority) if is_api(authority) && host.host() == authority.host() => Ok(()),
            Some(_other) => Err(Refusal::Host),
            None if is_api(&host) || self.names_listener(&host) => Ok(()),
            None => Err(Refusal::Host),
        }
    }

    /// Away from loopback the gate cannot know its names; whoever calls there has shown a token or
    /// an address. No other name of WeChat's is the gate's.
    fn names_listener(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        if self.on_loopback {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let ip = bare.parse::<IpAddr>();
            return host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        }
        !host.trim_end_matches('.').ends_with(".qq.com")
    }

    fn app(&self, query: &str, headers: &HeaderMap) -> Result<AppId, Refusal> {
        let mut named: Vec<_> = parameters(query)
            .filter(|parameter| name_of(parameter) == FROM_APPID)
            .map(value_of)
            .collect();
        if named.is_empty() {
            let values = headers.get_all(APPID_HEADER).iter();
            named.extend(values.map(|value| String::from_utf8_lossy(value.as_bytes()).into()));
        }
        named.dedup();
        match named.as_slice() {
            [] => Ok(self.default_appid.clone()),
            [one] => AppId::parse(one).map_err(|_malformed| Refusal::App),
            [..] => Err(Refusal::App),
        }
    }
}

/// Browsers say where a request comes from. No server does, and no page has business here.
fn is_from_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"))
}

fn is_api(authority: &Authority) -> bool {
    authority.host().eq_ignore_ascii_case(API_HOST)
        && !authority.as_str().contains('@')
        && matches!(authority.port_u16(), None | Some(80 | 443))
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|parameter| !parameter.is_empty())
}

/// The name of a parameter, decoded, in lower case: WeChat may not care.
fn name_of(parameter: &str) -> String {
    let name = parameter.split('=').next().unwrap_or_default();
    decoded(name).trim().to_ascii_lowercase()
}

fn value_of(parameter: &str) -> String {
    decoded(parameter.split_once('=').map_or("", |(_, value)| value))
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// The query without the parameters that go no further; the others byte for byte.
fn without_dropped(query: &str) -> String {
    let stays = |parameter: &&str| !DROPPED.contains(&name_of(parameter).as_str());
    let staying: Vec<_> = parameters(query).filter(stays).collect();
    staying.join("&")
}

#[cfg(test)]
mod tests;
