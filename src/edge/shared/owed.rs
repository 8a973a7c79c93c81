//! What this edge has spent alone and owes to the shared count: paid when the server is back, before anyone
//! asks it again. What quotas owe is written down first, so that it outlives the process.
//!
//! When in doubt whether the server has counted something (an answer that never came), it is owed all the same:
//! counted twice rather than not at all.

use super::entry::Entry;
use crate::limits::shared::Terms;
use crate::metrics::Metrics;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most that is remembered; what is beyond it is lost, and counted.
const MOST: usize = 100_000;

/// Debts are kept apart by sixtieths of their window, so that each is paid with its age.
const PARTS: u64 = 60;

/// All debts.
pub(super) struct Owed {
    path: PathBuf,
    metrics: Arc<Metrics>,
    book: Mutex<Book>,
}

struct Book {
    debts: HashMap<(String, u64), Debt>,
    /// The lines of quotas' debts; opened with the first.
    file: Option<File>,
    /// Whether the file holds anything.
    written: bool,
}

/// So much of one count, spent at about one time.
#[derive(Debug, Clone)]
struct Debt {
    terms: Terms,
    n: u32,
    /// Unix time in microseconds.
    at: u64,
    lasts: bool,
}

/// A debt that outlives the process, as a line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    kind: String,
    limit: u32,
    span: String,
    n: u32,
    at: u64,
}

impl Owed {
    /// Nothing, or what the file says.
    pub(super) fn open(path: &Path, metrics: Arc<Metrics>) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut book = Book { debts: HashMap::new(), file: None, written: !text.is_empty() };
        let mut unreadable = 0_usize;
        for line in text.lines() {
            match serde_json::from_str::<Line>(line) {
                // Only windows last.
                Ok(line) if line.kind == "w" => {
                    let terms = Terms { kind: "w", limit: line.limit, span: line.span.into() };
                    book.add(line.key, &terms, line.n, line.at, true);
                }
                Ok(_) | Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::warn!(unreadable, path = %path.display(), "lines of what is owed cannot be read");
        }
        metrics.shared_owed.set(i64::try_from(book.debts.len()).unwrap_or(i64::MAX));
        Ok(Self { path: path.to_owned(), metrics, book: Mutex::new(book) })
    }

    /// Remembers what was spent alone.
    pub(super) fn add(&self, entry: &Entry, lasts: bool, now: Duration) {
        let at = micros(now);
        let mut book = self.book.lock();
        if book.debts.len() >= MOST {
            self.metrics.shared_lost.inc();
            return;
        }
        if lasts && let Err(error) = book.write(&self.path, entry, at) {
            tracing::error!(%error, "what a quota owes cannot be written down");
            self.metrics.shared_lost.inc();
        }
        book.add(entry.key.clone(), &entry.terms, entry.cost, at, lasts);
        self.count(&book);
    }

    /// Everything that is owed now, as it is told to the server, to be handed to [`Self::paid`] or
    /// [`Self::still_owed`].
    pub(super) fn take(&self, now: Duration) -> Vec<Entry> {
        let now = micros(now);
        let mut book = self.book.lock();
        let debts = std::mem::take(&mut book.debts);
        let entries = debts.into_iter().map(|((key, _), debt)| Entry {
            key,
            terms: debt.terms,
            cost: debt.n,
            shadow: debt.lasts,
            extra: 0,
            stamp: i64::try_from(now.saturating_sub(debt.at)).unwrap_or(i64::MAX),
            id: String::new(),
        });
        entries.collect()
    }

    /// All of that is paid. The file ends unless more came meanwhile: its lines may then be paid twice.
    pub(super) fn paid(&self) {
        let mut book = self.book.lock();
        if book.written && !book.debts.values().any(|debt| debt.lasts) {
            match std::fs::remove_file(&self.path) {
                Ok(()) => (book.file, book.written) = (None, false),
                Err(error) => tracing::error!(%error, "what is paid cannot be crossed out"),
            }
        }
        self.count(&book);
    }

    /// It could not be paid.
    pub(super) fn still_owed(&self, entries: Vec<Entry>, now: Duration) {
        let now = micros(now);
        let mut book = self.book.lock();
        for entry in entries {
            let at = now.saturating_sub(u64::try_from(entry.stamp).unwrap_or(0));
            book.add(entry.key, &entry.terms, entry.cost, at, entry.shadow);
        }
        self.count(&book);
    }

    fn count(&self, book: &Book) {
        self.metrics.shared_owed.set(i64::try_from(book.debts.len()).unwrap_or(i64::MAX));
    }
}

impl Book {
    fn add(&mut self, key: String, terms: &Terms, n: u32, at: u64, lasts: bool) {
        let span: u64 = terms.span.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0);
        let part = at / (span / PARTS).max(1000);
        let debt = self.debts.entry((key, part)).or_insert(Debt { terms: terms.clone(), n: 0, at, lasts });
        debt.n = debt.n.saturating_add(n);
        // The latest counts longest.
        debt.at = debt.at.max(at);
    }

    fn write(&mut self, path: &Path, entry: &Entry, at: u64) -> io::Result<()> {
        let line = Line {
            key: entry.key.clone(),
            kind: entry.terms.kind.to_owned(),
            limit: entry.terms.limit,
            span: entry.terms.span.to_string(),
            n: entry.cost,
            at,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        if self.file.is_none() {
            self.file = Some(File::options().append(true).create(true).open(path)?);
        }
        self.written = true;
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&text))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, n: u32) -> Entry {
        Entry {
            key: key.into(),
            terms: Terms { kind: "w", limit: 100, span: "3600000000".into() },
            cost: n,
            shadow: false,
            extra: 0,
            stamp: 0,
            id: String::new(),
        }
    }

    fn path() -> PathBuf {
        let name = format!("edge-owed-{}-{:x}.jsonl", std::process::id(), fastrand::u64(..));
        std::env::temp_dir().join(name)
    }

    fn sum(entries: &[Entry]) -> u32 {
        entries.iter().map(|entry| entry.cost).sum()
    }

    #[test]
    fn what_quotas_owe_outlives_the_process_until_it_is_paid() {
        let (path, metrics) = (path(), Arc::new(Metrics::new()));
        let start = Duration::from_hours(500_000);
        let owed = Owed::open(&path, metrics.clone()).expect("a file");
        owed.add(&entry("quota", 3), true, start);
        owed.add(&entry("quota", 2), true, start);
        owed.add(&entry("window", 9), false, start);
        drop(owed);
        let owed = Owed::open(&path, metrics.clone()).expect("a file");
        let due = owed.take(start + Duration::from_secs(5));
        assert_eq!((due.len(), sum(&due), due[0].stamp), (1, 5, 5_000_000));
        owed.still_owed(due, start + Duration::from_secs(5));
        assert_eq!(sum(&owed.take(start + Duration::from_secs(9))), 5);
        owed.paid();
        assert!(!path.exists());
        assert_eq!(sum(&Owed::open(&path, metrics).expect("no file").take(start)), 0);
    }

    #[test]
    fn debts_of_one_time_are_one_and_keep_their_age() {
        let owed = Owed::open(&path(), Arc::new(Metrics::new())).expect("no file");
        let start = Duration::from_hours(500_000);
        for minute in [0, 0, 5] {
            owed.add(&entry("a", 1), false, start + Duration::from_mins(minute));
        }
        let mut ages: Vec<(i64, u32)> =
            owed.take(start + Duration::from_mins(10)).iter().map(|one| (one.stamp, one.cost)).collect();
        ages.sort_unstable();
        assert_eq!(ages, [(300_000_000, 1), (600_000_000, 2)]);
    }
}
