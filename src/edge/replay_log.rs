//! The replay cache's file: marks appended one behind the other, read back at the start, written anew when most
//! of them are out of date.
//!
//! A mark is a record of fixed length with a checksum, so a record that a crash cut short is seen and left out.
//! Appending is one `write` to the system, which outlives this process however it ends; what a power cut may
//! take is what was not yet synced. This file does not know what a mark means.

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How the file begins: what it is, and in which version.
const MAGIC: &[u8; 8] = b"OCREPL1\n";
/// Tenant, key, end, checksum.
const RECORD: usize = 8 + 16 + 8 + 4;

/// A tenant, as the file names it: the front of the SHA-256 of its name.
pub(super) type TenantTag = [u8; 8];
/// A delivery, as the file names it.
pub(super) type Key = [u8; 16];

/// One delivery that was taken, and until when (Unix seconds) that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) tenant: TenantTag,
    pub(super) key: Key,
    pub(super) until: u64,
}

impl Mark {
    fn encode(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&self.tenant);
        record[8..24].copy_from_slice(&self.key);
        record[24..32].copy_from_slice(&self.until.to_le_bytes());
        let sum = Sha256::digest(&record[..32]);
        record[32..].copy_from_slice(&sum[..4]);
        record
    }

    fn decode(record: &[u8; RECORD]) -> Option<Self> {
        let sum = Sha256::digest(&record[..32]);
        let mark = Self {
            tenant: record[..8].try_into().ok()?,
            key: record[8..24].try_into().ok()?,
            until: u64::from_le_bytes(record[24..32].try_into().ok()?),
        };
        (sum[..4] == record[32..]).then_some(mark)
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    records: usize,
    /// What is appended while the file is being written anew, to be put behind the new one.
    meanwhile: Option<Vec<u8>>,
}

/// What a file held.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) log: Log,
    pub(super) marks: Vec<Mark>,
    /// Records that were broken.
    pub(super) broken: usize,
}

impl Log {
    /// Opens the file, makes it where it is not there, and reads what it holds. Anything behind the last whole
    /// record is cut off.
    pub(super) fn open(path: &Path) -> io::Result<Read> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            // New, or cut short while it was made.
            file.set_len(0)?;
            file.write_all(MAGIC)?;
            bytes.clear();
        } else if !bytes.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is no replay log"));
        }
        let body = bytes.get(MAGIC.len()..).unwrap_or_default();
        let (records, rest) = body.as_chunks::<RECORD>();
        if !rest.is_empty() {
            file.set_len((bytes.len() - rest.len()) as u64)?;
        }
        let marks: Vec<Mark> = records.iter().filter_map(Mark::decode).collect();
        let broken = records.len() - marks.len() + usize::from(!rest.is_empty());
        let state = State { file, records: records.len(), meanwhile: None };
        Ok(Read { log: Self { path: path.to_owned(), state: Mutex::new(state) }, marks, broken })
    }

    /// Hands marks to the system: from here on they outlive this process.
    pub(super) fn append(&self, marks: &[Mark]) -> io::Result<()> {
        let bytes: Vec<u8> = marks.iter().flat_map(Mark::encode).collect();
        let mut state = self.state.lock();
        state.file.write_all(&bytes)?;
        state.records += marks.len();
        if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Waits until the disk has what was appended before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let file = self.state.lock().file.try_clone()?;
        file.sync_data()
    }

    /// How many records the file holds, old ones included.
    pub(super) fn records(&self) -> usize {
        self.state.lock().records
    }

    /// Writes the file anew with what `live` gives. What is appended meanwhile is kept too; appending does not
    /// wait for this.
    pub(super) fn rewrite(&self, live: impl FnOnce() -> Vec<Mark>) -> io::Result<()> {
        // Before the marks are asked for: each is then among them or in `meanwhile`, or in both.
        self.state.lock().meanwhile = Some(Vec::new());
        let written = self.write_beside(&live());
        let mut state = self.state.lock();
        let meanwhile = state.meanwhile.take().unwrap_or_default();
        let (mut file, records) = written?;
        file.write_all(&meanwhile)?;
        file.sync_data()?;
        std::fs::rename(self.beside(), &self.path)?;
        state.file = file;
        state.records = records + meanwhile.len() / RECORD;
        Ok(())
    }

    fn beside(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    fn write_beside(&self, marks: &[Mark]) -> io::Result<(File, usize)> {
        let path = self.beside();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + marks.len() * RECORD);
        bytes.extend_from_slice(MAGIC);
        for mark in marks {
            bytes.extend_from_slice(&mark.encode());
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok((file, marks.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("replay-log-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("replay.log");
        let _ = std::fs::remove_file(&path);
        path
    }

    fn mark(n: u8) -> Mark {
        Mark { tenant: [n; 8], key: [n; 16], until: u64::from(n) }
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let path = place("back");
        let log = Log::open(&path).unwrap().log;
        log.append(&[mark(1), mark(2)]).unwrap();
        log.append(&[mark(3)]).unwrap();
        drop(log);
        let read = Log::open(&path).unwrap();
        assert_eq!((read.marks, read.broken), (vec![mark(1), mark(2), mark(3)], 0));
    }

    #[test]
    fn writing_anew_keeps_what_came_meanwhile() {
        let path = place("anew");
        let log = Log::open(&path).unwrap().log;
        (0..100).for_each(|n| log.append(&[mark(n)]).unwrap());
        log.rewrite(|| {
            log.append(&[mark(200)]).unwrap();
            vec![mark(7)]
        })
        .unwrap();
        log.append(&[mark(201)]).unwrap();
        assert_eq!(log.records(), 3);
        assert_eq!(Log::open(&path).unwrap().marks, [mark(7), mark(200), mark(201)]);
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let path = place("other");
        std::fs::write(&path, "something else entirely").unwrap();
        assert!(Log::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else entirely");
    }

    proptest! {
        /// Wherever a crash cuts the file, all whole records before the cut are there, and it can be gone on with.
        #[test]
        fn a_file_that_was_cut_short_loses_only_what_was_cut(count in 1_u8..20, cut in any::<usize>()) {
            let path = place("cut");
            let log = Log::open(&path).unwrap().log;
            (0..count).for_each(|n| log.append(&[mark(n)]).unwrap());
            drop(log);
            let bytes = std::fs::read(&path).unwrap();
            let cut = cut % (bytes.len() + 1);
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = cut.saturating_sub(MAGIC.len()) / RECORD;
            let read = Log::open(&path).unwrap();
            prop_assert_eq!(read.marks.len(), whole);
            read.log.append(&[mark(99)]).unwrap();
            let again = Log::open(&path).unwrap();
            prop_assert!(again.broken == 0);
            prop_assert_eq!(again.marks.last(), Some(&mark(99)));
            prop_assert_eq!(again.marks.len(), whole + 1);
        }
    }
}
