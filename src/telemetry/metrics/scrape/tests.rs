//! What a scrape shows of what was counted on several threads.

use super::*;
use crate::telemetry::metrics::{LoginResult, Plan, PushResult, RouteId, UpstreamId};

const APPID: &str = "wx0123456789abcdef";

struct Nothing;

impl Gauges for Nothing {
    fn sessions(&self) -> Vec<(AppId, u64)> {
        Vec::new()
    }

    fn redis(&self) -> Option<(bool, usize)> {
        Some((true, 2))
    }

    fn sessions_evicted(&self) -> u64 {
        0
    }

    fn snapshots(&self) -> Option<Snapshots> {
        Some(Snapshots {
            last: Some(Timestamp::from_millis(7000)),
            failed: 2,
            endings_not_saved: 3,
        })
    }

    fn process(&self) -> Process {
        Process {
            cpu_millis: Some(1020),
            resident_bytes: Some(4096),
            ..Process::default()
        }
    }

    fn access_token_ages(&self) -> Vec<(AppId, Duration)> {
        Vec::new()
    }

    fn clock_skew(&self) -> Option<i64> {
        Some(-3)
    }

    fn certificate_ends(&self) -> Vec<(Listener, Timestamp)> {
        vec![(Listener::Egress, Timestamp::from_millis(5000))]
    }
}

fn metrics() -> Metrics {
    Metrics::new(Plan {
        apps: vec![AppId::parse(APPID).unwrap()],
        routes: vec!["none".to_owned(), "/\"**".to_owned()],
        upstreams: vec!["upstream".to_owned()],
        apis: vec!["/b".to_owned(), "/a".to_owned(), "/b".to_owned()],
    })
}

#[track_caller]
fn check(metrics: &Metrics, lines: &[&str]) {
    let text = Scrape::new(metrics.clone(), Arc::new(Nothing)).text();
    for line in lines {
        let found = text.lines().filter(|it| it == line).count();
        assert_eq!(found, 1, "{line}\n{text}");
    }
}

#[test]
fn what_workers_count_is_added_up_and_stays_when_they_are_gone() {
    let metrics = metrics();
    let millis = Duration::from_millis;
    let count = |metrics: Metrics| {
        std::thread::spawn(move || {
            let worker = metrics.worker();
            worker.served(RouteId::at(1), Method::Get, 200, millis(2));
            // No such route: the last.
            worker.served(RouteId::at(70_000), Method::Other, 0, millis(3));
            let lost = Outcome::Failure(Failure::Interrupted);
            worker.asked(UpstreamId::at(0), Method::Get, lost, millis(1));
            worker.decrypted(DecryptResult::Ok, KeyAge::Replaced);
            worker.session_unknown();
            worker.headers_stripped(2);
            worker.headers_stripped(0);
        })
    };
    for thread in [(); 3].map(|()| count(metrics.clone())) {
        thread.join().unwrap();
    }
    let get = r#"{http_request_method="GET",http_response_status_code="200",http_route="/\"**"}"#;
    let other =
        r#"{http_request_method="_OTHER",http_response_status_code="0",http_route="/\"**"}"#;
    let asked = r#"{error_type="interrupted",http_request_method="GET",http_response_status_code="",server_address="upstream"}"#;
    check(
        &metrics,
        &[
            &format!("http_server_request_duration_seconds_count{get} 3"),
            &format!("http_server_request_duration_seconds_sum{get} 0.006000"),
            &format!("http_server_request_duration_seconds_count{other} 3"),
            &format!("http_client_request_duration_seconds_count{asked} 3"),
            r#"wxgate_decrypts_total{result="ok",key_age="replaced"} 3"#,
            r#"wxgate_decrypts_total{result="ok",key_age="current"} 0"#,
            "wxgate_sessions_unknown_total 3",
            "wxgate_headers_stripped_total 6",
        ],
    );
}

#[test]
fn what_all_threads_count_together_is_told_as_it_is() {
    let metrics = metrics();
    let app = AppId::parse(APPID).unwrap();
    let stranger = AppId::parse("wx9999999999999999").unwrap();
    for app in [&app, &app, &stranger] {
        metrics.logged_in(app, LoginResult::WechatError);
        metrics.pushed(app, PushResult::Lost);
    }
    let calls = metrics.calls();
    let took = Duration::from_secs(1);
    for (path, status, said) in [
        ("/a", Some(200), Said::Errcode(-1)),
        ("/b", Some(200), Said::Other),
        ("/b", None, Said::Failure(Failure::Timeout)),
        ("/made/up", Some(502), Said::Failure(Failure::HttpStatus)),
    ] {
        calls.answered((calls.api(path), Method::Post), status, said, took);
    }
    let asked = |status, error| {
        format!(
            r#"http_client_request_duration_seconds_count{{error_type="{error}",http_request_method="POST",http_response_status_code="{status}",server_address="wechat"}}"#
        )
    };
    check(
        &metrics,
        &[
            r#"wxgate_logins_total{appid="wx0123456789abcdef",result="wechat_error"} 2"#,
            r#"wxgate_logins_total{appid="wx0123456789abcdef",result="ok"} 0"#,
            r#"wxgate_push_messages_total{appid="wx0123456789abcdef",result="lost"} 2"#,
            r#"wxgate_wechat_requests_total{api="/a",errcode="-1"} 1"#,
            r#"wxgate_wechat_requests_total{api="/b",errcode="other"} 1"#,
            r#"wxgate_wechat_requests_total{api="/b",errcode="timeout"} 1"#,
            r#"wxgate_wechat_requests_total{api="other",errcode="http_status"} 1"#,
            &format!("{} 2", asked("200", "")),
            &format!("{} 1", asked("502", "")),
            &format!("{} 1", asked("", "timeout")),
            "wxgate_wechat_clock_skew_seconds -3",
            r#"wxgate_tls_certificate_expiry_timestamp_seconds{listener="egress"} 5"#,
        ],
    );
}

#[test]
fn what_the_system_does_not_tell_of_the_process_is_left_out() {
    let metrics = metrics();
    check(
        &metrics,
        &[
            "process_cpu_seconds_total 1.020",
            "process_resident_memory_bytes 4096",
        ],
    );
    let text = Scrape::new(metrics, Arc::new(Nothing)).text();
    assert!(text.contains("# TYPE process_open_fds gauge\n"), "{text}");
    assert!(!text.contains("\nprocess_open_fds "), "{text}");
}
