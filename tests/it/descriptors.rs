//! A gate that may open few files: it waits, serves again, and neither burns time nor fills the log.

use std::time::Duration;

use crate::support::Setup;
use crate::support::app::until;
use crate::support::process::{Gate, Program};
use crate::support::raw::Connection;

/// Files that the gate may have open. It needs about 20 for itself.
const LIMIT: usize = 64;

/// How often in a second the kernel counts the time of a process.
const TICKS: u64 = 100;

async fn start(workers: usize) -> Gate {
    let setup = Setup {
        server: format!("workers = {workers}\nlimits.body_idle_timeout = \"1h\""),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let lines = format!("ulimit -n {LIMIT}; exec \"$@\"");
    Gate::start_as(setup, |file| {
        Program::spawn(&mut Program::by_shell(&lines, &["run", "-c", file]))
    })
    .await
}

/// The time that the program has used, in ticks.
fn time_used(gate: &Gate) -> u64 {
    let stat = gate.program.proc("stat");
    // proc_pid_stat(5): utime and stime are 14 and 15; the name, which may have blanks, is 2.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |number: usize| fields[number - 3].parse::<u64>().unwrap();
    ticks(14) + ticks(15)
}

/// The files that the program has open.
fn open(gate: &Gate) -> usize {
    let folder = format!("/proc/{}/fd", gate.program.id());
    std::fs::read_dir(folder).unwrap().count()
}

fn complaints(gate: &Gate) -> usize {
    gate.program
        .said()
        .matches("cannot accept connections")
        .count()
}

#[tokio::test]
async fn a_gate_without_descriptors_waits_at_rest_and_serves_again() {
    for workers in 1..=2 {
        let gate = start(workers).await;
        // A login of which the second half never comes holds one descriptor, and gives no way.
        let half = gate
            .request("POST", "/wx/login")
            .header("Content-Length", "9");
        let mut holders = Vec::new();
        for _ in 0..LIMIT {
            let mut holder = Connection::open(gate.address).await;
            holder.write(&half.bytes()).await;
            holders.push(holder);
        }
        gate.program.line("cannot accept connections").await;
        let mut waiting = gate.get("/page").begin().await;

        let before = time_used(&gate);
        // Not waited for: this is the time of which the share is measured.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let used = time_used(&gate) - before;
        assert!(used < TICKS * 3 / 4, "{used} ticks in 3 s");
        assert_eq!(complaints(&gate), 1, "{}", gate.program.said());

        drop(holders);
        // It may be served when there is one descriptor, and none yet towards the app server.
        assert!([200, 502].contains(&waiting.answer().await.status));
        until("descriptors are free", || open(&gate) < LIMIT / 2).await;
        for _ in 0..LIMIT * 2 {
            assert_eq!(gate.get("/page").send().await.status, 200);
        }
        assert_eq!(complaints(&gate), 1, "{}", gate.program.said());
    }
}

#[tokio::test]
async fn connections_that_are_merely_kept_give_way_when_descriptors_lack() {
    let gate = start(1).await;
    let mut kept = Vec::new();
    for _ in 0..LIMIT * 2 {
        let mut connection = gate.request("POST", "/wx/login").begin().await;
        assert_eq!(connection.answer().await.status, 400);
        kept.push(connection);
    }
    assert_eq!(complaints(&gate), 1, "{}", gate.program.said());
    drop(kept);
    until("descriptors are free", || open(&gate) < LIMIT / 2).await;
}
