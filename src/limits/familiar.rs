//! From where someone was known before: the last few prefixes, in memory that is fixed.
//!
//! Behind one address there may be many people. When one of them misbehaves and the address cools down, those who
//! were known from there before go on; a key that was never used from there does not, or guessing would cost
//! nothing.

use super::prefix::Prefix;
use super::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// How many prefixes are remembered of each.
const SLOTS: usize = 8;

/// Prefixes of one credential, or of whoever signs for one route.
#[derive(Debug, Default)]
pub struct Familiar {
    slots: [AtomicU64; SLOTS],
    next: AtomicUsize,
}

impl Familiar {
    /// Remembers a prefix in the place of the oldest.
    #[inline]
    pub fn note(&self, prefix: Prefix) {
        if !self.holds(prefix) {
            self.put(prefix);
        }
    }

    /// Whether it was known from there.
    #[inline]
    #[must_use]
    pub fn holds(&self, prefix: Prefix) -> bool {
        self.slots.iter().any(|slot| slot.load(Ordering::Relaxed) == prefix.word())
    }

    #[cold]
    fn put(&self, prefix: Prefix) {
        // Two threads may put the same one twice; then one other is forgotten early.
        let place = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
        self.slots[place].store(prefix.word(), Ordering::Relaxed);
    }
}

/// By number; numbers count up from 0.
#[derive(Debug, Default)]
pub(super) struct Familiars(Vec<Arc<Familiar>>);

impl Familiars {
    pub(super) fn of(&mut self, number: u32) -> Arc<Familiar> {
        let place = number as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, Arc::default);
        }
        self.0[place].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn the_last_few_are_remembered() {
        let familiar = Familiar::default();
        let prefix = |n: u32| Prefix::of(IpAddr::from(n.to_be_bytes()));
        assert!(!familiar.holds(prefix(0)));
        for n in 0..12 {
            familiar.note(prefix(n));
            familiar.note(prefix(n));
        }
        let held: Vec<u32> = (0..20).filter(|&n| familiar.holds(prefix(n))).collect();
        assert_eq!(held, [4, 5, 6, 7, 8, 9, 10, 11]);
    }
}
