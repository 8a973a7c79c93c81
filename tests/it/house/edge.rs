//! The edge, running on ports of its own with a config of its own.

use super::client::{Answer, Client, Request};
use super::keys::Key;
use super::metrics::Metrics;
use super::process::{Process, Signal, edge_program, free_address};
use super::site::Site;
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// How often a start is tried again because someone else took the port in between.
const STARTS: usize = 5;

/// A running edge.
#[derive(Debug)]
pub(crate) struct Edge {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    config: PathBuf,
    folder: Temp,
}

impl Edge {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(site: &Site) -> Self {
        Self::start_in(Temp::new(), site)
    }

    /// The same, in a folder that already holds something.
    pub(crate) fn start_in(folder: Temp, site: &Site) -> Self {
        Self::start_behind(folder, site, &[])
    }

    /// The same, started by another program that is given the edge's command line.
    pub(crate) fn start_behind(folder: Temp, site: &Site, starter: &[&str]) -> Self {
        let mut folder = folder;
        for _ in 0..STARTS {
            match Self::try_start(folder, site, starter) {
                Ok(edge) => return edge,
                Err(taken) => folder = taken,
            }
        }
        panic!("no free port in {STARTS} tries");
    }

    fn try_start(folder: Temp, site: &Site, starter: &[&str]) -> Result<Self, Temp> {
        let (address, admin) = (free_address(), free_address());
        let place = folder.path().display().to_string();
        let config = folder.write("edge.yaml", site.text(address, admin, &place));
        let program = edge_program();
        let words: Vec<&str> = starter.iter().copied().chain([program.as_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args(["run", "--config"]).arg(&config).current_dir(folder.path());
        let process = Process::start(&mut command);
        let mut edge = Self { process, address, admin, config, folder };
        let ready = until("ready", SOON, || {
            if !edge.process.runs() {
                return Some(false);
            }
            edge.admin("/readyz").is_some_and(|answer| answer.status == 200).then_some(true)
        });
        if ready && edge.process.runs() {
            return Ok(edge);
        }
        let said = edge.process.stderr().join("\n");
        assert!(said.to_lowercase().contains("in use"), "the edge did not start:\n{said}");
        Err(edge.folder)
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A caller without a key.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A caller with a key.
    pub(crate) fn caller(&self, key: Key) -> Client {
        self.client().with("X-API-Key", key.text)
    }

    /// An answer of the admin listener; none when nobody is there.
    pub(crate) fn admin(&self, target: &str) -> Option<AdminAnswer> {
        admin(self.admin, target)
    }

    /// The same with another method.
    pub(crate) fn admin_send(&self, method: &str, target: &str) -> Option<AdminAnswer> {
        admin_send(self.admin, method, target)
    }

    /// All series, now.
    pub(crate) fn metrics(&self) -> Metrics {
        let answer = self.admin("/metrics").expect("the admin listener answers");
        assert_eq!(answer.status, 200);
        Metrics::parse(&answer.body)
    }

    /// The finished requests so far, one object each.
    pub(crate) fn access_log(&self) -> Vec<serde_json::Value> {
        let lines = self.process.stdout();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Waits for the access log's line about this answer.
    pub(crate) fn log_line(&self, answer: &Answer) -> serde_json::Value {
        let id = answer.field("x-request-id").expect("every answer has one");
        until("the access log's line", SOON, || {
            self.access_log().into_iter().find(|line| line.to_string().contains(id))
        })
    }

    /// The operator's log so far.
    pub(crate) fn log(&self) -> String {
        self.process.stderr().join("\n")
    }

    /// Waits for a line with this text in the operator's log: it is written beside the answers, not before them.
    pub(crate) fn logged(&self, text: &str) {
        until(text, SOON, || self.log().contains(text).then_some(()));
    }

    /// Standard output and standard error together: what must never hold a secret.
    pub(crate) fn all_output(&self) -> String {
        format!("{}\n{}", self.process.stdout().join("\n"), self.log())
    }

    /// Puts another config in the file's place.
    pub(crate) fn rewrite(&self, site: &Site) {
        self.rewrite_text(&self.text_of(site));
    }

    fn text_of(&self, site: &Site) -> String {
        site.text(self.address, self.admin, &self.folder.path().display().to_string())
    }

    /// Puts any text in the config's place, as an editor does: a new file under the old name.
    pub(crate) fn rewrite_text(&self, text: &str) {
        let fresh = self.folder.write("edge.yaml.new", text);
        std::fs::rename(fresh, &self.config).expect("a file can be renamed");
    }

    /// Rewrites, sends SIGHUP and waits until the new config is in force.
    pub(crate) fn reload(&self, site: &Site) {
        self.reload_text(&self.text_of(site));
    }

    /// The same with any text that is a good config.
    pub(crate) fn reload_text(&self, text: &str) {
        self.rewrite_text(text);
        self.process.signal(Signal::Hangup);
        // Not by the count of reloads: the edge may see the file before the signal, and then looks twice.
        let fingerprint = super::keys::hex(text);
        let told = |line: &String| line.contains("config reloaded") && line.contains(&fingerprint);
        until("the reload", SOON, || self.process.stderr().iter().any(told).then_some(()));
    }

    /// How many reloads ended this way.
    pub(crate) fn reloads(&self, result: &str) -> f64 {
        self.metrics().sum("openclaw_edge_config_reloads_total", &[("result", result)])
    }

    /// Sends SIGHUP.
    pub(crate) fn sighup(&self) {
        self.process.signal(Signal::Hangup);
    }

    /// Sends SIGTERM.
    pub(crate) fn sigterm(&self) {
        self.process.signal(Signal::Terminate);
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        self.process.wait(within)
    }

    /// Ends it as an operator would, and hands its folder on.
    pub(crate) fn stop(mut self) -> Temp {
        self.sigterm();
        assert!(self.wait(SOON).success());
        self.folder
    }

    /// Kills it, as a power cut would, and hands its folder on.
    pub(crate) fn kill(mut self) -> Temp {
        self.process.kill();
        self.folder
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.runs()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn memory(&self) -> u64 {
        self.process.memory()
    }

    /// Whether anyone takes new connections.
    pub(crate) fn listens(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// The config's file.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Sends a request without a key.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.client().send(request)
    }
}

/// An answer of an admin listener, which is not for clients and is not inspected.
#[derive(Debug)]
pub(crate) struct AdminAnswer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

/// Asks an admin listener.
pub(crate) fn admin(address: SocketAddr, target: &str) -> Option<AdminAnswer> {
    admin_send(address, "GET", target)
}

fn admin_send(address: SocketAddr, method: &str, target: &str) -> Option<AdminAnswer> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(AdminAnswer { status, body: body.to_owned() })
}
