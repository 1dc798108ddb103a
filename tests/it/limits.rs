//! What one address or one session can use up of the operator's quota at WeChat.

use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

use crate::support::app::until;
use crate::support::raw::{Answer, Connection, Request};
use crate::support::{Setup, World};

/// The tests connect from loopback: as a proxy they may say whose requests they bring.
fn behind_a_proxy(limits: &str) -> Setup {
    Setup {
        server: "trusted_proxies = [\"127.0.0.1/32\"]".to_owned(),
        ..Setup::with(limits)
    }
}

/// A login with this code from this address.
fn login_from(world: &World, address: &str, code: &str) -> Request {
    world
        .post("/wx/login")
        .header("X-Forwarded-For", address)
        .json(&json!({ "code": code }))
}

async fn try_from(world: &World, address: &str, code: &str) -> Answer {
    login_from(world, address, code).send().await
}

/// Made-up codes from one address, each after the answer to the one before. Gives how many were
/// told to wait.
async fn flood(world: &World, n: usize, codes: usize) -> usize {
    let address = format!("203.0.113.{n}");
    let mut connection = Connection::open(world.address()).await;
    let mut limited = 0;
    for code in 0..codes {
        let request = login_from(world, &address, &format!("junk-{n}-{code}"));
        connection.write(&request.bytes()).await;
        limited += usize::from(connection.answer().await.status == 429);
    }
    limited
}

#[tokio::test]
async fn a_flood_of_made_up_codes_costs_wechat_no_more_than_the_budget_and_honest_users_log_in() {
    const ADDRESSES: usize = 100;
    const CODES_EACH: usize = 100;
    let setup = Setup {
        // Each address has one call under way at most, and nobody is to be told that it is too many.
        wechat: "max_in_flight = 200".to_owned(),
        ..behind_a_proxy("[limits]\nrefused_logins_per_ip = \"5/1m\"")
    };
    let world = setup.start().await;
    let floods = (0..ADDRESSES).map(|n| flood(&world, n, CODES_EACH));
    let honest = async {
        for n in 0..20 {
            let answer = try_from(&world, "198.51.100.7", &world.code("alice")).await;
            assert_eq!(answer.status, 200, "{n}: {answer:?}");
        }
    };
    let (limited, ()) = tokio::join!(join_all(floods), honest);
    assert_eq!(limited, [CODES_EACH - 5; ADDRESSES]);
    assert_eq!(
        world.wechat.calls(),
        u64::try_from(ADDRESSES * 5 + 20).unwrap()
    );
}

#[tokio::test]
async fn parallel_logins_get_no_further_than_the_same_ones_after_each_other() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"3/1m\"");
    let world = setup.start().await;
    let tries = (0..40).map(|n| {
        let world = &world;
        async move {
            try_from(world, "203.0.113.1", &format!("junk-{n}"))
                .await
                .status
        }
    });
    let statuses = join_all(tries).await;
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 37);
    assert_eq!(world.wechat.calls(), 3);
}

#[tokio::test]
async fn honest_people_behind_one_address_all_log_in_at_once() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"3/1m\"");
    let world = setup.start().await;
    let logins = (0..40).map(|n| {
        let world = &world;
        async move {
            try_from(world, "203.0.113.1", &world.code(&format!("user{n}")))
                .await
                .status
        }
    });
    assert_eq!(join_all(logins).await, [200; 40]);
}

#[tokio::test]
async fn who_used_the_budget_up_is_told_when_to_come_again_and_can() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"2/1m\"");
    let world = setup.start().await;
    for n in 0..2 {
        let answer = try_from(&world, "203.0.113.1", &format!("junk-{n}")).await;
        answer.is_refused(400, "login_code_invalid", "relogin");
    }
    let code = world.code("alice");
    let answer = try_from(&world, "203.0.113.1", &code).await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(answer.header("retry-after"), Some("30"));
    world.clock.advance(Duration::from_secs(29));
    let answer = try_from(&world, "203.0.113.1", &code).await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(try_from(&world, "203.0.113.1", &code).await.status, 200);
    assert_eq!(world.wechat.calls(), 3);
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_is_counted_all_the_same() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"1/1m\"");
    let world = setup.start().await;
    let hung_up = login_from(&world, "203.0.113.1", "junk").begin().await;
    until("WeChat is asked", || world.wechat.calls() == 1).await;
    drop(hung_up);
    let answer = try_from(&world, "203.0.113.1", "other-junk").await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(world.wechat.calls(), 1);
}

#[tokio::test]
async fn a_slow_app_server_holds_up_nobody_who_shares_the_address() {
    let setup =
        behind_a_proxy("[login]\nhook = \"/slow\"\n[limits]\nrefused_logins_per_ip = \"1/1m\"");
    let world = setup.start().await;
    let login = login_from(&world, "203.0.113.1", &world.code("alice"));
    let waiting = login.begin().await;
    until("the app server is asked", || world.app.count() == 1).await;
    let answer = try_from(&world, "203.0.113.1", "junk").await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    assert_eq!(world.wechat.calls(), 2);
    drop(waiting);
}

#[tokio::test]
async fn what_is_known_of_a_code_is_told_for_nothing() {
    let limits = "[limits]\nrefused_logins_per_ip = \"2/1m\"\nlogins_per_app = \"3/1m\"";
    let world = behind_a_proxy(limits).start().await;
    let code = world.code("alice");
    let token = try_from(&world, "203.0.113.1", &code).await.token();
    for junk in ["junk", "other-junk"] {
        for _ in 0..5 {
            let answer = try_from(&world, "203.0.113.1", junk).await;
            answer.is_refused(400, "login_code_invalid", "relogin");
        }
    }
    // Nothing is left, neither of the address nor of the mini program.
    for address in ["203.0.113.1", "203.0.113.2"] {
        let answer = try_from(&world, address, &world.code("bob")).await;
        answer.is_refused(429, "rate_limited", "retry");
    }
    assert_eq!(try_from(&world, "203.0.113.1", &code).await.token(), token);
    let answer = try_from(&world, "203.0.113.1", "junk").await;
    answer.is_refused(400, "login_code_invalid", "relogin");
    assert_eq!(world.wechat.calls(), 3);
}

#[tokio::test]
async fn who_brings_a_code_that_is_being_asked_about_pays_nothing() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"1/1m\"");
    let world = setup.start().await;
    let tries = (0..8).map(|_| try_from(&world, "203.0.113.1", "junk"));
    for answer in join_all(tries).await {
        answer.is_refused(400, "login_code_invalid", "relogin");
    }
    assert_eq!(world.wechat.calls(), 1);
}

#[tokio::test]
async fn addresses_of_one_subscriber_share_a_budget_and_others_have_their_own() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"1/1m\"");
    let world = setup.start().await;
    let tries = [
        ("2001:db8:1:2::1", 400),
        ("2001:db8:1:2:ffff::9", 429),
        ("2001:db8:1:3::1", 400),
        ("203.0.113.1", 400),
        ("::ffff:203.0.113.1", 429),
        ("203.0.113.2", 400),
        // NAT64: everybody has the same first 96 bits, and an IPv4 address behind them.
        ("64:ff9b::198.51.100.1", 400),
        ("64:ff9b::198.51.100.2", 400),
        ("64:ff9b::198.51.100.1", 429),
        ("198.51.100.2", 429),
    ];
    for (number, (address, status)) in tries.into_iter().enumerate() {
        // Each brings another code: what is known of one is told for nothing.
        let code = format!("junk-{number}");
        let answer = try_from(&world, address, &code).await;
        assert_eq!(answer.status, status, "{address}: {answer:?}");
    }
}

#[tokio::test]
async fn no_word_of_a_peer_that_is_not_trusted_chooses_whose_budget_is_used() {
    let setup = Setup {
        server: "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1/32\"]".to_owned(),
        ..Setup::with("[limits]\nrefused_logins_per_ip = \"1/1m\"")
    };
    let world = setup.start().await;
    for (n, (peer, claimed, status)) in [
        ("203.0.113.1", "198.51.100.1", 400),
        ("203.0.113.1", "198.51.100.2", 429),
        ("203.0.113.1", "127.0.0.1", 429),
        ("198.51.100.2", "203.0.113.1", 400),
    ]
    .into_iter()
    .enumerate()
    {
        // A balancer tells of the peer, which is not trusted, and that claims to bring others' requests.
        let header = format!("PROXY TCP4 {peer} 127.0.0.1 32768 443\r\n");
        let login = login_from(&world, claimed, &format!("junk-{n}"));
        let mut connection = Connection::open(world.address()).await;
        let bytes = [header.as_bytes(), &login.bytes()].concat();
        connection.write(&bytes).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, status, "{peer} for {claimed}: {answer:?}");
    }
}

#[tokio::test]
async fn through_a_peer_on_this_machine_that_nobody_named_as_a_proxy_nobody_is_limited() {
    let world = Setup::with("[limits]\nrefused_logins_per_ip = \"1/1m\"")
        .start()
        .await;
    // It could be everybody.
    for n in 0..5 {
        let answer = try_from(&world, "203.0.113.1", &format!("junk-{n}")).await;
        answer.is_refused(400, "login_code_invalid", "relogin");
    }
}

/// The outer of two proxies, which nobody declared to be one, would be everybody.
#[tokio::test]
async fn a_client_address_of_a_private_network_is_nobodys_budget() {
    let setup = behind_a_proxy("[limits]\nrefused_logins_per_ip = \"1/1m\"");
    let world = setup.start().await;
    for address in [
        "10.0.0.1",
        "203.0.113.9, 172.16.0.1",
        "127.0.0.9",
        "fd00::1",
        "100.64.0.1",
        "169.254.0.1",
    ] {
        for n in 0..3 {
            let code = format!("junk-{address}-{n}").replace([':', '.', ',', ' '], "");
            let answer = try_from(&world, address, &code).await;
            answer.is_refused(400, "login_code_invalid", "relogin");
        }
    }
}

#[tokio::test]
async fn who_runs_the_gate_is_told_once_which_proxy_to_name() {
    let setup =
        behind_a_proxy("[limits]\nrefused_logins_per_ip = \"1/1m\"\n[log]\nformat = \"json\"");
    let gate = crate::support::process::Gate::start(setup).await;
    for n in 0..3 {
        let login = gate.request("POST", "/wx/login");
        let login = login.header("X-Forwarded-For", "203.0.113.9, 10.1.2.3");
        login
            .json(&json!({ "code": format!("junk-{n}") }))
            .send()
            .await;
    }
    let line = gate.program.line("are not limited").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["level"], &line["add"]),
        (&json!("warn"), &json!("10.1.2.3/32"))
    );
    assert_eq!(gate.program.said().matches("are not limited").count(), 1);
}

#[tokio::test]
async fn a_mini_program_has_a_budget_of_logins_of_its_own() {
    let setup = Setup {
        two_apps: true,
        ..Setup::with("[limits]\nlogins_per_app = \"2/1m\"")
    };
    let world = setup.start().await;
    let login = |app: &'static str| {
        let code = world.code_of(app, "alice");
        let body = json!({ "appid": app, "code": code });
        world.post("/wx/login").json(&body).send()
    };
    for _ in 0..2 {
        assert_eq!(login(crate::support::APPID).await.status, 200);
    }
    let answer = login(crate::support::APPID).await;
    answer.is_refused(429, "rate_limited", "retry");
    assert_eq!(login(crate::support::APPID2).await.status, 200);
    assert_eq!(world.wechat.calls(), 3);
}

#[tokio::test]
async fn a_session_that_fails_to_decrypt_too_often_is_stopped_and_no_other_is() {
    let world = Setup::with("[limits]\ndecrypt_failures_per_session = \"3/1m\"")
        .start()
        .await;
    let (alice, bob) = (world.login("alice").await, world.login("bob").await);
    let decrypt = |token: &str, body: serde_json::Value| {
        world.post("/wx/decrypt").bearer(token).json(&body).send()
    };
    let user = crate::support::person("alice");
    let sealed = || {
        let app = crate::support::appid(crate::support::APPID);
        world.wechat.phone(&app, &user).to_json()
    };
    let junk =
        json!({"encryptedData": "AAAAAAAAAAAAAAAAAAAAAA==", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="});
    // What succeeds uses nothing up.
    for _ in 0..10 {
        assert_eq!(decrypt(&alice, sealed()).await.status, 200);
    }
    for _ in 0..3 {
        let answer = decrypt(&alice, junk.clone()).await;
        answer.is_refused(422, "decrypt_failed", "reacquire");
    }
    for body in [junk.clone(), sealed()] {
        let answer = decrypt(&alice, body).await;
        answer.is_refused(429, "rate_limited", "retry");
        assert_eq!(answer.header("retry-after"), Some("20"));
    }
    decrypt(&bob, junk)
        .await
        .is_refused(422, "decrypt_failed", "reacquire");
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(decrypt(&alice, sealed()).await.status, 200);
}
