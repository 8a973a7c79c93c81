//! The command line: what it prints, what it refuses, and with which exit status.

use crate::house::keys::ACME;
use crate::house::process::{edge_program, free_address, run_edge};
use crate::house::site::Site;
use crate::house::temp::Temp;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", stdout(output), String::from_utf8_lossy(&output.stderr))
}

/// Runs the edge with something on its standard input.
fn run_with(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(edge_program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    // A program that does not read its input may be gone already.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}

fn check(text: &str) -> Output {
    let folder = Temp::new();
    let path = folder.write("edge.yaml", text);
    run_edge(&["check", "--config", &path.display().to_string()])
}

fn good() -> String {
    let address = free_address();
    Site::new().upstream("all", address).route("name: all, path: /**, upstream: all").text(
        address,
        free_address(),
        "/nowhere",
    )
}

#[test]
fn a_good_config_passes_the_check() {
    let output = check(&good());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_check_tells_every_mistake_at_once_each_with_its_place() {
    let bad = good()
        .replace("tenants:", "tenant:")
        .replace("scopes: [mesh:read]", "scopes: [mesh:read], colour: blue")
        .replace("upstream: all }", "upstream: al }");
    let output = check(&bad);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let said = said(&output);
    for (line, text) in bad.lines().enumerate() {
        for wrong in ["tenant: {", "colour: blue", "upstream: al "] {
            if text.starts_with("tenant: {") == (wrong == "tenant: {") && text.contains(wrong) {
                let place = format!("edge.yaml:{}:", line + 1);
                assert!(said.contains(&place), "no mistake at {place} ({wrong}):\n{said}");
            }
        }
    }
    assert!(said.contains("tenants"), "no hint at the right word:\n{said}");
}

#[test]
fn a_file_that_is_not_there_or_is_no_yaml_exits_with_2() {
    let output = run_edge(&["check", "--config", "/nowhere/edge.yaml"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    for text in ["", "[", "routes: 5", "a: &x [*x]", "listen: {", "\u{0}"] {
        let output = check(text);
        assert_eq!(output.status.code(), Some(2), "{text:?}: {}", said(&output));
        assert!(!said(&output).contains("panicked"), "{}", said(&output));
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    let secret = "oce_very-secret-indeed";
    let bad = good().replace(&format!("hash: \"{}\"", ACME.hash()), &format!("secret: {secret}"));
    let output = check(&bad);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(!said(&output).contains(secret), "{}", said(&output));
}

#[test]
fn an_unknown_flag_or_command_fails_with_usage() {
    for args in
        [&["--no-such-flag"][..], &["no-such-command"], &["check", "--no-such-flag"], &["run", "--colour"]]
    {
        let output = run_edge(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("sage"), "{args:?}: {}", said(&output));
    }
}

#[test]
fn help_and_version_succeed() {
    for args in [&["--help"][..], &["--version"], &["check", "--help"], &["keys", "--help"]] {
        let output = run_edge(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
    assert!(stdout(&run_edge(&["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_schema_is_json_and_knows_every_section() {
    let output = run_edge(&["schema"]);
    assert!(output.status.success(), "{}", said(&output));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for section in ["listen", "tenants", "credentials", "limits", "upstreams", "gateways", "routes"] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
}

#[test]
fn a_new_key_can_be_hashed_to_what_it_was_printed_with() {
    let output = run_edge(&["keys", "new"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    let word = |starts: &str| {
        let found = text
            .split(|c: char| c.is_whitespace() || "\"',".contains(c))
            .find(|word| word.starts_with(starts));
        found.unwrap_or_else(|| panic!("no {starts}…: {text}")).to_owned()
    };
    let (key, hash) = (word("oce_"), word("sha256:"));
    // The CLI of OpenClaw puts the key into a URL and encodes nothing.
    assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c)), "{key}");
    assert!(key.len() >= 40, "{key}");
    let hashed = run_with(&["keys", "hash"], &format!("{key}\n"));
    assert!(hashed.status.success(), "{}", said(&hashed));
    assert_eq!(stdout(&hashed).trim(), hash);
    assert_ne!(key, word_of_another_key());
}

fn word_of_another_key() -> String {
    let text = said(&run_edge(&["keys", "new"]));
    text.split_whitespace().find(|word| word.starts_with("oce_")).expect("a key").to_owned()
}

#[test]
fn a_hash_is_that_of_the_whole_key() {
    let output = run_with(&["keys", "hash"], ACME.text);
    assert_eq!(stdout(&output).trim(), ACME.hash(), "{}", said(&output));
}

#[test]
fn a_signed_message_verifies_and_a_changed_one_does_not() {
    let folder = Temp::new();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let keys = run_edge(&["keygen", "--out", &at("ceo")]);
    assert!(keys.status.success(), "{}", said(&keys));
    let message =
        r#"{"type":"memory","scope":"mesh","key":"k","value":{"b":1.0,"a":2},"nodeId":"ceo","ts":1}"#;
    let signed = run_with(&["sign", "--key", &at("ceo")], message);
    assert!(signed.status.success(), "{}", said(&signed));
    let signed = stdout(&signed);
    assert!(signed.contains("\"sig\""), "{signed}");
    let good = run_with(&["verify", "--public-key", &at("ceo.pub")], &signed);
    assert!(good.status.success(), "{}", said(&good));
    let bad = run_with(
        &["verify", "--public-key", &at("ceo.pub")],
        &signed.replace("\"scope\":\"mesh\"", "\"scope\":\"node\""),
    );
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    let batch = format!("[{signed},{{\"type\":\"memory\",\"b\":1.0,\"a\":2}}]");
    let told = run_with(&["verify", "--explain", "--public-key", &at("ceo.pub")], &batch);
    assert!(said(&told).contains("bad (message 1): signature_missing"), "{}", said(&told));
    let told = stdout(&told);
    assert!(told.contains("---\n{\"key\":\"k\",\"nodeId\":\"ceo\",\"scope\":\"mesh\","), "{told}");
    assert!(
        told.contains("message 1: signed are 29 bytes\n---\n{\"a\":2,\"b\":1,\"type\":\"memory\"}\n"),
        "{told}"
    );
}

/// Runs `verify` for a sender whose secret is the one of GitHub's documentation.
fn verify(args: &[&str], captured: &str) -> Output {
    let mut command = Command::new(edge_program());
    command.arg("verify").args(args).env("SENDERS_SECRET", "It's a Secret to Everybody");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    // A program that refuses its flags does not read its input.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(captured.as_bytes());
    child.wait_with_output().expect("the program ends")
}

#[test]
fn a_senders_delivery_is_verified_and_explained_without_a_config() {
    let delivery = "POST /hook HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: \
        sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\r\n\r\nHello, World!";
    let args = ["--scheme", "github", "--secret-env", "SENDERS_SECRET"];
    let good = verify(&args, delivery);
    assert_eq!((good.status.code(), stdout(&good).as_str()), (Some(0), "good\n"), "{}", said(&good));
    let told = verify(&[&args[..], &["--explain"]].concat(), &format!("{delivery}\n"));
    assert_eq!(told.status.code(), Some(1), "{}", said(&told));
    for line in ["scheme:  github", "verdict: signature_invalid", "differs: it holds without the line end"] {
        assert!(stdout(&told).contains(line), "{line}: {}", said(&told));
    }
    assert!(!said(&told).contains("Everybody"));
    let keyless = verify(&["--scheme", "discord", "--secret-env", "SENDERS_SECRET"], delivery);
    assert_eq!(keyless.status.code(), Some(2), "{}", said(&keyless));
    let unknown = verify(&["--scheme", "generic-hmac"], delivery);
    assert!(said(&unknown).contains("possible values"), "{}", said(&unknown));
    let no_key = verify(&[], "{}");
    assert!(said(&no_key).contains("--public-key"), "{}", said(&no_key));
}

#[test]
fn a_private_key_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Temp::new();
    let path = folder.path().join("ceo");
    let make = || run_edge(&["keygen", "--out", &path.display().to_string()]);
    let first = make();
    assert!(first.status.success(), "{}", said(&first));
    let mode = std::fs::metadata(&path).expect("the key's file").permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let key = std::fs::read(&path).expect("the key's file");
    assert!(!make().status.success(), "a key was written over");
    assert_eq!(std::fs::read(&path).expect("the key's file"), key);
}

#[test]
fn gateways_of_an_existing_mission_control_can_be_imported() {
    let folder = Temp::new();
    let old = r#"{"gateways":[{"id":"ceo","name":"CEO","wsUrl":"ws://127.0.0.1:18789","token":"old-secret","controlUiUrl":"http://127.0.0.1:18789","tenantId":"acme"},{"id":"off","name":"Off","wsUrl":"ws://127.0.0.1:18790","enabled":false}]}"#;
    let file = folder.write("gateways.json", old);
    let output = run_edge(&["import", &file.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    let text = stdout(&output);
    assert!(text.contains("ws://127.0.0.1:18789") && text.contains("acme"), "{text}");
    assert!(!said(&output).contains("old-secret"), "a secret was copied into the config: {text}");
}

#[test]
fn gateways_are_imported_from_the_environment_and_from_a_fleet() {
    let old = r#"{"gateways":[{"id":"ceo","wsUrl":"ws://127.0.0.1:18789","token":"old-secret","tenantId":"acme"}]}"#;
    let mut command = Command::new(edge_program());
    let output =
        command.args(["import", "--env"]).env("OPENCLAW_MC_GATEWAYS", old).output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    assert!(stdout(&output).contains("CEO_GATEWAY_TOKEN") && !said(&output).contains("old-secret"));
    let mut command = Command::new(edge_program());
    let output = command.args(["import", "--env"]).env_remove("OPENCLAW_MC_GATEWAYS").output();
    let output = output.expect("it starts");
    assert!(!output.status.success() && said(&output).contains("OPENCLAW_MC_GATEWAYS"), "{}", said(&output));
    let fleet = r#"{"cells":[{"tenant":"acme","state":"running","port":19100,"image":"i","created":"2026-11-24T10:00:00.000Z"}]}"#;
    let output = run_with(&["import"], fleet);
    assert!(stdout(&output).contains("url: \"ws://127.0.0.1:19100\""), "{}", said(&output));
}
