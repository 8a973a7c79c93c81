//! A real PgBouncer before a test's PostgreSQL: it hands a server connection out for one transaction.

use super::parts::program;
use super::postgres::{Postgres, as_server, hand_over};
use super::process::{Process, free_address};
use super::temp::Temp;
use super::wait::{SOON, until};
use std::net::SocketAddr;

/// Server connections that all clients share.
pub(crate) const SHARED: usize = 3;

/// A running pooler.
#[derive(Debug)]
pub(crate) struct Pooler {
    process: Process,
    address: SocketAddr,
    _folder: Temp,
}

impl Pooler {
    /// Starts it; nothing where the machine has no PgBouncer.
    pub(crate) fn start(server: &Postgres) -> Option<Self> {
        let (pgbouncer, folder, address) = (program("pgbouncer")?, Temp::new(), free_address());
        let config = format!(
            "[databases]
mesh = host=127.0.0.1 port={} dbname=mesh user=mesh password=mesh
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {SHARED}
max_client_conn = 200
",
            server.address().port(),
            address.port()
        );
        let file = folder.write("pgbouncer.ini", config);
        hand_over(folder.path());
        let process = Process::start(as_server(&pgbouncer).arg(file));
        let mut pooler = Self { process, address, _folder: folder };
        until("the pooler's start", SOON, || {
            assert!(pooler.process.runs(), "it ended: {}", pooler.process.stderr().join("\n"));
            std::net::TcpStream::connect(address).ok()
        });
        Some(pooler)
    }

    /// As the store connects.
    pub(crate) fn url(&self) -> String {
        format!("postgres://mesh:mesh@{}/mesh?sslmode=disable", self.address)
    }
}
