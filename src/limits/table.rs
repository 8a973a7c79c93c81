//! Exact counts for bounded many keys: an index from key to place, and places that never move.
//!
//! An entry costs one place of 320 bytes and 16 to 32 bytes of index. Places are made in chunks of 256
//! as they are needed and are used again once nothing in them counts; an entry that still counts is
//! never pushed out. Whoever inserts looks at a few old places first, so there is no sweep and no pause,
//! however many entries there are.
//!
//! Locks: a place's lock may be held while an index segment is locked, never the other way round, and
//! nobody waits for a place while holding the index. Who holds several places takes them in ascending
//! order ([`super::limiter`]); who claims one waits for it only while holding none. A place's key is
//! written under its lock, and only while the index does not name the place.

use super::index::Index;
use super::key::{Key, Seed};
use super::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use super::sync::{Mutex, MutexGuard};
use super::tally::Tally;
use super::tick::Tick;
use std::sync::OnceLock;

const CHUNK: u32 = 256;

/// Old places that an insertion looks at while new ones are to be had: keeps memory near what counts.
const LOOKS: u32 = 2;
/// The same once the table is full.
const LOOKS_WHEN_FULL: u32 = 8;

/// A new entry stays this long even if nothing is counted in it, so that its maker finds it again.
const GRACE_NANOS: u64 = 1_000_000_000;

/// What a cell counts. In this order, so that what every decision reads lies together at the front.
#[repr(C)]
pub(super) struct Place {
    /// From when on nothing counts here and the place may go to another key.
    pub(super) idle_from: Tick,
    /// The count.
    pub(super) tally: Tally,
}

/// A place with its lock, and whose it is. Key, lock and the front of the count are one cache line; the
/// whole is a number of them, so that neighbours do not slow each other down.
#[repr(C, align(64))]
pub(super) struct Cell {
    /// Read without the lock when looking for a key, and again under it.
    key: [AtomicU64; 3],
    place: Mutex<Place>,
}

impl Cell {
    pub(super) fn vacant() -> Self {
        let place = Place { idle_from: Tick::ZERO, tally: Tally::empty() };
        Self { key: Key::VACANT.words().map(AtomicU64::new), place: Mutex::new(place) }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock()
    }

    /// Whether this is the key's place: for certain only while the place is locked.
    #[inline]
    pub(super) fn is(&self, key: &Key) -> bool {
        self.key() == *key
    }

    fn key(&self) -> Key {
        Key::from_words(self.key.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }

    fn give(&self, key: Key) {
        for (word, value) in self.key.iter().zip(key.words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

/// What becomes of an entry that was just made.
pub(super) enum Start {
    /// The key is counted in it from now on.
    Stands,
    /// The key is counted elsewhere, and the entry goes again.
    IsElsewhere,
}

/// Keys and their places, at most `capacity`.
pub(super) struct Table {
    index: Index,
    seed: Seed,
    chunks: Box<[OnceLock<Box<[Cell]>>]>,
    capacity: u32,
    len: AtomicUsize,
    /// Places made use of so far; all below it exist.
    issued: AtomicU32,
    /// Where the search for an idle place goes on.
    hand: AtomicU32,
    /// The latest time at which a place was taken from an idle key. Nobody counts at an earlier time
    /// in a new entry: by a slower clock the old count might not have been over.
    reused_at: AtomicU64,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        Self {
            index: Index::new(capacity),
            seed: Seed::random(),
            chunks: (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            capacity,
            len: AtomicUsize::new(0),
            issued: AtomicU32::new(0),
            hand: AtomicU32::new(0),
            reused_at: AtomicU64::new(0),
        }
    }

    /// Where a key is looked for.
    #[inline]
    pub(super) fn hash(&self, key: &Key) -> u64 {
        self.seed.hash(key)
    }

    /// The place of a key. It may be another's by the time it is locked: ask the cell then. A key that
    /// is not found may be there all the same, see [`Self::holds`].
    #[inline]
    pub(super) fn find(&self, key: &Key, hash: u64) -> Option<u32> {
        self.index.find(hash, |place| self.cell(place).is(key))
    }

    /// Whether a key has a place.
    pub(super) fn holds(&self, key: &Key, hash: u64) -> bool {
        self.index.lock(hash).find(hash, |place| self.cell(place).is(key)).is_some()
    }

    /// The place of a key, made if need be; none when the table is full of what counts, or where `start` says so.
    /// `start` gives a new entry its count when others can find it already, and before they can lock it.
    #[cold]
    pub(super) fn insert(
        &self,
        key: Key,
        hash: u64,
        now: Tick,
        start: impl FnOnce(&mut Tally, Tick) -> Start,
    ) -> Option<u32> {
        let is_it = |place| self.cell(place).is(&key);
        if let Some(there) = self.index.lock(hash).find(hash, is_it) {
            return Some(there);
        }
        let (number, mut place) = self.claim(now)?;
        let index = self.index.lock(hash);
        if let Some(other) = index.find(hash, is_it) {
            // Another thread has just made it. The claimed place stays vacant for the next who looks.
            return Some(other);
        }
        self.cell(number).give(key);
        if !index.insert(hash, number) {
            self.cell(number).give(Key::VACANT);
            return None;
        }
        drop(index);
        self.len.fetch_add(1, Ordering::Relaxed);
        let now = now.max(Tick::from_nanos(self.reused_at.load(Ordering::Acquire)));
        place.idle_from = Tick::from_nanos(now.nanos().saturating_add(GRACE_NANOS));
        place.tally = Tally::empty();
        match start(&mut place.tally, now) {
            Start::Stands => Some(number),
            Start::IsElsewhere => {
                self.vacate(number, &key);
                *place = Place { idle_from: Tick::ZERO, tally: Tally::empty() };
                None
            }
        }
    }

    /// Hands over a key's cell, if it has one; whether it still is the key's, its lock tells.
    pub(super) fn with(&self, key: &Key, then: impl FnOnce(&Cell)) {
        let hash = self.hash(key);
        let place = self.index.lock(hash).find(hash, |place| self.cell(place).is(key));
        if let Some(place) = place {
            then(self.cell(place));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn places_made(&self) -> u32 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Drops the entries of rules that are gone; one place is locked at a time.
    pub(super) fn forget(&self, is_gone: impl Fn(u32) -> bool) -> usize {
        let gone = |number: &u32| {
            let cell = self.cell(*number);
            let mut place = cell.lock();
            let key = cell.key();
            let gone = key != Key::VACANT && is_gone(key.rule());
            if gone {
                self.vacate(*number, &key);
                *place = Place { idle_from: Tick::ZERO, tally: Tally::empty() };
            }
            gone
        };
        (0..self.places_made()).filter(gone).count()
    }

    /// Takes a place from its key; whoever calls holds the place.
    fn vacate(&self, number: u32, key: &Key) {
        let hash = self.hash(key);
        self.index.lock(hash).remove(hash, number);
        self.cell(number).give(Key::VACANT);
        self.len.fetch_sub(1, Ordering::Relaxed);
    }

    /// A place that holds no key, locked.
    fn claim(&self, now: Tick) -> Option<(u32, MutexGuard<'_, Place>)> {
        let issued = self.places_made();
        let looks = if issued < self.capacity { LOOKS } else { LOOKS_WHEN_FULL };
        (0..looks.min(issued))
            .find_map(|_| {
                let number = self.hand.fetch_add(1, Ordering::Relaxed) % issued;
                self.reuse(number, now).map(|place| (number, place))
            })
            .or_else(|| self.issue())
    }

    /// Takes a place from a key for which nothing counts any more.
    fn reuse(&self, number: u32, now: Tick) -> Option<MutexGuard<'_, Place>> {
        let cell = self.cell(number);
        let place = cell.place.try_lock()?;
        if place.idle_from > now {
            return None;
        }
        let key = cell.key();
        if key != Key::VACANT {
            self.reused_at.fetch_max(now.nanos(), Ordering::AcqRel);
            self.vacate(number, &key);
        }
        Some(place)
    }

    /// A place that was never used, unless all have been.
    fn issue(&self) -> Option<(u32, MutexGuard<'_, Place>)> {
        loop {
            let next = |issued: u32| (issued < self.capacity).then(|| issued + 1);
            let number = self.issued.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).ok()?;
            let cell = self.cell(number);
            let place = cell.lock();
            // Another thread's search may have come by between the two lines above.
            if cell.is(&Key::VACANT) {
                return Some((number, place));
            }
        }
    }

    #[inline]
    pub(super) fn cell(&self, number: u32) -> &Cell {
        let [chunk, within] = [number / CHUNK, number % CHUNK].map(|n| n as usize);
        match self.chunks[chunk].get() {
            Some(cells) => &cells[within],
            None => &self.make(chunk)[within],
        }
    }

    #[cold]
    fn make(&self, chunk: usize) -> &[Cell] {
        self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| Cell::vacant()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::super::rule::Shape;
    use super::super::tally::Measure;
    use super::super::window::Ceiling;
    use super::*;
    use crate::config::checked::Dimension;
    use std::net::IpAddr;
    use std::time::Duration;

    fn key(n: u32) -> Key {
        let subject = Subject::stranger(IpAddr::from(n.to_be_bytes()), 0);
        Key::of(1, Shape::of(&[Dimension::Ip]), &subject).expect("an address is always there")
    }

    fn seconds(n: u64) -> Tick {
        Tick::after(Duration::from_secs(n))
    }

    fn place_of(table: &Table, n: u32) -> Option<u32> {
        let found = table.find(&key(n), table.hash(&key(n)));
        assert_eq!(found.is_some(), table.holds(&key(n), table.hash(&key(n))));
        found
    }

    fn make(table: &Table, n: u32, now: Tick) -> Option<u32> {
        table.insert(key(n), table.hash(&key(n)), now, |_, _| Start::Stands)
    }

    fn count_one(table: &Table, n: u32, now: Tick) -> Option<u32> {
        let measure = Measure::Window(Ceiling::new(1, Duration::from_mins(1)));
        let number = place_of(table, n).or_else(|| make(table, n, now))?;
        let mut place = table.cell(number).lock();
        assert_eq!(place.tally.room(&measure, now), 1);
        place.tally.take(1, &measure, now);
        place.idle_from = place.tally.idle_from(&measure, now);
        Some(number)
    }

    #[test]
    fn a_full_table_takes_nobody_until_something_is_over() {
        let table = Table::new(300);
        (0..300).for_each(|n| assert!(count_one(&table, n, seconds(0)).is_some()));
        assert!(count_one(&table, 300, seconds(59)).is_none());
        assert_eq!(table.len(), 300);
        assert!(count_one(&table, 300, seconds(60)).is_some());
        assert_eq!((table.len(), table.places_made()), (300, 300));
        assert!(place_of(&table, 300).is_some());
    }

    #[test]
    fn places_are_used_again_long_before_the_table_is_full() {
        let table = Table::new(1_000_000);
        for minute in 0..20 {
            (0..1000).for_each(|n| {
                assert!(count_one(&table, minute * 1000 + n, seconds(u64::from(minute) * 61)).is_some());
            });
        }
        assert!(table.places_made() <= 2000, "{}", table.places_made());
    }

    #[test]
    fn an_entry_without_a_count_outlives_the_moment_of_its_making() {
        let table = Table::new(1);
        assert!(make(&table, 1, seconds(5)).is_some());
        assert!(make(&table, 2, seconds(5)).is_none());
        assert!(make(&table, 2, seconds(6)).is_some());
        assert!(place_of(&table, 1).is_none());
    }

    #[test]
    fn an_entry_of_what_is_counted_elsewhere_goes_again() {
        let table = Table::new(1);
        let elsewhere = table.insert(key(1), table.hash(&key(1)), seconds(0), |_, _| Start::IsElsewhere);
        assert_eq!((elsewhere, place_of(&table, 1), table.len()), (None, None, 0));
        assert!(count_one(&table, 2, seconds(0)).is_some(), "its place is free");
    }

    #[test]
    fn only_what_is_gone_is_forgotten() {
        let table = Table::new(10);
        (0..5).for_each(|n| assert!(count_one(&table, n, seconds(0)).is_some()));
        assert_eq!(table.forget(|rule| rule == 2), 0);
        assert_eq!(table.forget(|rule| rule == 1), 5);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_place_is_five_cache_lines() {
        assert_eq!(size_of::<Cell>(), 320);
    }
}
