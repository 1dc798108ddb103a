//! What a token is, where it may stand, and that it goes no further than the gate.

use crate::support::{Setup, World};

const RULES: &str = r#"
[[access.rules]]
path = "/public/**"
require = "public"
[[access.rules]]
path = "/optional/**"
require = "optional"
"#;

const TWO_PLACES: &str = "[session]\ntoken_from = [\"authorization\", \"header:X-Session\"]\n";

/// Of the shape of a token, and nobody's.
const UNKNOWN: &str = "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Values that are no token of the gate's.
const OF_THE_APPS_OWN: [&str; 7] = [
    "Basic YWxpY2U6c2VjcmV0",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    "Bearer wxg_short",
    "Bearer wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "Bearer WXG_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "Token wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    UNKNOWN,
];

async fn world(tables: &str) -> World {
    Setup::with(&format!("{tables}{RULES}")).start().await
}

#[tokio::test]
async fn an_authorization_of_the_apps_own_is_no_session() {
    let world = world("").await;
    for value in OF_THE_APPS_OWN {
        let answer = world.get("/me").header("Authorization", value).send().await;
        assert_eq!(answer.problem(), "session_required", "{value}");
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn an_authorization_of_the_apps_own_passes_untouched() {
    let world = world(TWO_PLACES).await;
    let token = world.login("alice").await;
    for value in OF_THE_APPS_OWN {
        for target in ["/public/x", "/optional/x"] {
            let request = world.get(target).header("Authorization", value);
            assert_eq!(request.send().await.status, 200, "{value}");
            let seen = world.app.last();
            assert_eq!(seen.header("authorization"), [value], "{target}");
            assert_eq!(seen.header("x-wx-openid"), [""; 0]);
        }
        let request = world.get("/me").header("Authorization", value);
        assert_eq!(request.header("X-Session", &token).send().await.status, 200);
        let seen = world.app.last();
        assert_eq!(seen.header("authorization"), [value]);
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    }
}

#[tokio::test]
async fn a_token_never_reaches_the_app() {
    let world = world(TWO_PLACES).await;
    let token = world.login("alice").await;
    let bearer = format!("Bearer {token}");
    let in_lower_case = format!("bearer   {token}");
    for target in ["/public/x", "/optional/x", "/me"] {
        for (name, value) in [
            ("Authorization", &bearer),
            ("AUTHORIZATION", &in_lower_case),
            ("X-Session", &token),
            ("x-session", &token),
        ] {
            let answer = world.get(target).header(name, value).send().await;
            assert_eq!(answer.status, 200, "{name}: {value}");
            let seen = format!("{:?}", world.app.last());
            assert!(!seen.contains("wxg_"), "{target}: {seen}");
        }
    }
    // Nor one that opens nothing, nor a value that is none, where only the gate has business.
    for (name, value) in [
        ("Authorization", format!("Bearer {UNKNOWN}")),
        ("X-Session", "nonsense".to_owned()),
    ] {
        let request = world.get("/public/x").header(name, &value);
        assert_eq!(request.send().await.status, 200);
        assert!(world.app.last().header(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_place_that_is_not_configured_is_no_place() {
    let by_header = world("[session]\ntoken_from = [\"header:X-Session\"]\n").await;
    let token = by_header.login("alice").await;
    let answer = by_header.get("/me").bearer(&token).send().await;
    assert_eq!(answer.problem(), "session_required");
    let answer = by_header
        .get("/me")
        .header("X-Session", &token)
        .send()
        .await;
    assert_eq!(answer.status, 200);

    let usual = world("").await;
    let token = usual.login("alice").await;
    for target in [
        "/me",
        &format!("/me?token={token}"),
        &format!("/me?wx_ticket={token}"),
    ] {
        let request = usual.get(target).header("X-Session", &token);
        let request = request.header("Cookie", &format!("session={token}"));
        assert_eq!(
            request.send().await.problem(),
            "session_required",
            "{target}"
        );
    }
    assert_eq!(usual.app.count(), 0);
}

#[tokio::test]
async fn two_tokens_are_a_bad_request_on_every_route() {
    let world = world(TWO_PLACES).await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let (bearer, other) = (format!("Bearer {alice}"), format!("Bearer {bob}"));
    for target in ["/public/x", "/optional/x", "/me", "/wx/session"] {
        for pair in [
            [("Authorization", &bearer), ("Authorization", &other)],
            [("Authorization", &bearer), ("Authorization", &bearer)],
            [
                ("Authorization", &bearer),
                ("Authorization", &"Basic YTpi".to_owned()),
            ],
            [
                ("Authorization", &"Basic YTpi".to_owned()),
                ("Authorization", &bearer),
            ],
            [("Authorization", &bearer), ("X-Session", &bob)],
            [("X-Session", &alice), ("X-Session", &alice)],
            [("X-Session", &alice), ("X-Session", &"nonsense".to_owned())],
        ] {
            let [(one, value), (two, another)] = pair;
            let request = world.get(target).header(one, value).header(two, another);
            let answer = request.send().await;
            assert_eq!(answer.status, 400, "{target} {pair:?}");
            assert_eq!(answer.problem(), "bad_request", "{target} {pair:?}");
        }
    }
    assert_eq!(world.app.count(), 0);
}

#[tokio::test]
async fn the_same_token_in_two_places_is_one_token() {
    let world = world(TWO_PLACES).await;
    let token = world.login("alice").await;
    let request = world.get("/me").bearer(&token).header("X-Session", &token);
    assert_eq!(request.send().await.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
    assert!(!format!("{seen:?}").contains("wxg_"));
}

#[tokio::test]
async fn an_invalid_token_is_refused_where_a_missing_one_is_not() {
    let world = world(TWO_PLACES).await;
    for (name, value) in [
        ("Authorization", format!("Bearer {UNKNOWN}")),
        ("X-Session", UNKNOWN.to_owned()),
        ("X-Session", "nonsense".to_owned()),
        ("X-Session", String::new()),
    ] {
        for target in ["/optional/x", "/me", "/wx/session"] {
            let answer = world.get(target).header(name, &value).send().await;
            assert_eq!(answer.status, 401, "{target} {value}");
            assert_eq!(answer.problem(), "session_expired", "{target} {value}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer "), "{challenge}");
        }
    }
    assert_eq!(world.app.count(), 0);

    assert_eq!(world.get("/optional/x").send().await.status, 200);
    assert_eq!(world.app.last().header("x-wx-openid"), [""; 0]);
    let answer = world.get("/me").send().await;
    assert_eq!(
        (answer.status, &*answer.problem()),
        (401, "session_required")
    );
}

#[tokio::test]
async fn a_token_that_was_logged_out_is_refused_on_the_next_request() {
    let world = world("").await;
    let token = world.login("alice").await;
    assert_eq!(world.get("/me").bearer(&token).send().await.status, 200);
    assert_eq!(
        world.post("/wx/logout").bearer(&token).send().await.status,
        204
    );
    for target in ["/me", "/optional/x"] {
        let answer = world.get(target).bearer(&token).send().await;
        assert_eq!(answer.problem(), "session_expired", "{target}");
    }
    assert_eq!(world.app.count(), 1);
}
