//! `store.snapshot_file`: sessions outlive the process, and what has ended does not come back, however
//! the process ended. What happens between two steps of writing is tested beside `store::snapshot`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;
use wxgate::sim::wechat::Wanted;

use crate::support::process::{Gate, Program};
use crate::support::{APPID, Setup, appid, person};

const KEY: &str = "JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=";
const OTHER_KEY: &str = "MJZ33XnZSqFc2CVzkqLKYnQXHPEJzW8mLWe8hSeSWCM=";

/// A folder for the snapshot file.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.file(name)).unwrap();
        metadata.permissions().mode() & 0o777
    }

    fn setup(&self, keys: &str) -> Setup {
        Setup::with(&format!(
            "[store]\nsnapshot_file = \"{}\"\n{keys}\n",
            self.file("sessions").display()
        ))
    }

    async fn start(&self) -> Gate {
        let gate = Gate::start(self.setup(&format!("seal_key = \"{KEY}\""))).await;
        gate.program.line("sessions read from").await;
        gate
    }
}

async fn status(gate: &Gate, token: &str) -> u16 {
    gate.get("/me").bearer(token).send().await.status
}

async fn log_out(gate: &Gate, token: &str) -> u16 {
    let request = gate.request("POST", "/wx/logout").bearer(token);
    request.send().await.status
}

#[tokio::test]
async fn after_sigterm_nothing_is_lost_and_nothing_comes_back() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    let (kept, ended) = (gate.login("alice").await, gate.login("bob").await);
    assert_eq!(log_out(&gate, &ended).await, 204);
    let last = gate.login("carol").await;
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);
    assert_eq!(folder.mode("sessions"), 0o600);
    assert_eq!(folder.mode("sessions.ended"), 0o600);

    gate.start_again().await;
    assert_eq!(status(&gate, &kept).await, 200);
    assert_eq!(status(&gate, &last).await, 200);
    assert_eq!(status(&gate, &ended).await, 401);
    assert_eq!(gate.app.last().header("X-WX-OPENID").len(), 1);
}

#[tokio::test]
async fn after_a_kill_no_session_comes_back_that_was_ended_since_the_snapshot() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    let (kept, ended) = (gate.login("alice").await, gate.login("bob").await);
    let everywhere = [gate.login("carol").await, gate.login("carol").await];
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);

    gate.start_again().await;
    let since = gate.login("dave").await;
    assert_eq!(log_out(&gate, &ended).await, 204);
    let all = gate.request("DELETE", "/wx/session?all=true");
    assert_eq!(all.bearer(&everywhere[0]).send().await.status, 204);
    gate.program.kill().await;

    gate.start_again().await;
    assert_eq!(status(&gate, &kept).await, 200);
    for token in [&ended, &everywhere[0], &everywhere[1]] {
        assert_eq!(status(&gate, token).await, 401);
    }
    // Nothing was written since: this is what a crash costs.
    assert_eq!(status(&gate, &since).await, 401);
}

#[tokio::test]
async fn the_session_key_outlives_the_process_as_well() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    let token = gate.login("alice").await;
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);
    gate.start_again().await;
    let wanted = Wanted::default();
    let data = gate
        .wechat
        .user_data(&appid(APPID), &person("alice"), wanted);
    let request = gate.request("POST", "/wx/decrypt").bearer(&token);
    let answer = request.json(&data.to_json()).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn files_that_others_may_read_and_damaged_ones_are_refused_and_kept() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    for damage in [true, false] {
        let token = gate.login("alice").await;
        gate.program.signal("TERM").await;
        assert_eq!(gate.program.ended().await, 0);
        let file = folder.file("sessions");
        if damage {
            let mut bytes = fs::read(&file).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&file, bytes).unwrap();
        } else {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let left = fs::read(&file).unwrap();
        gate.start_again().await;
        let line = gate.program.line("is refused and kept aside").await;
        let why = if damage { "it is damaged" } else { "mode 644" };
        assert!(line.contains(why), "{line}");
        assert_eq!(status(&gate, &token).await, 401);
        assert!(fs::read(folder.file("sessions.refused")).unwrap() == left);
    }
}

#[tokio::test]
async fn another_key_has_the_file_refused_and_a_changed_one_with_the_one_before_does_not() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    let token = gate.login("alice").await;
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);
    let configuration = fs::read_to_string(gate.file()).unwrap();
    let both = format!("seal_key = \"{OTHER_KEY}\"\nprevious_seal_key = \"{KEY}\"");
    let one = format!("seal_key = \"{KEY}\"");
    fs::write(gate.file(), configuration.replace(&one, &both)).unwrap();
    gate.start_again().await;
    assert_eq!(status(&gate, &token).await, 200);
    let later = gate.login("bob").await;
    gate.program.signal("TERM").await;
    assert_eq!(gate.program.ended().await, 0);

    fs::write(gate.file(), &configuration).unwrap();
    gate.start_again().await;
    gate.program.line("encrypted under another key").await;
    for token in [token, later] {
        assert_eq!(status(&gate, &token).await, 401);
    }
}

#[tokio::test]
async fn a_second_gate_does_not_start_on_the_file_of_a_first() {
    let folder = Folder::new();
    let gate = folder.start().await;
    let (code, said) = Program::run(&["run", "-c", &gate.file()]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("another gate uses store.snapshot_file"),
        "{said}"
    );
    let token = gate.login("alice").await;
    assert_eq!(status(&gate, &token).await, 200);
}

#[tokio::test]
async fn a_logout_that_the_disk_does_not_take_holds_and_says_so() {
    let folder = Folder::new();
    // As on a full disk: no file may have anything in it.
    let lines = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let setup = folder.setup(&format!("seal_key = \"{KEY}\""));
    let start = |file: &str| Program::spawn(&mut Program::by_shell(lines, &["run", "-c", file]));
    let gate = Gate::start_as(setup, start).await;
    gate.program
        .line("endings of sessions cannot be saved")
        .await;
    for (method, target) in [("POST", "/wx/logout"), ("DELETE", "/wx/session?all=true")] {
        let token = gate.login("alice").await;
        let answer = gate.request(method, target).bearer(&token).send().await;
        answer.is_refused(503, "overloaded", "retry");
        assert_eq!(answer.header("retry-after"), Some("2"), "{answer:?}");
        assert!(answer.detail().contains("forget the token"), "{answer:?}");
        assert_eq!(status(&gate, &token).await, 401);
    }
    let text = gate.ask_admin("/metrics").await.text();
    assert!(
        text.contains("wxgate_endings_not_saved_total 2\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_gate_that_cannot_save_its_sessions_on_stop_ends_with_an_error() {
    let folder = Folder::new();
    let mut gate = folder.start().await;
    gate.login("alice").await;
    // In the place of the file that is written.
    fs::create_dir(folder.file("sessions.new")).unwrap();
    gate.program.signal("TERM").await;
    gate.program.line("sessions cannot be saved").await;
    assert_eq!(gate.program.ended().await, 1);
}

#[tokio::test]
async fn check_tells_of_a_snapshot_file_without_a_key() {
    let folder = Folder::new();
    let gate = folder.start().await;
    let configuration = fs::read_to_string(gate.file()).unwrap();
    let key = format!("seal_key = \"{KEY}\"");
    fs::write(gate.file(), configuration.replace(&key, "")).unwrap();
    let (code, said) = Program::run(&["check", "-c", &gate.file()]).await;
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains("store.seal_key: missing beside snapshot_file"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_counted_of_snapshots_is_in_the_metrics() {
    let folder = Folder::new();
    let gate = folder.start().await;
    let text = gate.ask_admin("/metrics").await.text();
    for line in [
        "wxgate_snapshot_failures_total 0",
        "wxgate_endings_not_saved_total 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{text}");
    }
}
