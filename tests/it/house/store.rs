//! The mesh store as a process of its own.

use super::client::Client;
use super::edge::admin;
use super::postgres::Postgres;
use super::process::{Process, Signal, free_address, store_program};
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// What the edge and the store share, so that the store believes what it is told of tenants.
pub(crate) const SECRET: &str = "shared-by-edge-and-store";

/// A running store.
#[derive(Debug)]
pub(crate) struct Store {
    process: Process,
    address: SocketAddr,
    folder: Temp,
    base: Base,
}

/// What it lies over.
#[derive(Debug)]
enum Base {
    File(PathBuf),
    Server(String),
}

impl Store {
    /// Starts it over the folder's `mesh.db` and waits until it is healthy.
    pub(crate) fn start(folder: Temp) -> Self {
        Self::begin(folder, None)
    }

    /// The same at an address, for a store that comes back.
    pub(crate) fn start_again(address: SocketAddr, folder: Temp) -> Self {
        let base = Base::File(folder.path().join("mesh.db"));
        let process = launch(&folder, &base, address);
        let mut store = Self { process, address, folder, base };
        store.ready();
        store
    }

    /// Starts it over a PostgreSQL database and waits until it is healthy.
    pub(crate) fn start_on(server: &Postgres) -> Self {
        Self::start_at(server.url())
    }

    /// The same for any URL.
    pub(crate) fn start_at(url: String) -> Self {
        Self::begin(Temp::new(), Some(url))
    }

    /// Starts it from a config file, with these lines in it beside where it listens and whom it trusts, over the
    /// folder's `mesh.db` or a PostgreSQL database, and waits until it is healthy.
    pub(crate) fn start_with(folder: Temp, server: Option<&Postgres>, lines: &str) -> Self {
        let (address, url) = (free_address(), server.map(Postgres::url));
        let place = match &url {
            Some(_) => "postgres: { url: { env: MESH_DATABASE_URL } }",
            None => "database: mesh.db",
        };
        let trust = "trust: { shared_secret: { env: STORE_SECRET } }";
        let config = folder.write("store.yaml", format!("listen: {address}\n{place}\n{trust}\n{lines}\n"));
        let mut command = Command::new(store_program());
        command.arg("run").arg("--config").arg(config).env("STORE_SECRET", SECRET);
        command.env("MESH_DATABASE_URL", url.as_deref().unwrap_or_default()).current_dir(folder.path());
        let base = url.map_or_else(|| Base::File(folder.path().join("mesh.db")), Base::Server);
        let mut store = Self { process: Process::start(&mut command), address, folder, base };
        store.ready();
        store
    }

    /// A second one over another's file; the folder stays the other's.
    pub(crate) fn start_over(database: &std::path::Path) -> Self {
        let (address, folder) = (free_address(), Temp::new());
        let process = launch(&folder, &Base::File(database.join("mesh.db")), address);
        let mut store = Self { process, address, folder, base: Base::File(database.join("mesh.db")) };
        store.ready();
        store
    }

    fn begin(folder: Temp, url: Option<String>) -> Self {
        let address = free_address();
        let base = url.map_or_else(|| Base::File(folder.path().join("mesh.db")), Base::Server);
        let process = launch(&folder, &base, address);
        let mut store = Self { process, address, folder, base };
        store.ready();
        store
    }

    fn ready(&mut self) {
        until("the store's start", SOON, || {
            assert!(self.process.runs(), "the store ended: {}", self.process.stderr().join("\n"));
            admin(self.address, "/health").filter(|answer| answer.status == 200)
        });
    }

    /// Kills it, as a power cut would, and starts it anew over the same database, at the same address.
    pub(crate) fn crash(&mut self) {
        self.process.kill();
        self.process = launch(&self.folder, &self.base, self.address);
        self.ready();
    }

    /// Writes these lines into the config of [`Self::start_with`] in the place of those that stood there, and tells it
    /// with SIGHUP; waits until it has said of the new one what is looked for.
    pub(crate) fn reload(&self, before: &str, lines: &str, said: &str) {
        let path = self.folder.path().join("store.yaml");
        let text = std::fs::read_to_string(&path).expect("a config");
        assert!(text.contains(before), "{text}");
        std::fs::write(&path, text.replace(before, lines)).expect("a config can be written");
        let times = || self.process.stderr().iter().filter(|line| line.contains(said)).count();
        let already = times();
        self.process.signal(Signal::Hangup);
        until("the reload", SOON, || (times() > already).then_some(()));
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn memory(&self) -> u64 {
        self.process.memory()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder, with `mesh.db` when it has a file.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Kills it, as a power cut would, and hands its folder on.
    pub(crate) fn kill(mut self) -> Temp {
        self.process.kill();
        self.folder
    }
}

fn launch(folder: &Temp, base: &Base, address: SocketAddr) -> Process {
    let mut command = Command::new(store_program());
    command.arg("run").env("STORE_SECRET", SECRET).current_dir(folder.path());
    command.args(["--listen", &address.to_string(), "--shared-secret-env", "STORE_SECRET"]);
    match base {
        Base::File(file) => command.arg("--database").arg(file),
        Base::Server(url) => {
            command.args(["--postgres-env", "MESH_DATABASE_URL"]).env("MESH_DATABASE_URL", url)
        }
    };
    Process::start(&mut command)
}

/// A store that was started and is not waited for.
#[derive(Debug)]
pub(crate) struct Unready(Store);

impl Unready {
    /// Starts it over the folder's `mesh.db`.
    pub(crate) fn start(folder: Temp) -> Self {
        let (address, base) = (free_address(), Base::File(folder.path().join("mesh.db")));
        let process = launch(&folder, &base, address);
        Self(Store { process, address, folder, base })
    }

    /// Whether it is healthy by now.
    pub(crate) fn is_ready(&self) -> bool {
        admin(self.0.address, "/health").is_some_and(|answer| answer.status == 200)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.0.folder()
    }

    /// Kills it and hands its folder on.
    pub(crate) fn kill(self) -> Temp {
        self.0.kill()
    }
}

/// A caller of the store for a tenant, in the edge's place.
pub(crate) fn caller(address: SocketAddr, tenant: &str) -> Client {
    Client::past_the_edge(address).with("X-Edge-Auth", SECRET).with("X-Tenant-Id", tenant)
}
