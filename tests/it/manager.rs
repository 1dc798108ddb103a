//! A service manager that wants to know how far the gate is, as systemd does with `Type=notify`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};

use crate::support::process::{Gate, Program};
use crate::support::{STUCK, Setup};

/// What the manager was told next.
fn told(manager: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let length = manager
        .recv(&mut text)
        .expect("the manager was told nothing");
    String::from_utf8(text[..length].to_vec()).unwrap()
}

fn tells_nothing(manager: &UnixDatagram) {
    manager.set_nonblocking(true).unwrap();
    let kind = manager.recv(&mut [0; 256]).map_err(|error| error.kind());
    assert_eq!(kind, Err(std::io::ErrorKind::WouldBlock));
}

fn command(file: &str, notify: impl Into<OsString>) -> Command {
    let mut command = Program::by_shell("exec \"$@\"", &["run", "-c", file]);
    command.env("NOTIFY_SOCKET", notify.into());
    command
}

fn start(file: &str, notify: impl Into<OsString>) -> Program {
    Program::spawn(command(file, notify).stdin(Stdio::null()))
}

/// A manager that listens at a path, and one that listens at a name without a file.
fn managers(folder: &tempfile::TempDir) -> [(UnixDatagram, OsString); 2] {
    let path = folder.path().join("notify");
    let name = format!("wxgate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let managers = [
        (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
        (
            UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{name}").into(),
        ),
    ];
    for (manager, _) in &managers {
        manager.set_read_timeout(Some(STUCK)).unwrap();
    }
    managers
}

#[tokio::test]
async fn the_manager_hears_that_the_gate_takes_requests_and_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    for (manager, address) in managers(&folder) {
        let mut gate = Gate::start_as(Setup::default(), |file| start(file, &address)).await;
        assert_eq!(told(&manager), "READY=1", "{}", gate.program.said());
        assert_eq!(gate.ask_admin("/readyz").await.status, 200);
        gate.program.signal("TERM").await;
        assert_eq!(gate.program.ended().await, 0);
        assert_eq!(told(&manager), "STOPPING=1");
        tells_nothing(&manager);
    }
}

#[tokio::test]
async fn a_gate_that_cannot_start_does_not_say_that_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let [(manager, address), _] = managers(&folder);
    let gate = Gate::start(Setup::default()).await;
    // The address is taken.
    let mut taken = command(&gate.file(), &address);
    taken.env("WXGATE_SERVER__LISTEN", gate.address.to_string());
    let mut second = Program::spawn(taken.stdin(Stdio::null()));
    assert_eq!(second.ended().await, 1);
    let mut none = start("/nowhere.toml", &address);
    assert_eq!(none.ended().await, 78);
    tells_nothing(&manager);
}

#[tokio::test]
async fn a_manager_that_cannot_be_told_is_logged_and_keeps_nobody_from_being_served() {
    for address in ["/nowhere/notify", "@nobody-listens-here", "vsock:2:1"] {
        let gate = Gate::start_as(Setup::default(), |file| start(file, address)).await;
        gate.program.line("cannot tell the service manager").await;
        gate.login("alice").await;
    }
}
