//! The smooth rate: one more every so often, and a burst after a rest (GCRA, virtual scheduling).
//!
//! A whole count is one word, the time at which everything taken so far would have been paced out. In
//! any span of W at most `burst + W / every` are admitted, which is more than `burst`: who needs a hard
//! ceiling wants a [`super::Window`].

use super::tick::{Tick, whole_nanos};
use std::time::Duration;

/// How often, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    every: u64,
    burst: u32,
}

impl Pace {
    /// One more after every `every`, at most `burst` at once.
    #[must_use]
    pub fn new(every: Duration, burst: u32) -> Self {
        Self { every: whole_nanos(every).max(1), burst }
    }

    /// Most at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time in which a spent burst is back, in nanoseconds.
    #[must_use]
    pub const fn refill(&self) -> u64 {
        self.every.saturating_mul(self.burst as u64)
    }

    /// How many more would be admitted now.
    pub(super) fn room(&self, paced_until: u64, now: Tick) -> u32 {
        let free = self.refill().saturating_sub(paced_until.saturating_sub(now.nanos()));
        u32::try_from(free / self.every).unwrap_or(u32::MAX)
    }

    /// What the count becomes when `n` are taken.
    pub(super) fn take(&self, paced_until: u64, n: u32, now: Tick) -> u64 {
        paced_until.max(now.nanos()).saturating_add(self.every.saturating_mul(u64::from(n)))
    }

    /// What the count becomes when `n` are given back.
    pub(super) fn give_back(&self, paced_until: u64, n: u32) -> u64 {
        paced_until.saturating_sub(self.every.saturating_mul(u64::from(n)))
    }

    /// Nanoseconds until there is room for `n`; one step where there never is or already was.
    pub(super) fn until(&self, paced_until: u64, n: u32, now: Tick) -> u64 {
        if n > self.burst {
            return self.every;
        }
        let needed = self.every.saturating_mul(u64::from(n));
        let ahead = paced_until.saturating_sub(now.nanos());
        ahead.saturating_add(needed).saturating_sub(self.refill())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn whole(value: &Value) -> u64 {
        value.as_u64().expect("a number")
    }

    #[test]
    fn the_oracle_agrees_at_every_step() {
        let text = include_str!("../../tests/vectors/gcra_oracle_generated.json");
        let oracle: Value = serde_json::from_str(text).expect("the vectors are JSON");
        let mut checked = 0;
        for case in oracle["cases"].as_array().expect("cases") {
            let burst = u32::try_from(whole(&case["burst"])).expect("small");
            let pace = Pace::new(Duration::from_nanos(whole(&case["T_ns"])), burst);
            let mut until = 0;
            for event in case["events"].as_array().expect("events") {
                let now = Tick::from_nanos(whole(&event["now_ns"]));
                let allowed = pace.room(until, now) > 0;
                assert_eq!(allowed, event["allow"], "{case} {event}");
                if allowed {
                    until = pace.take(until, 1, now);
                    assert_eq!(u64::from(pace.room(until, now)), whole(&event["remaining"]), "{event}");
                    assert_eq!(until - now.nanos(), whole(&event["reset_ns"]), "{event}");
                } else {
                    assert_eq!(pace.until(until, 1, now), whole(&event["retry_after_ns"]), "{event}");
                }
                checked += 1;
            }
        }
        assert!(checked > 20, "{checked}");
    }

    #[test]
    fn several_at_once_wait_until_all_fit() {
        let pace = Pace::new(Duration::from_nanos(100), 10);
        let until = pace.take(0, 8, Tick::ZERO);
        assert_eq!(pace.room(until, Tick::ZERO), 2);
        assert_eq!(pace.until(until, 5, Tick::ZERO), 300);
        assert_eq!(pace.room(until, Tick::from_nanos(299)), 4);
        assert_eq!(pace.room(until, Tick::from_nanos(300)), 5);
        assert_eq!(pace.room(pace.give_back(until, 3), Tick::ZERO), 5);
        assert_eq!(pace.until(until, 11, Tick::ZERO), 100, "never; said once a step");
    }
}
