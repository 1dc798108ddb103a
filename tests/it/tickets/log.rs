//! No ticket, and no cookie, is written down or told to anybody, whichever way it came.

use serde_json::json;

use crate::support::Setup;
use crate::support::process::Gate;
use crate::tickets::TICKETS;

#[tokio::test]
async fn neither_the_log_nor_a_problem_has_a_ticket_or_a_cookie_in_it() {
    let log = "[log]\nlevel = \"debug\"\nformat = \"json\"\n";
    let mut gate = Gate::start(Setup::with(&format!("{TICKETS}{log}"))).await;
    let token = gate.login("alice").await;
    let request = gate.request("POST", "/wx/ticket").bearer(&token);
    let lent = request.json(&json!({ "path": "/**" })).send().await;
    let ticket = lent.json()["ticket"].as_str().unwrap().to_owned();
    // Also one in which an escape hides what a ticket begins with.
    let escaped = ticket.replace('_', "%5F");
    let mut told = Vec::new();
    for request in [
        gate.get(&format!("/files/a?wx_ticket={ticket}")),
        gate.get(&format!("/files/a?wx_ticket={escaped}")),
        gate.get(&format!("/x/../files?wx_ticket={ticket}")),
        gate.get(&format!("/files/{ticket}")),
        gate.get("/me").header(
            "Referer",
            &format!("http://gate.example/?wx_ticket={ticket}"),
        ),
        gate.get("/me")
            .header("traceparent", &ticket)
            .header("X-Request-Id", &ticket),
        gate.get("/me").header("Cookie", &format!("sid={token}")),
        gate.request("POST", "/me")
            .header("Cookie", &format!("sid={token}")),
        gate.get(&format!("/wx//ticket/{ticket}?to=/")),
        gate.get(&format!("/wx/ticket/{ticket}?to=//{ticket}")),
        gate.get(&format!("/wx/ticket/{escaped}?to=/")),
        gate.request("HEAD", &format!("/wx/ticket/{ticket}?to=/")),
        gate.get(&format!("/wx/ticket/{ticket}?to=/")),
        gate.get(&format!("/wx/ticket/{ticket}?to=/")),
    ] {
        let answer = request.send().await;
        let status = answer.status;
        if status == 303 {
            continue;
        }
        told.push(format!("{status} {:?} {}", answer.headers, answer.text()));
    }
    assert_eq!(told.len(), 13, "one of them is let in: {told:?}");
    gate.program.signal("TERM").await;
    gate.program.ended().await;
    let said = gate.program.said();
    assert!(said.contains("\"/wx/ticket/***\""), "{said}");
    // A part of either is too much.
    let (of_ticket, of_token) = (&ticket[20..40], &token[8..24]);
    let lines = said.lines().chain(told.iter().map(String::as_str));
    // The app server shows what it saw of the path, which is no place for tickets.
    let lines = lines.filter(|line| !line.contains("GET /files/wxg_t-"));
    for line in lines {
        assert!(
            !line.contains(of_ticket) && !line.contains(of_token),
            "{line}"
        );
    }
}
