//! Connections to the app server are few, and shared: nobody is left out while others are served.

use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::support::app::until;
use crate::support::played::Played;
use crate::support::raw::{Connection, Request};
use crate::support::reader::Reader;
use crate::support::{STUCK, Setup, World};

async fn open_to_all(workers: usize, upstream: &str) -> World {
    let setup = Setup {
        server: format!("workers = {workers}"),
        upstream: upstream.to_owned(),
        ..Setup::with("[access]\ndefault = \"public\"")
    };
    setup.start().await
}

/// Asks on a kept connection; gives whether that was served and not refused for want of a place.
async fn is_served(connection: &mut Connection, request: &Request) -> bool {
    connection.write(&request.bytes()).await;
    let answer = connection.answer().await;
    if answer.status != 200 {
        assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    }
    answer.status == 200
}

/// Asks until that is served: a connection is free again only about when its answer is there.
async fn is_served_soon(connection: &mut Connection, request: &Request) {
    let asking = async { while !is_served(connection, request).await {} };
    let served = tokio::time::timeout(STUCK, asking).await;
    served.expect("the connection to the app server is never free again");
}

#[tokio::test]
async fn those_refused_while_the_app_is_busy_do_not_stand_in_the_way_of_the_next() {
    for workers in [1, 2] {
        let world = open_to_all(workers, "max_connections = 1\nmax_pending = 0").await;
        let upload = world.post("/upload").header("Content-Length", "8");
        let mut busy = upload.begin().await;
        busy.write(b"half").await;
        until("the upload has begun", || world.app.received() == 4).await;
        let page = world.get("/page");
        let mut kept = Connection::open(world.address()).await;
        for _ in 0..100 {
            assert!(!is_served(&mut kept, &page).await);
        }
        assert_eq!(world.app.connections(), 1);
        busy.write(b"done").await;
        assert_eq!(busy.answer().await.text(), "POST /upload 8 bytes");
        is_served_soon(&mut kept, &page).await;
        assert_eq!(world.app.last().target, "/page");
    }
}

#[tokio::test]
async fn whoever_waited_and_left_does_not_stand_in_the_way_of_the_next() {
    let limits = "max_connections = 1\nconnect_timeout = \"15s\"";
    let world = open_to_all(1, limits).await;
    let busy = world.get("/slow").begin().await;
    until("the app is busy", || world.app.count() == 1).await;
    for _ in 0..20 {
        drop(world.get("/left").begin().await);
    }
    let mut waiting = world.get("/page").begin().await;
    drop(busy);
    assert_eq!(waiting.answer().await.status, 200);
}

/// Asks on a kept connection until everybody has been served often enough: those served before the
/// others do not leave their place.
async fn ask_along(world: &World, served: &Mutex<[usize; 16]>, number: usize) {
    const ENOUGH: usize = 3;
    let request = world.get("/wait/20");
    let mut connection = Connection::open(world.address()).await;
    while served.lock().iter().any(|&count| count < ENOUGH) {
        let count = usize::from(is_served(&mut connection, &request).await);
        served.lock()[number] += count;
    }
}

#[tokio::test]
async fn of_many_clients_of_several_workers_none_is_left_out() {
    // Which worker comes first to the connections is chance, and so there are several attempts.
    for _ in 0..5 {
        let limits = "max_connections = 2\nconnect_timeout = \"1s\"";
        let world = open_to_all(2, limits).await;
        let served = Mutex::new([0; 16]);
        let clients = join_all((0..16).map(|number| ask_along(&world, &served, number)));
        let done = tokio::time::timeout(STUCK, clients).await;
        assert!(done.is_ok(), "left out: {:?}", served.lock());
    }
}

/// Answers every request, each when it may.
async fn answer_when(go: Arc<Semaphore>, mut reader: Reader, answer: String) {
    while reader.head().await.is_some() {
        go.acquire().await.unwrap().forget();
        reader.say(&answer).await;
    }
}

#[tokio::test]
async fn what_comes_after_an_answer_is_not_the_answer_of_whoever_waits() {
    const FIRST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
    const SURPLUS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    const OTHER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother";
    let waits = Arc::new(Semaphore::new(0));
    let go = Arc::clone(&waits);
    let play = move |number: usize, reader: Reader| {
        let answer = if number == 0 {
            format!("{FIRST}{SURPLUS}")
        } else {
            OTHER.to_owned()
        };
        answer_when(Arc::clone(&go), reader, answer)
    };
    let app = Played::start(play).await;
    let limits = "max_connections = 1\nmax_pending = 1\nconnect_timeout = \"15s\"";
    let world = app.setup("workers = 1", limits).start().await;
    let mut first = world.get("/first").begin().await;
    until("the app is busy", || app.accepted() == 1).await;
    let mut waiting = world.get("/waiting").begin().await;
    // Somebody waits when nobody else may.
    while world.get("/more").send().await.status != 503 {}
    waits.add_permits(2);
    assert_eq!(first.answer().await.text(), "first");
    assert_eq!(waiting.answer().await.text(), "other");
}
