//! The store's OpenAPI document against a running store: schemathesis makes requests from it, good ones and bad
//! ones, and looks whether every answer is one that the document promises.
//!
//! What it does not look at: whether bad requests are refused. The store has always been kind to parameters that
//! it does not know and numbers out of bounds.

use crate::house::parts;
use crate::house::store::{SECRET, Store};
use crate::house::temp::Temp;
use std::process::Command;

#[test]
fn every_answer_is_one_that_the_document_promises() {
    let Some(schemathesis) = parts::schemathesis() else { return };
    let store = Store::start(Temp::new());
    let config = parts::repository().join("tests/schemathesis/schemathesis.toml");
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(config).arg("run");
    command.arg(format!("http://{}/openapi.json", store.address()));
    command.args(["-H", &format!("X-Edge-Auth: {SECRET}"), "-H", "X-Tenant-Id: acme"]);
    command.args(["-H", "X-Credential-Scopes: mesh:admin"]);
    // The same requests in each run.
    command.args(["--generation-deterministic", "--max-examples", "15", "--phases", "coverage,fuzzing"]);
    command.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
         response_headers_conformance",
    ]);
    command.args(["--warnings", "off", "--continue-on-failure", "--no-color", "--request-timeout", "30"]);
    let folder = Temp::new();
    let out = command.current_dir(folder.path()).output().expect("schemathesis runs");
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(told.contains("No issues found"), "{told}");
}
