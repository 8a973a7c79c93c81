//! What one prefix may hold of the edge before anyone is known: connections without a whole head, bytes of
//! unfinished heads, time that is spent waiting for them, bytes of bodies that are not yet proved.
//!
//! Each is given back when it is over, so an entry lives no longer than what it counts; the time that was spent
//! comes back at the pace of a minute a minute. Connections bound the number of entries.

use super::pace::Pace;
use super::prefix::Prefix;
use super::sync::Mutex;
use super::sync::atomic::{AtomicUsize, Ordering};
use super::tick::Tick;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

const SHARDS: usize = 16;
/// Entries of a shard from which on those are looked for that only remember time.
const MANY: usize = 4096;
/// Between two such looks.
const SWEEP_NANOS: u64 = 1_000_000_000;
const MINUTE: u64 = 60_000;

/// The most of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetTerms {
    /// Connections without a whole head.
    pub half_open: usize,
    /// Bytes of unfinished heads.
    pub head_bytes: usize,
    /// Time spent waiting for unfinished heads, over all connections, in any minute.
    pub head_time: Duration,
    /// Bytes of bodies held for verification where nobody is known.
    pub body_bytes: usize,
}

/// Which budget was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Connections without a whole head.
    HalfOpen,
    /// Bytes of unfinished heads.
    HeadBytes,
    /// Time spent waiting for them.
    HeadTime,
    /// Bytes of bodies.
    BodyBytes,
}

impl Budget {
    /// Its word in config and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::HalfOpen => "half_open",
            Self::HeadBytes => "head_bytes",
            Self::HeadTime => "head_time",
            Self::BodyBytes => "body_bytes",
        }
    }
}

/// What all prefixes hold now.
pub struct Budgets {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    len: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    held: HashMap<Prefix, Held>,
    swept: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    half_open: usize,
    head_bytes: usize,
    body_bytes: usize,
    /// Milliseconds of waiting, as a pace.
    waited_until: u64,
}

impl Held {
    fn is_over(&self, now: Tick) -> bool {
        (self.half_open, self.head_bytes, self.body_bytes) == (0, 0, 0) && self.waited_until <= now.nanos()
    }

    fn of(&mut self, budget: Budget) -> Option<&mut usize> {
        match budget {
            Budget::HalfOpen => Some(&mut self.half_open),
            Budget::HeadBytes => Some(&mut self.head_bytes),
            Budget::BodyBytes => Some(&mut self.body_bytes),
            // Time is not given back; it passes.
            Budget::HeadTime => None,
        }
    }
}

impl BudgetTerms {
    fn most(&self, budget: Budget) -> usize {
        match budget {
            Budget::HalfOpen => self.half_open,
            Budget::HeadBytes => self.head_bytes,
            Budget::BodyBytes => self.body_bytes,
            Budget::HeadTime => usize::MAX,
        }
    }

    /// A millisecond of waiting comes back after every step.
    fn pace(&self) -> Pace {
        let millis = u32::try_from(self.head_time.as_millis()).unwrap_or(u32::MAX).max(1);
        Pace::new(Duration::from_nanos(MINUTE * 1_000_000 / u64::from(millis)), millis)
    }
}

impl Budgets {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
        }
    }

    /// Takes `n` of a budget, if there is so much of it.
    #[must_use]
    pub fn take(&self, prefix: Prefix, budget: Budget, n: usize, terms: &BudgetTerms, now: Tick) -> bool {
        self.with(prefix, now, |held| {
            let Some(used) = held.of(budget) else { return true };
            match used.checked_add(n).filter(|then| *then <= terms.most(budget)) {
                Some(then) => {
                    *used = then;
                    true
                }
                None => false,
            }
        })
    }

    /// Gives `n` of it back.
    pub fn give_back(&self, prefix: Prefix, budget: Budget, n: usize, now: Tick) {
        self.with(prefix, now, |held| {
            if let Some(used) = held.of(budget) {
                *used = used.saturating_sub(n);
            }
        });
    }

    /// Counts time that was spent waiting; whether some is left.
    pub fn waited(&self, prefix: Prefix, time: Duration, terms: &BudgetTerms, now: Tick) -> bool {
        let pace = terms.pace();
        self.with(prefix, now, |held| {
            let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            let room = pace.room(held.waited_until, now);
            held.waited_until = pace.take(held.waited_until, millis.min(room), now);
            room > millis
        })
    }

    /// How long a prefix may still wait for a head.
    #[must_use]
    pub fn patience(&self, prefix: Prefix, terms: &BudgetTerms, now: Tick) -> Duration {
        let waited = self.shard(prefix).lock().held.get(&prefix).map_or(0, |held| held.waited_until);
        Duration::from_millis(u64::from(terms.pace().room(waited, now)))
    }

    /// Prefixes that hold something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, prefix: Prefix) -> &Mutex<Shard> {
        // The remainder is below the number of shards.
        &self.shards[usize::try_from(self.hasher.hash_one(prefix) % SHARDS as u64).unwrap_or(0)]
    }

    fn with<T>(&self, prefix: Prefix, now: Tick, then: impl FnOnce(&mut Held) -> T) -> T {
        let mut shard = self.shard(prefix).lock();
        let before = shard.held.len();
        let held = shard.held.entry(prefix).or_default();
        let result = then(held);
        if held.is_over(now) {
            shard.held.remove(&prefix);
        } else if before > MANY && now.nanos() > shard.swept.saturating_add(SWEEP_NANOS) {
            shard.swept = now.nanos();
            shard.held.retain(|_, held| !held.is_over(now));
        }
        let after = shard.held.len();
        drop(shard);
        if after >= before {
            self.len.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.len.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const TERMS: BudgetTerms =
        BudgetTerms { half_open: 3, head_bytes: 100, head_time: Duration::from_secs(10), body_bytes: 1000 };

    fn prefix(n: u32) -> Prefix {
        Prefix::of(IpAddr::from(n.to_be_bytes()))
    }

    fn at(secs: u64) -> Tick {
        Tick::after(Duration::from_secs(secs))
    }

    #[test]
    fn each_prefix_has_its_own_and_gets_it_back() {
        let budgets = Budgets::new();
        let take = |n, budget, amount| budgets.take(prefix(n), budget, amount, &TERMS, at(1));
        assert!((0..3).all(|_| take(1, Budget::HalfOpen, 1)));
        assert!(!take(1, Budget::HalfOpen, 1) && take(2, Budget::HalfOpen, 1));
        assert!(take(1, Budget::HeadBytes, 100) && !take(1, Budget::HeadBytes, 1));
        assert!(take(1, Budget::BodyBytes, 999) && !take(1, Budget::BodyBytes, 2));
        assert_eq!(budgets.len(), 2);
        budgets.give_back(prefix(1), Budget::HalfOpen, 1, at(2));
        assert!(take(1, Budget::HalfOpen, 1));
        for (n, budget, amount) in [
            (1, Budget::HalfOpen, 3),
            (1, Budget::HeadBytes, 100),
            (1, Budget::BodyBytes, 999),
            (2, Budget::HalfOpen, 1),
        ] {
            budgets.give_back(prefix(n), budget, amount, at(3));
        }
        assert!(budgets.is_empty(), "what is over leaves nothing");
    }

    #[test]
    fn time_that_was_waited_comes_back_by_and_by() {
        let budgets = Budgets::new();
        let patience = |now| budgets.patience(prefix(1), &TERMS, now).as_secs();
        assert_eq!(patience(at(0)), 10);
        assert!(budgets.waited(prefix(1), Duration::from_secs(4), &TERMS, at(100)));
        assert_eq!(patience(at(100)), 6);
        assert!(!budgets.waited(prefix(1), Duration::from_secs(7), &TERMS, at(100)));
        assert_eq!((patience(at(100)), patience(at(130)), patience(at(160))), (0, 5, 10));
        budgets.give_back(prefix(1), Budget::HalfOpen, 0, at(161));
        assert!(budgets.is_empty());
    }

    #[test]
    fn what_only_remembers_time_does_not_pile_up() {
        let budgets = Budgets::new();
        for n in 0..300_000 {
            let now = Tick::after(Duration::from_millis(u64::from(n)));
            budgets.waited(prefix(n), Duration::from_secs(1), &TERMS, now);
        }
        assert!(budgets.len() < SHARDS * (MANY + 4096), "{}", budgets.len());
    }
}
