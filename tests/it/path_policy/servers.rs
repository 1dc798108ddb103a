//! What real servers make of the targets that pass. `tests/run` leaves out, aloud, those that are not
//! installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::path_policy::programs::{PROGRAMS, Program};
use crate::path_policy::{SOME, View, breaches, there_are_none};

/// Runs one of the programs with its port.
fn run(interpreter: &str, file: &str, port: u16) -> Command {
    let mut command = Command::new(interpreter);
    command
        .arg(format!("{PROGRAMS}/{file}"))
        .arg(port.to_string());
    command
}

/// Asks a server about the targets that pass under some rules, and compares. It has to know at least one
/// path that the rules guard by another spelling: else it would not have been asked anything.
async fn holds(server: &str, program: &Program, spelled: &[(&str, &str)]) {
    let known = program
        .views(spelled.iter().map(|(target, _)| *target))
        .await;
    for ((target, path), views) in spelled.iter().zip(known) {
        let is_known = views.iter().any(|view: &View| view.path == path.as_bytes());
        assert!(is_known, "{target} is not {path} to {server}: {views:?}");
    }
    let passing = &*SOME;
    assert!(passing.len() > 300, "{}", passing.len());
    let views = program
        .views(passing.iter().map(|passing| passing.target.as_str()))
        .await;
    assert!(views.iter().filter(|views| !views.is_empty()).count() > passing.len() / 3);
    let found = passing.iter().zip(views);
    let found = found.flat_map(|(passing, views)| breaches(server, passing, &views));
    there_are_none(found.collect());
}

#[tokio::test]
async fn wsgi_reads_nothing_that_passes_as_a_guarded_path() {
    let program = Program::start(|port, _| run("python3", "wsgi.py", port)).await;
    let spelled = [
        ("/%61dmin", "/admin"),
        ("/x/../exact?y", "/exact"),
        ("/%252561", "/%2561"),
    ];
    holds("WSGI", &program, &spelled).await;
}

#[tokio::test]
async fn asgi_reads_nothing_that_passes_as_a_guarded_path() {
    let python = format!("{PROGRAMS}/.venv/bin/python");
    let program = Program::start(|port, _| run(&python, "asgi.py", port)).await;
    let spelled = [
        ("/%61dmin", "/admin"),
        ("//host/exact", "/exact"),
        ("/exact;x", "/exact"),
    ];
    holds("ASGI", &program, &spelled).await;
}

#[tokio::test]
async fn node_reads_nothing_that_passes_as_a_guarded_path() {
    let program = Program::start(|port, _| run("node", "server.js", port)).await;
    let spelled = [
        ("//host/admin", "/admin"),
        ("/\\host/exact", "/exact"),
        ("/x/%2e%2e/exact", "/exact"),
        ("/x%2f..%2fexact", "/exact"),
    ];
    holds("Node", &program, &spelled).await;
}

#[tokio::test]
async fn express_routes_nothing_that_passes_to_a_guarded_path() {
    let program = Program::start(|port, _| run("node", "express.js", port)).await;
    let spelled = [("/EXACT/", "/exact"), ("/team/a%2fb/keys", "/team/a/keys")];
    holds("Express", &program, &spelled).await;
}

#[tokio::test]
async fn php_routes_nothing_that_passes_to_a_guarded_path() {
    let php = |port: u16, _: &TempDir| {
        let mut command = Command::new("php");
        command.args([
            "-q",
            "-d",
            "display_errors=0",
            "-S",
            &format!("127.0.0.1:{port}"),
        ]);
        command.arg(format!("{PROGRAMS}/front.php"));
        command.stderr(std::process::Stdio::null());
        command
    };
    let program = Program::start(php).await;
    let spelled = [
        ("/%65xact", "/exact"),
        ("//host/exact", "/exact"),
        ("//exact/", "/exact"),
    ];
    holds("a front controller in PHP", &program, &spelled).await;
}

/// What PHP serves: the same small script under each of these names.
const FILES: &[&str] = &[
    "index.php",
    "report.php",
    "admin/index.php",
    "admin/x.php",
    "open/index.php",
    "open/x.php",
    "open/secret/index.php",
    "team/a/keys/index.php",
    "api/x.php",
    "hooks/login/index.php",
];

fn files(folder: &Path) {
    for name in FILES {
        let file = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(format!("{PROGRAMS}/file.php"), file).unwrap();
    }
}

#[tokio::test]
async fn php_serves_no_file_that_is_guarded_for_what_passes() {
    let php = |port: u16, folder: &TempDir| {
        files(folder.path());
        let mut command = Command::new("php");
        command
            .args(["-q", "-S", &format!("127.0.0.1:{port}")])
            .current_dir(folder);
        command.stderr(std::process::Stdio::null());
        command
    };
    let program = Program::start(php).await;
    let spelled = [
        ("/%61dmin/", "/admin/index.php"),
        ("/report.php/x", "/report.php"),
        ("/x/../admin/x.php", "/admin/x.php"),
        ("/admin//x.php", "/admin/x.php"),
    ];
    holds("PHP's files", &program, &spelled).await;
}

fn nginx(merge: &'static str) -> impl Fn(u16, &TempDir) -> Command {
    move |port, folder| {
        let text = fs::read_to_string(format!("{PROGRAMS}/nginx.conf")).unwrap();
        let text = text
            .replace("PORT", &port.to_string())
            .replace("MERGE", merge);
        fs::write(folder.path().join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        command.stderr(std::process::Stdio::null());
        command
    }
}

#[tokio::test]
async fn nginx_reads_nothing_that_passes_as_a_guarded_path() {
    let program = Program::start(nginx("on")).await;
    let spelled = [
        ("/%61dmin/", "/admin/x"),
        ("//exact", "/exact"),
        ("/x/%2e%2e/exact", "/exact"),
    ];
    holds("nginx", &program, &spelled).await;
    let program = Program::start(nginx("off")).await;
    let spelled = [
        ("/TEAM/a%2fb/../keys", "/team/a/keys"),
        ("/x/../exact", "/exact"),
    ];
    holds("nginx that keeps slashes", &program, &spelled[1..]).await;
}

#[tokio::test]
async fn go_reads_nothing_that_passes_as_a_guarded_path() {
    let go = |port: u16, folder: &TempDir| {
        fs::copy(format!("{PROGRAMS}/main.go"), folder.path().join("main.go")).unwrap();
        fs::write(folder.path().join("go.mod"), "module paths\n\ngo 1.18\n").unwrap();
        let mut build = Command::new("go");
        build
            .args(["build", "-o", "paths", "."])
            .current_dir(folder);
        build.env("GOFLAGS", "").env("GOPROXY", "off");
        build.env("GO111MODULE", "on").env("GOWORK", "off");
        assert!(build.status().unwrap().success());
        let mut command = Command::new(folder.path().join("paths"));
        command.arg(port.to_string());
        command
    };
    let program = Program::start(go).await;
    let spelled = [
        ("/%61dmin", "/admin"),
        ("/%2565xact", "/%65xact"),
        ("//x/../exact", "/exact"),
    ];
    holds("Go", &program, &spelled).await;
}

#[tokio::test]
async fn java_reads_nothing_that_passes_as_a_guarded_path() {
    let program = Program::start(|port, _| run("java", "Paths.java", port)).await;
    let spelled = [("//host/%65xact", "/exact"), ("/x/../exact", "/exact")];
    holds("Java", &program, &spelled).await;
}
