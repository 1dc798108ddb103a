//! A refusal is told in the language of the configuration, or in the one that the client asks for;
//! programs see the same either way.

use wxgate::gateway::problems;

use crate::support::raw::Answer;
use crate::support::{Setup, World};

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// Checks the language of title and detail, and that the answer says which one it is.
#[track_caller]
fn is_told_in(answer: &Answer, language: &str) {
    let problem = answer.json();
    for member in ["title", "detail"] {
        let text = problem[member].as_str().unwrap();
        assert_eq!(is_chinese(text), language == "zh-CN", "{answer:?}");
    }
    assert_eq!(answer.header("content-language"), Some(language));
}

async fn asked_in(world: &World, languages: &str) -> Answer {
    let request = world.get("/me").header("Accept-Language", languages);
    request.send().await
}

#[test]
fn every_problem_has_a_title_in_both_languages() {
    for kind in problems::ALL {
        assert!(kind.title.is_ascii() && !kind.title.is_empty(), "{kind:?}");
        assert!(is_chinese(kind.title_zh), "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_that_names_neither_language_gets_english() {
    let world = World::start().await;
    is_told_in(&world.get("/me").send().await, "en");
    for languages in ["", "*", "fr, *;q=0.1", "zh;q=0", "zh;q=x"] {
        is_told_in(&asked_in(&world, languages).await, "en");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn what_a_client_says_in_several_fields_counts_as_one() {
    let world = World::start().await;
    for (fields, expected) in [
        (["en;q=0.5", "zh"], "zh-CN"),
        (["en", "zh;q=0.5"], "en"),
        (["fr", "zh"], "zh-CN"),
    ] {
        let request = fields.iter().fold(world.get("/me"), |request, field| {
            request.header("Accept-Language", field)
        });
        is_told_in(&request.send().await, expected);
    }
}

#[tokio::test]
async fn a_client_gets_the_language_that_it_likes_better() {
    let world = World::start().await;
    for (languages, expected) in [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh_CN, zh-TW;q=0.1", "zh-CN"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
    ] {
        let answer = asked_in(&world, languages).await;
        is_told_in(&answer, expected);
        assert_eq!(answer.header("vary"), Some("Accept-Language"));
        answer.is_refused(401, "session_required", "relogin");
        assert_eq!(answer.json()["type"], "urn:wxgate:problem:session_required");
    }
}

#[tokio::test]
async fn the_gates_own_routes_and_early_refusals_are_told_in_chinese_too() {
    let world = World::start().await;
    for request in [
        world.post("/wx/login").body("[]"),
        world.post("/wx/login").header("Content-Type", "image/png"),
        world.get("/wx/login"),
        world.post("/wx/decrypt"),
        world.get("/wx/session"),
        world.post("/wx/logout"),
        world.get("/wx/%6cogin"),
        world.get("/me").header("Host", "a b"),
        world.get(&format!("/{}", "a".repeat(9000))),
    ] {
        let answer = request.header("Accept-Language", "zh-CN").send().await;
        is_told_in(&answer, "zh-CN");
        assert_ne!(answer.problem(), "");
    }
    let bad = serde_json::json!({ "code": "no-such-code" });
    let login = world.post("/wx/login").json(&bad);
    let answer = login.header("Accept-Language", "zh").send().await;
    is_told_in(&answer, "zh-CN");
    assert!(answer.detail().contains("wx.login"), "{answer:?}");
}

#[tokio::test]
async fn a_configured_language_counts_whatever_the_client_asks_for() {
    for (configured, tag) in [("zh", "zh-CN"), ("en", "en")] {
        let setup = Setup::with(&format!("[errors]\nlanguage = \"{configured}\""));
        let world = setup.start().await;
        for languages in ["en", "zh-CN", "fr"] {
            let answer = asked_in(&world, languages).await;
            is_told_in(&answer, tag);
            assert_eq!(answer.header("vary"), None, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn answers_of_the_app_server_get_no_language() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let request = world.get("/me").bearer(&token);
    let answer = request.header("Accept-Language", "zh").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-language"), None);
    assert_eq!(answer.header("vary"), None);
}
