//! Exact counts for bounded many keys: an index from key to place, and places that never move.
//!
//! An entry costs one place of 320 bytes and about 40 to 75 bytes of index. Places are made in chunks
//! of 256 as they are needed and are used again once nothing in them counts; an entry that still counts
//! is never pushed out. Whoever inserts looks at a few old places first, so there is no sweep and no
//! pause, however many entries there are.
//!
//! Locks: a place's lock may be held while an index shard is locked, never the other way round, and
//! nobody waits for a place while holding the index. Who holds several places takes them in ascending
//! order ([`super::limiter`]); who claims one waits for it only while holding none.

use super::key::{Key, Seed};
use super::tick::Tick;
use super::window::Window;
use dashmap::{DashMap, Entry};
use parking_lot::{Mutex, MutexGuard};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const CHUNK: u32 = 256;
const INDEX_SHARDS: usize = 256;

/// Old places that an insertion looks at while new ones are to be had: keeps memory near what counts.
const LOOKS: u32 = 2;
/// The same once the table is full.
const LOOKS_WHEN_FULL: u32 = 8;

/// A new entry stays this long even if nothing is counted in it, so that its maker finds it again.
const GRACE_NANOS: u64 = 1_000_000_000;

/// A place: whose count it holds, and the count. In this order, so that what every decision reads lies
/// together at the front.
#[repr(C)]
pub(super) struct Place {
    pub(super) key: Key,
    /// From when on nothing counts here and the place may go to another key.
    pub(super) idle_from: Tick,
    pub(super) window: Window,
}

impl Place {
    const fn vacant() -> Self {
        Self { key: Key::VACANT, idle_from: Tick::ZERO, window: Window::empty() }
    }
}

/// A whole number of cache lines, so that neighbours do not slow each other down.
#[repr(align(64))]
struct Cell(Mutex<Place>);

/// Keys and their places, at most `capacity`.
pub(super) struct Table {
    index: DashMap<Key, u32, Seed>,
    chunks: Box<[OnceLock<Box<[Cell]>>]>,
    capacity: u32,
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
            index: DashMap::with_capacity_and_hasher_and_shard_amount(0, Seed::random(), INDEX_SHARDS),
            chunks: (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            capacity,
            issued: AtomicU32::new(0),
            hand: AtomicU32::new(0),
            reused_at: AtomicU64::new(0),
        }
    }

    /// The place of a key. It may be another's by the time it is locked: compare the key then.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.index.get(key).map(|place| *place)
    }

    pub(super) fn lock(&self, place: u32) -> MutexGuard<'_, Place> {
        self.cell(place).0.lock()
    }

    /// Makes an entry, unless another thread just has; none when the table is full of what counts.
    /// `start` gives the new entry its count before anybody else can lock it.
    pub(super) fn insert(&self, key: Key, now: Tick, start: impl FnOnce(&mut Window, Tick)) -> Option<u32> {
        let (number, mut place) = self.claim(now)?;
        match self.index.entry(key) {
            // The claimed place stays vacant for the next who looks at it.
            Entry::Occupied(other) => return Some(*other.get()),
            Entry::Vacant(entry) => drop(entry.insert(number)),
        }
        let now = now.max(Tick::from_nanos(self.reused_at.load(Ordering::Acquire)));
        place.key = key;
        place.idle_from = Tick::from_nanos(now.nanos().saturating_add(GRACE_NANOS));
        place.window = Window::empty();
        start(&mut place.window, now);
        Some(number)
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn places_made(&self) -> u32 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Drops the entries of rules that are gone; one place is locked at a time.
    pub(super) fn forget(&self, is_gone: impl Fn(u32) -> bool) -> usize {
        let gone = |number: &u32| {
            let mut place = self.lock(*number);
            let gone = place.key != Key::VACANT && is_gone(place.key.rule());
            if gone {
                self.index.remove(&place.key);
                *place = Place::vacant();
            }
            gone
        };
        (0..self.places_made()).filter(gone).count()
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
        let mut place = self.cell(number).0.try_lock()?;
        if place.idle_from > now {
            return None;
        }
        if place.key != Key::VACANT {
            self.reused_at.fetch_max(now.nanos(), Ordering::AcqRel);
            self.index.remove(&place.key);
            place.key = Key::VACANT;
        }
        Some(place)
    }

    /// A place that was never used, unless all have been.
    fn issue(&self) -> Option<(u32, MutexGuard<'_, Place>)> {
        loop {
            let next = |issued: u32| (issued < self.capacity).then(|| issued + 1);
            let number = self.issued.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).ok()?;
            let place = self.lock(number);
            // Another thread's search may have come by between the two lines above.
            if place.key == Key::VACANT {
                return Some((number, place));
            }
        }
    }

    fn cell(&self, number: u32) -> &Cell {
        let [chunk, within] = [number / CHUNK, number % CHUNK].map(|n| n as usize);
        let make = || (0..CHUNK).map(|_| Cell(Mutex::new(Place::vacant()))).collect();
        &self.chunks[chunk].get_or_init(make)[within]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::super::rule::Shape;
    use super::super::window::Ceiling;
    use super::*;
    use crate::config::checked::Dimension;
    use std::net::IpAddr;
    use std::time::Duration;

    fn key(n: u32) -> Key {
        let subject = Subject { ip: IpAddr::from(n.to_be_bytes()), credential: None, tenant: None, route: 0 };
        Key::of(1, Shape::of(&[Dimension::Ip]), &subject).expect("an address is always there")
    }

    fn seconds(n: u64) -> Tick {
        Tick::after(Duration::from_secs(n))
    }

    fn count_one(table: &Table, n: u32, now: Tick) -> Option<u32> {
        let ceiling = Ceiling::new(1, Duration::from_mins(1));
        let number = table.find(&key(n)).or_else(|| table.insert(key(n), now, |_, _| ()))?;
        let mut place = table.lock(number);
        assert!(place.window.take(&ceiling, now));
        place.idle_from = place.window.idle_from(&ceiling);
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
        assert!(table.find(&key(300)).is_some());
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
        assert!(table.insert(key(1), seconds(5), |_, _| ()).is_some());
        assert!(table.insert(key(2), seconds(5), |_, _| ()).is_none());
        assert!(table.insert(key(2), seconds(6), |_, _| ()).is_some());
        assert!(table.find(&key(1)).is_none());
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
