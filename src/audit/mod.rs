//! What happened to a tenant and who decided what: one file of JSON lines a tenant, each chained to the one before by
//! its SHA-256. [`verify()`] reads one and says whether it is whole.
//!
//! A line is on the disk when its writer goes on. Nothing here knows a socket, a gateway or a request.

mod verify;

pub use verify::{Broken, Verified, verify};

use crate::ids::TenantId;
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest line that is looked for at a file's end; ours are below 2 KiB.
const LONGEST_LINE: u64 = 64 << 10;
/// What the first line of a file names as the one before it.
const NONE_BEFORE: [u8; 32] = [0; 32];

/// One thing that happened. Texts that came from a client are bounded by whoever fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, RFC 3339.
    pub at: String,
    /// `decision` before it goes on, `outcome` after the gateway has answered; `key_used`, `refused`, `config`.
    pub event: &'static str,
    /// The gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Who: the credential's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The node that calls with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The socket's request id, as the access log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Which approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// What the gateway made of it: `applied`, or the code of its refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Which key of the credential was used: `current` or `previous`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'static str>,
    /// When it was, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// The code of a refusal, and how many there were since the last line about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// SHA-256 of the config's text that came into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// What it changed of the tenant's: names, no values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// Now, as entries say it: RFC 3339 with milliseconds.
#[must_use]
pub fn now() -> String {
    let now = std::time::SystemTime::now();
    jiff::Timestamp::try_from(now).map(|now| format!("{now:.3}")).unwrap_or_default()
}

/// A second of Unix time, as entries say it.
#[must_use]
pub fn time(unix: u64) -> String {
    let time = i64::try_from(unix).ok().and_then(|unix| jiff::Timestamp::from_second(unix).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// A line: an entry, and the hash of the line before it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    prev: String,
}

/// All tenants' files.
#[derive(Debug)]
pub struct Audit {
    folder: PathBuf,
    files: Mutex<HashMap<TenantId, Arc<Mutex<Chain>>>>,
}

impl Audit {
    /// The files in a folder, which is made with the first line.
    #[must_use]
    pub fn new(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, files: Mutex::default() })
    }

    /// Writes a line. It is on the disk when this is done.
    ///
    /// # Errors
    /// When it is not; then nothing of it is left, or the next line tells of the break.
    pub async fn write(self: &Arc<Self>, tenant: &TenantId, entry: Entry) -> io::Result<()> {
        let (audit, tenant) = (self.clone(), tenant.clone());
        let written = tokio::task::spawn_blocking(move || audit.append(&tenant, &entry));
        written.await.map_err(io::Error::other)?
    }

    fn append(&self, tenant: &TenantId, entry: &Entry) -> io::Result<()> {
        let chain = self.chain(tenant)?;
        let appended = chain.lock().append(entry);
        if appended.is_err() {
            // What the file holds now is read anew before the next line.
            self.files.lock().remove(tenant);
        }
        appended
    }

    fn chain(&self, tenant: &TenantId) -> io::Result<Arc<Mutex<Chain>>> {
        let mut files = self.files.lock();
        if let Some(chain) = files.get(tenant) {
            return Ok(chain.clone());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let chain = Chain::open(&self.folder.join(format!("{tenant}.ndjson")))?;
        File::open(&self.folder)?.sync_all()?;
        let chain = Arc::new(Mutex::new(chain));
        files.insert(tenant.clone(), chain.clone());
        Ok(chain)
    }
}

/// One file.
#[derive(Debug)]
struct Chain {
    file: File,
    length: u64,
    last: [u8; 32],
}

impl Chain {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut length = file.metadata()?.len();
        let from = length.saturating_sub(LONGEST_LINE);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&file).take(LONGEST_LINE).read_to_end(&mut tail)?;
        if tail.last().is_some_and(|byte| *byte != b'\n') {
            // A crash cut the last line short: it ends here, and counts as the line that it is.
            file.write_all(b"\n")?;
            file.sync_data()?;
            tail.push(b'\n');
            length += 1;
        }
        let line = tail.strip_suffix(b"\n").and_then(|rest| rest.rsplit(|byte| *byte == b'\n').next());
        let last = line.map_or(NONE_BEFORE, |line| Sha256::digest(line).into());
        Ok(Self { file, length, last })
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { entry, prev: hex::encode(self.last) })?;
        let last = Sha256::digest(&line).into();
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Best effort: what stays is half a line, which the next opening ends.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += line.len() as u64;
        self.last = last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("audit-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn entry(approval: &str) -> Entry {
        Entry { event: "decision", approval: Some(approval.into()), ..Entry::default() }
    }

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    /// Every line names the hash of the one before.
    fn check(folder: &Path) -> usize {
        let text = std::fs::read(folder.join("acme.ndjson")).unwrap();
        let mut before = NONE_BEFORE;
        let mut count = 0;
        for line in text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
            if let Ok(read) = serde_json::from_slice::<serde_json::Value>(line) {
                assert_eq!(read["prev"], hex::encode(before));
            }
            before = Sha256::digest(line).into();
            count += 1;
        }
        count
    }

    #[test]
    fn lines_are_chained_over_restarts_and_crashes() {
        let folder = folder("chain");
        let audit = Audit::new(folder.clone());
        for at in 0..3 {
            audit.append(&acme(), &entry(&at.to_string())).unwrap();
        }
        drop(audit);
        Audit::new(folder.clone()).append(&acme(), &entry("again")).unwrap();
        assert_eq!(check(&folder), 4);
        let path = folder.join("acme.ndjson");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":\"2026").unwrap();
        Audit::new(folder.clone()).append(&acme(), &entry("after a crash")).unwrap();
        assert_eq!(check(&folder), 6);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let folder = folder("full");
        std::fs::write(&folder, "no folder").unwrap();
        assert!(Audit::new(folder.clone()).append(&acme(), &entry("a")).is_err());
        std::fs::remove_file(folder).unwrap();
    }
}
