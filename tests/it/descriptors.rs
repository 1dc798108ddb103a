//! A gate that runs out of file descriptors waits for some to come free, and does nothing else.

use std::time::Duration;

use crate::support::Setup;
use crate::support::process::Gate;
use crate::support::raw::Connection;

#[tokio::test]
async fn without_a_free_descriptor_the_gate_waits_and_then_goes_on() {
    const DESCRIPTORS: usize = 48;
    let setup = Setup {
        server: "workers = 2".to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    let gate = Gate::start_with(setup, DESCRIPTORS).await;
    assert_eq!(gate.get("/a").send().await.status, 200);
    let mut silent = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        silent.push(Connection::open(gate.address).await);
    }
    gate.program.line("cannot accept connections").await;
    let before = gate.program.processor_time();
    let a_while = Duration::from_millis(500);
    tokio::time::sleep(a_while).await;
    let used = gate.program.processor_time().saturating_sub(before);
    assert!(used < a_while / 2, "{used:?} of {a_while:?}");
    drop(silent);
    for _ in 0..10 {
        assert_eq!(gate.get("/a").send().await.status, 200);
    }
}
