//! One caller against one ceiling: at most `limit` in any trailing window.
//!
//! Integers only. Small ceilings are counted exactly, larger ones by conservative sub-windows; both
//! never admit too many, and at a steady pace both admit at least 95 in 100 of what the ceiling says.
//! This file knows neither whose count it is nor how many there are.

use super::log::{self, Log};
use super::subwindows::{PARTS, SubWindows};
use super::tick::{Tick, whole_nanos};
use std::time::Duration;

/// Most requests, and the span in any stretch of which they are the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    limit: u32,
    per: u64,
    part: u64,
}

impl Ceiling {
    /// At most `limit` in any trailing `per`.
    #[must_use]
    pub fn new(limit: u32, per: Duration) -> Self {
        let per = whole_nanos(per).max(1);
        // Rounded up, so that the parts together are never shorter than the window.
        Self { limit, per, part: per.div_ceil(PARTS) }
    }

    /// Most requests.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The span in nanoseconds.
    #[must_use]
    pub const fn per_nanos(&self) -> u64 {
        self.per
    }

    const fn is_small(&self) -> bool {
        self.limit as usize <= log::CAPACITY
    }

    /// Whether every request's own time counts.
    pub(super) const fn is_exact(&self) -> bool {
        self.is_small()
    }

    /// Whether two times count as one.
    pub(super) const fn same_part(&self, one: Tick, other: Tick) -> bool {
        one.nanos() / self.part == other.nanos() / self.part
    }
}

/// What counts for one caller, in at most 280 bytes and without a heap.
#[derive(Debug, Clone)]
pub struct Window(Count);

#[derive(Debug, Clone)]
enum Count {
    Exact(Log),
    Parts(SubWindows),
}

impl Window {
    /// Nothing counted so far.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Count::Exact(Log::empty()))
    }

    /// How many more would be admitted now.
    #[inline]
    pub fn room(&mut self, ceiling: &Ceiling, now: Tick) -> u32 {
        self.fit(ceiling, now);
        let counted = match &mut self.0 {
            Count::Exact(log) => {
                log.expire(ceiling.per, now.nanos());
                u32::from(log.len())
            }
            Count::Parts(parts) => {
                parts.advance(now.nanos(), ceiling.part);
                parts.sum()
            }
        };
        ceiling.limit.saturating_sub(counted)
    }

    /// Counts one, if there is room for it.
    pub fn take(&mut self, ceiling: &Ceiling, now: Tick) -> bool {
        let admitted = self.room(ceiling, now) > 0;
        if admitted {
            self.add(1, now);
        }
        admitted
    }

    /// Counts `n` where [`room`](Self::room) has just said that there is some.
    #[inline]
    pub(super) fn take_granted(&mut self, n: u32, now: Tick) {
        self.add(n, now);
    }

    /// Takes back `n` that were counted at `then`; what has left the window meanwhile is gone anyway.
    pub(super) fn give_back(&mut self, n: u32, ceiling: &Ceiling, then: Tick) {
        match &mut self.0 {
            Count::Exact(log) => (0..n).for_each(|_| log.remove(then.nanos())),
            Count::Parts(parts) => parts.subtract(n, then.nanos() / ceiling.part),
        }
    }

    /// Nanoseconds until [`room`](Self::room) grows: with none left, the time to wait. The whole window
    /// where nothing counts, since it cannot grow. Holds for the `now` that `room` was last asked at.
    #[must_use]
    pub fn until_more(&self, ceiling: &Ceiling, now: Tick) -> u64 {
        self.until(1, ceiling, now)
    }

    /// Nanoseconds until there is room for `n`, and more than now.
    #[inline]
    pub(super) fn until(&self, n: u32, ceiling: &Ceiling, now: Tick) -> u64 {
        let limit = ceiling.limit.saturating_sub(n.saturating_sub(1));
        let end = match &self.0 {
            Count::Exact(log) => log.next_to_leave(limit).map(|stamp| stamp.saturating_add(ceiling.per)),
            Count::Parts(parts) => parts
                .next_to_leave(limit)
                .map(|number| SubWindows::released(number).saturating_mul(ceiling.part)),
        };
        match end {
            Some(end) if limit > 0 => end.saturating_sub(now.nanos()),
            Some(_) | None => ceiling.per,
        }
    }

    /// From when on nothing counts, if nothing more is taken.
    #[must_use]
    #[inline]
    pub fn idle_from(&self, ceiling: &Ceiling) -> Tick {
        Tick::from_nanos(match &self.0 {
            Count::Exact(log) => log.latest().map_or(0, |last| last.saturating_add(ceiling.per)),
            Count::Parts(parts) if parts.sum() == 0 => 0,
            Count::Parts(parts) => SubWindows::released(parts.newest()).saturating_mul(ceiling.part),
        })
    }

    #[inline]
    fn add(&mut self, n: u32, now: Tick) {
        match &mut self.0 {
            Count::Exact(log) => (0..n).for_each(|_| log.push(now.nanos())),
            Count::Parts(parts) if n > 0 => parts.add(n),
            Count::Parts(_) => {}
        }
    }

    /// Takes the shape that the ceiling asks for; it changes when a reload moves the limit past
    /// [`log::CAPACITY`]. Parts become a log only once they are empty, since they lost the exact times.
    #[inline]
    fn fit(&mut self, ceiling: &Ceiling, now: Tick) {
        match &self.0 {
            Count::Exact(_) if ceiling.is_small() => {}
            Count::Parts(_) if !ceiling.is_small() => {}
            Count::Exact(_) | Count::Parts(_) => self.reshape(ceiling, now),
        }
    }

    #[cold]
    fn reshape(&mut self, ceiling: &Ceiling, now: Tick) {
        match &self.0 {
            Count::Exact(log) => {
                let mut parts = SubWindows::empty(log.stamps().next().unwrap_or(now.nanos()) / ceiling.part);
                for stamp in log.stamps() {
                    parts.advance(stamp, ceiling.part);
                    parts.add(1);
                }
                self.0 = Count::Parts(parts);
            }
            Count::Parts(parts) if parts.sum() == 0 => self.0 = Count::Exact(Log::empty()),
            Count::Parts(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use std::collections::VecDeque;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Tick {
        Tick::from_nanos(ms * MS)
    }

    /// Times of all admitted, and the most of them in any trailing window.
    struct Oracle {
        per: u64,
        recent: VecDeque<u64>,
        worst: usize,
        admitted: usize,
    }

    impl Oracle {
        fn new(per: u64) -> Self {
            Self { per, recent: VecDeque::new(), worst: 0, admitted: 0 }
        }

        fn counted(&self, now: u64) -> usize {
            self.recent.iter().filter(|&&t| now - t < self.per).count()
        }

        fn admit(&mut self, now: u64) {
            while self.recent.front().is_some_and(|&t| now - t >= self.per) {
                self.recent.pop_front();
            }
            self.recent.push_back(now);
            self.worst = self.worst.max(self.recent.len());
            self.admitted += 1;
        }
    }

    fn run(limit: u32, per_ms: u64, arrivals_ms: impl Iterator<Item = u64>) -> Oracle {
        let ceiling = Ceiling::new(limit, Duration::from_millis(per_ms));
        let (mut window, mut oracle) = (Window::empty(), Oracle::new(per_ms * MS));
        for ms in arrivals_ms {
            if window.take(&ceiling, at(ms)) {
                oracle.admit(ms * MS);
            }
        }
        oracle
    }

    #[test]
    fn the_published_comparison_holds_for_sixty_parts() {
        let text = include_str!("../../tests/vectors/trailing_window_compare_generated.json");
        let table: serde_json::Value = serde_json::from_str(text).expect("the vectors are JSON");
        let rows = table["results"]["60 conservative sub-windows"].as_object().expect("the row is there");
        let edge = || std::iter::repeat_n(59_999, 500).chain(std::iter::repeat_n(60_000, 500));
        for (name, expected) in rows {
            let oracle = match name.split(':').next().unwrap_or_default() {
                "edge" => run(60, 60_000, edge()),
                "edge then every 10 ms for a window" => {
                    run(60, 60_000, edge().chain((60_010..120_000).step_by(10)))
                }
                "greedy" => {
                    let start = (0..10).flat_map(|ms| std::iter::repeat_n(ms, 5));
                    run(60, 60_000, start.chain((10..180_000).step_by(50)))
                }
                "steady just under" => run(60, 60_000, (0..300).map(|n| n * 1001)),
                other => panic!("unknown scenario {other}"),
            };
            assert_eq!(oracle.worst as u64, expected["worst_trailing_60s"], "{name}");
            assert_eq!(oracle.admitted as u64, expected["admitted"], "{name}");
        }
    }

    #[test]
    fn at_a_steady_pace_at_least_95_in_100_are_admitted() {
        for limit in (1..=200).chain([600, 999, 1000, 3600, 100_000]) {
            for (per_ms, offset) in [(60_000, 0), (60_000, 517), (3_600_000, 12_345)] {
                let n = u64::from(limit) * 5;
                // The pace is the ceiling's own: the n-th request at n·per/limit, rounded up.
                let pace = (0..n).map(|i| offset + (i * per_ms).div_ceil(u64::from(limit)));
                let oracle = run(limit, per_ms, pace);
                assert!(oracle.admitted as u64 * 100 >= n * 95, "{limit}: {} of {n}", oracle.admitted);
                assert!(oracle.worst <= limit as usize);
            }
        }
    }

    #[test]
    fn a_month_and_a_second_are_both_windows() {
        const MONTH_MS: u64 = 31 * 24 * 3600 * 1000;
        for per_ms in [1000, MONTH_MS] {
            for limit in [1, 30, 31, 500] {
                let first = std::iter::repeat_n(7, 600);
                let oracle = run(limit, per_ms, first.chain([per_ms - 1, per_ms + 6, 2 * per_ms + 7]));
                assert_eq!(oracle.worst, limit as usize);
                assert_eq!(oracle.admitted, limit as usize + 1);
            }
        }
    }

    #[test]
    fn a_lowered_ceiling_holds_at_once_and_a_raised_one_forgets_nothing() {
        let per = Duration::from_mins(1);
        let (ten, hundred) = (Ceiling::new(10, per), Ceiling::new(100, per));
        let mut window = Window::empty();
        (0..10).for_each(|_| assert!(window.take(&ten, at(5))));
        assert_eq!(window.room(&hundred, at(5)), 90);
        assert!(window.take(&hundred, at(6)));
        assert_eq!(window.room(&ten, at(7)), 0);
        assert_eq!(window.until_more(&ten, at(7)), 60_993 * MS, "back when the parts are over");
        assert_eq!(window.room(&ten, at(61_000)), 10);
        assert!(window.take(&ten, at(61_001)));
        assert_eq!(window.until_more(&ten, at(61_001)), 60_000 * MS, "exact again");
    }

    #[test]
    fn a_ceiling_of_nothing_admits_nothing() {
        let none = Ceiling::new(0, Duration::from_secs(1));
        let mut window = Window::empty();
        assert!(!window.take(&none, at(0)));
        assert_eq!(window.until_more(&none, at(0)), 1000 * MS);
    }

    #[test]
    fn a_clock_that_steps_back_frees_nobody() {
        for limit in [3, 40] {
            let ceiling = Ceiling::new(limit, Duration::from_secs(1));
            let mut window = Window::empty();
            (0..limit).for_each(|_| assert!(window.take(&ceiling, at(5000))));
            assert!(!window.take(&ceiling, at(10)));
            assert!(!window.take(&ceiling, at(5999)));
            assert!(window.take(&ceiling, at(6017)));
        }
    }

    #[test]
    fn a_window_is_small() {
        assert!(size_of::<Window>() <= 280, "{}", size_of::<Window>());
    }

    /// Gaps that hit edges: bursts, one step before and after a part or the window, and anything.
    fn gap(per: u64) -> impl Strategy<Value = u64> {
        let part = per.div_ceil(PARTS);
        prop_oneof![
            5 => Just(0),
            3 => 0..part,
            2 => Just(part - 1),
            2 => Just(part),
            2 => Just(part + 1),
            1 => Just(per - 1),
            1 => Just(per),
            1 => Just(per + 1),
            1 => 0..3 * per,
        ]
    }

    fn arrivals() -> impl Strategy<Value = (u32, u64, u64, Vec<u64>)> {
        (1_u32..90, 1_000_u64..5_000_000).prop_flat_map(|(limit, per)| {
            (Just(limit), Just(per), 0..10 * per, proptest::collection::vec(gap(per), 1..600))
        })
    }

    proptest! {
        #[test]
        fn no_timing_passes_the_ceiling_and_small_ones_are_exact((limit, per, start, gaps) in arrivals()) {
            let ceiling = Ceiling::new(limit, Duration::from_nanos(per));
            let (mut window, mut oracle, mut now) = (Window::empty(), Oracle::new(per), start);
            for gap in gaps {
                now += gap;
                let truth = (limit as usize).saturating_sub(oracle.counted(now));
                let room = window.room(&ceiling, Tick::from_nanos(now)) as usize;
                prop_assert!(room <= truth);
                if limit <= 30 {
                    prop_assert_eq!(room, truth);
                }
                if window.take(&ceiling, Tick::from_nanos(now)) {
                    oracle.admit(now);
                }
                prop_assert!(oracle.worst <= limit as usize);
            }
        }

        #[test]
        fn room_grows_exactly_when_it_says((limit, per, start, gaps) in arrivals()) {
            let ceiling = Ceiling::new(limit, Duration::from_nanos(per));
            let (mut window, mut now) = (Window::empty(), start);
            for gap in gaps {
                now += gap;
                window.take(&ceiling, Tick::from_nanos(now));
            }
            let before = window.room(&ceiling, Tick::from_nanos(now));
            let wait = window.until_more(&ceiling, Tick::from_nanos(now));
            if before < limit {
                let early = window.clone().room(&ceiling, Tick::from_nanos(now + wait - 1));
                prop_assert_eq!(early, before);
                prop_assert!(window.clone().room(&ceiling, Tick::from_nanos(now + wait)) > before);
            }
            let idle = window.idle_from(&ceiling);
            prop_assert_eq!(window.room(&ceiling, idle.max(Tick::from_nanos(now))), limit);
        }

        #[test]
        fn moving_limits_never_admit_more_than_the_limit_of_the_moment(
            per in 1_000_u64..100_000,
            steps in proptest::collection::vec((0_u64..2_000, 1_u32..80), 1..400),
        ) {
            let (mut window, mut oracle, mut now) = (Window::empty(), Oracle::new(per), 0);
            for (gap, limit) in steps {
                now += gap;
                let ceiling = Ceiling::new(limit, Duration::from_nanos(per));
                if window.take(&ceiling, Tick::from_nanos(now)) {
                    oracle.admit(now);
                    prop_assert!(oracle.counted(now) <= limit as usize);
                }
            }
        }
    }
}
