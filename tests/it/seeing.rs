//! What operators look at: alert rules, dashboards and the runbook are held to the series that exist.

use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::parts::{program, repository};
use crate::house::site::Site;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Labels that Prometheus and histograms bring.
const ALWAYS: &[&str] = &["instance", "job", "le"];
/// Fronts of names that are ours to know.
const FRONTS: &[&str] = &["openclaw_edge_", "mesh_store_", "process_"];

fn read(path: &str) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A series as the document has it.
struct Documented {
    histogram: bool,
    labels: BTreeSet<String>,
}

/// The rows of `docs/metrics.md`, by name.
fn documented() -> BTreeMap<String, Documented> {
    let text = read("docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, ..] = cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((name.to_owned(), Documented { histogram: kind == "histogram", labels }))
    });
    rows.collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names of ours in an expression, each with the labels that stand in the braces behind it.
fn series(expression: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let from = &rest[start..];
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let (name, behind) = from.split_at(end);
        rest = behind;
        if !FRONTS.iter().any(|front| name.starts_with(front)) {
            continue;
        }
        let inside = behind.strip_prefix('{').and_then(|inside| inside.split('}').next()).unwrap_or_default();
        let matchers = inside.split("\",").filter(|matcher| !matcher.trim().is_empty());
        let labels = matchers.map(|matcher| matcher.trim().split(['=', '!']).next().unwrap_or_default());
        found.push((name, labels.collect()));
    }
    found
}

/// Labels that an expression groups by.
fn grouped(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for word in ["by (", "on ("] {
        for (at, _) in expression.match_indices(word) {
            let inside = expression[at + word.len()..].split(')').next().unwrap_or_default();
            found.extend(inside.split(',').map(str::trim));
        }
    }
    found
}

/// Holds an expression to the document.
fn hold(place: &str, expression: &str, documented: &BTreeMap<String, Documented>) -> usize {
    let mut known: BTreeSet<&str> = ALWAYS.iter().copied().collect();
    let found = series(expression);
    for (name, labels) in &found {
        let plain = documented.get(*name).filter(|row| !row.histogram);
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let row =
            plain.or_else(|| family.and_then(|family| documented.get(family)).filter(|row| row.histogram));
        let row = row.unwrap_or_else(|| panic!("{place}: docs/metrics.md has no {name}: {expression}"));
        known.extend(row.labels.iter().map(String::as_str));
        for label in labels {
            let has = ALWAYS.contains(label) || row.labels.contains(*label);
            assert!(has, "{place}: {name} has no label {label}: {expression}");
        }
    }
    for label in grouped(expression) {
        assert!(known.contains(label), "{place}: nothing has a label {label}: {expression}");
    }
    found.len()
}

/// The alerts: name and expression.
fn alerts() -> Vec<(String, String)> {
    let text = read("conf/alerts.yaml");
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            found.push((name.to_owned(), String::new()));
        } else if let Some(expression) = line.trim().strip_prefix("expr: ") {
            let last = found.last_mut().expect("an expression belongs to an alert");
            last.1 = expression.trim_matches('\'').replace("''", "'");
        }
    }
    found
}

/// Every expression of a dashboard, and the queries of its variables.
fn expressions(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member {
                    serde_json::Value::String(text) if name == "expr" || name == "query" => {
                        into.push(text.clone());
                    }
                    member => expressions(member, into),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn alerts_and_dashboards_ask_for_series_and_labels_that_the_document_has() {
    let documented = documented();
    assert!(documented.len() > 50, "the table of docs/metrics.md cannot be read");
    let alerts = alerts();
    assert!(alerts.len() > 20, "conf/alerts.yaml cannot be read");
    for (name, expression) in &alerts {
        // `up` is Prometheus' own.
        let ours = hold(name, expression, &documented);
        assert!(ours > 0 || expression.starts_with("up{"), "{name}: {expression}");
    }
    for file in ["conf/grafana/edge.json", "conf/grafana/store.json"] {
        let dashboard: serde_json::Value = serde_json::from_str(&read(file)).expect("JSON");
        let mut all = Vec::new();
        expressions(&dashboard, &mut all);
        let asked: usize = all.iter().map(|expression| hold(file, expression, &documented)).sum();
        assert!(asked >= 8, "{file} shows nothing");
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_u64()), "{file}: {} is there twice", panel["id"]);
        }
    }
}

#[test]
fn every_series_that_the_edge_tells_has_a_row_and_every_row_a_source() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    edge.caller(ACME).get("/x").expect(200);
    let documented = documented();
    let metrics = edge.metrics();
    let names = metrics.names();
    for name in &names {
        assert!(hold("/metrics", name, &documented) == 1, "{name}");
    }
    // Series with labels appear with their first value; their names stand in the sources.
    let sources = ["src/metrics.rs", "src/metrics/gateways.rs", "src/metrics/mux.rs", "src/metrics/store.rs"];
    let sources = sources.map(read).concat();
    for name in documented.keys() {
        let short = name.trim_start_matches("openclaw_edge_").trim_start_matches("mesh_store_");
        let there = names.contains(name.as_str()) || sources.contains(&format!("\"{short}\""));
        assert!(there, "docs/metrics.md has {name}, which nobody tells");
    }
}

#[test]
fn a_trace_goes_on_to_the_upstream_and_into_the_access_log_and_nothing_else_does() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = edge.caller(ACME).with("traceparent", trace).get("/x").expect(200);
    assert_eq!(upstream.only().field("traceparent"), Some(trace));
    assert_eq!(edge.log_line(&answer)["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    // A refused request has one too.
    let answer = edge.client().with("traceparent", trace).get("/x").refused(401, "unauthorized");
    assert_eq!(edge.log_line(&answer)["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    for none in ["", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "\"}{", "00-4BF92F"] {
        let answer = edge.caller(ACME).with("traceparent", none).get("/x").expect(200);
        assert_eq!(edge.log_line(&answer)["trace"], serde_json::Value::Null, "{none}");
    }
}

#[test]
fn every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() {
    let rules = read("conf/alerts.yaml");
    let runbook = read("docs/runbook.md");
    let entries: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    let names: BTreeSet<&str> = alerts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "an alert is there twice");
    assert_eq!(names, entries);
    for name in names {
        let link = format!("runbook: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(rules.contains(&link), "{name} does not lead to its entry");
    }
}

#[test]
fn every_alert_fires_for_what_it_is_about_and_not_before() {
    let tested = read("tests/alerts/rules.yaml");
    for (name, _) in alerts() {
        let expected = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:");
        assert!(tested.contains(&expected), "tests/alerts/rules.yaml does not fire {name}");
    }
    let Some(promtool) = program("promtool") else { return };
    for arguments in [["check", "rules", "conf/alerts.yaml"], ["test", "rules", "tests/alerts/rules.yaml"]] {
        let output =
            Command::new(&promtool).args(arguments).current_dir(repository()).output().expect("it starts");
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
    }
    let output = Command::new(&promtool)
        .args(["check", "config", "conf/prometheus.yaml"])
        .current_dir(repository())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
