//! A proof is good for the request that the app server got, and for no other.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::sim::wechat::Wanted;

use crate::signed::{Keys, are_taken, case, case_of, signing};
use crate::support::h2_app::H2App;
use crate::support::{APPID, Setup, appid, person};

fn changed(case: &Value, path: &str, to: &str) -> Value {
    let mut changed = case.clone();
    *changed
        .pointer_mut(path)
        .unwrap_or_else(|| panic!("{path}: {case}")) = json!(to);
    assert_ne!(&changed, case, "{path}");
    changed
}

#[tokio::test]
async fn whatever_is_changed_of_a_request_its_proof_is_good_no_more() {
    let world = signing("").await;
    let token = world.login("alice").await;
    let request = world.request("PATCH", "/orders/1?a=b&c=%20");
    assert_eq!(request.bearer(&token).body("x").send().await.status, 200);
    let good = case_of(&world, &world.app.last());
    let mut cases = vec![good.clone()];
    for (path, to) in [
        ("/method", "DELETE"),
        ("/method", "patch"),
        ("/target", "/orders/2?a=b&c=%20"),
        ("/target", "/orders/1?a=b&c=+"),
        ("/target", "/orders/1"),
        ("/target", "/orders/1?a=b"),
        ("/headers/x-request-id", "another"),
        ("/headers/x-wx-openid", "oVictim"),
        ("/headers/x-wx-unionid", "oVictim"),
        ("/headers/x-wx-unionid", ""),
        ("/headers/x-wx-appid", "wxfedcba9876543210"),
        ("/headers/x-wx-proof", ""),
        ("/keys/0", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQI="),
    ] {
        cases.push(changed(&good, path, to));
    }
    world.clock.advance(Duration::from_secs(62));
    cases.push(case_of(&world, &world.app.last()));
    let mut expected = vec![false; cases.len()];
    expected[0] = true;
    are_taken(&expected, &cases).await;
}

#[tokio::test]
async fn every_request_of_a_user_has_a_proof_that_is_good_whatever_its_target_looks_like() {
    let rules = "[[access.rules]]\npath = \"/optional/**\"\nrequire = \"optional\"";
    let world = signing(rules).await;
    let token = world.login("alice").await;
    let mut cases = Vec::new();
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/?"),
        ("GET", "/a?"),
        (
            "GET",
            "/optional/a//b/./c?x=1&x=2&&=;#".trim_end_matches('#'),
        ),
        ("POST", "/%E5%BC%A0?q=%e5%bc%a0+%2B"),
        ("PUT", "/张/三?名=字"),
        ("DELETE", "/a;b=c;d/e~f!$&'()*+,=:@?/?:@"),
        ("OPTIONS", "/a"),
        ("HEAD", "/a"),
        ("M-SEARCH", "/a"),
    ] {
        let request = world.request(method, target).bearer(&token);
        let status = request.send().await.status;
        assert_eq!(status, 200, "{method} {target}");
        let seen = world.app.last();
        assert_eq!((&*seen.method, &*seen.target), (method, target));
        cases.push(case_of(&world, &seen));
    }
    let absolute = format!("http://{}/absolute?a", world.address());
    let request = world
        .get(&absolute)
        .header("Host", &world.address().to_string());
    assert_eq!(request.bearer(&token).send().await.status, 200);
    cases.push(case_of(&world, &world.app.last()));
    are_taken(&vec![true; cases.len()], &cases).await;
}

#[tokio::test]
async fn no_two_requests_have_one_proof() {
    let world = signing("").await;
    let token = world.login("alice").await;
    for _ in 0..2 {
        world.get("/me").bearer(&token).send().await;
    }
    let proof = |seen: &crate::support::app::Seen| seen.header("x-wx-proof").join("");
    let seen = world.app.seen();
    assert_ne!(proof(&seen[0]), proof(&seen[1]));
}

#[tokio::test]
async fn a_proof_is_as_good_over_http2_to_the_app_server() {
    let (app, keys) = (H2App::start().await, Keys::new());
    let setup = Setup {
        upstream: "protocol = \"http2\"".to_owned(),
        upstream_url: Some(format!("http://{}", app.address)),
        ..Setup::with(&keys.tables())
    };
    let world = setup.start().await;
    let token = world.login("alice").await;
    let mut cases = Vec::new();
    for target in ["/a?b=%20c", "/a?", "/%61//b/../c"] {
        assert_eq!(
            world
                .post(target)
                .bearer(&token)
                .body("x")
                .send()
                .await
                .status,
            200
        );
        let seen = app.last();
        let headers = seen.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        assert_eq!(seen.target, target);
        assert_eq!(seen.header("x-wx-assertion").len(), 1);
        cases.push(case(&world, (&seen.method, &seen.target), headers));
    }
    are_taken(&vec![true; cases.len()], &cases).await;
}

#[tokio::test]
async fn what_the_gate_tells_by_itself_is_signed_too() {
    let tables = "[login]\nhook = \"/hook/welcome\"\n[decrypt]\ndeliver = \"upstream\"\n\
                  deliver_to = \"/internal/profile\"\nin_flight = [\"/profile\"]";
    let world = signing(tables).await;
    let token = world.login("alice").await;
    let sealed = || {
        let wanted = Wanted::default();
        let sealed = world
            .wechat
            .user_data(&appid(APPID), &person("alice"), wanted);
        sealed.to_json()
    };
    for target in ["/wx/decrypt?a=b", "/profile?a=b"] {
        let request = world.post(target).bearer(&token).json(&sealed());
        assert_eq!(request.send().await.status, 200, "{target}");
    }
    let seen = world.app.seen();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(
        targets,
        ["/hook/welcome", "/internal/profile", "/profile?a=b"]
    );
    let cases: Vec<_> = seen.iter().map(|seen| case_of(&world, seen)).collect();
    are_taken(&[true; 3], &cases).await;
    let claims = seen
        .iter()
        .map(|seen| crate::signed::part(seen.header("x-wx-assertion")[0], 1));
    let claims: Vec<_> = claims.collect();
    for claims in &claims {
        assert_eq!(claims["sub"], world.openid("alice"));
    }
    assert!(claims[0].get("sid").is_none(), "before there is a session");
    assert!(claims[1]["sid"].is_string() && claims[1] == claims[2]);
}

#[tokio::test]
async fn a_body_that_is_opened_on_its_way_is_signed_when_it_goes_out() {
    let world = signing("[decrypt]\nin_flight = [\"/profile\"]").await;
    let token = world.login("alice").await;
    let request = world
        .post("/profile")
        .bearer(&token)
        .header("Content-Type", "application/json")
        .header("Content-Length", "2")
        .header("Expect", "100-continue");
    let mut connection = request.begin().await;
    let go_on = connection.piece().await;
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{go_on:?}");
    world.clock.advance(Duration::from_secs(50));
    connection.write(b"{}").await;
    assert_eq!(connection.answer().await.status, 200);
    let seen = world.app.last();
    let signed = seen.header("x-wx-proof")[0].to_owned();
    assert!(
        signed.starts_with(&format!("v1;t={};", crate::signed::now(&world))),
        "{signed}"
    );
}
