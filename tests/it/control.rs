//! The control API (interface §5) as curl meets it: what it answers, and what it refuses.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::common::{Api, DEADLINE, Lab, connect, echo_tcp, eventually, refused};

#[test]
fn everything_that_can_be_read_is_answered_as_the_contract_says() {
    let Some(lab) = Lab::open(&[]) else { return };
    let (api, get) = (&lab.api, |path: &str| lab.api.get(path).expect(200));
    assert_eq!(get("/healthz"), json!({ "status": "ok", "hung_workers": 0 }));
    let ready = get("/readyz");
    assert_eq!((&ready["ready"], &ready["state"]), (&json!(true), &json!("ready")));
    assert_eq!((&ready["required"], &ready["endpoints"]["listening"]), (&json!(1), &json!(4)));
    assert_eq!(ready["chunks"]["completed"], 2);

    echo_tcp(&mut connect(lab.block.at(18_000)), b"hello");
    let summary = get("/api/v1/summary");
    for (key, value) in [
        ("instance", json!("lab")),
        ("state", json!("ready")),
        ("ready", json!(true)),
        ("pid", json!(lab.server.pid())),
        ("hung_workers", json!(0)),
        ("admin", Value::Null),
    ] {
        assert_eq!(summary[key], value, "{key}: {summary}");
    }
    assert_eq!(summary["workers"].as_array().map(Vec::len), Some(2), "{summary}");
    let sessions = &summary["sessions"];
    let sum = ["active", "closed", "failed", "forced"].map(|key| sessions[key].as_u64());
    assert_eq!(sum.into_iter().flatten().sum::<u64>(), 1, "{summary}");
    assert_eq!((&sessions["accepted"], &summary["bytes"]["tcp_in"]), (&json!(1), &json!(5)));

    let plan = get("/api/v1/plan");
    assert_eq!((&plan["endpoints"]["total"], &plan["reachable"]), (&json!(4), &json!(true)));
    assert_eq!(plan["findings"], json!([]), "its own sockets are in nobody's way");
    assert_eq!(get("/api/v1/chunks").as_array().map(Vec::len), Some(2));
    assert_eq!(get("/api/v1/workers")[1]["worker"], 2);
    assert_eq!(get("/api/v1/errors"), json!([]));
    assert_eq!(get("/api/v1/config")["threads"]["workers"], 2);
    assert_eq!(get("/api/v1/config")["listen"][0]["name"], "cli");
    let head = api.send("/readyz", &["--head"]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn endpoints_are_listed_by_selector_state_page_and_client() {
    let Some(lab) = Lab::open(&[]) else { return };
    let get = |query: &str| lab.api.get(&format!("/api/v1/endpoints{query}"));
    let all = get("");
    assert_eq!(
        (all.header("x-total-count"), all.header("content-type")),
        (Some("4"), Some("application/json"))
    );
    let rows = all.expect(200);
    assert_eq!(rows[0]["endpoint"], lab.tcp(18_000));
    assert_eq!(rows[0]["state"], "listening");
    let page = get("?limit=2&offset=3");
    assert_eq!(
        (page.header("x-total-count"), page.json().as_array().map(Vec::len)),
        (Some("4"), Some(1))
    );
    assert_eq!(get("?limit=0").expect(200), json!([]));
    assert_eq!(get("?select=udp://*:*").header("x-total-count"), Some("2"));
    assert_eq!(get("?select=group%3Anobody").expect(200), json!([]));
    assert_eq!(get("?state=suspended").expect(200), json!([]));
    echo_tcp(&mut connect(lab.block.at(18_001)), b"here");
    assert_eq!(get("?untouched=true").header("x-total-count"), Some("3"));
    assert_eq!(
        lab.states("/api/v1/endpoints?touched_by=127.0.0.0/8"),
        [(lab.tcp(18_001), "listening".to_owned())]
    );
    assert_eq!(lab.api.post("/api/v1/mark", &json!({})).expect(200)["run"], 1);
    assert_eq!(get("?untouched=true").header("x-total-count"), Some("4"));
}

#[test]
fn orders_suspend_drain_resume_retry_add_and_remove() {
    let Some(lab) = Lab::open(&[]) else { return };
    let (first, tcp) = (lab.block.at(18_000), lab.tcp(18_000));
    let order =
        |name: &str, body: Value| lab.api.post(&format!("/api/v1/{name}"), &body).expect(200);
    let done = order("suspend", json!({ "select": tcp }));
    assert_eq!(done, json!({ "matched": 1, "changed": 1, "closing": 0 }));
    assert!(refused(first));
    let suspended = "/api/v1/endpoints?state=suspended";
    assert_eq!(lab.states(suspended), [(tcp.clone(), "suspended".to_owned())]);
    assert_eq!(lab.api.get("/readyz").expect(200)["state"], "ready", "that was intended");
    order("suspend", json!({ "select": "*" }));
    let nothing_listens = lab.api.get("/readyz").expect(503);
    assert_eq!(
        (&nothing_listens["ready"], &nothing_listens["state"]),
        (&json!(false), &json!("ready"))
    );
    assert_eq!(order("resume", json!({ "select": "state:suspended" }))["changed"], 4);
    assert!(eventually(DEADLINE, || !refused(first)));
    // By the service's own timer.
    order("suspend", json!({ "select": tcp, "sessions": "reset", "for": "50ms" }));
    assert!(eventually(DEADLINE, || lab.states(suspended).is_empty() && !refused(first)));
    assert_eq!(order("drain", json!({ "select": tcp }))["changed"], 1);
    assert!(eventually(DEADLINE, || lab.states(suspended).len() == 1));
    assert_eq!(order("retry", json!({ "select": "*" }))["matched"], 4);
    order("resume", json!({ "select": "*" }));

    let spec = lab.tcp(18_007);
    let added = lab.api.post("/api/v1/endpoints", &json!({ "spec": spec, "group": "cli" }));
    assert_eq!(added.expect(200)["opened"], 1);
    assert!(eventually(DEADLINE, || !refused(lab.block.at(18_007))));
    echo_tcp(&mut connect(lab.block.at(18_007)), b"added");
    let removed = lab.api.delete("/api/v1/endpoints", &json!({ "spec": spec }));
    assert_eq!(removed.expect(200), json!({ "matched": 1, "changed": 1, "closing": 0 }));
    assert!(refused(lab.block.at(18_007)));
    lab.api
        .delete("/api/v1/endpoints", &json!({ "spec": spec }))
        .expect_error(404, "nothing_matches");
}

#[test]
fn shutdown_drains_as_a_signal_does_and_the_socket_is_gone() {
    let Some(lab) = Lab::open(&[]) else { return };
    let mut session = connect(lab.block.at(18_000));
    echo_tcp(&mut session, b"before");
    let answer = lab.api.post("/api/v1/shutdown", &json!({}));
    assert_eq!(answer.expect(202), json!({ "state": "draining" }));
    let done = lab.server.finish().expect_code(0);
    assert_eq!(done.summary()["sessions"]["closed"], 1, "{done:?}");
    assert_eq!(lab.folder.path().read_dir().expect("the folder").count(), 0);
}

#[test]
fn the_admin_address_reads_and_changes_nothing() {
    let Some(lab) = Lab::open(&["--admin", "127.0.0.1:0"]) else { return };
    let summary = lab.api.get("/api/v1/summary").expect(200);
    let admin = Api::Address(summary["admin"].as_str().expect("an address").to_owned());
    for path in ["/healthz", "/readyz", "/api/v1/summary", "/api/v1/plan", "/api/v1/endpoints"] {
        admin.get(path).expect(200);
    }
    for (method, path) in [
        ("POST", "/api/v1/suspend"),
        ("POST", "/api/v1/shutdown"),
        ("DELETE", "/api/v1/endpoints"),
        ("PATCH", "/api/v1/settings"),
        ("PUT", "/readyz"),
    ] {
        let answer = admin.send(path, &["-X", method, "-d", r#"{"select":"*","spec":"*"}"#]);
        answer.expect_error(405, "read_only");
        assert_eq!(answer.header("allow"), Some("get, head"));
    }
    assert_eq!(lab.states("/api/v1/endpoints?state=listening").len(), 4);
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        let answer = admin.send("/readyz", &["-H", &format!("Host: {host}")]);
        answer.expect_error(421, "foreign_host");
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:9180"] {
        admin.send("/readyz", &["-H", &format!("Host: {host}")]).expect(200);
    }
}

/// The data of each event that a request of this query is told.
fn told(lab: &Lab, query: &str) -> Vec<Value> {
    let answer = lab.api.get(&format!("/api/v1/events{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let data = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

#[test]
fn events_are_told_from_where_a_reader_wants_them_and_followed() {
    let Some(lab) = Lab::open(&[]) else { return };
    let select = json!({ "select": lab.tcp(18_000) });
    lab.api.post("/api/v1/suspend", &select).expect(200);
    let changed = |events: &[Value]| {
        let is =
            |event: &&Value| event["event"] == "endpoints_changed" && event["to"] == "suspended";
        events.iter().find(is).cloned()
    };
    assert!(eventually(DEADLINE, || changed(&told(&lab, "?follow=false")).is_some()));
    let all = told(&lab, "?follow=false");
    let one = changed(&all).expect("it was told");
    assert_eq!((&one["instance"], &one["count"]), (&json!("lab"), &json!(1)), "{one}");
    let ids: Vec<_> = all.iter().filter_map(|event| event["id"].as_u64()).collect();
    assert!(ids.is_sorted() && ids.len() == all.len(), "{ids:?}");
    let last = *ids.last().expect("some");
    assert_eq!(told(&lab, &format!("?follow=false&since={}", last - 1)).len(), 1);
    assert_eq!(told(&lab, &format!("?follow=false&since={last}")), [Value::Null; 0]);
    let header = format!("Last-Event-ID: {}", last - 1);
    let answer = lab.api.send("/api/v1/events?follow=false", &["-H", &header]);
    assert_eq!(answer.body.matches("data: ").count(), 1);
    lab.api.get("/api/v1/events?since=x").expect_error(400, "bad_request");

    // A reader that follows hears the end, and its connection ends with it.
    let mut curl = lab.api.curl("/api/v1/events");
    let following = curl.arg("-N").stdout(std::process::Stdio::piped()).spawn().expect("curl");
    let mut following = Following(following);
    let mut lines = BufReader::new(following.0.stdout.take().expect("piped")).lines();
    // It is told at once that it is heard.
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line == ": ping"));
    lab.api.post("/api/v1/resume", &select).expect(200);
    lab.api.post("/api/v1/shutdown", &json!({})).expect(202);
    lab.server.finish().expect_code(0);
    let names: Vec<_> = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
        .collect();
    for name in ["endpoints_changed", "draining", "stopped"] {
        assert!(names.iter().any(|told| told == name), "{name} is missing in {names:?}");
    }
}

/// A curl that is ended with its test.
struct Following(std::process::Child);

impl Drop for Following {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}
