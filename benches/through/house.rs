//! The config that the edge is measured with: a thousand keys, fifty tenants, limits that nobody meets,
//! metrics, and an access log in a file.

use crate::Fault;
use crate::requests::{KEYS, NODES, TENANTS, key, node, signing_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Whether finished requests are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    File,
    Off,
}

/// Where one edge lives.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) upstream: SocketAddr,
    /// A folder of its own.
    pub(crate) folder: PathBuf,
    pub(crate) log: Log,
}

impl House {
    /// Writes the config and says where.
    pub(crate) fn furnish(&self) -> Result<PathBuf, Fault> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join("edge.yaml");
        std::fs::write(&path, self.config()?)?;
        Ok(path)
    }

    pub(crate) fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    fn config(&self) -> Result<String, std::fmt::Error> {
        let log = match self.log {
            Log::File => self.access_log().display().to_string(),
            Log::Off => "off".to_owned(),
        };
        let mut text = String::with_capacity(256 * KEYS);
        self.process(&mut text, &log)?;
        callers(&mut text)?;
        text.push_str(LIMITS);
        writeln!(text, "upstreams:\n  service: {{ servers: [\"{}\"] }}", self.upstream)?;
        text.push_str(ROUTES);
        Ok(text)
    }

    fn process(&self, text: &mut String, log: &str) -> std::fmt::Result {
        let data: &Path = &self.folder.join("data");
        writeln!(text, "listen: [{{ address: \"{}\" }}]\nadmin: \"{}\"", self.listen, self.admin)?;
        writeln!(text, "data: \"{}\"\nserver: {{ threads: 1, drain: 1s }}", data.display())?;
        writeln!(text, "log: {{ level: warn }}\naccess_log: {{ to: \"{log}\" }}")
    }
}

fn callers(text: &mut String) -> std::fmt::Result {
    text.push_str("tenants:\n");
    for n in 0..TENANTS {
        writeln!(text, "  tenant-{n:02}: {{}}")?;
    }
    text.push_str("credentials:\n");
    for n in 0..KEYS {
        let (tenant, hash) = (n % TENANTS, hex(&Sha256::digest(key(n))));
        writeln!(
            text,
            "  - {{ id: key-{n:04}, tenant: tenant-{tenant:02}, hash: \"sha256:{hash}\", scopes: [\"items\"] }}"
        )?;
    }
    text.push_str("nodes:\n");
    for n in 0..NODES {
        let (node, public) = (node(n), STANDARD.encode(signing_key(n).verifying_key().as_bytes()));
        writeln!(text, "  - {{ tenant: tenant-00, node: {node}, public_key: \"{public}\" }}")?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const LIMITS: &str = "\
limits:
  per-ip: { by: ip, window: { limit: 1000000000, per: 1m } }
  per-credential: { by: credential, window: { limit: 1000000000, per: 1m } }
  one-a-minute: { by: [ip, route], window: { limit: 1, per: 1m } }
";

const ROUTES: &str = "\
routes:
  - { name: items, path: /v1/**, scopes: [items], limits: [per-ip, per-credential], upstream: service }
  - { name: unlimited, path: /unlimited/**, scopes: [items], upstream: service }
  - { name: open, path: /open/**, public: true, upstream: service }
  - { name: spent, path: /spent/**, scopes: [items], limits: [one-a-minute, per-credential], upstream: service }
  - name: signed
    path: /signed
    methods: [POST]
    tenant: tenant-00
    limits: [per-ip]
    verify: { scheme: mesh }
    upstream: service
";
