//! The file in which quotas reserve what they are about to spend: one line a reservation.
//!
//! A line is a JSON array: the quota, what it counts by, of whom, the window in seconds, when (Unix
//! nanoseconds) and how many; a negative number gives back what was reserved and not spent. A line is
//! written before anything of it is spent, so whoever reads the file back never finds too little, also
//! after `kill -9`. The disk is asked once a second to keep what was written: a power failure can lose
//! that second.
//!
//! Opening the file, and a file grown too long, write it anew without what is over. Which quotas there
//! are, and what their lines mean for a count, is not known here.

use super::sync::Mutex;
use super::tick::Tick;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// From this length on a file that has doubled is written anew.
const LONG: u64 = 4 << 20;

/// Whose reservations: the front of a line, up to the time.
pub(super) fn owner(quota: &str, by: &str, of: &str, per: Duration) -> String {
    let texts = [quota, by, of].map(|text| serde_json::Value::from(text).to_string());
    format!("[{},{},{},{},", texts[0], texts[1], texts[2], per.as_secs())
}

/// Net reservations of one owner by their time.
pub(super) type Past = BTreeMap<u64, i64>;

/// What was reserved before.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    pub(super) by_owner: HashMap<String, Past>,
    unreadable: usize,
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    len: u64,
    /// How long it was when it was last written anew.
    clean: u64,
    /// Something was written that the disk was not yet asked to keep.
    dirty: bool,
    /// The last write broke off, perhaps within a line.
    torn: bool,
}

impl Journal {
    /// Opens the file, makes it where there is none, and reads what it says.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(super) fn open(path: &Path, now: Tick) -> io::Result<(Self, Earlier)> {
        let earlier = read(path, now)?;
        let (file, len) = write_anew(path, &earlier)?;
        let state = State { file, len, clean: len, dirty: false, torn: false };
        Ok((Self { path: path.to_owned(), state: Mutex::new(state) }, earlier))
    }

    /// Writes lines, whole or with an error.
    pub(super) fn append(&self, lines: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.torn {
            // Whatever broke off becomes a line of its own, which is no line.
            state.file.write_all(b"\n")?;
        }
        state.torn = true;
        state.file.write_all(lines.as_bytes())?;
        state.torn = false;
        state.dirty = true;
        state.len += lines.len() as u64;
        Ok(())
    }

    /// Asks the disk to keep what was written, and writes a long file anew. Once a second, off the
    /// request path.
    pub(super) fn tend(&self, now: Tick) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.len > LONG.max(state.clean.saturating_mul(2)) {
            let (file, len) = write_anew(&self.path, &read(&self.path, now)?)?;
            *state = State { file, len, clean: len, dirty: false, torn: false };
            return Ok(());
        }
        if !std::mem::take(&mut state.dirty) {
            return Ok(());
        }
        let file = state.file.try_clone()?;
        // Nobody waits for the disk while reserving.
        drop(state);
        file.sync_data()
    }
}

impl Earlier {
    /// Lines that could not be read; each was torn by a crash or damaged since.
    pub(super) const fn unreadable(&self) -> usize {
        self.unreadable
    }
}

fn read(path: &Path, now: Tick) -> io::Result<Earlier> {
    let mut earlier = Earlier::default();
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(earlier),
        Err(error) => return Err(error),
    };
    for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        type Line = (String, String, String, u64, u64, i64);
        let Ok((quota, by, of, secs, at, n)) = serde_json::from_slice::<Line>(line) else {
            earlier.unreadable += 1;
            continue;
        };
        let per = Duration::from_secs(secs);
        // A sub-window longer than the window, and one more, since each is counted whole.
        let over = Tick::after(per + per / 30).nanos().saturating_add(at) < now.nanos();
        if !over {
            let past = earlier.by_owner.entry(owner(&quota, &by, &of, per)).or_default();
            // A clock that was wrong must not reserve for years: what lies ahead counts as just now.
            *past.entry(at.min(now.nanos())).or_default() += n;
        }
    }
    for past in earlier.by_owner.values_mut() {
        past.retain(|_, n| *n > 0);
    }
    earlier.by_owner.retain(|_, past| !past.is_empty());
    Ok(earlier)
}

/// Writes beside, keeps, and puts in place: a crash leaves the old file or the new one.
fn write_anew(path: &Path, earlier: &Earlier) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let mut text = String::new();
    for (owner, past) in &earlier.by_owner {
        for (at, n) in past {
            push_line(&mut text, owner, *at, *n);
        }
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

/// One line.
pub(super) fn push_line(out: &mut String, owner: &str, at: u64, n: i64) {
    let mut digits = itoa::Buffer::new();
    out.push_str(owner);
    out.push_str(digits.format(at));
    out.push(',');
    out.push_str(digits.format(n));
    out.push_str("]\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn file(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("edge-journal-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder.join("quotas.jsonl")
    }

    fn at(secs: u64) -> Tick {
        Tick::after(Duration::from_secs(secs))
    }

    fn line(of: &str, secs: u64, n: i64) -> String {
        let mut out = String::new();
        push_line(&mut out, &owner("q", "tenant", of, HOUR), at(secs).nanos(), n);
        out
    }

    #[test]
    fn what_was_written_is_read_back_net_and_without_what_is_over() {
        let path = file("net");
        let (journal, earlier) = Journal::open(&path, at(0)).expect("a new file");
        assert!(earlier.by_owner.is_empty());
        for text in [line("a", 1, 5), line("a", 9, 5), line("a", 9, -2), line("b", 20, 3), line("b", 20, -3)]
        {
            journal.append(&text).expect("room on the disk");
        }
        journal.append(&line("c\"] \\", 5000, 7)).expect("room on the disk");
        journal.tend(at(10)).expect("a disk");
        drop(journal);
        let (_, earlier) = Journal::open(&path, at(30)).expect("the file");
        let past = |of| earlier.by_owner.get(&owner("q", "tenant", of, HOUR)).cloned().unwrap_or_default();
        assert_eq!(past("a"), Past::from([(at(1).nanos(), 5), (at(9).nanos(), 3)]));
        assert_eq!(past("b"), Past::new());
        assert_eq!(past("c\"] \\"), Past::from([(at(30).nanos(), 7)]), "what lies ahead counts as just now");
        let (_, earlier) = Journal::open(&path, at(3725)).expect("the file");
        let past = |of| earlier.by_owner.get(&owner("q", "tenant", of, HOUR)).cloned().unwrap_or_default();
        assert_eq!(past("a"), Past::from([(at(9).nanos(), 3)]));
    }

    #[test]
    fn a_torn_line_is_left_out_and_what_follows_is_not() {
        let path = file("torn");
        fs::write(&path, format!("{}{}", line("a", 1, 5), "[\"q\",\"tena")).expect("a file");
        let (journal, earlier) = Journal::open(&path, at(2)).expect("the file");
        assert_eq!((earlier.unreadable(), earlier.by_owner.len()), (1, 1));
        journal.append(&line("b", 2, 1)).expect("room on the disk");
        let (_, earlier) = Journal::open(&path, at(3)).expect("the file");
        assert_eq!((earlier.unreadable(), earlier.by_owner.len()), (0, 2));
    }

    #[test]
    fn a_long_file_is_written_anew_and_keeps_what_counts() {
        let path = file("long");
        let (journal, _) = Journal::open(&path, at(0)).expect("a new file");
        let many: String = (0..2000).map(|n| line("a", n % 100, 1)).collect();
        for _ in 0..60 {
            journal.append(&many).expect("room on the disk");
        }
        assert!(fs::metadata(&path).expect("the file").len() > LONG);
        journal.tend(at(100)).expect("a disk");
        assert!(fs::metadata(&path).expect("the file").len() < 10_000);
        journal.append(&line("a", 100, 1)).expect("room on the disk");
        let (_, earlier) = Journal::open(&path, at(100)).expect("the file");
        let past = &earlier.by_owner[&owner("q", "tenant", "a", HOUR)];
        assert_eq!(past.values().sum::<i64>(), 120_001);
    }
}
