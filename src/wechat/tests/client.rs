//! How the client behaves towards a server that is not as it should be.

use std::error::Error;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::domain::clock::{Clock, HeldClock, Timestamp};
use crate::domain::id::AppId;
use crate::domain::secret::{AppSecret, LoginCode};
use crate::wechat::client::{Client, SetupError};
use crate::wechat::errcode::Errcode;
use crate::wechat::error::{CallError, Malformed, RedeemError};
use crate::wechat::guard::{Judged as _, Verdict};
use crate::wechat::reply::Redeemed;
use crate::wechat::{Credential, Settings};

const APPID: &str = "wx0123456789abcdef";
const SECRET: &str = "planted-secret&appid=other";
const CODE: &str = "planted-code&appid=other";

const GOOD: &str = r#"{"openid":"oUser","session_key":"D1ZWEygStjuLCnZ9IN2l4Q=="}"#;
const BUSY: &str = r#"{"errcode":-1,"errmsg":"system error, rid: 1-2-3"}"#;
const USED: &str = r#"{"errcode":40163,"errmsg":"code been used, rid: 4-5-6"}"#;

/// What the server does with one request.
#[derive(Clone, Debug)]
enum Act {
    /// Writes this and closes.
    Answer(Vec<u8>),
    /// Writes this and then nothing for ever.
    AnswerAndHang(Vec<u8>),
    /// Writes a body without end.
    Flood,
    /// Closes with a reset.
    Reset,
}

fn json(body: &str) -> Act {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n";
    Act::Answer(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// A server that does one act per connection and keeps the head of each request.
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            for act in acts {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(perform(act, stream, Arc::clone(&kept)));
            }
        });
        Self { port, heads }
    }

    fn settings(&self) -> Settings {
        Settings {
            base_url: format!("http://127.0.0.1:{}", self.port),
            ..Settings::default()
        }
    }

    fn requests(&self) -> usize {
        self.heads.lock().len()
    }
}

async fn perform(act: Act, mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_gone) => return,
        }
    }
    heads.lock().push(String::from_utf8(head).unwrap());
    match act {
        Act::Answer(bytes) => stream.write_all(&bytes).await.unwrap(),
        Act::AnswerAndHang(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            std::future::pending::<()>().await;
        }
        Act::Flood => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10485760\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
        }
        Act::Reset => socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap(),
    }
}

async fn redeem(settings: &Settings) -> Result<Redeemed, RedeemError> {
    call(&Client::new(settings).unwrap()).await
}

async fn call(client: &Client) -> Result<Redeemed, RedeemError> {
    let credential = Credential {
        app: AppId::parse(APPID).unwrap(),
        secret: AppSecret::new(SECRET.to_owned()),
        previous_secret: None,
    };
    let result = client
        .redeem(&credential, &LoginCode::parse(CODE).unwrap())
        .await;
    if let Err(error) = &result {
        let told = everything_told_by(error);
        assert!(!told.contains("planted"), "{told}");
    }
    result
}

/// Every text that can be had from an error and its causes.
fn everything_told_by(error: &(dyn Error + 'static)) -> String {
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        writeln!(told, "{error} {error:?} {error:#?}").unwrap();
        next = error.source();
    }
    told
}

#[tokio::test]
async fn a_code_is_redeemed_and_cannot_add_parameters() {
    let server = Server::start(vec![json(GOOD)]).await;
    let redeemed = redeem(&server.settings()).await.unwrap();
    assert_eq!(redeemed.openid.as_str(), "oUser");
    let head = server.heads.lock()[0].clone();
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /sns/jscode2session?appid=wx0123456789abcdef\
         &secret=planted-secret%26appid%3Dother\
         &js_code=planted-code%26appid%3Dother&grant_type=authorization_code HTTP/1.1"
    );
    assert!(!head.to_lowercase().contains("referer"), "{head}");
}

#[tokio::test]
async fn the_date_of_an_answer_tells_how_far_the_clocks_are_apart() {
    let dated = format!(
        "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let server = Server::start(vec![json(GOOD), Act::Answer(dated.into_bytes())]).await;
    let ours = HeldClock::at(Timestamp::from_millis((784_111_777 - 90) * 1000));
    let client = Client::new(&server.settings()).unwrap();
    let client = client.with_clock(Clock::Held(ours));
    call(&client).await.unwrap();
    assert_eq!(client.clock_skew(), None);
    call(&client).await.unwrap();
    assert_eq!(client.clock_skew(), Some(-90));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(vec![json(GOOD)]).await;
    let to = format!("http://127.0.0.1:{}/", elsewhere.port);
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start(vec![Act::Answer(redirect.into_bytes())]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RedeemError::Call(CallError::HttpStatus { status: 302 })
        ),
        "{error:?}"
    );
    assert!(matches!(error.verdict(), Verdict::Answers));
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_server_error_counts_as_out_of_reach() {
    let answer = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".to_vec();
    let server = Server::start(vec![Act::Answer(answer.clone()), Act::Answer(answer)]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RedeemError::Call(CallError::HttpStatus { status: 502 })
        ),
        "{error:?}"
    );
    assert!(matches!(error.verdict(), Verdict::Silent));
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let server = Server::start(vec![Act::Flood]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RedeemError::Call(CallError::Malformed(Malformed::TooLong))
        ),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn no_answer_and_half_an_answer_end_at_the_deadline() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    for sent in [Vec::new(), half] {
        let server = Server::start(vec![Act::AnswerAndHang(sent)]).await;
        let error = redeem(&server.settings()).await.unwrap_err();
        assert!(
            matches!(error, RedeemError::Call(CallError::TimedOut)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_is_malformed_and_not_asked_again() {
    let garbage = Act::Answer(b"220 mail.example.org ESMTP\r\n\r\n".to_vec());
    let server = Server::start(vec![garbage, json(GOOD)]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(
        matches!(
            error,
            RedeemError::Call(CallError::Malformed(Malformed::Http))
        ),
        "{error:?}"
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_tried_once_more() {
    for closed in [Act::Reset, Act::Answer(Vec::new())] {
        let server = Server::start(vec![closed.clone(), json(GOOD)]).await;
        assert!(redeem(&server.settings()).await.is_ok(), "{closed:?}");
        let server = Server::start(vec![closed.clone(), closed.clone(), json(GOOD)]).await;
        let error = redeem(&server.settings()).await.unwrap_err();
        assert!(
            matches!(error, RedeemError::Call(CallError::Interrupted { .. })),
            "{error:?}"
        );
        assert_eq!(server.requests(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    let server = Server::start(vec![Act::Answer(half), json(GOOD)]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(
        matches!(error, RedeemError::Call(CallError::Interrupted { .. })),
        "{error:?}"
    );
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let settings = Settings {
        base_url: format!("http://127.0.0.1:{port}"),
        ..Settings::default()
    };
    let error = redeem(&settings).await.unwrap_err();
    assert!(
        matches!(error, RedeemError::Call(CallError::Unreachable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable_over_https() {
    let answer = Act::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let server = Server::start(vec![answer.clone(), answer]).await;
    let settings = Settings {
        base_url: format!("https://127.0.0.1:{}", server.port),
        timeout: Duration::from_secs(1),
        ..Settings::default()
    };
    let error = redeem(&settings).await.unwrap_err();
    assert!(matches!(error.verdict(), Verdict::Silent), "{error:?}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_busy_wechat_is_asked_once_more_and_no_more_than_that() {
    let server = Server::start(vec![json(BUSY), json(GOOD)]).await;
    assert!(redeem(&server.settings()).await.is_ok());
    let server = Server::start(vec![json(BUSY), json(BUSY), json(GOOD)]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(matches!(error, RedeemError::Busy(_)), "{error:?}");
    let refused = error.refused().unwrap();
    assert_eq!(refused.errcode, Errcode::SystemBusy);
    assert_eq!(refused.rid.as_deref(), Some("1-2-3"));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_code_used_by_our_own_first_attempt_is_not_the_clients_fault() {
    for first in [json(BUSY), Act::Reset] {
        let server = Server::start(vec![first, json(USED)]).await;
        let error = redeem(&server.settings()).await.unwrap_err();
        assert!(matches!(error, RedeemError::Busy(_)), "{error:?}");
        assert_eq!(error.refused().unwrap().errcode, Errcode::CodeUsed);
    }
    let server = Server::start(vec![json(USED)]).await;
    let error = redeem(&server.settings()).await.unwrap_err();
    assert!(matches!(error, RedeemError::CodeUsed(_)), "{error:?}");
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once_and_a_given_up_call_frees_its_place() {
    let server = Server::start(vec![json(GOOD), json(GOOD)]).await;
    let settings = Settings {
        max_in_flight: 1,
        ..server.settings()
    };
    let client = Client::new(&settings).unwrap();
    let clone = client.clone();
    tokio::select! {
        biased;
        // Begins first, and cannot end before the other has been looked at.
        answer = call(&client) => panic!("{answer:?}"),
        refused = call(&clone) => {
            let error = refused.unwrap_err();
            assert!(matches!(error, RedeemError::Call(CallError::TooManyCalls)), "{error:?}");
        }
    }
    let answer = call(&client).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn given_addresses_are_used_instead_of_the_resolver() {
    let server = Server::start(vec![json(GOOD)]).await;
    let settings = Settings {
        base_url: format!("http://wechat.invalid:{}", server.port),
        resolve: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..Settings::default()
    };
    assert!(redeem(&settings).await.is_ok());
}

#[tokio::test]
async fn a_proxy_is_used_when_it_is_set_and_its_password_is_told_to_nobody_else() {
    let proxy = Server::start(vec![json(GOOD)]).await;
    let settings = Settings {
        base_url: "http://wechat.invalid".to_owned(),
        proxy_url: Some(format!("http://user:planted@127.0.0.1:{}", proxy.port)),
        ..Settings::default()
    };
    let client = Client::new(&settings).unwrap();
    assert!(call(&client).await.is_ok());
    let head = proxy.heads.lock()[0].clone();
    assert!(head.starts_with("GET http://wechat.invalid/sns/"), "{head}");
    assert!(
        head.to_lowercase().contains("proxy-authorization"),
        "{head}"
    );
    let printed = format!("{settings:?} {client:?}");
    assert!(!printed.contains("planted"), "{printed}");
    // The proxy is gone by now: the failure must not name it with its password.
    call(&client).await.unwrap_err();
}

#[test]
fn wrong_settings_are_told_apart_and_not_repeated() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = Client::new(&settings).unwrap_err();
        let told = everything_told_by(&error);
        assert!(!told.contains("planted"), "{told}");
        error
    };
    assert!(matches!(
        with(|settings| settings.base_url = "planted".to_owned()),
        SetupError::BaseUrl
    ));
    assert!(matches!(
        with(|settings| settings.proxy_url = Some("http://user:planted@:0:0".to_owned())),
        SetupError::ProxyUrl
    ));
    assert!(matches!(
        with(|settings| settings.ca_pem = Some(b"planted".to_vec())),
        SetupError::Certificates
    ));
}

#[tokio::test]
async fn the_default_settings_make_a_client() {
    assert!(Client::new(&Settings::default()).is_ok());
}
