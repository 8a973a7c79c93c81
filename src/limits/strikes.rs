//! Strikes: what counts against a prefix that nobody vouches for, and the pause that too many of them lead to.
//!
//! A strike is a request that was refused because of what it is: an unknown key, a bad signature, a malformed
//! head. Too many of them within a time and the prefix cools down; each further pause is twice as long as the
//! one before, up to the longest, until it has been quiet for that long. Strikes during a pause do not count:
//! whoever keeps knocking is let in again all the same.
//!
//! Memory: an entry is at most some 100 bytes, and there are at most [`MOST`]. Who cools down is never pushed
//! out; others are forgotten once their strikes are over. When the table is full of what counts, strikes of
//! newcomers are not kept, and that they were not is counted.
//!
//! Which requests are strikes, and who is let through during a pause, is not known here.

use super::pace::Pace;
use super::prefix::Prefix;
use super::sync::Mutex;
use super::sync::atomic::{AtomicU64, Ordering};
use super::tick::{Tick, seconds_rounded_up, whole_nanos};
use std::collections::HashMap;
use std::collections::hash_map::{Entry as Slot, RandomState};
use std::hash::BuildHasher as _;
use std::time::Duration;

const SHARDS: usize = 16;
/// Most prefixes with strikes.
pub(super) const MOST: usize = 65_536;
/// Between two looks through a full shard for what is over.
const SWEEP_NANOS: u64 = 1_000_000_000;

/// Why a request was a strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It came without a credential that is known.
    Unauthorized,
    /// What it carried was not signed by whom it says.
    Signature,
    /// Its head was malformed or did not come in time.
    Head,
}

impl Strike {
    /// All, in the order of their counts.
    pub const ALL: [Self; 3] = [Self::Unauthorized, Self::Signature, Self::Head];

    /// Its word in metrics and answers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Signature => "signature",
            Self::Head => "head",
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::Unauthorized => 0,
            Self::Signature => 1,
            Self::Head => 2,
        }
    }
}

/// How many strikes are too many, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrikeTerms {
    pace: Pace,
    pause: u64,
    longest: u64,
}

impl StrikeTerms {
    /// More than `limit` strikes at once, or in the long run more than that many in `per`, are followed by a
    /// `pause`; the next pauses are longer, up to `longest`.
    #[must_use]
    pub fn new(limit: u32, per: Duration, pause: Duration, longest: Duration) -> Self {
        let pace = Pace::new(per / limit.max(1), limit);
        Self { pace, pause: whole_nanos(pause), longest: whole_nanos(longest.max(pause)) }
    }
}

/// One prefix that cools down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolDown {
    /// Who.
    pub prefix: Prefix,
    /// Seconds until it is over.
    pub ends_in_secs: u32,
    /// The pause as a whole, in seconds.
    pub pause_secs: u32,
    /// The first, the second, … of late.
    pub times: u32,
    /// What led to it, in the order of [`Strike::ALL`].
    pub strikes: [u32; 3],
}

/// All strikes.
pub struct Strikes {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    most: usize,
    /// From when on nobody cools down any more: what most requests look at alone.
    all_over: AtomicU64,
    untracked: AtomicU64,
    /// Pauses begun and lifted so far.
    turns: AtomicU64,
}

/// A pause as it is kept over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Who.
    pub prefix: Prefix,
    /// When it ends.
    pub until: Tick,
    /// How long it is as a whole.
    pub span: Duration,
    /// The first, the second, … of late.
    pub times: u32,
    /// What led to it, in the order of [`Strike::ALL`].
    pub strikes: [u32; 3],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Prefix, Entry>,
    swept: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// The time until which all strikes are paced out.
    paced_until: u64,
    cools_until: u64,
    pause: u64,
    times: u32,
    strikes: [u32; 3],
}

impl Entry {
    /// From when on nothing of it counts.
    fn over(&self, longest: u64) -> u64 {
        let remembered = if self.times > 0 { self.cools_until.saturating_add(longest) } else { 0 };
        self.paced_until.max(remembered)
    }

    fn told(&self, prefix: Prefix, now: Tick) -> Option<CoolDown> {
        let left = self.cools_until.checked_sub(now.nanos()).filter(|left| *left > 0)?;
        Some(CoolDown {
            prefix,
            ends_in_secs: seconds_rounded_up(left),
            pause_secs: seconds_rounded_up(self.pause),
            times: self.times,
            strikes: self.strikes,
        })
    }
}

impl Strikes {
    /// Nobody has any; room for `most` prefixes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            most,
            all_over: AtomicU64::new(0),
            untracked: AtomicU64::new(0),
            turns: AtomicU64::new(0),
        }
    }

    fn shard(&self, prefix: Prefix) -> &Mutex<Shard> {
        // The remainder is below the number of shards.
        &self.shards[usize::try_from(self.hasher.hash_one(prefix) % SHARDS as u64).unwrap_or(0)]
    }

    /// Counts a strike; the pause that it leads to, if it does.
    pub fn strike(&self, prefix: Prefix, why: Strike, terms: &StrikeTerms, now: Tick) -> Option<CoolDown> {
        let mut shard = self.shard(prefix).lock();
        let Some(entry) = shard.entry(prefix, self.most / SHARDS, terms, now) else {
            self.untracked.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if entry.cools_until > now.nanos() {
            return None;
        }
        if entry.times > 0 && entry.cools_until.saturating_add(terms.longest) <= now.nanos() {
            *entry = Entry { paced_until: entry.paced_until, ..Entry::default() };
        }
        let count = &mut entry.strikes[why.place()];
        *count = count.saturating_add(1);
        if terms.pace.room(entry.paced_until, now) > 0 {
            entry.paced_until = terms.pace.take(entry.paced_until, 1, now);
            return None;
        }
        let doubled = 1_u64.checked_shl(entry.times).unwrap_or(u64::MAX);
        entry.pause = terms.pause.saturating_mul(doubled).min(terms.longest);
        entry.cools_until = now.nanos().saturating_add(entry.pause);
        entry.times = entry.times.saturating_add(1);
        entry.paced_until = 0;
        let told = entry.told(prefix, now);
        self.all_over.fetch_max(entry.cools_until, Ordering::AcqRel);
        self.turns.fetch_add(1, Ordering::Relaxed);
        // What is told led to this pause; the next one is counted from nothing.
        entry.strikes = if told.is_some() { entry.strikes } else { [0; 3] };
        told
    }

    /// Seconds for which a prefix has to wait, if it cools down.
    #[inline]
    #[must_use]
    pub fn cooling(&self, prefix: Prefix, now: Tick) -> Option<u32> {
        if now.nanos() >= self.all_over.load(Ordering::Acquire) {
            return None;
        }
        self.waits(prefix, now)
    }

    #[cold]
    fn waits(&self, prefix: Prefix, now: Tick) -> Option<u32> {
        let shard = self.shard(prefix).lock();
        shard.entries.get(&prefix).and_then(|entry| entry.told(prefix, now)).map(|told| told.ends_in_secs)
    }

    /// Ends a pause and forgets what led to it; whether there was one.
    pub fn lift(&self, prefix: Prefix, now: Tick) -> bool {
        let entry = self.shard(prefix).lock().entries.remove(&prefix);
        self.turns.fetch_add(1, Ordering::Relaxed);
        entry.is_some_and(|entry| entry.cools_until > now.nanos())
    }

    /// Ends all pauses; how many there were.
    pub fn lift_all(&self, now: Tick) -> usize {
        let all = self.cooling_down(now);
        all.iter().filter(|one| self.lift(one.prefix, now)).count()
    }

    /// Everyone who cools down, the longest wait first.
    #[must_use]
    pub fn cooling_down(&self, now: Tick) -> Vec<CoolDown> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            all.extend(shard.entries.iter().filter_map(|(prefix, entry)| entry.told(*prefix, now)));
        }
        all.sort_unstable_by_key(|one| (std::cmp::Reverse(one.ends_in_secs), one.prefix));
        all
    }

    /// Goes up with each pause that begins or is lifted.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// The pauses that are not over.
    #[must_use]
    pub fn pauses(&self, now: Tick) -> Vec<Pause> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let cooling = shard.entries.iter().filter(|(_, entry)| entry.cools_until > now.nanos());
            all.extend(cooling.map(|(&prefix, entry)| Pause {
                prefix,
                until: Tick::from_nanos(entry.cools_until),
                span: Duration::from_nanos(entry.pause),
                times: entry.times,
                strikes: entry.strikes,
            }));
        }
        all
    }

    /// Goes on with a pause of before, if it is not over; whether it did. None is longer than it was: a clock that was
    /// set back in between prolongs it no further than from now.
    pub fn resume(&self, pause: &Pause, now: Tick) -> bool {
        let span = whole_nanos(pause.span);
        let until = pause.until.nanos().min(now.nanos().saturating_add(span));
        let mut shard = self.shard(pause.prefix).lock();
        if until <= now.nanos() || shard.entries.len() >= self.most / SHARDS {
            return false;
        }
        let Pause { times, strikes, .. } = *pause;
        let entry = Entry { paced_until: 0, cools_until: until, pause: span, times, strikes };
        shard.entries.insert(pause.prefix, entry);
        self.all_over.fetch_max(until, Ordering::AcqRel);
        true
    }

    /// Strikes that were not kept because the table was full.
    #[must_use]
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// The entry of a prefix, made if there is room.
    fn entry(&mut self, prefix: Prefix, most: usize, terms: &StrikeTerms, now: Tick) -> Option<&mut Entry> {
        let is_full = self.entries.len() >= most && !self.entries.contains_key(&prefix);
        if is_full {
            // Looking through all is bounded, and done once a second at most.
            if now.nanos() < self.swept.saturating_add(SWEEP_NANOS) && self.swept > 0 {
                return None;
            }
            self.swept = now.nanos().max(1);
            self.entries.retain(|_, entry| entry.over(terms.longest) > now.nanos());
            if self.entries.len() >= most {
                return None;
            }
        }
        match self.entries.entry(prefix) {
            Slot::Occupied(there) => Some(there.into_mut()),
            Slot::Vacant(free) => Some(free.insert(Entry::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn prefix(n: u32) -> Prefix {
        Prefix::of(IpAddr::from(n.to_be_bytes()))
    }

    fn at(secs: u64) -> Tick {
        Tick::after(Duration::from_secs(secs))
    }

    /// 5 a minute, then a minute, at most an hour.
    fn terms() -> StrikeTerms {
        StrikeTerms::new(5, Duration::from_mins(1), Duration::from_mins(1), Duration::from_hours(1))
    }

    fn strike(strikes: &Strikes, n: u32, now: Tick) -> Option<CoolDown> {
        strikes.strike(prefix(n), Strike::Unauthorized, &terms(), now)
    }

    /// Strikes until the prefix cools down; the pause in seconds.
    fn provoke(strikes: &Strikes, n: u32, now: Tick) -> u32 {
        (0..10).find_map(|_| strike(strikes, n, now)).expect("ten strikes are too many").pause_secs
    }

    #[test]
    fn too_many_strikes_lead_to_a_pause_for_that_prefix_alone() {
        let strikes = Strikes::new(1000);
        for _ in 0..5 {
            assert_eq!(strike(&strikes, 1, at(100)), None);
        }
        assert_eq!(strikes.cooling(prefix(1), at(100)), None);
        let told = strike(&strikes, 1, at(100)).expect("the sixth is too many");
        assert_eq!((told.times, told.strikes, told.pause_secs), (1, [6, 0, 0], 60));
        assert_eq!(strikes.cooling(prefix(1), at(130)), Some(30));
        assert_eq!(strikes.cooling(prefix(2), at(130)), None);
        assert_eq!(strikes.cooling_down(at(130)).len(), 1);
        assert_eq!((strikes.cooling(prefix(1), at(160)), strikes.cooling_down(at(160)).len()), (None, 0));
    }

    #[test]
    fn a_strike_now_and_then_never_leads_to_one() {
        let strikes = Strikes::new(1000);
        assert!((0..500).all(|n| strike(&strikes, 1, at(n * 12)).is_none()), "five a minute are no flood");
    }

    #[test]
    fn pauses_grow_until_there_is_quiet_and_knocking_does_not_prolong_them() {
        let strikes = Strikes::new(1000);
        let mut now = 1000;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = provoke(&strikes, 1, at(now));
            assert_eq!(strike(&strikes, 1, at(now + 1)), None);
            assert_eq!(strikes.cooling(prefix(1), at(now + u64::from(pause) - 1)), Some(1));
            pauses.push(pause);
            now += u64::from(pause);
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(provoke(&strikes, 1, at(now + 3600)), 60, "an hour of quiet is enough");
    }

    #[test]
    fn a_pause_can_be_lifted() {
        let strikes = Strikes::new(1000);
        for n in 1..4 {
            provoke(&strikes, n, at(10));
        }
        assert!(strikes.lift(prefix(1), at(11)) && !strikes.lift(prefix(1), at(11)));
        assert_eq!(strikes.cooling(prefix(1), at(11)), None);
        assert_eq!((strikes.lift_all(at(11)), strikes.lift_all(at(11))), (2, 0));
        assert_eq!(provoke(&strikes, 1, at(12)), 60, "lifted is forgotten");
    }

    #[test]
    fn a_flood_of_prefixes_is_bounded_and_pushes_out_nobody_who_cools_down() {
        let strikes = Strikes::new(1600);
        for n in 0..50 {
            provoke(&strikes, n, at(10));
        }
        for n in 100..200_000 {
            strike(&strikes, n, at(11));
        }
        let entries: usize = strikes.shards.iter().map(|shard| shard.lock().entries.len()).sum();
        assert!(entries <= 1600, "{entries}");
        assert!(strikes.untracked() > 190_000);
        assert_eq!(strikes.cooling_down(at(12)).len(), 50);
        // A strike is over after twelve seconds: then there is room again.
        assert!((300_000..300_010).all(|n| strike(&strikes, n, at(40)).is_none()));
        assert!(provoke(&strikes, 300_000, at(40)) == 60);
    }

    #[test]
    fn pauses_go_on_after_a_restart_and_are_not_forgotten_when_they_grow() {
        let before = Strikes::new(1000);
        let first = u64::from(provoke(&before, 1, at(100)));
        provoke(&before, 1, at(100 + first));
        provoke(&before, 2, at(200));
        assert_eq!(before.turns(), 3);
        let kept = before.pauses(at(200));
        let after = Strikes::new(1000);
        assert!(kept.len() == 2 && kept.iter().all(|pause| after.resume(pause, at(210))));
        assert_eq!(after.cooling_down(at(210)), before.cooling_down(at(210)));
        assert_eq!(after.cooling(prefix(2), at(259)), Some(1));
        assert_eq!(provoke(&after, 1, at(281)), 240, "the third in a row");
        // Over; by a clock that was set back; without room.
        let late = Strikes::new(1000);
        assert!(!late.resume(&kept[0], at(1000)));
        assert!(kept.iter().all(|pause| late.resume(pause, at(5))));
        assert!(late.cooling_down(at(5)).iter().all(|one| one.ends_in_secs == one.pause_secs));
        let full = Strikes::new(SHARDS);
        assert!((0..100).any(|n| !full.resume(&Pause { prefix: prefix(n), ..kept[0] }, at(5))));
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(Prefix, Entry)>() <= 56, "{}", size_of::<(Prefix, Entry)>());
    }
}
