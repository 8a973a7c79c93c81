//! The limiter's time: nanoseconds since its start. The edge starts it at Unix time, so that times that
//! were written down mean the same in the next process.
//!
//! No clock is read here. Whoever holds one hands a [`Tick`] in; counts clamp a tick that lies before
//! what they have already seen, so a clock that steps back can only make a caller wait.

use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A point in time, as nanoseconds since the limiter's start; 584 years fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The start.
    pub const ZERO: Self = Self(0);

    /// This many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// This long after the start.
    #[must_use]
    pub fn after(elapsed: Duration) -> Self {
        Self(whole_nanos(elapsed))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

/// A duration in nanoseconds, at most what 64 bits hold.
pub(super) fn whole_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole seconds that are not over before `nanos` are; never 0, since "now" is no time to wait for.
pub(super) fn seconds_rounded_up(nanos: u64) -> u32 {
    u32::try_from(nanos.div_ceil(NANOS_PER_SECOND)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_nothing() {
        for (nanos, seconds) in [(0, 1), (1, 1), (1_000_000_000, 1), (1_000_000_001, 2), (u64::MAX, u32::MAX)]
        {
            assert_eq!(seconds_rounded_up(nanos), seconds, "{nanos}");
        }
    }
}
