//! `openclaw-edge doctor` against running sites: quiet where all is well, and for each fault made on purpose a
//! sentence that says what to do.

use crate::house::double::{Double, Reply};
use crate::house::edge::Edge;
use crate::house::gateway::{RealGateway, TOKEN};
use crate::house::parts;
use crate::house::process::{free_address, run_edge};
use crate::house::redis::Redis;
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What the doctor said: its exit code, and all findings.
struct Said {
    code: Option<i32>,
    json: Value,
}

impl Said {
    /// The findings of a check that stand so.
    fn of(&self, check: &str, state: &str) -> Vec<String> {
        let all = self.json["findings"].as_array().expect("findings");
        let fits = all.iter().filter(|one| one["check"] == check && one["state"] == state);
        fits.map(ToString::to_string).collect()
    }

    /// Asserts that there is a bad one that says this, and that the exit code tells.
    #[track_caller]
    fn bad(&self, check: &str, with: &str) {
        let found = self.of(check, "bad");
        assert!(found.iter().any(|one| one.contains(with)), "{check}: no {with} in {}", self.json);
        assert!(found.iter().all(|one| one.contains("\"advice\"")), "{found:?}");
        assert_eq!((self.code, &self.json["ok"]), (Some(1), &Value::Bool(false)));
    }

    /// Asserts that there is one to look at that says this.
    #[track_caller]
    fn look(&self, check: &str, with: &str) {
        let found = self.of(check, "look");
        assert!(found.iter().any(|one| one.contains(with)), "{check}: no {with} in {}", self.json);
    }

    /// Asserts that it found nothing bad.
    #[track_caller]
    fn well(&self) {
        assert_eq!((self.code, &self.json["ok"]), (Some(0), &Value::Bool(true)), "{}", self.json);
    }
}

/// Asks with little patience.
fn doctor(config: &Path) -> Said {
    asked(config, "2")
}

fn asked(config: &Path, seconds: &str) -> Said {
    let output =
        run_edge(&["doctor", "--json", "--timeout", seconds, "--config", &config.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    Said { code: output.status.code(), json }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file has an owner");
}

fn now(ahead: u64) -> String {
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(ahead);
    httpdate::fmt_http_date(time)
}

#[test]
fn a_site_that_is_well_is_found_well() {
    let upstream = Double::start(|_| Reply::text(404, "").field("date", &now(0)));
    let edge = Edge::start(&Site::keyed(&upstream).embedded_store());
    mode(edge.config(), 0o644);
    let said = doctor(edge.config());
    said.well();
    for check in ["config", "files", "disk", "edge", "listen", "open files", "upstream", "clock", "store"] {
        assert!(said.json.to_string().contains(&format!("\"check\":\"{check}\"")), "{check}: {}", said.json);
    }
    let output = run_edge(&["doctor", "--config", &edge.config().display().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("good upstream     all"), "{text}");
}

#[test]
fn a_config_with_a_mistake_is_told_with_its_place() {
    let folder = Temp::new();
    let path = folder.write("edge.yaml", "tenant: {}\n");
    let said = doctor(&path);
    assert_eq!(said.code, Some(2));
    let found = said.of("config", "bad");
    assert!(found.len() == 1 && found[0].contains("edge.yaml:1:1"), "{found:?}");
}

#[test]
fn an_edge_that_does_not_run_is_told() {
    let folder = Temp::new();
    let site = Site::keyed(&Double::mirror());
    let text = site.text(free_address(), free_address(), &folder.path().display().to_string());
    doctor(&folder.write("edge.yaml", text)).bad("edge", "no edge answers");
}

#[test]
fn upstreams_that_are_down_silent_or_out_of_time_are_told_apart() {
    let hour = Double::start(|_| Reply::text(200, "").field("date", &now(3600)));
    // Takes connections into its backlog and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let site = Site::keyed(&hour)
        .upstream("down", free_address())
        .upstream("silent", silent.local_addr().expect("an address"))
        .upstream("nowhere", free_address())
        .route("name: down, path: /down, upstream: down")
        .route("name: silent, path: /silent, upstream: silent")
        .route("name: nowhere, path: /nowhere, upstream: nowhere");
    let edge = Edge::start(&site);
    let said = doctor(edge.config());
    said.bad("upstream", "down (127.0.0.1");
    said.bad("upstream", "silent (127.0.0.1");
    said.bad("upstream", "does not take connections");
    said.bad("upstream", "does not speak HTTP in time");
    said.bad("clock", "3600 s ahead of");
}

#[test]
fn an_edge_on_an_older_config_and_one_with_few_files_are_told() {
    let upstream = Double::mirror();
    let starter = ["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""];
    let edge = Edge::start_behind(Temp::new(), &Site::keyed(&upstream), &starter);
    let good = std::fs::read_to_string(edge.config()).expect("a config");
    edge.rewrite_text("nonsense: true\n");
    until("the refused reload", SOON, || (edge.reloads("refused") > 0.0).then_some(()));
    let beside = edge.config().with_file_name("beside.yaml");
    std::fs::write(&beside, good).expect("a file can be written");
    let said = doctor(&beside);
    said.bad("edge", "older config");
    said.look("open files", "of 256");
}

#[test]
fn files_that_others_may_read_or_write_are_told() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let data = edge.config().with_file_name("data");
    mode(&data, 0o755);
    mode(edge.config(), 0o666);
    let said = doctor(edge.config());
    said.bad("files", "chmod 700");
    said.bad("files", "chmod go-w");
    mode(&data, 0o700);
    mode(edge.config(), 0o644);
    doctor(edge.config()).well();
}

#[test]
fn a_certificate_that_ends_soon_is_told_and_one_that_the_edge_does_not_serve() {
    let folder = Temp::new();
    let ends = |name: &str, days: u64| {
        let mut parameters = rcgen::CertificateParams::new(["edge.test".to_owned()]).expect("a name");
        parameters.not_after =
            (std::time::SystemTime::now() + std::time::Duration::from_hours(24 * days + 1)).into();
        let key = rcgen::KeyPair::generate().expect("a key");
        let chain = parameters.self_signed(&key).expect("a certificate");
        folder.write(&format!("{name}.pem"), chain.pem());
        mode(&folder.write(&format!("{name}.key"), key.serialize_pem()), 0o600);
    };
    for (name, days) in [("now", 1), ("soon", 9), ("later", 90)] {
        ends(name, days);
    }
    let files = |name: &str| {
        let place = folder.path().display();
        format!("{{ chain: \"{place}/{name}.pem\", key: {{ file: \"{place}/{name}.key\" }} }}")
    };
    let entry = format!(
        "address: \"{}\", tls: {{ certificates: [{}, {}, {}] }}",
        free_address(),
        files("now"),
        files("soon"),
        files("later")
    );
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream).listen(&entry));
    let said = doctor(edge.config());
    said.bad("certificate", "ends in 1 days");
    said.look("certificate", "ends in 9 days");
    assert_eq!(said.of("certificate", "good").len(), 1, "{}", said.json);
}

#[test]
fn the_shared_server_is_asked_whether_it_takes_writes_and_keeps_them() {
    let Some(mut redis) = Redis::start() else { return };
    let upstream = Double::mirror();
    let site = Site::keyed(&upstream)
        .top(&format!("shared: {{ url: \"{}\", deadline: 500ms, edges: 1 }}", redis.url()))
        .limit("all", "by: ip, window: { limit: 1000, per: 1m }, shared: true");
    let edge = Edge::start(&site);
    redis.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    let said = doctor(edge.config());
    said.well();
    assert_eq!(said.of("shared", "look"), Vec::<String>::new());

    redis.ask(&[
        "CONFIG",
        "SET",
        "appendonly",
        "no",
        "maxmemory",
        "100mb",
        "maxmemory-policy",
        "allkeys-lru",
    ]);
    let said = doctor(edge.config());
    said.well();
    said.look("shared", "allkeys-lru");
    said.look("shared", "appendonly yes");

    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "3"]);
    doctor(edge.config()).bad("shared", "takes no writes");
    redis.stop();
    doctor(edge.config()).bad("shared", "decides alone");
}

#[test]
fn a_real_gateway_is_asked_for_its_handshake_and_scopes() {
    let Some(cache) = parts::gateway() else { return };
    let gateway = RealGateway::start(&cache);
    let entry = |token: &str, id: &str| {
        format!("id: {id}, tenant: acme, url: \"ws://{}\", token: \"{token}\"", gateway.address())
    };
    let site = Site::new()
        .top("allow_literal_secrets: true")
        .gateway_entry(&entry(TOKEN, "right"))
        .gateway_entry(&entry("not-the-token-of-this-one", "wrong"))
        .gateway_entry(&format!(
            "id: away, tenant: acme, url: \"ws://{}\", token: \"{TOKEN}\"",
            free_address()
        ))
        .gateway_routes();
    let folder = Temp::new();
    let text = site.text(free_address(), free_address(), &folder.path().display().to_string());
    // Without the edge, whose own attempts with the wrong token would have the gateway lock both out.
    // A gateway takes its time over a wrong token.
    let said = asked(&folder.write("edge.yaml", text), "30");
    let good = said.of("gateway", "good");
    assert!(good.len() == 1 && good[0].contains("grants operator.read"), "{}", said.json);
    said.bad("gateway", "does not take the edge's secret");
    said.bad("gateway", "cannot be reached");
    assert!(!said.json.to_string().contains(TOKEN));
}
