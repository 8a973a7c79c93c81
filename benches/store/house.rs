//! The store as Cargo has just built it, over a file of its own, and rows put into it by thousands.

use crate::Fault;
use crate::client::Client;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the bench and the store share.
pub(crate) const SECRET: &str = "shared-by-bench-and-store";

/// Whether memories get vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// The vectorizer that is built in.
    Builtin,
    /// None.
    None,
}

/// A running store; it and its files go when it is dropped.
pub(crate) struct House {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

impl House {
    pub(crate) fn start(parent: &Path, vectors: Vectors) -> Result<Self, Fault> {
        let folder = parent.join(format!("{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let source = match vectors {
            Vectors::Builtin => "builtin",
            Vectors::None => "none",
        };
        let config = format!(
            "listen: \"{address}\"\ndatabase: mesh.db\ntrust: {{ shared_secret: {SECRET} }}\n\
             allow_literal_secrets: true\nembeddings: {{ source: {source} }}\nrules: {{ sweep_every: 1s }}\nlog: {{ level: warn }}\n"
        );
        std::fs::write(folder.join("store.yaml"), config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-store"));
        command.args(["run", "--config", "store.yaml"]).current_dir(&folder).stdin(Stdio::null());
        let house = Self { child: command.spawn()?, address, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err("the store does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(house)
    }

    pub(crate) fn client(&self, tenant: &str) -> Result<Client, Fault> {
        Client::open(self.address, tenant)
    }

    /// MiB that the process holds, without what the system keeps of its files.
    pub(crate) fn memory(&self) -> Result<f64, Fault> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// Waits until upkeep has made the search index one piece, as it does by itself after many writes.
    pub(crate) fn rest(&self, rows: usize) -> Result<(), Fault> {
        let file = rusqlite::Connection::open_with_flags(
            self.folder.join("mesh.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )?;
        let merged = "SELECT coalesce((SELECT value FROM store_facts WHERE name = 'search_merged'), 0)";
        let deadline = Instant::now() + Duration::from_mins(10);
        // What upkeep leaves for another time is a fifth of all at the most.
        while file.query_row(merged, [], |row| row.get::<_, i64>(0))? < i64::try_from(rows)? / 5 * 4 {
            if Instant::now() > deadline {
                return Err("upkeep does not end".into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Puts rows `from..to` of a tenant, a thousand at a time.
    pub(crate) fn fill(&self, tenant: &str, from: usize, to: usize) -> Result<(), Fault> {
        let mut client = self.client(tenant)?;
        let mut at = from;
        while at < to {
            let end = to.min(at + 1000);
            let operations: Vec<String> = (at..end).map(operation).collect();
            client.post("/mesh/batch", &format!("[{}]", operations.join(",")))?;
            at = end;
        }
        Ok(())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The key of a row: of 32 folders each, in no order of writing.
pub(crate) fn key(at: usize) -> String {
    format!("notes/{:02}/{at:07}", at.wrapping_mul(7919) % 32)
}

/// About 200 bytes: a word of its own, one that a fiftieth of all rows have, one that all have.
pub(crate) fn value(at: usize) -> String {
    format!(
        r#"{{"title":"note n{at}","body":"the plan of group g{} is to hold the bridge until the others come","tags":["common","t{}"]}}"#,
        at % 50,
        at % 7
    )
}

fn operation(at: usize) -> String {
    let (key, value) = (key(at), value(at));
    format!(r#"{{"op":"put","scope":"mesh","key":"{key}","value":{value},"node_id":"n{}"}}"#, at % 20)
}
