//! A client that has gone is noticed, whatever it left behind, and what it held at the app server is
//! free again.

use std::time::Duration;

use crate::support::app::until;
use crate::support::played::Played;
use crate::support::raw::Connection;
use crate::support::reader::Reader;

/// Begins an answer at once, reads on, and never says more.
async fn begin_and_fall_silent(mut reader: Reader) {
    let Some(_seen) = reader.head().await else {
        return;
    };
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    reader.say(head).await;
    reader.gone().await;
}

/// Sends this, reads the begin of the answer, sends that after a while, and goes.
async fn goes(first: &str, then: &str) {
    let app = Played::start(|_, reader| begin_and_fall_silent(reader)).await;
    let world = app
        .setup("limits.header_timeout = \"100ms\"", "")
        .start()
        .await;
    let mut connection = Connection::open(world.address()).await;
    connection.write(first.as_bytes()).await;
    let (status, _fields) = connection.head().await.unwrap();
    assert_eq!(status, 200);
    // Longer than any deadline that began with the request, which would wake somebody.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(app.open(), 1);
    connection.write(then.as_bytes()).await;
    drop(connection);
    until("the app server is let go of", || app.open() == 0).await;
}

#[tokio::test]
async fn who_goes_while_the_app_server_is_silent_is_noticed() {
    goes("GET /a HTTP/1.1\r\nHost: g\r\n\r\n", "").await;
}

#[tokio::test]
async fn who_has_begun_another_request_is_noticed_as_well() {
    goes("GET /a HTTP/1.1\r\nHost: g\r\n\r\nG", "").await;
    goes("GET /a HTTP/1.1\r\nHost: g\r\n\r\n", "GET /b HTTP/1.1\r\n").await;
}

#[tokio::test]
async fn who_ends_an_upload_whose_answer_has_begun_is_noticed_as_well() {
    let begun = "POST /a HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    goes(begun, "0\r\n\r\n").await;
}
