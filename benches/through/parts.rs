//! The processes of a run: each is started on a CPU of its own choosing and ends with its guard.
//!
//! `taskset` (util-linux) chooses the CPU, since to ask the kernel for it from here would take unsafe code.

use crate::Fault;
use crate::house::{House, Log};
use crate::load::Found;
use crate::requests::Kind;
use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The edge as Cargo has just built it.
pub(crate) const EDGE: &str = env!("CARGO_BIN_EXE_openclaw-edge");
/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(20);

/// Which CPU is whose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) proxy: usize,
    pub(crate) others: usize,
}

/// A proxy under measurement.
#[derive(Debug)]
pub(crate) struct Proxy {
    part: Running,
    pub(crate) address: SocketAddr,
}

/// A process that ends with its guard.
#[derive(Debug)]
pub(crate) struct Running(Child);

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
        let path = std::env::temp_dir().join(format!("openclaw-edge-through-{}", std::process::id()));
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

/// The service behind the proxies.
pub(crate) fn upstream(cpus: Cpus) -> Result<(Running, SocketAddr), Fault> {
    let address = vacant()?;
    let mut command = own(cpus.others, "upstream")?;
    command.arg(format!("--listen={address}"));
    Ok((start(command, address)?, address))
}

/// The bare Pingora; `stealing` is a word for its command line, or none.
pub(crate) fn bare(cpus: Cpus, upstream: SocketAddr, stealing: Option<&str>) -> Result<Proxy, Fault> {
    let address = vacant()?;
    let mut command = own(cpus.proxy, "bare")?;
    command.arg(format!("--listen={address}")).arg(format!("--upstream={upstream}")).args(stealing);
    Ok(Proxy { part: start(command, address)?, address })
}

/// Pingora as it comes: see `benches/stock.rs`.
pub(crate) fn stock(cpus: Cpus, upstream: SocketAddr, program: Option<&Path>) -> Result<Proxy, Fault> {
    let address = vacant()?;
    let program = program.map_or_else(newest_stock, |path| Ok(path.to_owned()))?;
    let mut command = pinned(cpus.proxy, &program);
    command.arg(format!("--listen={address}")).arg(format!("--upstream={upstream}")).arg("--stealing");
    Ok(Proxy { part: start(command, address)?, address })
}

/// Cargo tells a bench where programs are, and not where other benches are: they lie beside it.
fn newest_stock() -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("this program lies in no folder")?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("stock-") && !name.contains('.') {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    let newest =
        found.into_iter().max().ok_or("no `stock` here: cargo bench --bench stock --bench through")?;
    Ok(newest.1)
}

/// The edge, from this file.
pub(crate) fn edge(cpus: Cpus, program: &Path, house: &House) -> Result<Proxy, Fault> {
    let config = house.furnish()?;
    let mut command = pinned(cpus.proxy, program);
    command.arg("run").arg("--config").arg(config);
    Ok(Proxy { part: start(command, house.listen)?, address: house.listen })
}

/// A house with addresses that are free.
pub(crate) fn house(folder: &Path, upstream: SocketAddr, log: Log) -> Result<House, Fault> {
    let name = match log {
        Log::File => "edge",
        Log::Off => "quiet",
    };
    Ok(House { listen: vacant()?, admin: vacant()?, upstream, folder: folder.join(name), log })
}

impl Proxy {
    /// Drives it for a while.
    pub(crate) fn drive(
        &self,
        cpus: Cpus,
        kind: Kind,
        connections: usize,
        millis: u64,
    ) -> Result<Found, Fault> {
        let mut command = own(cpus.others, "load")?;
        let kind = clap::ValueEnum::to_possible_value(&kind).ok_or("a kind without a name")?;
        command.arg(format!("--target={}", self.address)).arg(format!("--kind={}", kind.get_name()));
        command.arg(format!("--of={}", self.part.0.id())).arg(format!("--connections={connections}"));
        command.arg("--warm-ms=400").arg(format!("--measure-ms={millis}"));
        Ok(serde_json::from_slice(&told(command)?)?)
    }
}

/// Nanoseconds of one verification, on the proxies' CPU.
pub(crate) fn verification(cpus: Cpus, millis: u64) -> Result<f64, Fault> {
    let mut command = own(cpus.proxy, "verify")?;
    command.arg(format!("--measure-ms={millis}"));
    Ok(std::str::from_utf8(&told(command)?)?.trim().parse()?)
}

fn told(mut command: Command) -> Result<Vec<u8>, Fault> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if output.status.success() { Ok(output.stdout) } else { Err("a part of the bench has failed".into()) }
}

/// This very program, in another part.
fn own(cpu: usize, part: &str) -> Result<Command, Fault> {
    let mut command = pinned(cpu, std::env::current_exe()?);
    command.arg(part);
    Ok(command)
}

/// `taskset` replaces itself by the program, so the process that is started is the program's.
fn pinned(cpu: usize, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(cpu.to_string()).arg(program);
    command
}

/// Starts what listens, and waits until it does.
fn start(mut command: Command, address: SocketAddr) -> Result<Running, Fault> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut running =
        Running(spawned.map_err(|error| format!("taskset (util-linux) cannot be started: {error}"))?);
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
