//! A client that everybody has: curl, by the versions of HTTP that it speaks. All these tests are
//! left out where there is none.

use std::process::Command;

use tempfile::NamedTempFile;

use crate::support::app::Seen;
use crate::support::played::Played;
use crate::support::reader::Reader;
use crate::support::{World, pattern};

/// The versions, as curl is asked for them and as it tells them.
const VERSIONS: [(&str, &str); 3] = [
    ("--http1.0", "1"),
    ("--http1.1", "1.1"),
    ("--http2-prior-knowledge", "2"),
];

/// What curl tells of each transfer: version, status, bytes sent, connections made.
const TELL: &str = "%{stderr}%{http_version} %{response_code} %{size_upload} %{num_connects}\\n";

/// What came of it.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    /// Heads and bodies, as they came.
    printed: String,
    /// A line for each transfer.
    lines: Vec<String>,
}

impl Told {
    /// Checks that all went well, and what is told of it.
    #[track_caller]
    fn is(&self, lines: &[String]) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.lines, lines, "{self:?}");
    }

    /// The last body.
    fn body(&self) -> &str {
        self.printed.rsplit_once("\r\n\r\n").unwrap().1
    }
}

/// Runs curl.
async fn curl(arguments: &[&str]) -> Told {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--include", "--max-time", "20"])
        .args(["--noproxy", "*", "--write-out", TELL])
        .args(arguments);
    let ran = tokio::task::spawn_blocking(move || curl.output()).await;
    let ran = ran.unwrap().expect("there is no curl");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Told {
        code: ran.status.code(),
        printed: text(ran.stdout),
        lines: text(ran.stderr).lines().map(str::to_owned).collect(),
    }
}

fn url(world: &World, target: &str) -> String {
    format!("http://{}{target}", world.address())
}

/// A world, and curl's word for the token of somebody.
async fn logged_in() -> (World, String) {
    let world = World::start().await;
    let token = world.login("alice").await;
    (world, format!("Authorization: Bearer {token}"))
}

/// A file of this many bytes of the pattern.
fn file(length: usize) -> NamedTempFile {
    use std::io::Write;
    let mut file = NamedTempFile::new().unwrap();
    let mut at = 0;
    while at < length {
        let piece = pattern::piece(at, length - at);
        file.write_all(piece).unwrap();
        at += piece.len();
    }
    file
}

#[track_caller]
fn came_whole(seen: &Seen, length: usize) {
    assert_eq!((seen.body_length, seen.off_pattern), (length, false));
    assert!(seen.header("expect").is_empty(), "{:?}", seen.headers);
}

#[tokio::test]
async fn curl_asks_in_every_version() {
    let (world, token) = logged_in().await;
    for (version, told) in VERSIONS {
        let page = url(&world, "/page");
        let answer = curl(&[version, "--header", &token, &page]).await;
        answer.is(&[format!("{told} 200 0 1")]);
        assert_eq!(answer.body(), "GET /page 0 bytes");
        let seen = world.app.last();
        assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
        assert_eq!(seen.header("host"), [world.address().to_string()]);
        let refused = curl(&[version, &page]).await;
        refused.is(&[format!("{told} 401 0 1")]);
        assert!(refused.body().contains("session_required"), "{refused:?}");
    }
}

#[tokio::test]
async fn curl_keeps_its_connection_whatever_the_answers_are() {
    let (world, token) = logged_in().await;
    let targets = [
        "/page",
        "/status/204",
        "/status/304",
        "/chunked/3",
        "/bytes/0",
        "/page",
    ];
    let urls = targets.map(|target| url(&world, target));
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let one_after_the_other = [&["--http1.1", "--header", &token], &urls[..]].concat();
    let all = curl(&one_after_the_other).await;
    let statuses = [
        "200 0 1", "204 0 0", "304 0 0", "200 0 0", "200 0 0", "200 0 0",
    ];
    all.is(&statuses.map(|status| format!("1.1 {status}")));
    assert_eq!(all.body(), "GET /page 0 bytes");
}

#[tokio::test]
async fn curl_sees_answers_without_a_body_end_at_once() {
    let (world, token) = logged_in().await;
    for (version, told) in VERSIONS {
        for status in [204, 304] {
            let page = url(&world, &format!("/status/{status}"));
            let answer = curl(&[version, "--header", &token, &page]).await;
            answer.is(&[format!("{told} {status} 0 1")]);
        }
        let head = ["--head", version, "--header", &token, &url(&world, "/page")];
        let head = curl(&head).await;
        head.is(&[format!("{told} 200 0 1")]);
        let printed = head.printed.to_ascii_lowercase();
        assert!(printed.contains("content-length: 1234"), "{head:?}");
    }
}

#[tokio::test]
async fn curl_uploads_with_a_length_or_without_and_waits_for_the_go_ahead() {
    const LARGE: usize = 2_000_000;
    let (world, token) = logged_in().await;
    let large = file(LARGE);
    let path = large.path().to_str().unwrap();
    let page = url(&world, "/upload");
    let answer = format!("POST /upload {LARGE} bytes");
    for (version, told) in &VERSIONS[1..] {
        let sized = format!("@{path}");
        let upload = [version, "--header", &token, "--data-binary", &sized, &page];
        let sized = curl(&upload).await;
        sized.is(&[format!("{told} 200 {LARGE} 1")]);
        assert_eq!(sized.body(), answer);
        came_whole(&world.app.last(), LARGE);
        // curl asks for a go-ahead by itself, where the protocol has one and the body is large.
        let waited = sized.printed.starts_with("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(waited, *told == "1.1", "{sized:?}");

        // What comes through a pipe has no length beforehand.
        let piped = format!("cat {path} | curl \"$@\"");
        let mut bash = Command::new("bash");
        bash.args(["-c", &piped, "-", version, "--silent", "--noproxy", "*"])
            .args(["--header", &token, "--request", "POST"])
            .args(["--upload-file", "-", &page]);
        let piped = tokio::task::spawn_blocking(move || bash.output()).await;
        let piped = piped.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&piped.stdout), answer);
        came_whole(&world.app.last(), LARGE);
    }
}

#[tokio::test]
async fn curl_learns_of_a_refusal_before_it_has_sent_a_large_body() {
    let world = World::start().await;
    let large = file(5_000_000);
    let large = format!("@{}", large.path().display());
    let page = url(&world, "/upload");
    let waiting = curl(&["--http1.1", "--data-binary", &large, &page]).await;
    waiting.is(&["1.1 401 0 1".to_owned()]);
    assert!(waiting.body().contains("session_required"), "{waiting:?}");
    // Also when it does not wait: as much as it sends is read off. Of a larger body it might send more
    // before it sees the answer, on a machine that is busy.
    let small = file(900_000);
    let small = format!("@{}", small.path().display());
    let hurried = [
        "--http1.1",
        "--header",
        "Expect:",
        "--data-binary",
        &small,
        &page,
    ];
    let hurried = curl(&hurried).await;
    assert!(hurried.lines[0].starts_with("1.1 401 "), "{hurried:?}");
    assert!(hurried.body().contains("session_required"), "{hurried:?}");
    assert_eq!(world.app.count(), 0);
}

/// Answers with trailers, or breaks off before them.
async fn sum_up(mut reader: Reader) {
    while let Some(seen) = reader.head().await {
        let head =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Digest\r\n\r\n";
        reader.say(head).await;
        reader.say("5\r\nhello\r\n").await;
        if seen.target == "/broken" {
            return;
        }
        reader.say("0\r\nContent-Digest: 7\r\n\r\n").await;
    }
}

#[tokio::test]
async fn curl_sees_trailers_and_broken_answers() {
    let app = Played::start(|_, reader| sum_up(reader)).await;
    let world = app.setup("", "").start().await;
    // Partial file; transfer closed with outstanding data; an HTTP/2 stream not closed cleanly.
    for ((version, told), broken) in VERSIONS[1..].iter().zip([18, 92]) {
        let whole = curl(&[version, "--header", "TE: trailers", &url(&world, "/a")]).await;
        whole.is(&[format!("{told} 200 0 1")]);
        assert!(whole.printed.contains("hello"), "{whole:?}");
        let printed = whole.printed.to_ascii_lowercase();
        assert!(printed.contains("content-digest: 7"), "{whole:?}");
        let cut = curl(&[version, &url(&world, "/broken")]).await;
        assert_eq!(cut.code, Some(broken), "{cut:?}");
    }
}

#[tokio::test]
async fn curl_that_would_rather_speak_http2_or_takes_the_gate_for_a_proxy_is_served() {
    let (world, token) = logged_in().await;
    let page = url(&world, "/page");
    // An upgrade to h2c, which is ignored.
    let upgrade = curl(&["--http2", "--header", &token, &page]).await;
    upgrade.is(&["1.1 200 0 1".to_owned()]);
    // A target with scheme and authority.
    let gate = format!("http://{}", world.address());
    let asked = ["--proxy", &gate, "--noproxy", "", "--header", &token];
    let asked = curl(&[&asked[..], &["http://shop.example/page"]].concat()).await;
    asked.is(&["1.1 200 0 1".to_owned()]);
    let seen = world.app.last();
    assert_eq!(
        (&*seen.target, &*seen.header("host")),
        ("/page", &["shop.example"][..])
    );
    assert!(seen.header("proxy-connection").is_empty());
}
