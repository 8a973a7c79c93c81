//! What is shipped beside the programs is read by those whom it is for: Helm, the schemas of Kubernetes, YAML, and the
//! edge's own check.

use crate::house::parts;
use crate::house::process::{edge_program, store_program};
use crate::house::temp::Temp;
use std::path::Path;
use std::process::Command;

/// A secret for each variable, long enough and no other's.
fn stand_in(name: &str) -> String {
    format!("oce_a-stand-in-that-is-long-enough-{}", crate::house::keys::hex(name))
}

/// Whether the edge would start with a config that the containers get.
fn check(config: &Path) {
    let mut command = Command::new(edge_program());
    for variable in ["ACME_KEY", "GLOBEX_KEY", "STORE_SECRET"] {
        command.env(variable, stand_in(variable));
    }
    let output = command.args(["check", "--config"]).arg(config).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_chart_the_example_and_the_compose_file_are_read_by_whom_they_are_for() {
    check(&parts::repository().join("conf/compose/edge.yaml"));
    let Some(python) = parts::shipping() else { return };
    let folder = Temp::new();
    let config = folder.path().join("edge.yaml");
    let script = parts::repository().join("tests/shipping/check.py");
    let output = Command::new(python).arg(script).arg(&config).output().expect("it starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("shipped: good"), "{said}");
    check(&config);
}

#[test]
fn the_containers_store_takes_its_config() {
    // It gets as far as its database, which is not there.
    let output = Command::new(store_program())
        .args(["run", "--config"])
        .arg(parts::repository().join("conf/compose/store.yaml"))
        .env("STORE_SECRET", stand_in("STORE_SECRET"))
        .env("MESH_DATABASE_URL", "postgres://mesh:none@127.0.0.1:1/mesh")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
}
