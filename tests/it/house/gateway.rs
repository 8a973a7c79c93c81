//! A real OpenClaw gateway and the real CLI, installed by `tests/gateway/install.sh`.

use super::parts::repository;
use super::process::{Process, Signal, free_address};
use super::sockets::{Socket, next_text, straight};
use super::temp::Temp;
use super::wait::until;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A gateway takes its time to start, and machines differ.
const START: Duration = Duration::from_mins(3);

/// A running gateway.
#[derive(Debug)]
pub(crate) struct RealGateway {
    address: SocketAddr,
    process: Process,
    folder: Temp,
    cache: PathBuf,
    patch: Value,
}

fn process(cache: &Path, folder: &Path, address: SocketAddr, patch: &Value) -> Process {
    let mut command = Command::new(repository().join("tests/gateway/start.sh"));
    command.args([cache, folder]).args([&address.port().to_string(), TOKEN, &patch.to_string()]);
    Process::start(&mut command)
}

/// The gateway's own secret.
pub(crate) const TOKEN: &str = "gateway-own-token";

impl RealGateway {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(cache: &Path) -> Self {
        Self::start_with(cache, json!({}))
    }

    /// One that listens for its network, and is reached at this address.
    pub(crate) fn start_for_the_network(cache: &Path, host: IpAddr) -> Self {
        let patch = json!({"gateway": {"bind": "lan", "controlUi": {"enabled": false}}});
        let mut gateway = Self::start_with(cache, patch);
        gateway.address.set_ip(host);
        gateway
    }

    /// One with JSON laid over its config.
    fn start_with(cache: &Path, patch: Value) -> Self {
        let folder = Temp::new();
        let address = free_address();
        let process = process(cache, folder.path(), address, &patch);
        let mut gateway = Self { address, process, folder, cache: cache.into(), patch };
        gateway.await_ready();
        gateway
    }

    fn await_ready(&mut self) {
        until("the gateway's start", START, || {
            assert!(self.process.runs(), "the gateway ended: {}", self.process.stderr().join("\n"));
            super::edge::admin(self.local(), "/readyz").filter(|answer| answer.status == 200)
        });
    }

    /// Ends it as an operator would.
    pub(crate) fn stop(&mut self) {
        self.process.signal(Signal::Terminate);
        self.process.wait(START);
    }

    /// Starts it again where it was, with what it knew.
    pub(crate) fn again(&mut self) {
        self.process = process(&self.cache, self.folder.path(), self.address, &self.patch);
        self.await_ready();
    }

    /// A client with all rights.
    pub(crate) fn admin(&self) -> Admin {
        Admin::connect(self.local())
    }

    /// Where it listens for its own machine.
    fn local(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.address.port()).into()
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

/// A client of the gateway's own, past the edge, that may do everything: it makes what tests look for.
pub(crate) struct Admin {
    socket: Socket,
    calls: u64,
}

impl Admin {
    fn connect(address: SocketAddr) -> Self {
        let socket = straight(address);
        let mut admin = Self { socket, calls: 0 };
        next_text(&mut admin.socket);
        let hello = admin.call(
            "connect",
            &json!({"minProtocol": 3, "maxProtocol": 4, "role": "operator", "scopes": ["operator.admin"],
                "client": {"id": "gateway-client", "version": "0.1.0", "platform": "linux", "mode": "backend"},
                "caps": ["approvals", "exec-approvals"], "auth": {"token": TOKEN}}),
        );
        assert_eq!(hello["type"], "hello-ok", "{hello}");
        admin
    }

    /// Asks, and expects it to go well.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = format!("a{}", self.calls);
        let frame = json!({"type": "req", "id": id, "method": method, "params": params});
        self.socket.send(Message::text(frame.to_string())).expect("the socket is open");
        loop {
            let frame: Value = serde_json::from_str(&next_text(&mut self.socket)).expect("a frame");
            if frame["id"] == *id {
                assert_eq!(frame["ok"], true, "{method}: {frame}");
                return frame["payload"].clone();
            }
        }
    }
}
