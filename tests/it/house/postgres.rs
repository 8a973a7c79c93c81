//! A real PostgreSQL server of a test's own: in a temporary folder, on a free port, gone with the test.

use super::certificates::Certificate;
use super::parts::postgres_programs;
use super::process::{Process, Signal, free_address};
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A running server with a database `mesh` that the plain role `mesh` owns.
#[derive(Debug)]
pub(crate) struct Postgres {
    process: Process,
    programs: PathBuf,
    address: SocketAddr,
    folder: Temp,
    settings: Vec<String>,
}

impl Postgres {
    /// Makes a cluster and starts a server over it; nothing where the machine has no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        Self::begin(None)
    }

    /// The same for a server that the role `mesh` reaches by TLS alone.
    pub(crate) fn start_with(certificate: &Certificate) -> Option<Self> {
        Self::begin(Some(certificate))
    }

    fn begin(certificate: Option<&Certificate>) -> Option<Self> {
        let programs = postgres_programs()?;
        let folder = Temp::new();
        hand_over(folder.path());
        let mut initdb = as_server(&programs.join("initdb"));
        initdb.arg("-D").arg(folder.path().join("data"));
        initdb.args(["--username=admin", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        succeeds(&initdb.output().expect("initdb can be started"));
        let settings = certificate.map_or_else(Vec::new, |certificate| with_tls(folder.path(), certificate));
        let address = free_address();
        let process = serve(&programs, folder.path(), address, &settings);
        let mut server = Self { process, programs, address, folder, settings };
        server.ready();
        server.admin("CREATE ROLE mesh LOGIN PASSWORD 'mesh'", "postgres");
        server.admin("CREATE DATABASE mesh OWNER mesh", "postgres");
        Some(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As the store connects.
    pub(crate) fn url(&self) -> String {
        format!("postgres://mesh:mesh@{}/mesh?sslmode=disable", self.address)
    }

    /// As nobody should let the store connect.
    pub(crate) fn admin_url(&self) -> String {
        format!("postgres://admin@{}/mesh?sslmode=disable", self.address)
    }

    /// What `psql` prints for these statements, run by the role that the store has.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let out = self.psql("mesh", sql, "mesh");
        succeeds(&out);
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The same when the server says no: its words.
    pub(crate) fn refuses(&self, sql: &str) -> String {
        let out = self.psql("mesh", sql, "mesh");
        assert!(!out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        String::from_utf8_lossy(&out.stderr).into_owned()
    }

    /// Kills the server as a power cut would, and starts it anew over the same files.
    pub(crate) fn crash(&mut self) {
        // The postmaster's children end by themselves when it is gone.
        self.process.kill();
        let pid = self.folder.path().join("data/postmaster.pid");
        let address = self.address;
        self.process = until("the server's new start", SOON, || {
            let _ = std::fs::remove_file(&pid);
            let mut process = serve(&self.programs, self.folder.path(), address, &self.settings);
            let up = until("the server or its end", SOON, || {
                if !process.runs() {
                    return Some(false);
                }
                std::net::TcpStream::connect(address).ok().map(|_| true)
            });
            up.then_some(process)
        });
        self.ready();
    }

    fn admin(&self, sql: &str, database: &str) {
        succeeds(&self.psql("admin", sql, database));
    }

    fn psql(&self, role: &str, sql: &str, database: &str) -> Output {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            role,
            "-d",
            database,
        ]);
        psql.args(["-p", &self.address.port().to_string(), "-c", sql]).env("PGPASSWORD", "mesh");
        psql.output().expect("psql can be started")
    }

    fn ready(&mut self) {
        // After a crash it brings every file to the disk first.
        until("the server's start", 6 * SOON, || {
            assert!(self.process.runs(), "the server ended: {}", self.process.stderr().join("\n"));
            self.psql("admin", "SELECT 1", "postgres").status.success().then_some(())
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // "Immediate" for PostgreSQL: children go too, nothing is written.
        if self.process.runs() {
            self.process.signal(Signal::Quit);
            self.process.wait(SOON);
        }
    }
}

fn serve(programs: &Path, folder: &Path, address: SocketAddr, settings: &[String]) -> Process {
    let mut postgres = as_server(&programs.join("postgres"));
    postgres.arg("-D").arg(folder.join("data"));
    for setting in [
        format!("port={}", address.port()),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "max_connections=60".to_owned(),
        "shared_buffers=32MB".to_owned(),
    ] {
        postgres.args(["-c", &setting]);
    }
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    Process::start(&mut postgres)
}

/// What a server needs for TLS; the role `mesh` may then come no other way.
fn with_tls(folder: &Path, certificate: &Certificate) -> Vec<String> {
    let data = folder.join("data");
    let put = |name: &str, text: &[u8]| {
        let path = data.join(name);
        std::fs::write(&path, text).expect("our own folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("our own file");
        hand_over_file(&path);
    };
    put("server.pem", &certificate.chain);
    put("server.key", &certificate.key);
    put("pg_hba.conf", b"hostssl all mesh 127.0.0.1/32 trust\nhost all admin 127.0.0.1/32 trust\n");
    ["ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key"].map(str::to_owned).to_vec()
}

/// The server does not run as root; under root it runs as a user who may do nothing.
pub(super) fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

pub(super) fn hand_over(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("our own folder");
    hand_over_file(folder);
}

fn hand_over_file(folder: &Path) {
    if is_root() {
        let status = Command::new("chown").arg("nobody:nogroup").arg(folder).status();
        assert!(status.expect("chown is there").success());
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id is there");
    id.stdout.trim_ascii() == b"0"
}

fn succeeds(out: &Output) {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
