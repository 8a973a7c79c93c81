//! Parts that a machine may not have. Plain `cargo test` names what it leaves out and passes; under
//! `OPENCLAW_EDGE_TESTS=full`, as `tests/run` sets it, a missing part is a failure.

use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether everything must be there.
pub(crate) fn everything() -> bool {
    std::env::var("OPENCLAW_EDGE_TESTS").is_ok_and(|mode| mode == "full")
}

/// Says that a part is missing, or fails where nothing may be missing.
fn missing<T>(part: &str) -> Option<T> {
    assert!(!everything(), "{part} is missing, and OPENCLAW_EDGE_TESTS=full leaves nothing out");
    // Not `eprintln!`: the runner hides what passing tests print with that.
    let line = format!("left out: {part} is not on this machine (tests/run installs it)\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}

/// A program on the path, or where servers lie, which is not on everybody's.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let command = format!("PATH=$PATH:/usr/sbin; command -v {name}");
    let found = Command::new("sh").args(["-c", &command]).output().ok();
    let path = found
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().into());
    path.or_else(|| missing(name))
}

/// The folder with PostgreSQL's programs; Debian keeps them off the path.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|folder| folder.join("initdb").exists());
    found.sort();
    found.pop().or_else(|| Some(program("initdb")?.parent()?.to_owned()))
}

/// Node, for what only a real ECMAScript engine can say.
pub(crate) fn node() -> Option<PathBuf> {
    let installed = cache().join("node/node_modules/node/bin/node");
    if installed.exists() { Some(installed) } else { program("node") }
}

/// The folder with an installed OpenClaw gateway.
pub(crate) fn gateway() -> Option<PathBuf> {
    let folder = cache();
    let there = folder.join("openclaw/node_modules/openclaw/openclaw.mjs").exists()
        && folder.join("node/node_modules/node/bin/node").exists();
    if there { Some(folder) } else { missing("the OpenClaw gateway") }
}

/// An address of this machine that is not its loopback: where connections leave for elsewhere.
pub(crate) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok();
    // Nothing is sent: an address is chosen.
    let chosen = socket.and_then(|socket| socket.connect("198.51.100.1:9").and(socket.local_addr()).ok());
    chosen.map(|address| address.ip()).filter(|ip| !ip.is_loopback()).or_else(|| missing("a network"))
}

/// The folder with the senders' own libraries.
pub(crate) fn senders() -> Option<PathBuf> {
    let folder = cache().join("senders");
    if folder.join(".installed").exists() { Some(folder) } else { missing("the senders' libraries") }
}

/// Schemathesis, which asks an API what its OpenAPI document promises.
pub(crate) fn schemathesis() -> Option<PathBuf> {
    let there = cache().join("schemathesis/bin/schemathesis");
    if there.exists() { Some(there) } else { missing("schemathesis") }
}

/// The Python that has Helm's library and the schemas of Kubernetes.
pub(crate) fn shipping() -> Option<PathBuf> {
    let folder = cache().join("shipping");
    if folder.join(".installed").exists() {
        Some(folder.join("bin/python"))
    } else {
        missing("Helm's library")
    }
}

/// A browser without a screen, and axe, which looks at a page as those do who do not see it.
pub(crate) fn browser() -> Option<(PathBuf, PathBuf)> {
    let axe = repository().join("src/console/page/node_modules/axe-core/axe.min.js");
    let axe = if axe.exists() { Some(axe) } else { missing("axe-core (npm ci in src/console/page)") }?;
    Some((program("chromium-headless-shell")?, axe))
}

/// Says that the program under test was built without its console, or fails where nothing may be missing.
pub(crate) fn console(is_there: bool) -> Option<()> {
    if is_there { Some(()) } else { missing("the built console (npm run build in src/console/page)") }
}

/// Where `tests/gateway/install.sh`, `tests/senders/install.sh`, `tests/schemathesis/install.sh` and
/// `tests/shipping/install.sh` install.
fn cache() -> PathBuf {
    let named = std::env::var_os("OPENCLAW_EDGE_TEST_CACHE").map(PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/openclaw-edge-tests");
    named.unwrap_or_else(home)
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
