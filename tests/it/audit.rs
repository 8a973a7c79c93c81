//! The audit log of a tenant: uses of keys, refusals and changes of the config, chained, and a command that finds what
//! was tampered with.

use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX};
use crate::house::process::run_edge;
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn log(folder: &Path, tenant: &str) -> PathBuf {
    folder.join(format!("data/audit/{tenant}.ndjson"))
}

fn entries(folder: &Path, tenant: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(log(folder, tenant)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn of<'a>(entries: &'a [Value], event: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["event"] == event).collect()
}

fn verify(file: &Path, more: &[&str]) -> (Output, String) {
    let name = file.display().to_string();
    let output = run_edge(&[&["audit", "verify"], more, &[&name]].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

#[test]
fn uses_refusals_and_changes_are_written_for_each_tenant_apart() {
    let upstream = Double::mirror();
    let site = Site::keyed(&upstream)
        .limit("three", "by: credential, window: { limit: 3, per: 1h }")
        .route("name: few, path: /few, limits: [three], upstream: all");
    let mut edge = Edge::start(&site);
    for _ in 0..3 {
        edge.caller(ACME).get("/few").expect(200);
    }
    for _ in 0..4 {
        edge.caller(ACME).get("/few").refused(429, "limit_exceeded");
    }
    edge.caller(GLOBEX).get("/x").expect(200);
    edge.client().get("/x").refused(401, "unauthorized");

    let folder = edge.config().parent().expect("a folder").to_owned();
    until("the use of both keys", SOON, || {
        let both = ["acme", "globex"].map(|tenant| of(&entries(&folder, tenant), "key_used").len());
        (both == [1, 1]).then_some(())
    });
    edge.reload(&site.credential("id: acme-new, tenant: acme, hash: \"sha256:abababababababababababababababababababababababababababababababab\", scopes: []"));
    until("the change", SOON, || (!of(&entries(&folder, "acme"), "config").is_empty()).then_some(()));
    edge.caller(ACME).get("/x").expect(200);
    edge.sigterm();
    assert!(edge.wait(SOON).success());

    let acme = entries(&folder, "acme");
    let used = of(&acme, "key_used");
    // Once a day, though the key came again after the reload; twice where midnight passed just then.
    assert!(!used.is_empty() && used.len() <= 2, "{acme:?}");
    assert_eq!((&used[0]["credential"], &used[0]["key"]), (&Value::from(ACME.id), &Value::from("current")));
    let refused = of(&acme, "refused");
    let count: u64 = refused.iter().map(|entry| entry["count"].as_u64().expect("a count")).sum();
    assert_eq!(count, 4, "{acme:?}");
    assert!(
        refused.iter().all(|entry| entry["refused"] == "limit_exceeded" && entry["credential"] == ACME.id)
    );
    let changes = of(&acme, "config");
    assert_eq!(changes[0]["changes"], serde_json::json!(["credential acme-new added"]), "{acme:?}");

    let globex = entries(&folder, "globex");
    assert!(of(&globex, "refused").is_empty() && of(&globex, "config").is_empty(), "{globex:?}");
    let all = std::fs::read_to_string(log(&folder, "acme")).expect("a log");
    assert!(!all.contains(ACME.text) && !all.contains("globex"), "{all}");

    tampering_is_found(&folder, &all);
}

/// The log of a real run, whole and with each kind of change.
fn tampering_is_found(folder: &Path, all: &str) {
    let (output, said) = verify(&log(folder, "acme"), &[]);
    assert!(output.status.success() && said.contains("whole"), "{said}");
    let last = said.trim().rsplit(' ').next().expect("a hash").to_owned();
    let config = folder.join("edge.yaml").display().to_string();
    let output = run_edge(&["audit", "verify", "--config", &config]);
    let both = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && both.lines().count() == 2, "{both}");

    let place = Temp::new();
    let lines: Vec<&str> = all.split_inclusive('\n').collect();
    let changed = all.replacen("\"event\":\"", "\"event\":\"x", 1);
    for (name, text) in
        [("changed", changed), ("taken out", lines[1..].concat()), ("put in", [lines[0], all].concat())]
    {
        let (output, said) = verify(&place.write("log.ndjson", text), &[]);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("broken: line "), "{name}: {said}");
    }
    let shorter = place.write("log.ndjson", lines[..lines.len() - 1].concat());
    assert!(verify(&shorter, &[]).0.status.success());
    let (output, said) = verify(&shorter, &["--expect", &last]);
    assert!(output.status.code() == Some(1) && said.contains("not in it"), "{said}");
    assert!(verify(&log(folder, "acme"), &["--expect", &last]).0.status.success());
}
