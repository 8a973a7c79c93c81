//! What one caller has used of one rule, whatever the rule's kind: the one face that the limiter sees.
//!
//! Whose tally it is, and how many there are, is not known here.

use super::pace::Pace;
use super::quota::Quota;
use super::tick::Tick;
use super::window::{Ceiling, Window};

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// At most so many in any trailing span.
    Window(Ceiling),
    /// The same, kept on disk.
    Quota(Ceiling),
    /// Smoothly, with a burst.
    Rate(Pace),
    /// At most so many at the same time.
    Held(u32),
}

impl Measure {
    /// Most at once, in a window or in flight.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        match self {
            Self::Window(ceiling) | Self::Quota(ceiling) => ceiling.limit(),
            Self::Rate(pace) => pace.burst(),
            Self::Held(most) => *most,
        }
    }

    /// The span in nanoseconds; 0 for what is held.
    #[must_use]
    pub const fn per_nanos(&self) -> u64 {
        match self {
            Self::Window(ceiling) | Self::Quota(ceiling) => ceiling.per_nanos(),
            Self::Rate(pace) => pace.refill(),
            Self::Held(_) => 0,
        }
    }
}

/// What one caller has used.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a place is as large as its largest count, without a heap")]
pub(super) enum Tally {
    Window(Window),
    /// A count that lasts.
    Quota(Box<Quota>),
    /// The time until which everything taken is paced out.
    Rate(u64),
    /// How many are in flight.
    Held(u32),
}

/// How a tally stands after something was taken.
pub(super) struct Spent {
    /// From when on nothing counts, if nothing more is taken.
    pub(super) idle_from: Tick,
    /// Nanoseconds until there is room for what was asked.
    pub(super) until: u64,
}

/// When one more of what is in flight may be over is not known; asking again after this is cheap.
const SOON: u64 = 1_000_000_000;

impl Tally {
    pub(super) const fn empty() -> Self {
        Self::Window(Window::empty())
    }

    /// Whether something is in flight here.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self, Self::Held(1..))
    }

    /// Whether the count lasts.
    pub(super) const fn is_quota(&self) -> bool {
        matches!(self, Self::Quota(_))
    }

    /// How many more would be admitted now.
    #[inline]
    pub(super) fn room(&mut self, measure: &Measure, now: Tick) -> u32 {
        match (&mut *self, measure) {
            (Self::Window(window), Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
                window.room(ceiling, now)
            }
            (Self::Rate(until), Measure::Rate(pace)) => pace.room(*until, now),
            (Self::Held(held), Measure::Held(most)) => most.saturating_sub(*held),
            (Self::Quota(quota), Measure::Quota(ceiling)) => quota.window_mut().room(ceiling, now),
            (Self::Window(_) | Self::Quota(_) | Self::Rate(_) | Self::Held(_), _) => self.begin(measure, now),
        }
    }

    /// A new place is nobody's kind yet; a rule's kind never changes.
    #[cold]
    fn begin(&mut self, measure: &Measure, now: Tick) -> u32 {
        *self = match measure {
            // A quota is begun by who knows its past; without one it counts in memory.
            Measure::Window(_) | Measure::Quota(_) => Self::empty(),
            Measure::Rate(_) => Self::Rate(0),
            Measure::Held(_) => Self::Held(0),
        };
        match (&mut *self, measure) {
            (Self::Window(window), Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
                window.room(ceiling, now)
            }
            (_, Measure::Rate(_) | Measure::Held(_) | Measure::Window(_) | Measure::Quota(_)) => {
                measure.limit()
            }
        }
    }

    /// Counts `n` for which [`room`](Self::room) has just said that there is some, and says how it stands
    /// then: when all of it is over, and when there is room for `more`.
    #[inline]
    pub(super) fn spend(&mut self, n: u32, more: u32, measure: &Measure, now: Tick) -> Spent {
        if let (Self::Window(window), Measure::Window(ceiling)) = (&mut *self, measure) {
            window.take_granted(n, now);
            return Spent { idle_from: window.idle_from(ceiling), until: window.until(more, ceiling, now) };
        }
        self.take(n, measure, now);
        Spent { idle_from: self.idle_from(measure, now), until: self.until(more, measure, now) }
    }

    /// Counts `n` for which [`room`](Self::room) has just said that there is some.
    pub(super) fn take(&mut self, n: u32, measure: &Measure, now: Tick) {
        match (self, measure) {
            (Self::Window(window), _) => window.take_granted(n, now),
            (Self::Quota(quota), _) => quota.take(n, now),
            (Self::Rate(until), Measure::Rate(pace)) => *until = pace.take(*until, n, now),
            (Self::Held(held), _) => *held = held.saturating_add(n),
            (Self::Rate(_), Measure::Window(_) | Measure::Quota(_) | Measure::Held(_)) => {}
        }
    }

    /// Takes back `n` that were counted at `then`.
    pub(super) fn give_back(&mut self, n: u32, measure: &Measure, then: Tick) {
        match (self, measure) {
            (Self::Window(window), Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
                window.give_back(n, ceiling, then)
            }
            (Self::Rate(until), Measure::Rate(pace)) => *until = pace.give_back(*until, n),
            (Self::Held(held), Measure::Held(_)) => *held = held.saturating_sub(n),
            (Self::Quota(quota), Measure::Quota(ceiling)) => quota.give_back(n, ceiling, then),
            (Self::Window(_) | Self::Quota(_) | Self::Rate(_) | Self::Held(_), _) => {}
        }
    }

    /// Nanoseconds until there is room for `n` (and more than now, where there is already).
    #[inline]
    pub(super) fn until(&self, n: u32, measure: &Measure, now: Tick) -> u64 {
        match (self, measure) {
            (Self::Window(window), Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
                window.until(n, ceiling, now)
            }
            (Self::Rate(until), Measure::Rate(pace)) => pace.until(*until, n, now),
            (Self::Quota(quota), Measure::Quota(ceiling)) => quota.window().until(n, ceiling, now),
            (Self::Window(_) | Self::Quota(_) | Self::Rate(_) | Self::Held(_), _) => SOON,
        }
    }

    /// From when on nothing counts, if nothing more is taken.
    #[inline]
    pub(super) fn idle_from(&self, measure: &Measure, now: Tick) -> Tick {
        match (self, measure) {
            (Self::Window(window), Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
                window.idle_from(ceiling)
            }
            (Self::Rate(until), _) => Tick::from_nanos(*until),
            (Self::Quota(quota), Measure::Quota(ceiling)) => quota.window().idle_from(ceiling),
            (Self::Held(0) | Self::Window(_) | Self::Quota(_), _) => now,
            (Self::Held(_), _) => Tick::from_nanos(u64::MAX),
        }
    }

    /// Starts from a count that was held elsewhere, as if all of it had come just now.
    pub(super) fn carry_over(&mut self, counted: u32, measure: &Measure, now: Tick) {
        let n = counted.min(self.room(measure, now));
        self.take(n, measure, now);
    }
}
