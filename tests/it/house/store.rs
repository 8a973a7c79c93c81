//! The mesh store as a process of its own.

use super::client::Client;
use super::edge::admin;
use super::postgres::Postgres;
use super::process::{Process, free_address, store_program};
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::SocketAddr;
use std::process::Command;

/// What the edge and the store share, so that the store believes what it is told of tenants.
pub(crate) const SECRET: &str = "shared-by-edge-and-store";

/// A running store.
#[derive(Debug)]
pub(crate) struct Store {
    process: Process,
    address: SocketAddr,
    folder: Temp,
}

impl Store {
    /// Starts it over the folder's `mesh.db` and waits until it is healthy.
    pub(crate) fn start(folder: Temp) -> Self {
        let address = free_address();
        let mut command = Command::new(store_program());
        command.arg("run").arg("--database").arg(folder.path().join("mesh.db"));
        command.args(["--listen", &address.to_string(), "--shared-secret-env", "STORE_SECRET"]);
        command.env("STORE_SECRET", SECRET).current_dir(folder.path());
        Self::started(&mut command, address, folder)
    }

    /// Starts it over a PostgreSQL database and waits until it is healthy.
    pub(crate) fn start_on(server: &Postgres) -> Self {
        let (address, folder) = (free_address(), Temp::new());
        let mut command = Command::new(store_program());
        command.args(["run", "--postgres-env", "MESH_DATABASE_URL", "--listen", &address.to_string()]);
        command.args(["--shared-secret-env", "STORE_SECRET"]).env("STORE_SECRET", SECRET);
        command.env("MESH_DATABASE_URL", server.url()).current_dir(folder.path());
        Self::started(&mut command, address, folder)
    }

    fn started(command: &mut Command, address: SocketAddr, folder: Temp) -> Self {
        let process = Process::start(command);
        let mut store = Self { process, address, folder };
        until("the store's start", SOON, || {
            assert!(store.process.runs(), "the store ended: {}", store.process.stderr().join("\n"));
            admin(address, "/health").filter(|answer| answer.status == 200)
        });
        store
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

/// A caller of the store for a tenant, in the edge's place.
pub(crate) fn caller(address: SocketAddr, tenant: &str) -> Client {
    Client::past_the_edge(address).with("X-Edge-Auth", SECRET).with("X-Tenant-Id", tenant)
}
