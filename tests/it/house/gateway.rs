//! A real OpenClaw gateway and the real CLI, installed by `tests/gateway/install.sh`.

use super::parts::repository;
use super::process::{Process, free_address};
use super::temp::Temp;
use super::wait::until;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A gateway takes its time to start, and machines differ.
const START: Duration = Duration::from_mins(3);

/// A running gateway.
#[derive(Debug)]
pub(crate) struct RealGateway {
    address: SocketAddr,
    process: Process,
    folder: Temp,
    cache: PathBuf,
}

/// The gateway's own secret.
pub(crate) const TOKEN: &str = "gateway-own-token";

impl RealGateway {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(cache: &Path) -> Self {
        let folder = Temp::new();
        let address = free_address();
        let mut command = Command::new(repository().join("tests/gateway/start.sh"));
        command.args([cache, folder.path()]).args([&address.port().to_string(), TOKEN]);
        let process = Process::start(&mut command);
        let mut gateway = Self { address, process, folder, cache: cache.into() };
        until("the gateway's start", START, || {
            assert!(gateway.process.runs(), "the gateway ended: {}", gateway.process.stderr().join("\n"));
            super::edge::admin(address, "/readyz").filter(|answer| answer.status == 200)
        });
        gateway
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs the real CLI against an address, with private state and nothing from the environment.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        let home = self.folder.path().join("cli");
        std::fs::create_dir_all(&home).expect("a folder can be made");
        let node = self.cache.join("node/node_modules/node/bin");
        let mut command = Command::new(node.join("node"));
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", node.display()));
        for name in ["HOME", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR"] {
            command.env(name, &home);
        }
        for name in ["OPENCLAW_NO_AUTO_UPDATE", "DO_NOT_TRACK", "OPENCLAW_OFFLINE", "NO_COLOR"] {
            command.env(name, "1");
        }
        command.arg(self.cache.join("openclaw/node_modules/openclaw/openclaw.mjs")).args(args);
        command.output().expect("the CLI can be started")
    }
}
