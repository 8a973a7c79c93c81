//! One tenant's file of what waits for other meshes: deliveries appended with their bodies, and behind them what
//! became of each.
//!
//! A record has a length and a checksum, so one that a crash cut short is seen and left out; all that is written
//! for one request is one record, there whole or not at all. This file knows bytes and offsets, and nothing of
//! peers, order or time.

use crate::ids::MeshId;
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How the file begins: what it is, and in which version.
const MAGIC: &[u8; 8] = b"OCOUTB1\n";
/// Length and checksum.
const HEAD: usize = 4 + 8;
/// Longer than any record that is written: bodies are bounded far below.
const MOST: usize = 1 << 30;

/// A delivery's name, which is also its `Idempotency-Key` in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub(super) [u8; 16]);

impl Id {
    pub(super) fn text(self) -> String {
        hex::encode(self.0)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// A delivery on its way into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) id: Id,
    pub(super) mesh: MeshId,
    pub(super) body: Vec<u8>,
}

/// Where a body lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    pub(super) len: usize,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A delivery came, at a moment (Unix seconds).
    Put { id: Id, mesh: MeshId, since: u64, place: Place },
    /// It was taken, or an operator threw it away.
    Gone(Id),
    /// It was laid aside, and which status did it (0 for none).
    Aside { id: Id, status: u16 },
    /// An operator put it back into its line, at a moment.
    Again { id: Id, since: u64 },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
    /// A write failed and could not be taken back: nothing more is written until the next start.
    broken: bool,
}

/// What a file held.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) journal: Journal,
    pub(super) events: Vec<Event>,
    /// Bytes behind the last whole record, which were put aside.
    pub(super) cut: u64,
}

impl Journal {
    /// Opens the file, makes it where it is not there, and reads what it holds. What stands behind the last whole
    /// record is copied beside the file and cut off.
    pub(super) fn open(path: &Path) -> io::Result<Read> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        let mut magic = Vec::new();
        file.try_clone()?.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
            // New, or cut short while it was made.
            file.set_len(0)?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            sync_folder(path)?;
            let journal = Self { path: path.to_owned(), file, end: MAGIC.len() as u64, broken: false };
            return Ok(Read { journal, events: Vec::new(), cut: 0 });
        }
        if magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is no outbox"));
        }
        let (events, end) = events(&file)?;
        let cut = length - end;
        if cut > 0 {
            let mut rest = vec![0; usize::try_from(cut).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut rest, end)?;
            write_new(&path.with_extension("cut"), &rest)?;
            file.set_len(end)?;
        }
        let journal = Self { path: path.to_owned(), file, end, broken: false };
        Ok(Read { journal, events, cut })
    }

    /// Appends deliveries, all or none; where their bodies lie.
    pub(super) fn put(&mut self, parcels: &[Parcel], since: u64) -> io::Result<Vec<Place>> {
        let (record, within) = put_record(parcels.iter().map(|one| (one.id, &one.mesh, &*one.body)), since)?;
        let start = self.append(&record)?;
        Ok(within.into_iter().map(|(at, len)| Place { offset: start + at, len }).collect())
    }

    /// Appends what became of a delivery.
    pub(super) fn note(&mut self, event: &Event) -> io::Result<()> {
        let mut payload = Vec::with_capacity(32);
        match event {
            Event::Put { .. } => return Err(io::ErrorKind::InvalidInput.into()),
            Event::Gone(id) => {
                payload.push(2);
                payload.extend_from_slice(&id.0);
            }
            Event::Aside { id, status } => {
                payload.push(3);
                payload.extend_from_slice(&id.0);
                payload.extend_from_slice(&status.to_le_bytes());
            }
            Event::Again { id, since } => {
                payload.push(4);
                payload.extend_from_slice(&id.0);
                payload.extend_from_slice(&since.to_le_bytes());
            }
        }
        self.append(&framed(&payload)).map(drop)
    }

    fn append(&mut self, record: &[u8]) -> io::Result<u64> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let start = self.end;
        if let Err(error) = self.file.write_all(record) {
            // Half a record would hide all that follows it.
            self.broken = self.file.set_len(start).is_err();
            return Err(error);
        }
        self.end += record.len() as u64;
        Ok(start)
    }

    /// Nothing that was written since the last sync may be believed any more.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }

    /// The file, for syncing and reading while others append.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Writes the file anew with what still counts; where each body lies then. Synced when it comes back.
    pub(super) fn rewrite(&mut self, live: &[Live]) -> io::Result<Vec<Place>> {
        let beside = self.path.with_extension("new");
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file =
            OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(MAGIC)?;
        let mut end = MAGIC.len() as u64;
        let mut places = Vec::with_capacity(live.len());
        for one in live {
            let body = read(&self.file, one.place)?;
            let (mut record, within) = put_record(std::iter::once((one.id, &one.mesh, &*body)), one.since)?;
            if let Some(status) = one.aside {
                let mut payload = vec![3];
                payload.extend_from_slice(&one.id.0);
                payload.extend_from_slice(&status.to_le_bytes());
                record.extend_from_slice(&framed(&payload));
            }
            file.write_all(&record)?;
            places.extend(within.iter().map(|&(at, len)| Place { offset: end + at, len }));
            end += record.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        sync_folder(&self.path)?;
        (self.file, self.end) = (file, end);
        Ok(places)
    }
}

/// What still counts of the file, for a new one.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: Id,
    pub(super) mesh: MeshId,
    pub(super) since: u64,
    pub(super) place: Place,
    pub(super) aside: Option<u16>,
}

/// A body.
pub(super) fn read(file: &File, place: Place) -> io::Result<Vec<u8>> {
    let mut body = vec![0; place.len];
    file.read_exact_at(&mut body, place.offset)?;
    Ok(body)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + payload.len());
    record.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(&Sha256::digest(payload)[..8]);
    record.extend_from_slice(payload);
    record
}

/// A record of deliveries, and where in it each body lies.
#[allow(clippy::type_complexity, reason = "offset and length of each body")]
fn put_record<'p>(
    parcels: impl Iterator<Item = (Id, &'p MeshId, &'p [u8])>,
    since: u64,
) -> io::Result<(Vec<u8>, Vec<(u64, usize)>)> {
    let mut payload = vec![1];
    payload.extend_from_slice(&since.to_le_bytes());
    let mut within = Vec::new();
    for (id, mesh, body) in parcels {
        let name = mesh.as_str().as_bytes();
        payload.extend_from_slice(&id.0);
        payload.push(u8::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
        payload.extend_from_slice(name);
        payload.extend_from_slice(
            &u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?.to_le_bytes(),
        );
        within.push(((HEAD + payload.len()) as u64, body.len()));
        payload.extend_from_slice(body);
    }
    if payload.len() >= MOST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((framed(&payload), within))
}

/// All whole records, and where the last one ends.
fn events(file: &File) -> io::Result<(Vec<Event>, u64)> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let (mut events, mut end) = (Vec::new(), MAGIC.len() as u64);
    let mut payload = Vec::new();
    loop {
        let mut head = [0; HEAD];
        if length - end < HEAD as u64 {
            return Ok((events, end));
        }
        reader.read_exact(&mut head)?;
        let (size, sum) = head.split_at(4);
        let size = u32::from_le_bytes(size.try_into().unwrap_or([0xFF; 4])) as usize;
        if size > MOST || length - end - (HEAD as u64) < size as u64 {
            return Ok((events, end));
        }
        payload.resize(size, 0);
        reader.read_exact(&mut payload)?;
        let body_at = end + HEAD as u64;
        if Sha256::digest(&payload)[..8] != *sum || decode(&payload, body_at, &mut events).is_none() {
            return Ok((events, end));
        }
        end += (HEAD + size) as u64;
    }
}

fn decode(payload: &[u8], at: u64, events: &mut Vec<Event>) -> Option<()> {
    let mut rest = payload;
    let id = |rest: &mut &[u8]| Some(Id(rest.split_off(..16)?.try_into().ok()?));
    let long = |rest: &mut &[u8]| Some(u64::from_le_bytes(rest.split_off(..8)?.try_into().ok()?));
    match rest.split_off_first()? {
        1 => {
            let since = long(&mut rest)?;
            while !rest.is_empty() {
                let id = id(&mut rest)?;
                let name = *rest.split_off_first()?;
                let mesh = std::str::from_utf8(rest.split_off(..usize::from(name))?).ok()?;
                let mesh = MeshId::parse(mesh).ok()?;
                let len = u32::from_le_bytes(rest.split_off(..4)?.try_into().ok()?) as usize;
                let offset = at + (payload.len() - rest.len()) as u64;
                rest.split_off(..len)?;
                events.push(Event::Put { id, mesh, since, place: Place { offset, len } });
            }
        }
        2 => events.push(Event::Gone(id(&mut rest)?)),
        3 => {
            let id = id(&mut rest)?;
            events.push(Event::Aside { id, status: u16::from_le_bytes(rest.try_into().ok()?) });
        }
        4 => {
            let id = id(&mut rest)?;
            events.push(Event::Again { id, since: long(&mut rest)? });
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn place(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("outbox-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("acme.log")
    }

    fn parcel(n: u8, body: &str) -> Parcel {
        Parcel { id: Id([n; 16]), mesh: MeshId::parse("hq").unwrap(), body: body.into() }
    }

    fn bodies(read_back: &Read) -> Vec<String> {
        let file = read_back.journal.handle().unwrap();
        let body = |event: &Event| match event {
            Event::Put { place, .. } => Some(String::from_utf8(read(&file, *place).unwrap()).unwrap()),
            Event::Gone(_) | Event::Aside { .. } | Event::Again { .. } => None,
        };
        read_back.events.iter().filter_map(body).collect()
    }

    #[test]
    fn what_was_appended_is_read_back_and_what_counts_is_written_anew() {
        let path = place("back");
        let mut journal = Journal::open(&path).unwrap().journal;
        let places = journal.put(&[parcel(1, "one"), parcel(2, "two")], 7).unwrap();
        journal.put(&[parcel(3, "")], 8).unwrap();
        journal.note(&Event::Gone(Id([1; 16]))).unwrap();
        journal.note(&Event::Aside { id: Id([2; 16]), status: 400 }).unwrap();
        journal.note(&Event::Again { id: Id([2; 16]), since: 9 }).unwrap();
        let found = Journal::open(&path).unwrap();
        assert_eq!(
            (bodies(&found), found.events.len(), found.cut),
            (vec!["one".into(), "two".into(), String::new()], 6, 0)
        );
        let mesh = MeshId::parse("hq").unwrap();
        let live = [Live { id: Id([2; 16]), mesh, since: 9, place: places[1], aside: Some(400) }];
        let again = journal.rewrite(&live).unwrap();
        journal.put(&[parcel(4, "four")], 10).unwrap();
        let found = Journal::open(&path).unwrap();
        assert_eq!(bodies(&found), ["two", "four"]);
        assert_eq!(read(&found.journal.handle().unwrap(), again[0]).unwrap(), b"two");
        assert_eq!(found.events[1], Event::Aside { id: Id([2; 16]), status: 400 });
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let path = place("other");
        std::fs::write(&path, "something else entirely").unwrap();
        assert!(Journal::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else entirely");
    }

    proptest! {
        /// Wherever a crash cuts the file, all whole records before the cut are there, and it can be gone on with.
        #[test]
        fn a_file_that_was_cut_short_loses_only_what_was_cut(sizes in proptest::collection::vec(0_usize..40, 1..8), cut in any::<usize>()) {
            let path = place("cut");
            let mut journal = Journal::open(&path).unwrap().journal;
            let mut ends = Vec::new();
            for (n, size) in sizes.iter().enumerate() {
                journal.put(&[parcel(u8::try_from(n).unwrap(), &"x".repeat(*size))], 1).unwrap();
                ends.push(journal.len());
            }
            drop(journal);
            let bytes = std::fs::read(&path).unwrap();
            let cut = cut % (bytes.len() + 1);
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut as u64).count();
            let mut found = Journal::open(&path).unwrap();
            prop_assert_eq!(found.events.len(), whole);
            found.journal.put(&[parcel(99, "more")], 2).unwrap();
            let again = Journal::open(&path).unwrap();
            prop_assert_eq!((again.cut, again.events.len()), (0, whole + 1));
            prop_assert_eq!(bodies(&again).pop().unwrap(), "more");
        }

        #[test]
        fn a_changed_byte_is_seen(at in any::<usize>(), bit in 0_u8..8) {
            let path = place("bit");
            let mut journal = Journal::open(&path).unwrap().journal;
            journal.put(&[parcel(1, "one")], 1).unwrap();
            drop(journal);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = MAGIC.len() + at % (bytes.len() - MAGIC.len());
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            prop_assert_eq!(Journal::open(&path).unwrap().events, []);
        }
    }
}
