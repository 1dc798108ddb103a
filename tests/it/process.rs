//! The program as an operator meets it: commands, exit codes, what it says, the admin listener.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::process::{Gate, Program};
use crate::support::raw::Request;
use crate::support::{APPID, SECRET, Setup};

/// A configuration with one rule that serves everybody.
fn good() -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[upstream]\nurl = \"http://127.0.0.1:3000\"\n\
         [[apps]]\nappid = \"{APPID}\"\nsecret = \"{SECRET}\"\n\
         [[access.rules]]\npath = \"/public/**\"\nrequire = \"public\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n"
    )
}

/// A file with this text, for as long as the folder is kept.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

/// The address that a line of `wxgate dev` or `mock-wechat` tells behind this word.
async fn told(program: &Program, word: &str) -> SocketAddr {
    let line = program.line(word).await;
    let url = line.split("http://").nth(1).unwrap();
    url.split_whitespace().next().unwrap().parse().unwrap()
}

fn dev() -> Program {
    Program::start(&["dev", "--listen", "127.0.0.1:0"])
}

#[tokio::test]
async fn the_lines_that_dev_prints_work_when_pasted() {
    let program = dev();
    program.line("Stop with Ctrl-C").await;
    let said = program.said();
    let pasted = said.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        let starts = |word| line.starts_with(word);
        let words = ["curl ", "TOKEN=", "DATA=", "CODE="];
        words.into_iter().any(starts).then_some(line)
    });
    let pasted = pasted.map(|line| format!("{line}\nprintf '\\036'\n"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &pasted.collect::<String>()])
        .env("NO_PROXY", "*");
    let ran = tokio::task::spawn_blocking(move || bash.output()).await;
    let ran = ran.unwrap().unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    let printed: Vec<_> = printed.split('\u{1e}').map(str::trim).collect();
    let [
        token,
        me,
        saved,
        data,
        opened,
        code,
        phone,
        without,
        logout,
        end,
    ] = printed[..]
    else {
        panic!("{printed:#?}");
    };
    assert_eq!((token, data, code, end), ("", "", "", ""));
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert!(me.contains("openid") && me.contains(APPID), "{me}");
    assert_eq!(json(saved)["saved"], true, "{saved}");
    assert_eq!(json(opened)["watermark"]["appid"], APPID, "{opened}");
    assert!(json(opened)["nickName"].is_string(), "{opened}");
    assert_eq!(json(phone)["phoneNumber"], "13580006666", "{phone}");
    assert_eq!(json(without)["status"], 401, "{without}");
    assert_eq!(json(without)["code"], "session_required", "{without}");
    assert_eq!(logout, "204");
}

#[tokio::test]
async fn dev_answers_within_a_second_of_its_start() {
    // The machine may be busy with other tests: one quick start out of a few is proof enough.
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let program = dev();
        let gate = told(&program, "  gate ").await;
        let code = serde_json::json!({ "code": "mock-alice" });
        let answer = Request::new(gate, "POST", "/wx/login").json(&code).send();
        assert_eq!(answer.await.status, 200);
        took.push(begun.elapsed());
        if took.iter().any(|took| *took < Duration::from_secs(1)) {
            return;
        }
    }
    panic!("{took:?}");
}

#[tokio::test]
async fn dev_takes_the_codes_of_the_developer_tools_whatever_the_project() {
    let program = dev();
    let gate = told(&program, "  gate ").await;
    for code in ["0a1b2c3d4e5f", "0a1b2c3d4e5f"] {
        let code = serde_json::json!({ "code": code, "appid": "wxffffffffffffffff" });
        let login = Request::new(gate, "POST", "/wx/login").json(&code);
        assert_eq!(login.send().await.status, 200);
    }
}

#[tokio::test]
async fn every_fault_is_told_in_one_run_with_its_place_and_nothing_listens() {
    let bad = "[server]\nlisen = \"127.0.0.1:0\"\nworkers = \"many\"\n[upstream]\n\
               url = \"ftp://x\"\n[[apps]]\nappid = \"wx0123456789abcdef\"\n\
               [log]\nlevel = \"loud\"\n";
    let (_folder, path) = file(bad);
    for command in ["run", "check"] {
        let (code, said) = Program::run(&[command, "-c", &path]).await;
        assert_eq!(code, 78, "{said}");
        for (line, key) in [
            (2, "server.lisen"),
            (3, "server.workers"),
            (5, "upstream.url"),
            (6, "apps[0].secret"),
            (9, "log.level"),
        ] {
            let begin = format!("{path}:{line}: {key}: ");
            assert!(
                said.lines().any(|l| l.starts_with(&begin)),
                "{begin}\n{said}"
            );
        }
        assert_eq!(said.lines().count(), 5, "{said}");
        assert!(said.contains("server.listen"), "the nearest key: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_or_no_toml_is_a_bad_configuration() {
    let (_folder, path) = file("[server\n");
    for path in [path, "/nowhere/wxgate.toml".to_owned()] {
        for command in ["run", "check"] {
            let (code, said) = Program::run(&[command, "-c", &path]).await;
            assert_eq!(code, 78, "{said}");
            assert!(said.contains(&path), "{said}");
        }
    }
}

#[tokio::test]
async fn a_good_file_checks_good() {
    let (_folder, path) = file(&good());
    let (code, said) = Program::run(&["check", "-c", &path]).await;
    assert_eq!((code, said), (0, format!("{path}: good\n")));
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_exits_2() {
    let lines: [&[&str]; 5] = [
        &[],
        &["fly"],
        &["run"],
        &["dev", "--listen", "nowhere"],
        &["routes", "explain", "GET"],
    ];
    for line in lines {
        let (code, said) = Program::run(line).await;
        assert_eq!(code, 2, "{line:?}: {said}");
        assert!(said.contains("--help"), "{line:?}: {said}");
    }
}

#[tokio::test]
async fn the_version_is_told() {
    let told = format!("wxgate {}", env!("CARGO_PKG_VERSION"));
    let (code, said) = Program::run(&["--version"]).await;
    assert_eq!(code, 0);
    assert!(said.starts_with(&told), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_told_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for table in ["server", "admin"] {
        let free = format!("[{table}]\nlisten = \"127.0.0.1:0\"");
        let used = format!("[{table}]\nlisten = \"{address}\"");
        let (_folder, path) = file(&good().replace(&free, &used));
        let (code, said) = Program::run(&["run", "-c", &path]).await;
        assert_eq!(code, 1, "{said}");
        let line = format!("cannot listen on {address}");
        assert!(said.contains(&line), "{said}");
        assert!(said.contains("in use"), "{said}");
        assert!(!said.contains("\"listening\""), "{said}");
    }
    let (code, said) = Program::run(&["dev", "--listen", &address]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[tokio::test]
async fn a_health_check_tells_a_living_gate_from_none() {
    let gate = Gate::start(Setup::default()).await;
    let url = format!("http://{}/healthz", gate.admin);
    let (code, said) = Program::run(&["healthcheck", "--url", &url]).await;
    assert_eq!((code, said.as_str()), (0, ""));
    let alive = format!("[admin]\nlisten = \"{}\"", gate.admin);
    let (_folder, path) = file(&good().replace("[admin]\nlisten = \"127.0.0.1:0\"", &alive));
    let (code, said) = Program::run(&["healthcheck", "-c", &path]).await;
    assert_eq!((code, said.as_str()), (0, ""));

    let no_such = format!("http://{}/nothing", gate.admin);
    let (code, said) = Program::run(&["healthcheck", "--url", &no_such]).await;
    assert_eq!(code, 1);
    assert!(said.contains(&no_such), "{said}");
    drop(gate);
    let (code, said) = Program::run(&["healthcheck", "--url", &url]).await;
    assert_eq!(code, 1);
    assert!(!said.is_empty());
}

#[tokio::test]
async fn a_health_check_needs_no_certificates_of_the_system() {
    let gate = Gate::start(Setup::default()).await;
    let url = format!("http://{}/healthz", gate.admin);
    // As in an image that holds the gate alone.
    let none = "SSL_CERT_FILE=/nowhere SSL_CERT_DIR=/nowhere exec \"$@\"";
    let mut command = Program::by_shell(none, &["healthcheck", "--url", &url]);
    let mut program = Program::spawn(&mut command);
    assert_eq!(program.ended().await, 0, "{}", program.said());
}

#[tokio::test]
async fn paths_that_belong_to_the_gate_are_explained() {
    let tables = "[login]\nhook = \"/hooks/login\"\n[decrypt]\nin_flight = [\"/profile\"]\n";
    let (_folder, path) = file(&format!("{}\n{tables}", good()));
    for (target, told) in [
        (
            "/public/../Hooks/login",
            "decision  answered with 404 not_found",
        ),
        ("/profile", "its body opened on the way"),
        ("/Profile", "refused with 400 ambiguous_path"),
    ] {
        let explain = ["routes", "explain", "POST", target, "-c", &path];
        let (code, said) = Program::run(&explain).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(told), "{target}: {said}");
    }
}

#[tokio::test]
async fn routes_are_explained_by_what_decides_on_them() {
    let (_folder, path) = file(&good());
    for (method, target, told) in [
        ("GET", "/me", "decision  access.default = session"),
        ("GET", "/me", "X-WX-OPENID"),
        ("GET", "/me", "forwarded to http://127.0.0.1:3000"),
        (
            "GET",
            "/public/logo.png",
            "decision  access.rules[0] /public/** require = public",
        ),
        ("GET", "/public/logo.png", "injected  nothing"),
        (
            "GET",
            "/public/../me",
            "decision  refused with 400 ambiguous_path",
        ),
        (
            "GET",
            "/public/%2e%2e/me",
            "  /me  ->  access.default = session",
        ),
        (
            "POST",
            "/wx/login",
            "decision  answered by the gate itself (login)",
        ),
        (
            "POST",
            "/wx/phone",
            "decision  answered by the gate itself (phone)",
        ),
    ] {
        let explain = ["routes", "explain", method, target, "-c", &path];
        let (code, said) = Program::run(&explain).await;
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains(told),
            "{told:?} for {method} {target}:\n{said}"
        );
    }
}

#[tokio::test]
async fn the_admin_listener_answers_operators_and_nobody_elses_web_page() {
    let gate = Gate::start(Setup::default()).await;
    for (target, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/", 404),
    ] {
        assert_eq!(gate.ask_admin(target).await.status, status, "{target}");
    }
    let version = gate.ask_admin("/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));

    let port = gate.admin.port();
    let ask = |host: String| Request::new(gate.admin, "GET", "/healthz").header("Host", &host);
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = ask(host.clone()).send().await;
            assert!(matches!(answer.status, 400 | 403), "{host}: {answer:?}");
        }
    }
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert_eq!(ask(host.clone()).send().await.status, 200, "{host}");
        }
    }
}

#[tokio::test]
async fn the_admin_listener_is_no_door_to_the_app_and_the_gate_none_to_it() {
    let gate = Gate::start(Setup::default()).await;
    let token = gate.login("alice").await;
    let me = Request::new(gate.admin, "GET", "/me").header("Host", "localhost");
    assert_eq!(me.bearer(&token).send().await.status, 404);
    assert_eq!(gate.app.count(), 0);
    assert_eq!(
        gate.get("/healthz").send().await.problem(),
        "session_required"
    );
}

#[tokio::test]
async fn the_simulated_wechat_answers_alone() {
    let program = Program::start(&["mock-wechat", "--listen", "127.0.0.1:0"]);
    let wechat = told(&program, "simulated WeChat on").await;
    let login = format!(
        "/sns/jscode2session?appid={APPID}&secret=x&grant_type=authorization_code&js_code="
    );
    let redeem = |code: &str| Request::new(wechat, "GET", &format!("{login}{code}")).send();
    let good = redeem("mock-alice").await.json();
    for key in ["openid", "session_key", "unionid"] {
        assert!(good[key].is_string(), "{key}: {good}");
    }
    assert_eq!(redeem("never-issued").await.json()["errcode"], 40029);
    let help = Request::new(wechat, "GET", "/_mock/").send().await;
    assert!(help.text().contains("/_mock/userdata"), "{help:?}");
}
