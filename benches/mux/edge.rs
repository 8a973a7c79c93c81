//! The edge as Cargo has just built it, with two gateways of one tenant.

use crate::Fault;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A caller's key.
pub(crate) const KEY: &str = "oce_bench_2fJq0bV9sKx2Lm7T";
/// How long it may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A running edge, in a folder that goes with it.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Edge {
    pub(crate) fn start(gateways: &[SocketAddr]) -> Result<Self, Fault> {
        let folder = std::env::temp_dir().join(format!("openclaw-edge-mux-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let (address, admin) = (vacant()?, vacant()?);
        let mut entries = String::new();
        for (id, at) in ["one", "two"].iter().zip(gateways) {
            writeln!(entries, "  - {{ id: {id}, tenant: acme, url: \"ws://{at}\", token: none }}")?;
        }
        let data = folder.join("data");
        let config = format!(
            "listen: [{{ address: \"{address}\" }}]\nadmin: \"{admin}\"\ndata: {}\nallow_literal_secrets: true\n\
             access_log: {{ to: \"off\" }}\nserver: {{ max_websockets: 60000 }}\ntenants: {{ acme: {{}} }}\n\
             credentials:\n  - {{ id: bench, tenant: acme, secret: {KEY}, scopes: [\"gateways:connect\", \"operator.read\"] }}\n\
             gateways:\n{entries}routes:\n  - {{ name: multiplex, path: /ws, scopes: [\"gateways:connect\"], mission_control: true }}\n",
            data.display()
        );
        let path = folder.join("edge.yaml");
        std::fs::write(&path, config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-edge"));
        command.args(["run", "--config"]).arg(path).stdout(Stdio::null());
        let edge = Self { address, process: command.spawn()?, folder };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > START {
                return Err("the edge does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(edge)
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident(&self) -> Result<u64, Fault> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no size")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// CPU time that its threads have used so far.
    pub(crate) fn used(&self) -> Result<Duration, Fault> {
        let mut nanos = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            // One that ended meanwhile is not counted.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanos += text
                .split_ascii_whitespace()
                .next()
                .ok_or("the kernel keeps no schedstat")?
                .parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn vacant() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
