//! Under a service manager: what systemd is told, and whether it takes the units.

use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::parts::{program, repository};
use crate::house::process::{edge_program, store_program};
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::SOON;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// The manager's end: what the edge says next.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a word that begins so and has this in it. Others in between are let pass: the edge may see a
    /// changed file before the signal, and then looks twice.
    fn hears(&self, first: &str, with: &str) {
        let mut bytes = [0; 1024];
        loop {
            let heard = self.0.recv(&mut bytes);
            let length = heard.unwrap_or_else(|error| panic!("not told {first}, {with}: {error}"));
            let told = String::from_utf8_lossy(&bytes[..length]);
            if told.lines().next() == Some(first) && told.contains(with) {
                return;
            }
        }
    }
}

#[test]
fn the_service_manager_hears_of_the_start_each_reload_and_the_end() {
    let upstream = Double::mirror();
    let folder = Temp::new();
    let socket = folder.path().join("notify.sock");
    let manager = Manager(UnixDatagram::bind(&socket).expect("a socket"));
    manager.0.set_read_timeout(Some(SOON)).expect("a time-out");
    let variable = format!("NOTIFY_SOCKET={}", socket.display());
    let site = Site::open(&upstream);
    let mut edge = Edge::start_behind(folder, &site, &["env", &variable]);
    manager.hears("READY=1", "clients can connect");

    edge.reload(&site.clone().route("name: new, path: /new, public: true, upstream: all"));
    manager.hears("RELOADING=1", "MONOTONIC_USEC=");
    manager.hears("READY=1", "the newest config is in force");

    edge.rewrite_text("nonsense: true\n");
    manager.hears("RELOADING=1", "MONOTONIC_USEC=");
    manager.hears("READY=1", "refused");

    edge.sigterm();
    manager.hears("STOPPING=1", "draining");
    assert!(edge.wait(SOON).success());
}

#[test]
fn systemd_takes_the_units_and_finds_them_well_fenced() {
    let Some(analyze) = program("systemd-analyze") else { return };
    for (unit, installed, built) in [
        ("openclaw-edge.service", "/usr/bin/openclaw-edge", edge_program()),
        ("mesh-store.service", "/usr/bin/mesh-store", store_program()),
    ] {
        let text = std::fs::read_to_string(repository().join("conf").join(unit)).expect("a unit");
        assert!(text.contains(installed));
        let folder = Temp::new();
        let path = folder.write(unit, text.replace(installed, &built)).display().to_string();
        for arguments in [&["verify", "--man=no"][..], &["security", "--offline=true", "--threshold=20"]] {
            let output = Command::new(&analyze).args(arguments).arg(&path).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{unit}: {said}");
            // Words that it does not know are told and not counted.
            assert!(!said.contains("Unknown key") && !said.contains("ignoring"), "{unit}: {said}");
        }
    }
}
