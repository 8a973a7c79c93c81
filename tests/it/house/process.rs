//! A program under test: started, listened to, signalled, and killed when the test lets go of it.

use super::wait::{SOON, until};
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the edge lies.
pub(crate) fn edge_program() -> String {
    program("EDGE_BIN", option_env!("CARGO_BIN_EXE_openclaw-edge"))
}

/// Where the store lies.
pub(crate) fn store_program() -> String {
    program("STORE_BIN", option_env!("CARGO_BIN_EXE_mesh-store"))
}

/// A variable may name another build of the same program, such as the one in a release archive.
fn program(variable: &str, built: Option<&str>) -> String {
    let named = std::env::var(variable).ok();
    named.or_else(|| built.map(str::to_owned)).unwrap_or_else(|| panic!("no program: set {variable}"))
}

/// Runs the edge to its end.
pub(crate) fn run_edge(args: &[&str]) -> Output {
    let mut command = Command::new(edge_program());
    command.args(args).stdin(Stdio::null()).output().expect("the program can be started")
}

/// A port that was free a moment ago; whoever starts on it must be ready to try another.
pub(crate) fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("a bound socket has an address")
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// What was written so far.
type Lines = Arc<Mutex<Vec<String>>>;

/// What can be sent to a process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Read the config again.
    Hangup,
    /// Finish what is in flight, then leave.
    Terminate,
    /// Leave at once; to PostgreSQL, without writing anything.
    Quit,
    /// Stand still.
    Stop,
    /// Go on.
    Continue,
    /// No more.
    Kill,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
        let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
        Self { child, stdout, stderr }
    }

    /// Lines on standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().expect("no reader panics").clone()
    }

    /// Lines on standard error so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().expect("no reader panics").clone()
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Hangup => "-HUP",
            Signal::Terminate => "-TERM",
            Signal::Quit => "-QUIT",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
            Signal::Kill => "-KILL",
        };
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success(), "{name} could not be sent");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        until("the end of the process", within, || self.child.try_wait().expect("a child can be asked"))
    }

    /// Bytes of memory that it holds now (`VmRSS` of proc(5)).
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// Kills it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::Kill);
        self.wait(SOON);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.stderr();
            let tail = lines.len().saturating_sub(30);
            eprintln!("the program's last lines:\n{}", lines[tail..].join("\n"));
        }
    }
}

fn collect(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            into.lock().expect("no reader panics").push(text);
            line.clear();
        }
    });
    lines
}
