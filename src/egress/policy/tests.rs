//! What is relayed and what is not.

use super::*;

const APP: &str = "wx0123456789abcdef";
const OTHER: &str = "wxfedcba9876543210";

fn rules(on_loopback: bool) -> Rules {
    let allow = DEFAULT_ALLOW.iter();
    Rules {
        allow: allow.map(|path| ApiPath::parse(path).unwrap()).collect(),
        default_appid: AppId::parse(APP).unwrap(),
        on_loopback,
    }
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn decide(
    method: &str,
    target: &str,
    lines: &[(&'static str, &'static str)],
) -> Result<Verdict, Refusal> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    rules(true).decide(&method, &target.parse().unwrap(), &headers(lines))
}

fn post(target: &str) -> Result<Verdict, Refusal> {
    decide("POST", target, &[("host", "127.0.0.1:4181")])
}

/// What becomes of a call that is relayed.
#[track_caller]
fn check_relayed(got: &Result<Verdict, Refusal>, app: &str, query: &str) {
    let expected = Verdict::Relay {
        app: AppId::parse(app).unwrap(),
        path: "/wxa/msg_sec_check".to_owned(),
        query: query.to_owned(),
    };
    assert_eq!(got.as_ref(), Ok(&expected));
}

#[test]
fn only_a_path_that_is_on_the_list_byte_for_byte_is_relayed() {
    for target in [
        "/",
        "/wxa/msg_sec_chec",
        "/wxa/msg_sec_check/",
        "/wxa//msg_sec_check",
        "//wxa/msg_sec_check",
        "/wxa/./msg_sec_check",
        "/wxa/x/../msg_sec_check",
        "/wxa/msg%5fsec_check",
        "/WXA/msg_sec_check",
        "/wxa/msg_sec_check;x",
        "/sns/jscode2session",
        "/cgi-bin/clear_quota",
        "/cgi-bin/token/",
        "/cgi-bin/%74oken",
        "/wxa/msg_sec_check%3F",
    ] {
        assert_eq!(post(target), Err(Refusal::Path), "{target}");
    }
    check_relayed(&post("/wxa/msg_sec_check"), APP, "");
}

#[test]
fn only_get_and_post_are_relayed() {
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get"] {
        let got = decide(method, "/wxa/msg_sec_check", &[("host", "localhost")]);
        assert_eq!(got, Err(Refusal::Method), "{method}");
    }
    let connect = decide(
        "CONNECT",
        "api.weixin.qq.com:443",
        &[("host", "api.weixin.qq.com:443")],
    );
    assert_eq!(connect, Err(Refusal::Method));
}

#[test]
fn another_host_is_not_reached() {
    let path = "/wxa/msg_sec_check";
    for host in [
        "example.com",
        "api.weixin.qq.com.example.com",
        "api.weixin.qq.com:8080",
        "x@api.weixin.qq.com",
        "api.mch.weixin.qq.com",
        "localhost.example.com",
        "10.0.0.1",
        "",
    ] {
        let got = decide("POST", path, &[("host", host)]);
        assert_eq!(got, Err(Refusal::Host), "{host}");
        let target = format!("http://{host}{path}");
        if let Ok(target) = target.parse::<Uri>() {
            for said in ["127.0.0.1", "api.weixin.qq.com"] {
                let got = rules(true).decide(&Method::POST, &target, &headers(&[("host", said)]));
                assert_eq!(got, Err(Refusal::Host), "{target} {said}");
            }
        }
    }
    let none = decide("POST", path, &[]);
    assert_eq!(none, Err(Refusal::Host));
    let two = decide(
        "POST",
        path,
        &[("host", "localhost"), ("host", "localhost")],
    );
    assert_eq!(two, Err(Refusal::Host));
    let target = format!("http://api.weixin.qq.com{path}");
    let unlike = decide("POST", &target, &[("host", "example.com")]);
    assert_eq!(unlike, Err(Refusal::Host));
}

#[test]
fn the_gate_and_wechat_are_reached_by_their_names() {
    for host in [
        "127.0.0.1:4181",
        "[::1]:4181",
        "LocalHost",
        "API.weixin.qq.com",
        "api.weixin.qq.com:80",
    ] {
        let got = decide("POST", "/wxa/msg_sec_check", &[("host", host)]);
        check_relayed(&got, APP, "");
    }
    for authority in ["api.weixin.qq.com", "api.weixin.qq.com:80"] {
        let target = format!("http://{authority}/wxa/msg_sec_check?a=1");
        let got = decide("POST", &target, &[("host", "api.weixin.qq.com")]);
        check_relayed(&got, APP, "a=1");
    }
}

#[test]
fn away_from_loopback_any_name_but_another_of_wechat_is_the_gates() {
    let decide = |host| {
        let target = "/wxa/msg_sec_check".parse().unwrap();
        rules(false).decide(&Method::POST, &target, &headers(&[("host", host)]))
    };
    check_relayed(&decide("wxgate:4181"), APP, "");
    check_relayed(&decide("10.1.2.3:4181"), APP, "");
    assert_eq!(decide("api.mch.weixin.qq.com."), Err(Refusal::Host));
}

#[test]
fn browsers_and_calls_that_came_round_are_told_so() {
    for (name, why) in [
        ("origin", Refusal::Browser),
        ("sec-fetch-mode", Refusal::Browser),
        ("x-wxgate-egress", Refusal::Loop),
    ] {
        let lines = [("host", "localhost"), (name, "1")];
        assert_eq!(decide("POST", "/wxa/msg_sec_check", &lines), Err(why));
        assert_eq!(decide("GET", "/cgi-bin/token", &lines), Err(why));
    }
}

#[test]
fn tokens_of_others_go_no_further_and_the_rest_stays_as_it_was() {
    for (query, left) in [
        ("access_token=x", ""),
        ("a=%20+b&access_token=x&c", "a=%20+b&c"),
        ("access_token=x&access_token=y&a=1&access_token", "a=1"),
        ("%61ccess%5Ftoken=x&a=1", "a=1"),
        ("ACCESS_TOKEN=x&a=1", "a=1"),
        ("+access_token=x&a=1", "a=1"),
        (
            "cloudbase_access_token=x&a=1&cloudbase%5faccess_token=y",
            "a=1",
        ),
        ("from_appid=wx0123456789abcdef&a=/?:'", "a=/?:'"),
        (
            "my_access_token=x&access_token_2=y",
            "my_access_token=x&access_token_2=y",
        ),
    ] {
        let got = post(&format!("/wxa/msg_sec_check?{query}"));
        check_relayed(&got, APP, left);
    }
}

#[test]
fn the_mini_program_is_named_once_or_not_at_all() {
    let host = ("host", "localhost");
    let path = "/wxa/msg_sec_check";
    let header = decide("POST", path, &[host, ("x-wx-appid", OTHER)]);
    check_relayed(&header, OTHER, "");
    let query = format!("{path}?from_appid={OTHER}");
    let both = decide("POST", &query, &[host, ("x-wx-appid", APP)]);
    check_relayed(&both, OTHER, "");
    for (query, lines) in [
        (
            format!("{path}?from_appid={OTHER}&from_appid={APP}"),
            &[host][..],
        ),
        (format!("{path}?from_appid="), &[host]),
        (format!("{path}?from_appid=%00"), &[host]),
        (
            path.to_owned(),
            &[host, ("x-wx-appid", APP), ("x-wx-appid", OTHER)],
        ),
    ] {
        assert_eq!(decide("POST", &query, lines), Err(Refusal::App), "{query}");
    }
}

#[test]
fn sdks_that_ask_for_a_token_first_get_one_that_is_none() {
    for path in TOKEN_PATHS {
        assert_eq!(post(path), Ok(Verdict::Placeholder));
    }
    assert_eq!(
        post("/cgi-bin/token?appid=x&secret=y"),
        Ok(Verdict::Placeholder)
    );
}

#[test]
fn the_usual_list_has_what_wechat_documents_for_mini_programs_and_nothing_else() {
    for allowed in [
        "/cgi-bin/message/custom/business/typing",
        "/cgi-bin/media/get",
        "/cgi-bin/openapi/quota/get",
        "/wxa/generatenfcscheme",
        "/wxaapi/newtmpl/gettemplate",
    ] {
        assert!(
            matches!(post(allowed), Ok(Verdict::Relay { .. })),
            "{allowed}"
        );
    }
    for not_allowed in [
        "/wxa/img_sec_check",
        "/wxa/resetusersessionkey",
        "/wxa/business/getuserencryptkey",
        "/wxaapi/newtmpl/addtemplate",
        "/wxaapi/newtmpl/deltemplate",
        "/cgi-bin/openapi/quota/clear",
    ] {
        assert_eq!(post(not_allowed), Err(Refusal::Path), "{not_allowed}");
    }
    assert!(DEFAULT_ALLOW.is_sorted());
    let mut paths = DEFAULT_ALLOW.iter();
    assert!(paths.all(|path| ApiPath::parse(path).is_ok()));
}

#[test]
fn what_is_never_relayed_cannot_be_allowed() {
    for path in [
        "/cgi-bin/token",
        "/CGI-BIN/Token",
        "/cgi-bin/stable_token",
        "/sns/jscode2session",
        "/sns/x",
        "/cgi-bin/clear_quota",
        "/cgi-bin/clear_quota/v2",
        "/cgi-bin/component/clear_quota",
        "/cgi-bin/openapi/quota/clear",
        "/cgi-bin/openapi/rid/get",
        "/cgi-bin/OpenAPI/rid/get",
    ] {
        assert_eq!(ApiPath::parse(path), Err(PathError::Never), "{path}");
    }
    for path in [
        "", "/", "wxa/x", "/wxa/", "/wxa//x", "/wxa/.", "/wxa/%78", "/wxa/x?y", "/wxa/*", "/ ",
    ] {
        assert_eq!(ApiPath::parse(path), Err(PathError::NotPlain), "{path}");
    }
}
