//! Several mini programs behind one gate: which one a login is for, and who is who.

use serde_json::json;

use crate::support::raw::{Answer, Request};
use crate::support::{APPID, APPID2, Setup, World};

/// A mini program that no world configures.
const STRANGER: &str = "wxaaaaaaaaaaaaaaaa";

async fn two_apps() -> World {
    let setup = Setup {
        two_apps: true,
        ..Setup::default()
    };
    setup.start().await
}

fn referer(app: &str) -> String {
    format!("https://servicewechat.com/{app}/devtools/page-frame.html")
}

impl World {
    fn login_request(&self, code: &str) -> Request {
        self.post("/wx/login").json(&json!({ "code": code }))
    }

    /// Logs a user of a mini program in, which the Referer names.
    async fn login_to(&self, app: &str, user: &str) -> Answer {
        let request = self.login_request(&self.code_of(app, user));
        request.header("Referer", &referer(app)).send().await
    }
}

/// Checks that the login is refused for its mini program, before WeChat hears of it.
#[track_caller]
fn is_unknown_app(world: &World, answer: &Answer, named: &[&str]) {
    answer.is_refused(400, "unknown_app", "fix");
    for name in named {
        assert!(answer.detail().contains(name), "{name}: {answer:?}");
    }
    assert_eq!(world.wechat.calls(), 0);
}

#[tokio::test]
async fn a_login_that_names_none_of_several_is_refused() {
    let world = two_apps().await;
    let code = world.code("alice");
    let nameless = world.login_request(&code).send().await;
    is_unknown_app(&world, &nameless, &["appid"]);
    for referer in [
        "https://example.com/",
        "http://servicewechat.com/wx0123456789abcdef/1/page-frame.html",
        "https://servicewechat.com.evil.example/wx0123456789abcdef/1/page-frame.html",
        "https://servicewechat.com/wx0123456789abcdef/1/page-frame.html?x",
        "https://servicewechat.com/wx0123456789ABCDEF/1/page-frame.html",
    ] {
        let request = world.login_request(&code).header("Referer", referer);
        is_unknown_app(&world, &request.send().await, &["appid"]);
    }
}

#[tokio::test]
async fn a_body_that_names_a_stranger_is_refused() {
    let world = two_apps().await;
    for named in [
        STRANGER,
        "",
        " ",
        "WX0123456789ABCDEF",
        "wx0123456789abcdef ",
    ] {
        let body = json!({ "code": world.code("alice"), "appid": named });
        let answer = world.post("/wx/login").json(&body).send().await;
        is_unknown_app(&world, &answer, &[]);
    }
    for named in [json!(1), json!([APPID])] {
        let body = json!({ "code": world.code("alice"), "appid": named });
        let answer = world.post("/wx/login").json(&body).send().await;
        answer.is_refused(400, "bad_request", "fix");
    }
    assert_eq!(world.wechat.calls(), 0);
}

#[tokio::test]
async fn a_referer_of_a_stranger_is_refused_with_both_ids() {
    let world = two_apps().await;
    let code = world.code("alice");
    let request = world
        .login_request(&code)
        .header("Referer", &referer(STRANGER));
    let answer = request.send().await;
    is_unknown_app(&world, &answer, &[STRANGER, APPID, APPID2]);
    let body = json!({ "code": code, "appid": APPID2 });
    let request = world.post("/wx/login").json(&body);
    let answer = request.header("Referer", &referer(STRANGER)).send().await;
    is_unknown_app(&world, &answer, &[STRANGER, APPID2]);
}

#[tokio::test]
async fn a_referer_of_a_stranger_is_refused_by_a_gate_with_one_mini_program_too() {
    let world = World::start().await;
    for stranger in [STRANGER, APPID2] {
        let answer = world.login_to(stranger, "alice").await;
        is_unknown_app(&world, &answer, &[stranger, APPID]);
    }
}

#[tokio::test]
async fn a_refused_appid_cannot_put_text_into_the_answer() {
    let world = two_apps().await;
    let body = json!({ "code": "any", "appid": "<b>call 13580006666</b>" });
    let request = world.post("/wx/login").json(&body);
    let answer = request.header("Referer", &referer(STRANGER)).send().await;
    is_unknown_app(&world, &answer, &[STRANGER, APPID]);
    assert!(!answer.text().contains("13580006666"), "{answer:?}");
}

#[tokio::test]
async fn one_mini_program_needs_no_name_and_minds_no_other_referer() {
    let world = World::start().await;
    for referer in ["https://example.com/x", "about:blank", "", "\u{e9}"] {
        let request = world.login_request(&world.code("alice"));
        let answer = request.header("Referer", referer).send().await;
        answer.token();
        assert_eq!(answer.json()["appid"], APPID);
    }
    world.login("alice").await;
}

#[tokio::test]
async fn the_body_chooses_and_without_it_the_referer() {
    let world = two_apps().await;
    for app in [APPID, APPID2] {
        let body = json!({ "code": world.code_of(app, "alice"), "appid": app });
        let answer = world.post("/wx/login").json(&body).send().await;
        answer.token();
        assert_eq!(answer.json()["appid"], app);
        let answer = world.login_to(app, "alice").await;
        answer.token();
        assert_eq!(answer.json()["appid"], app);
    }
    let body = json!({ "code": world.code_of(APPID2, "alice"), "appid": APPID2 });
    let request = world.post("/wx/login").json(&body);
    let answer = request.header("Referer", &referer(APPID)).send().await;
    answer.token();
    assert_eq!(answer.json()["appid"], APPID2);
}

#[tokio::test]
async fn the_app_server_is_told_the_mini_program_of_the_session_and_no_other() {
    let world = two_apps().await;
    for (app, other) in [(APPID, APPID2), (APPID2, APPID)] {
        let token = world.login_to(app, "alice").await.token();
        // What the request says about itself later changes nothing.
        let request = world.get("/me").bearer(&token);
        let request = request.header("Referer", &referer(other));
        let answer = request.header("X-WX-APPID", other).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-appid"), [app]);
        assert_eq!(seen.header("x-wx-openid"), [world.openid_in(app, "alice")]);
    }
}

#[tokio::test]
async fn one_person_in_two_mini_programs_is_two_users() {
    let world = two_apps().await;
    let first = world.login_to(APPID, "alice").await.token();
    let second = world.login_to(APPID2, "alice").await.token();
    assert_ne!(
        world.openid_in(APPID, "alice"),
        world.openid_in(APPID2, "alice")
    );
    let all = world.post("/wx/logout?all=true").bearer(&first);
    assert_eq!(all.send().await.status, 204);
    let gone = world.get("/me").bearer(&first).send().await;
    gone.is_refused(401, "session_expired", "relogin");
    let there = world.get("/me").bearer(&second).send().await;
    assert_eq!(there.status, 200, "{there:?}");
}

#[tokio::test]
async fn a_login_to_one_mini_program_does_not_replace_the_session_of_another() {
    let world = two_apps().await;
    let first = world.login_to(APPID, "alice").await.token();
    let request = world.login_request(&world.code_of(APPID2, "alice"));
    let request = request.header("Referer", &referer(APPID2)).bearer(&first);
    request.send().await.token();
    world.clock.advance(std::time::Duration::from_secs(61));
    let there = world.get("/me").bearer(&first).send().await;
    assert_eq!(there.status, 200, "{there:?}");
}
