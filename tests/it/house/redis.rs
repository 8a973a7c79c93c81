//! A real Redis of a test's own: in a temporary folder, on a free port, gone with the test.

use super::parts::program;
use super::process::{Process, Signal, free_address};
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// A running server that keeps what it is told.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Option<Process>,
    program: PathBuf,
    address: SocketAddr,
    settings: Vec<String>,
    folder: Temp,
}

impl Redis {
    /// Starts one; nothing where the machine has no Redis.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_, _| Vec::new())
    }

    /// Starts one with settings, made from its folder and port.
    pub(crate) fn start_with(settings: impl Fn(&Temp, u16) -> Vec<String>) -> Option<Self> {
        let program = program("redis-server")?;
        for _ in 0..5 {
            let (folder, address) = (Temp::new(), free_address());
            let settings = settings(&folder, address.port());
            let mut redis = Self { process: None, program: program.clone(), address, settings, folder };
            if redis.up() {
                return Some(redis);
            }
        }
        panic!("redis-server does not start");
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the edge connects.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it; what it was told stays on its disk.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.signal(Signal::Terminate);
        process.wait(SOON);
    }

    /// Starts it again, on the same port and with what it was told.
    pub(crate) fn start_again(&mut self) {
        until("the server's new start", SOON, || self.up().then_some(()));
    }

    /// It stays connected and says nothing more.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::Stop);
    }

    /// It goes on.
    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::Continue);
    }

    /// What `redis-cli` prints for a command.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        if self.settings.iter().any(|word| word == "--tls-port") {
            cli.args(["--tls", "--insecure"]);
        }
        cli.args(["-p", &self.address.port().to_string()]).args(words);
        let out = cli.output().expect("redis-cli comes with the server");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    fn up(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        let port = self.address.port().to_string();
        // Nothing that it was told may be lost with it, else the counts were not exact over a restart.
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        if !self.settings.iter().any(|word| word == "--port") {
            command.args(["--port", &port]);
        }
        command.arg("--dir").arg(self.folder.path()).args(&self.settings);
        let mut process = Process::start(&mut command);
        let answers = until("redis-server's start", SOON, || {
            if !process.runs() {
                return Some(false);
            }
            (self.ask(&["PING"]) == "PONG").then_some(true)
        });
        // Another's server may listen on the port that was free a moment ago.
        let up = answers && process.runs();
        self.process = up.then_some(process);
        up
    }
}

/// Three servers that are one cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    servers: Vec<Redis>,
}

impl Cluster {
    /// Starts one; nothing where the machine has no Redis.
    pub(crate) fn start() -> Option<Self> {
        let settings = |_: &Temp, port: u16| {
            // The bus is on a port that is found as the server's own was.
            let bus = free_address().port();
            assert_ne!(bus, port);
            let all = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
            all.map(str::to_owned).to_vec()
        };
        let servers: Option<Vec<Redis>> = (0..3).map(|_| Redis::start_with(settings)).collect();
        let cluster = Self { servers: servers? };
        let nodes: Vec<String> = cluster.servers.iter().map(|one| one.address.to_string()).collect();
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(&nodes).args(["--cluster-replicas", "0", "--cluster-yes"]);
        let out = create.output().expect("redis-cli comes with the server");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        for server in &cluster.servers {
            until("the cluster", SOON, || {
                server.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok").then_some(())
            });
        }
        Some(cluster)
    }

    /// As the edge connects.
    pub(crate) fn url(&self) -> String {
        self.servers[0].url()
    }

    /// How many keys each server has.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let size = |one: &Redis| one.ask(&["DBSIZE"]).parse().expect("a number");
        self.servers.iter().map(size).collect()
    }
}
