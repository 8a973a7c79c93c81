//! Counts addresses beyond the exact table: by neighbourhood, in bounded memory, never too low.
//!
//! A flood of addresses comes from somewhere. What counts against the ceiling here is the neighbourhood
//! (IPv4 /20, IPv6 /40), so that a flood lets nothing through and newcomers from elsewhere pass.
//!
//! A count-min sketch (`pingora-limits`' [`Estimator`]) over two rotating windows. What counts for an
//! address is the current window and the whole one before, so that any trailing window lies inside what
//! is counted and the ceiling holds for every address. The price is paid by addresses that are here:
//! collisions may count others' requests as theirs, and a steady caller gets between half the ceiling
//! and the ceiling. The windows turn by the caller's time; `pingora-limits`' own `Rate` is not used,
//! since its turning races between threads.
//!
//! Memory: a shard holds 2 windows x 4 rows x 4096 counters x 8 bytes = 256 KiB and is made when an
//! address first falls on it; a rule has one shard for every 4096 addresses of the exact table, at most
//! 64, so at most 16 MiB, and nothing while the exact table suffices. Turning clears one shard at a
//! time (128 KiB), which is what a single request pays at most.

use super::key::{Key, Seed};
use super::sync::{Mutex, MutexGuard};
use super::tick::{Tick, whole_nanos};
use super::window::Ceiling;
use pingora_limits::estimator::Estimator;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::time::Duration;

const ROWS: usize = 4;
const COLUMNS: usize = 4096;
const MAX_SHARDS: usize = 64;

/// One rule's count of the addresses that have no place of their own.
pub(super) struct Sketch {
    shards: Box<[OnceLock<Mutex<Shard>>]>,
    seed: Seed,
    per: u64,
}

impl Sketch {
    /// Sized for floods of a few times `addresses` in a window of `per`.
    pub(super) fn new(addresses: usize, per: Duration) -> Self {
        let count = addresses.div_ceil(COLUMNS).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..count).map(|_| OnceLock::new()).collect(),
            seed: Seed::random(),
            per: whole_nanos(per).max(1),
        }
    }

    /// The shard that counts this key.
    pub(super) fn shard_of(&self, key: &Key) -> usize {
        // The remainder is below the number of shards, which is a `usize`.
        usize::try_from(self.seed.hash_one(key) % self.shards.len() as u64).unwrap_or(0)
    }

    /// Locks a shard and turns it to `now`.
    pub(super) fn lock(&self, shard: usize, now: Tick) -> MutexGuard<'_, Shard> {
        let mut guard = self.shards[shard].get_or_init(|| Mutex::new(Shard::empty(self.per))).lock();
        guard.turn(now);
        guard
    }

    /// What counts for a key now; nothing is made where nothing was ever counted.
    pub(super) fn counted(&self, key: &Key, now: Tick) -> u32 {
        let Some(shard) = self.shards[self.shard_of(key)].get() else { return 0 };
        let mut shard = shard.lock();
        shard.turn(now);
        shard.counted(key)
    }

    /// Shards made so far.
    pub(super) fn shards_made(&self) -> usize {
        self.shards.iter().filter(|shard| shard.get().is_some()).count()
    }
}

/// Two windows of counts.
pub(super) struct Shard {
    per: u64,
    /// Number of the current window.
    epoch: u64,
    current: Estimator,
    previous: Estimator,
}

impl Shard {
    fn empty(per: u64) -> Self {
        let estimator = || Estimator::new(ROWS, COLUMNS);
        Self { per, epoch: 0, current: estimator(), previous: estimator() }
    }

    fn turn(&mut self, now: Tick) {
        let epoch = now.nanos() / self.per;
        match epoch.saturating_sub(self.epoch) {
            // The same window, or a clock that stepped back: the count stays.
            0 => return,
            1 => {
                std::mem::swap(&mut self.current, &mut self.previous);
                self.current.reset();
            }
            _ => {
                self.current.reset();
                self.previous.reset();
            }
        }
        self.epoch = epoch;
    }

    fn counted(&self, key: &Key) -> u32 {
        estimate(&self.current, key).saturating_add(estimate(&self.previous, key))
    }

    pub(super) fn room(&self, key: &Key, ceiling: &Ceiling) -> u32 {
        ceiling.limit().saturating_sub(self.counted(key))
    }

    pub(super) fn take_granted(&mut self, key: &Key, n: u32) {
        self.current.incr(key, isize::try_from(n).unwrap_or(isize::MAX));
    }

    /// Nanoseconds until there can be room for `n`: to the end of this window or, where this one alone
    /// is already too much, of the next.
    pub(super) fn until(&self, key: &Key, n: u32, ceiling: &Ceiling, now: Tick) -> u64 {
        let counted = self.counted(key);
        if counted == 0 || ceiling.limit() < n.max(1) {
            return self.per;
        }
        let enough = (counted - 1).min(ceiling.limit() - n.max(1));
        let ends_in = if estimate(&self.current, key) <= enough { 1 } else { 2 };
        (self.epoch + ends_in).saturating_mul(self.per).saturating_sub(now.nanos())
    }
}

/// An overflown counter reads as full, never as empty.
fn estimate(estimator: &Estimator, key: &Key) -> u32 {
    u32::try_from(estimator.get(key)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::super::rule::Shape;
    use super::*;
    use crate::config::checked::Dimension;
    use std::net::IpAddr;

    fn key(n: u32) -> Key {
        let subject = Subject::stranger(IpAddr::from(n.to_be_bytes()), 0);
        Key::of(1, Shape::of(&[Dimension::Ip]), &subject).expect("an address is always there")
    }

    fn take(sketch: &Sketch, key: &Key, ceiling: &Ceiling, now: Tick) -> bool {
        let mut shard = sketch.lock(sketch.shard_of(key), now);
        let admitted = shard.room(key, ceiling) > 0;
        if admitted {
            shard.take_granted(key, 1);
        }
        admitted
    }

    #[test]
    fn no_trailing_window_passes_the_ceiling() {
        let per = Duration::from_secs(10);
        let (sketch, ceiling) = (Sketch::new(1, per), Ceiling::new(20, per));
        let mut admitted: Vec<u64> = Vec::new();
        // Bursts just before and after every edge, and a stream between.
        let edges = (1..6_u64).flat_map(|n| {
            let edge = n * 10_000;
            std::iter::repeat_n(edge - 1, 30)
                .chain(std::iter::repeat_n(edge, 30))
                .chain((edge + 1..edge + 9000).step_by(97))
        });
        for ms in edges {
            if take(&sketch, &key(1), &ceiling, Tick::after(Duration::from_millis(ms))) {
                admitted.push(ms);
                assert!(admitted.iter().filter(|&&t| ms - t < 10_000).count() <= 20);
            }
        }
        assert!(admitted.len() >= 50, "{}", admitted.len());
    }

    #[test]
    fn the_wait_is_over_when_it_says_so() {
        let per = Duration::from_secs(10);
        let (sketch, ceiling) = (Sketch::new(1, per), Ceiling::new(3, per));
        let now = Tick::after(Duration::from_secs(4));
        while take(&sketch, &key(1), &ceiling, now) {}
        let wait = sketch.lock(0, now).until(&key(1), 1, &ceiling, now);
        assert_eq!(wait, 16_000_000_000, "the whole of this window counts through the next");
        assert!(!take(&sketch, &key(1), &ceiling, Tick::from_nanos(now.nanos() + wait - 1)));
        assert!(take(&sketch, &key(1), &ceiling, Tick::from_nanos(now.nanos() + wait)));
    }

    #[test]
    fn a_flooder_spends_only_its_own() {
        let per = Duration::from_mins(1);
        let (sketch, ceiling) = (Sketch::new(200_000, per), Ceiling::new(60, per));
        let admitted = (0..100_000).filter(|_| take(&sketch, &key(1), &ceiling, Tick::ZERO)).count();
        assert_eq!(admitted, 60);
        assert_eq!(sketch.shards_made(), 1, "one address makes one shard");
        let others = (2..1000).filter(|&n| take(&sketch, &key(n), &ceiling, Tick::ZERO)).count();
        assert_eq!(others, 998);
    }

    #[test]
    fn what_was_never_counted_makes_nothing() {
        let sketch = Sketch::new(200_000, Duration::from_mins(1));
        assert_eq!(sketch.counted(&key(1), Tick::ZERO), 0);
        assert_eq!(sketch.shards_made(), 0);
        assert_eq!(sketch.shards.len(), 49);
    }
}
