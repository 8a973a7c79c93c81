//! From a key's hash to its place: open addressing that is read without a lock.
//!
//! A slot is one word, half of it a tag from the hash and half of it the place, so that finding a key
//! costs one cache line before the place itself. Slots lie in segments of 512, made when a key first
//! falls on them; each has a lock for writers. Removal moves later slots back over the hole, so nothing
//! is left behind that would make searches longer. A reader may miss a slot that is just being moved:
//! what [`Index::find`] does not find is looked for again under the lock before anything is concluded.
//!
//! Whose key a place holds is not known here; callers say which of the places with the right tag it is.

use super::sync::atomic::{AtomicU64, Ordering};
use super::sync::{Mutex, MutexGuard};
use std::sync::OnceLock;

const SLOTS: usize = 512;
const EMPTY: u64 = 0;
const LOW: u64 = 0xffff_ffff;

/// Hashes and places.
pub(super) struct Index {
    segments: Box<[OnceLock<Box<Segment>>]>,
}

struct Segment {
    writing: Mutex<()>,
    slots: [AtomicU64; SLOTS],
}

/// A segment whose writers wait.
pub(super) struct Locked<'a> {
    slots: &'a [AtomicU64; SLOTS],
    _writing: MutexGuard<'a, ()>,
}

impl Index {
    /// Room for `capacity` keys at half load at most: 16 to 32 bytes a key.
    pub(super) fn new(capacity: u32) -> Self {
        let segments = (capacity as usize * 2).div_ceil(SLOTS).next_power_of_two();
        Self { segments: (0..segments).map(|_| OnceLock::new()).collect() }
    }

    /// The place with this hash that `is_it` takes. Nothing may also mean that it is being moved.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        search(&self.segment(hash).get()?.slots, hash, is_it)
    }

    /// Keeps other writers of the hash's segment away.
    pub(super) fn lock(&self, hash: u64) -> Locked<'_> {
        let segment = self.segment(hash).get_or_init(|| {
            Box::new(Segment { writing: Mutex::new(()), slots: [const { AtomicU64::new(EMPTY) }; SLOTS] })
        });
        Locked { _writing: segment.writing.lock(), slots: &segment.slots }
    }

    fn segment(&self, hash: u64) -> &OnceLock<Box<Segment>> {
        // The number of segments is a power of two.
        &self.segments[(hash >> 32) as usize & (self.segments.len() - 1)]
    }
}

impl Locked<'_> {
    /// As [`Index::find`], and what is not found is not there.
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        search(self.slots, hash, is_it)
    }

    /// Adds a place; whether there was room. Half load is the mean, so a full segment is never met.
    pub(super) fn insert(&self, hash: u64, place: u32) -> bool {
        let mut at = home(hash);
        for _ in 0..SLOTS {
            if self.slots[at].load(Ordering::Relaxed) == EMPTY {
                // What the place holds was written before, and is seen by who reads this.
                self.slots[at].store(slot(hash, place), Ordering::Release);
                return true;
            }
            at = next(at);
        }
        false
    }

    /// Takes a place out and closes the hole.
    pub(super) fn remove(&self, hash: u64, place: u32) {
        let (mut hole, wanted) = (home(hash), slot(hash, place));
        for _ in 0..SLOTS {
            match self.slots[hole].load(Ordering::Relaxed) {
                EMPTY => return,
                found if found == wanted => break,
                _ => hole = next(hole),
            }
        }
        if self.slots[hole].load(Ordering::Relaxed) != wanted {
            return;
        }
        let mut at = hole;
        loop {
            at = next(at);
            let moved = self.slots[at].load(Ordering::Relaxed);
            if moved == EMPTY {
                break;
            }
            // It may go into the hole unless its home lies after the hole.
            let distance_home = at.wrapping_sub(home(moved >> 32)) % SLOTS;
            if distance_home >= at.wrapping_sub(hole) % SLOTS {
                self.slots[hole].store(moved, Ordering::Release);
                hole = at;
            }
            if at == home(hash).wrapping_sub(1) % SLOTS {
                break;
            }
        }
        self.slots[hole].store(EMPTY, Ordering::Release);
    }
}

#[inline]
fn search(slots: &[AtomicU64; SLOTS], hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
    let mut at = home(hash);
    for _ in 0..SLOTS {
        let found = slots[at].load(Ordering::Acquire);
        if found == EMPTY {
            return None;
        }
        if found >> 32 == hash & LOW {
            let place = place(found);
            if is_it(place) {
                return Some(place);
            }
        }
        at = next(at);
    }
    None
}

/// Where a search begins; from the tag alone, so that a slot knows its own.
const fn home(tag: u64) -> usize {
    (tag & LOW) as usize % SLOTS
}

const fn next(at: usize) -> usize {
    (at + 1) % SLOTS
}

/// Never [`EMPTY`], since places are counted from 1 here.
const fn slot(hash: u64, place: u32) -> u64 {
    (hash & LOW) << 32 | (place as u64 + 1)
}

const fn place(slot: u64) -> u32 {
    (slot & LOW) as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::collections::HashMap;

    proptest! {
        /// Few homes and few tags, so that runs grow together, wrap around and share tags.
        #[test]
        fn an_index_is_a_map(steps in proptest::collection::vec((proptest::bool::ANY, 0_u64..40, 0_u64..3), 1..400)) {
            let (index, mut model) = (Index::new(1), HashMap::new());
            for (insert, n, tag) in steps {
                let hash = ((tag << 9) | ((490 + n) % 512)) & LOW;
                let key = u32::try_from(n * 3 + tag).expect("small");
                if insert && !model.contains_key(&key) {
                    prop_assert_eq!(index.lock(hash).insert(hash, key), true);
                    model.insert(key, hash);
                } else if let Some(hash) = model.remove(&key) {
                    index.lock(hash).remove(hash, key);
                }
                for (key, &hash) in &model {
                    prop_assert_eq!(index.find(hash, |place| place == *key), Some(*key));
                }
                if !model.contains_key(&key) {
                    prop_assert_eq!(index.find(hash, |place| place == key), None);
                    prop_assert_eq!(index.lock(hash).find(hash, |place| place == key), None);
                }
            }
        }
    }

    #[test]
    fn a_full_segment_says_so() {
        let index = Index::new(1);
        assert!((0..512).all(|n| index.lock(7).insert(7, n)));
        assert!(!index.lock(7).insert(7, 512));
        assert_eq!(index.find(7, |place| place == 511), Some(511));
        (0..512).for_each(|n| index.lock(7).remove(7, n));
        assert_eq!(index.find(7, |_| true), None);
    }
}
