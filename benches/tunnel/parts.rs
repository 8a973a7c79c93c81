//! The processes of a run, each on a CPU of its own choosing; and what the kernel says of them.
//!
//! `taskset` (util-linux) chooses the CPU, since to ask the kernel for it from here would take unsafe code; a
//! shell raises the number of files that may be open.

use crate::Fault;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The edge as Cargo has just built it.
pub(crate) const EDGE: &str = env!("CARGO_BIN_EXE_openclaw-edge");
/// The clients' key.
pub(crate) const KEY: &str = "oce_the-key-of-the-tunnels-bench";
/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(20);
/// Two files a socket, ten thousand sockets, and some more.
const FILES: usize = 30_000;

/// A process that ends with its guard.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with its guard.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, Fault> {
        let path = std::env::temp_dir().join(format!("openclaw-edge-tunnel-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's own folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address that nobody listens on just now.
pub(crate) fn vacant() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// This very program, in another part.
pub(crate) fn own(cpu: usize, words: &[String]) -> Result<Command, Fault> {
    let program = std::env::current_exe()?.display().to_string();
    Ok(pinned(cpu, &program, words))
}

/// A program on one CPU. Shell and `taskset` replace themselves by it, so the process that is started is the program's.
pub(crate) fn pinned(cpu: usize, program: &str, words: &[String]) -> Command {
    let mut command = Command::new("sh");
    let raise = format!("ulimit -n {FILES} 2>/dev/null; exec taskset --cpu-list {cpu} \"$0\" \"$@\"");
    command.args(["-c", &raise, program]).args(words);
    command
}

/// The edge, with one gateway whose frames are not looked at.
pub(crate) fn edge(
    cpu: usize,
    program: &Path,
    folder: &Path,
    gateway: SocketAddr,
) -> Result<(Running, SocketAddr), Fault> {
    let (listen, admin) = (vacant()?, vacant()?);
    let config = folder.join("edge.yaml");
    let mut hash = String::new();
    for byte in Sha256::digest(KEY) {
        write!(hash, "{byte:02x}")?;
    }
    let text = format!(
        "listen: [{{ address: \"{listen}\" }}]\nadmin: \"{admin}\"\ndata: \"{}\"\n\
         server: {{ threads: 1, drain: 1s, max_websockets: 20000 }}\n\
         log: {{ level: warn }}\naccess_log: {{ to: \"off\" }}\ntenants: {{ acme: {{}} }}\n\
         credentials: [{{ id: one, tenant: acme, hash: \"sha256:{hash}\", scopes: [\"gateways:connect\"] }}]\n\
         gateways: [{{ id: ceo, tenant: acme, url: \"ws://{gateway}\", frames: relayed }}]\n\
         routes: [{{ name: gateway, path: \"/gateways/{{gateway}}/**\", scopes: [\"gateways:connect\"], gateway: \"{{gateway}}\" }}]\n",
        folder.join("data").display()
    );
    std::fs::write(&config, text)?;
    let words = ["run".to_owned(), "--config".to_owned(), config.display().to_string()];
    let command = pinned(cpu, &program.display().to_string(), &words);
    Ok((start(command, listen)?, listen))
}

/// Starts what listens, and waits until it does.
pub(crate) fn start(mut command: Command, address: SocketAddr) -> Result<Running, Fault> {
    let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("{command:?} ended: {status}").into());
        }
        if began.elapsed() > START {
            return Err(format!("{command:?} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(running)
}

/// CPU time that the threads of a process have used so far, in nanoseconds: the scheduler's own count.
pub(crate) fn used_by(process: u32) -> Result<u64, Fault> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = match std::fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => text,
            // It ended between being listed and being read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let used = text.split_ascii_whitespace().next().ok_or("the kernel keeps no schedstat")?;
        nanos += used.parse::<u64>()?;
    }
    Ok(nanos)
}

/// Bytes of a process that lie in memory.
pub(crate) fn resident(process: u32) -> Result<u64, Fault> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib = line.split_whitespace().next().ok_or("VmRSS without a number")?;
    Ok(kib.parse::<u64>()? << 10)
}
