//! Promises about requests that the gate makes itself.

use http::HeaderMap;

use super::tests::{live, peer, rules};
use super::*;
use crate::domain::id::OpenId;
use crate::domain::session::Holder;
use crate::domain::trace::RequestId;

fn holder() -> Holder {
    live().holder().clone()
}

fn verified(openid: Option<&str>) -> VerifiedSender {
    let openid = openid.map(|openid| OpenId::parse(openid).unwrap());
    VerifiedSender::of(holder().app, openid)
}

/// Everything the app server would get of a message on account of this request.
fn sent(headers: &[(&str, &str)], identity: Identity) -> (RequestHead, HeaderMap) {
    let mut request = http::Request::builder()
        .method("PUT")
        .uri("/forged?token=x")
        .header("host", "gate.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap().into();
    let (clean, presented) = Clean::strip(request, &rules(&[]), &peer()).unwrap();
    let message = Message::json("/hooks/login".parse().unwrap(), "{}");
    let id = RequestId::told(&HeaderValue::from_static("id")).unwrap();
    let cause = clean.cause(&presented);
    let outbound = Outbound::originate(message, identity, cause, id, Timestamp::EPOCH);
    let OutboundParts { head, own, .. } = outbound.into_parts();
    let mut all = head.fields.to_map();
    own.for_each(&head, |name, value| {
        all.append(name.name(), HeaderValue::from_bytes(value).unwrap());
    });
    (*head, all)
}

const OF_A_CLIENT: [(&str, &str); 7] = [
    ("x-wx-openid", "oForged"),
    ("x_wx_openid", "oForged"),
    ("x-http-method-override", "DELETE"),
    ("x-original-url", "/admin"),
    ("cookie", "a=b"),
    ("authorization", "Basic YTpi"),
    ("x-forwarded-for", "6.6.6.6"),
];

#[test]
fn nothing_of_a_clients_goes_into_a_request_of_the_gates_own() {
    let (head, all) = sent(&OF_A_CLIENT, Identity::LoggedIn(JustRedeemed::of(holder())));
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri, "/hooks/login");
    let map = head.fields.to_map();
    let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type"]);
    assert_eq!(all["x-forwarded-for"], "203.0.113.9");
    assert_eq!(all["x-forwarded-host"], "gate.example");
    assert_eq!(all["x-request-id"], "id");
    assert_eq!(all.keys_len(), all.len(), "each once: {all:?}");
}

#[test]
fn a_login_is_told_with_the_identity_that_wechat_gave() {
    let (_, all) = sent(&OF_A_CLIENT, Identity::LoggedIn(JustRedeemed::of(holder())));
    assert_eq!(all["x-wx-openid"], "oReal");
    assert_eq!(all["x-wx-unionid"], "uReal");
    assert_eq!(all["x-wx-appid"], "wx0123456789abcdef");
    assert_eq!(all["x-wx-source"], "wx_client");
}

#[test]
fn a_push_that_names_nobody_has_no_openid_at_all() {
    let (_, all) = sent(&OF_A_CLIENT, Identity::Sender(verified(None)));
    assert!(!all.contains_key("x-wx-openid"));
    assert!(!all.contains_key("x-wx-unionid"));
    assert_eq!(all["x-wx-appid"], "wx0123456789abcdef");
    let (_, all) = sent(&OF_A_CLIENT, Identity::Sender(verified(Some("oSender"))));
    assert_eq!(all["x-wx-openid"], "oSender");
}
