//! The edge's own operator at real gateways, and the API that answers from what it knows.

use crate::house::edge::Edge;
use crate::house::events::Events;
use crate::house::gateway::{Admin, RealGateway, TOKEN};
use crate::house::keys::{ACME, GLOBEX, READER, VIEWER};
use crate::house::parts;
use crate::house::process::free_address;
use crate::house::site::Site;
use crate::house::wait::until;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// A gateway takes its time to start, and the edge a moment to come back to it.
const START: Duration = Duration::from_mins(3);

/// Acme's gateway, and one of acme's that nobody runs.
fn site(gateway: &RealGateway) -> Site {
    let (address, nobody) = (gateway.address(), free_address());
    Site::new()
        .top("allow_literal_secrets: true")
        .gateway_entry(&format!(
            "id: ceo, name: CEO, tenant: acme, url: \"ws://{address}\", token: \"{TOKEN}\""
        ))
        .gateway_entry(&format!("id: gone, tenant: acme, url: \"ws://{nobody}\", token: \"{TOKEN}\""))
        .gateway_routes()
        .route("name: health, path: /health, scopes: [gateways:read], mission_control: true")
}

#[test]
fn mission_control_knows_what_a_real_gateway_does() {
    let Some(cache) = parts::gateway() else { return };
    let mut gateway = RealGateway::start(&cache);
    let site = site(&gateway);
    let edge = Edge::start(&site);
    until("the operator's connection", START, || {
        (get(&edge, "/api/gateways/ceo/status")["connected"] == true).then_some(())
    });

    it_is_told_what_it_is(&edge);
    let mut events = Events::open(&edge.caller(VIEWER), "/api/events?gateway=ceo", None).expect("a stream");
    let mut admin = gateway.admin();
    let (good, bad) = work(&mut admin);
    tasks_and_jobs_are_there(&edge, &good, &bad);
    what_happened_was_told(&mut events, &good);
    a_stream_goes_on_where_it_broke_off(&edge, &mut admin, &good);
    filters_and_pages_hold(&edge);
    what_is_away_is_one_error(&edge);
    nobody_else_sees_anything(&edge);
    what_is_not_understood_is_refused(&edge);
    every_answer_is_one_that_the_document_promises(&edge);
    a_reload_leaves_it_alone(&edge, &site);
    it_comes_back_by_itself(&mut gateway, &edge, &good);
    let output = edge.all_output();
    assert!(!output.contains(TOKEN) && !output.contains(ACME.text), "a secret is in the log");
}

fn get(edge: &Edge, path: &str) -> Value {
    edge.caller(ACME).get(path).expect(200).json()
}

fn it_is_told_what_it_is(edge: &Edge) {
    let gateway = get(edge, "/api/gateways/ceo");
    assert_eq!((&gateway["name"], &gateway["version"]), (&json!("CEO"), &json!("2026.9.6")), "{gateway}");
    assert_eq!(gateway["wsUrl"], format!("ws://{}/gateways/ceo", edge.address()));
    let status = until("all lists", START, || {
        let status = get(edge, "/api/gateways/ceo/status");
        (status["errors"] == json!([]) && !status["gateway"].is_null() && !status["health"].is_null())
            .then_some(status)
    });
    assert_eq!((&status["status"], &status["protocol"]), (&json!("connected"), &json!(4)), "{status}");
    assert_eq!((&status["agents"], &status["health"]["ok"]), (&json!(1), &json!(true)), "{status}");
    assert_eq!(status["gateway"]["runtimeVersion"], "2026.9.6", "{status}");
    assert!(status["sessions"].is_u64() && status["channels"].is_u64(), "{status}");
    assert!(status["ageMs"].as_u64().is_some_and(|age| age < 60_000), "{status}");
    assert!(status["jobs"]["total"].as_u64().is_some_and(|jobs| jobs >= 1), "{status}");
    // Where its files are is its own business.
    assert!(!status.to_string().contains("/state/"), "{status}");
}

/// Gives the gateway real work: one job that goes well, one that does not. Their ids.
fn work(admin: &mut Admin) -> (String, String) {
    let job = |name: &str, script: &str| {
        json!({"name": name, "enabled": true, "schedule": {"kind": "every", "everyMs": 3_600_000},
            "sessionTarget": "isolated", "wakeMode": "now", "delivery": {"mode": "none"},
            "payload": {"kind": "command", "argv": ["/bin/sh", "-c", script], "timeoutSeconds": 20}})
    };
    let mut begin = |name: &str, script: &str| {
        let added = admin.call("cron.add", &job(name, script));
        let id = added["job"]["id"].as_str().or(added["id"].as_str()).expect("a job has an id").to_owned();
        admin.call("cron.run", &json!({"id": id, "mode": "force"}));
        id
    };
    (begin("echo-job", "echo hello from job"), begin("fail-job", "echo boom >&2; exit 3"))
}

fn row<'v>(list: &'v Value, name: &str, value: &str) -> Option<&'v Value> {
    list.as_array()?.iter().find(|row| row[name] == value)
}

fn tasks_and_jobs_are_there(edge: &Edge, good: &str, bad: &str) {
    let (done, failed) = until("the tasks' ends", START, || {
        let answer = get(edge, "/api/tasks");
        let of = |job: &str, status: &str| {
            row(&answer["tasks"], "sourceId", job).filter(|task| task["status"] == status).cloned()
        };
        Some((of(good, "completed")?, of(bad, "failed")?))
    });
    assert_eq!((&done["gatewayId"], &done["title"]), (&json!("ceo"), &json!("echo-job")), "{done}");
    assert_eq!(done["terminalSummary"], "hello from job", "{done}");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains('3')), "{failed}");
    let (done, failed) = until("the jobs' runs", START, || {
        let answer = get(edge, "/api/jobs");
        let of = |job: &str, status: &str| {
            let job = row(&answer["jobs"], "id", job)?;
            let has_run = job["lastRunStatus"] == status && job["runs"][0]["status"] == status;
            (has_run && job["effectiveAgentId"] == "main").then(|| job.clone())
        };
        Some((of(good, "ok")?, of(bad, "error")?))
    });
    assert_eq!(done["runs"][0]["summary"], "hello from job", "{done}");
    assert_eq!(done["scheduleKind"], "every", "{done}");
    assert!(done["nextRunAtMs"].is_u64() && failed["lastRunError"].is_string(), "{done} {failed}");
    // What a job runs is not for those who look.
    assert!(!done.to_string().contains("/bin/sh"), "{done}");
    let status = get(edge, "/api/gateways/ceo/status");
    assert_eq!(status["tasks"]["byStatus"]["failed"], 1, "{status}");
    assert_eq!(status["jobs"]["failing"], 1, "{status}");
}

fn what_happened_was_told(events: &mut Events, good: &str) {
    let mut names = Vec::new();
    loop {
        let event = events.next().expect("the stream goes on");
        let data: Value = serde_json::from_str(&event.data).expect("data is JSON");
        assert_eq!(data["gatewayId"], "ceo", "{data}");
        names.push(event.name.clone());
        if event.name == "run" && data["jobId"] == *good {
            assert_eq!(data["summary"], "hello from job", "{data}");
            break;
        }
    }
    assert_eq!(names[0], "gateway");
    assert!(names.iter().any(|name| name == "task") && names.iter().any(|name| name == "job"), "{names:?}");
}

/// What happens while nobody listens is told to who comes back, and nothing twice.
fn a_stream_goes_on_where_it_broke_off(edge: &Edge, admin: &mut Admin, job: &str) {
    let caller = edge.caller(VIEWER);
    let open = |last: Option<&str>| Events::open(&caller, "/api/events?gateway=ceo", last).expect("a stream");
    let first = open(None).next().expect("how it stands");
    assert_eq!(first.name, "gateway");
    admin.call("cron.update", &json!({"id": job, "patch": {"name": "echo-again"}}));
    until("the new name", START, || {
        row(&get(edge, "/api/jobs")["jobs"], "name", "echo-again").is_some().then_some(())
    });
    let mut again = open(Some(&first.id));
    let (mut seen, mut ids) = (Vec::new(), Vec::new());
    while !seen.iter().any(|told: &String| told.contains("echo-again")) {
        let event = again.next().expect("the stream goes on");
        assert_ne!((event.name.as_str(), event.id.is_empty()), ("gateway", true), "{event:?}");
        seen.push(event.data);
        ids.push(event.id);
    }
    // From the last one on, it does not come again.
    let last = ids.last().expect("an event").clone();
    let told = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), told, "{ids:?}");
    admin.call("cron.update", &json!({"id": job, "patch": {"name": "echo-job"}}));
    let mut later = open(Some(&last));
    let next = loop {
        let event = later.next().expect("the stream goes on");
        if event.name == "job" {
            break event;
        }
    };
    assert!(next.data.contains("echo-job") && !next.data.contains("echo-again"), "{next:?}");
    // One that is not known is told so, and begins anew.
    let mut lost = open(Some("0-1"));
    let (missed, stands) = (lost.next().expect("an event"), lost.next().expect("an event"));
    assert_eq!((missed.name.as_str(), missed.data.as_str()), ("missed", "{\"events\":null}"));
    assert_eq!(stands.name, "gateway");
}

fn filters_and_pages_hold(edge: &Edge) {
    let failed = get(edge, "/api/tasks?status=failed&gateway=ceo");
    assert_eq!(failed["tasks"].as_array().map(Vec::len), Some(1), "{failed}");
    assert_eq!(get(edge, "/api/tasks?agent=nobody")["tasks"], json!([]));
    assert_eq!(get(edge, "/api/tasks?since=2999-01-01T00:00:00Z")["tasks"], json!([]));
    assert_eq!(get(edge, "/api/jobs?status=error")["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(get(edge, "/api/jobs?runs=0&status=ok")["jobs"][0]["runs"], json!([]));
    for (path, name) in [("/api/tasks", "tasks"), ("/api/jobs", "jobs")] {
        let whole = get(edge, path)[name].as_array().expect("a list").len();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(edge, &format!("{path}?limit=1{cursor}"));
            let ids = page[name].as_array().expect("a list").iter().map(|row| row["id"].to_string());
            seen.extend(ids);
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen.len(), whole);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), whole, "{path}: a row came twice");
    }
}

fn what_is_away_is_one_error(edge: &Edge) {
    for path in ["/api/tasks", "/api/jobs"] {
        let answer = get(edge, path);
        let errors = answer["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), 1, "{answer}");
        assert_eq!((&errors[0]["gatewayId"], &errors[0]["code"]), (&json!("gone"), &json!("unreachable")));
        let told = errors[0]["error"].as_str().expect("a sentence");
        assert!(!told.contains("127.0.0.1"), "an inner address is told: {told}");
        assert_eq!(answer["gateways"][0]["connected"], true, "{answer}");
        assert_eq!(answer["gateways"][1]["connected"], false, "{answer}");
    }
    let status = get(edge, "/api/gateways/gone/status");
    assert_eq!((&status["status"], &status["tasks"]), (&json!("disconnected"), &Value::Null), "{status}");
}

fn nobody_else_sees_anything(edge: &Edge) {
    let globex = edge.caller(GLOBEX);
    assert_eq!(globex.get("/api/gateways").expect(200).json(), json!({"gateways": []}));
    for (path, name) in [("/api/tasks", "tasks"), ("/api/jobs", "jobs")] {
        let answer = globex.get(path).expect(200).json();
        assert_eq!(answer, json!({name: [], "nextCursor": null, "gateways": [], "errors": []}));
    }
    let of = |id: &str| {
        [
            "/api/gateways/ID",
            "/api/gateways/ID/status",
            "/api/tasks?gateway=ID",
            "/api/jobs?gateway=ID",
            "/api/events?gateway=ID",
        ]
        .map(|path| globex.get(&path.replace("ID", id)).expect(404).text())
    };
    assert_eq!(of("ceo"), of("none"));
    assert_eq!(of("ceo")[0], r#"{"error":"Not found"}"#);
    // A key without the route's scope, and none.
    edge.caller(READER).get("/api/tasks").refused(403, "forbidden");
    edge.client().get("/api/tasks").refused(401, "unauthorized");
}

fn what_is_not_understood_is_refused(edge: &Edge) {
    for path in [
        "/api/tasks?limit=0",
        "/api/tasks?x=1",
        "/api/jobs?since=soon",
        "/api/tasks?cursor=x",
        "/api/gateways?gateway=ceo",
    ] {
        edge.caller(ACME).get(path).expect(400);
    }
    edge.caller(ACME).post("/api/tasks", "{}").expect(405);
    let none = edge.caller(ACME).get("/api/federation/health").expect(404).json();
    assert_eq!(none, json!({"error": "Not configured", "ok": false}));
}

fn every_answer_is_one_that_the_document_promises(edge: &Edge) {
    let Some(schemathesis) = parts::schemathesis() else { return };
    let config = parts::repository().join("tests/schemathesis/mission-control.toml");
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(config).arg("run");
    command.arg(format!("http://{}/api/openapi.json", edge.address()));
    command.args(["-H", &format!("X-API-Key: {}", ACME.text)]);
    command.args(["--generation-deterministic", "--max-examples", "15", "--phases", "coverage,fuzzing"]);
    command.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
         response_headers_conformance",
    ]);
    command.args(["--warnings", "off", "--continue-on-failure", "--no-color", "--request-timeout", "30"]);
    let folder = crate::house::temp::Temp::new();
    let out = command.current_dir(folder.path()).output().expect("schemathesis runs");
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(told.contains("No issues found"), "{told}");
}

fn a_reload_leaves_it_alone(edge: &Edge, site: &Site) {
    let more = format!("id: more, tenant: globex, url: \"ws://{}\"", free_address());
    edge.rewrite(&site.clone().gateway_entry(&more));
    until("the new gateway", START, || {
        let answer = edge.caller(GLOBEX).get("/api/tasks").expect(200).json();
        (answer["errors"][0]["gatewayId"] == "more").then_some(())
    });
    let connects = [("gateway", "ceo"), ("result", "connected")];
    assert!(edge.metrics().is("openclaw_edge_gateway_connects_total", &connects, 1));
    assert!(edge.metrics().is("openclaw_edge_gateway_links", &[("gateway", "ceo")], 1));
    edge.rewrite(site);
    until("its end", START, || {
        let answer = edge.caller(GLOBEX).get("/api/tasks").expect(200).json();
        (answer["errors"] == json!([])).then_some(())
    });
    assert!(edge.metrics().is("openclaw_edge_gateway_connects_total", &connects, 1));
}

/// It goes, is told to be away, and comes back without anybody's doing.
fn it_comes_back_by_itself(gateway: &mut RealGateway, edge: &Edge, good: &str) {
    gateway.stop();
    let answer = until("its absence", START, || {
        let answer = get(edge, "/api/tasks");
        row(&answer["errors"], "gatewayId", "ceo").is_some().then_some(answer)
    });
    // What was known is still told, and how old it is.
    assert!(row(&answer["tasks"], "sourceId", good).is_some(), "{answer}");
    assert_eq!(answer["gateways"][0]["connected"], false, "{answer}");
    gateway.again();
    until("its return", START, || {
        let answer = get(edge, "/api/jobs?gateway=ceo");
        (answer["errors"] == json!([])).then_some(())
    });
    let mut admin = gateway.admin();
    admin.call("cron.run", &json!({"id": good, "mode": "force"}));
    until("the second run", START, || {
        let answer = get(edge, "/api/jobs?gateway=ceo");
        let runs = row(&answer["jobs"], "id", good)?["runs"].as_array()?.len();
        (runs == 2).then_some(())
    });
    assert!(edge.metrics().sum("openclaw_edge_gateway_connects_total", &[("gateway", "ceo")]) > 1.5);
}
