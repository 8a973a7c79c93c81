//! One decision: everything is looked up, locked in one order, asked, and then all is taken or nothing.

use super::decision::{Decision, Standings};
use super::key::{Key, Subject};
use super::limiter::Limiter;
use super::receipt::{Item, Kept};
use super::rule::{CompiledRule, Home, MAX_RULES, RuleSet};
use super::strangers::Shard;
use super::table::{Cell, Place, Table};
use super::tally::Measure;
use super::tick::{Tick, seconds_rounded_up};
use super::window::Ceiling;
use parking_lot::MutexGuard;
use std::cmp::Ordering;

impl Limiter {
    #[inline]
    pub(super) fn decide_into(
        &self,
        rules: &RuleSet,
        subject: &Subject,
        now: Tick,
        items: &mut Vec<Item>,
    ) -> Decision {
        // A place can go to another key between being found and being locked. That needs its count to be
        // over, and means that another decision got on, so this ends.
        loop {
            let decision = match rules.rules().len() {
                0 => Some(Decision::Admitted(Standings::empty())),
                1 => self.attempt::<1>(rules, subject, now, items),
                2 => self.attempt::<2>(rules, subject, now, items),
                3 => self.attempt::<3>(rules, subject, now, items),
                4 => self.attempt::<4>(rules, subject, now, items),
                _ => self.attempt::<MAX_RULES>(rules, subject, now, items),
            };
            if let Some(decision) = decision {
                return decision;
            }
        }
    }

    /// One try, in arrays that are no longer than the rules are many.
    #[inline]
    fn attempt<const N: usize>(
        &self,
        rules: &RuleSet,
        subject: &Subject,
        now: Tick,
        items: &mut Vec<Item>,
    ) -> Option<Decision> {
        let mut claims = [const { None }; N];
        // First everything is looked up, so that what is not in the processor's cache comes in at once.
        let mut len = 0;
        for (nth, rule) in rules.in_locking_order() {
            let cost = rule.price(subject);
            if cost == 0 {
                continue;
            }
            if let Some((key, spot)) = self.look_up(rule, subject, now) {
                claims[len] = Some(Claim { nth, rule, key, spot, cost });
                len += 1;
            }
        }
        let claims = &mut claims[..len];
        sort(claims)?;
        let mut held = [const { None }; N];
        for (held, claim) in held.iter_mut().zip(claims.iter().flatten()) {
            *held = Some(Self::hold(claim, now)?);
        }
        Some(self.settle(rules, claims, &mut held[..len], now, items))
    }

    /// Where a claim is counted, made if need be; nothing where the rule does not apply.
    #[inline]
    fn look_up<'a>(
        &'a self,
        compiled: &'a CompiledRule,
        subject: &Subject,
        now: Tick,
    ) -> Option<(Key, Spot<'a>)> {
        let rule = compiled.rule();
        let table = match &rule.home {
            Home::Dense(axis, cells) => {
                let number = axis.of(subject)?;
                return Some((Key::VACANT, Spot::Dense { cell: cells.cell(number), number }));
            }
            Home::Known => &self.known,
            Home::Strangers => &self.strangers,
        };
        let key = Key::of(rule.number, rule.shape, subject)?;
        let hash = table.hash(&key);
        let spot = match table.find(&key, hash) {
            Some(place) => Spot::Place { table, place },
            None => newcomer(table, compiled, key, hash, now),
        };
        Some((key, spot))
    }

    /// Locks a spot, if it still is the claim's.
    #[inline]
    fn hold<'a>(claim: &Claim<'a>, now: Tick) -> Option<Held<'a>> {
        match claim.spot {
            Spot::Dense { cell, .. } => Some(Held::Exact(cell.lock())),
            Spot::Place { table, place } => {
                let cell = table.cell(place);
                let place = cell.lock();
                cell.is(&claim.key).then_some(Held::Exact(place))
            }
            Spot::Shared { table, cell, .. } => {
                let place = cell.lock();
                (!table.holds(&claim.key, table.hash(&claim.key))).then_some(Held::Exact(place))
            }
            Spot::Sketch { table, shard, ceiling } => {
                let shard = claim.rule.rule().sketch.lock(shard, now);
                // If the key has got a place meanwhile, that place has what the sketch counted.
                (!table.holds(&claim.key, table.hash(&claim.key))).then_some(Held::Together(shard, ceiling))
            }
        }
    }

    /// Asks all, then takes all or none.
    #[inline]
    fn settle(
        &self,
        rules: &RuleSet,
        claims: &[Option<Claim<'_>>],
        held: &mut [Option<Held<'_>>],
        now: Tick,
        items: &mut Vec<Item>,
    ) -> Decision {
        let mut standings = Standings::empty();
        let mut admitted = true;
        for (claim, held) in claims.iter().zip(held.iter_mut()) {
            let (Some(claim), Some(held)) = (claim, held) else { continue };
            if let (Measure::Quota(_), Held::Exact(place)) = (claim.rule.measure(), &mut *held) {
                self.begin_claimed(claim, place);
            }
            // All are asked even after a refusal, since all are reported.
            let remaining = held.room(claim, now);
            admitted &= remaining >= claim.cost || claim.rule.is_shadow();
            standings.put(claim.nth, remaining, claim.cost);
        }
        if admitted && rules.has_quotas() {
            admitted = self.reserve(claims, held, &mut standings, now);
        }
        for (claim, held) in claims.iter().zip(held.iter_mut()) {
            let (Some(claim), Some(held)) = (claim, held) else { continue };
            let standing = standings.at(claim.nth);
            if admitted && !standing.short {
                standing.remaining -= claim.cost;
                held.take(claim, now);
                if claim.rule.gives_back() {
                    items.extend(claim.item());
                }
            }
            let n = if standing.short { claim.cost } else { standing.remaining.saturating_add(1) };
            let secs = seconds_rounded_up(held.until(claim, n, now));
            // A coarse count holds on for longer than the window. Who has to wait is told so; who has
            // not need not be puzzled by it.
            let waits = standing.short || standing.remaining == 0;
            standing.effective_secs = if waits { secs } else { secs.min(claim.rule.window_secs()) };
        }
        standings.close(rules.rules().len());
        if admitted { Decision::Admitted(standings) } else { Decision::refused(standings, rules) }
    }
}

/// A place for a key that was not found, or where it is counted together with others.
#[cold]
fn newcomer<'a>(table: &'a Table, compiled: &'a CompiledRule, key: Key, hash: u64, now: Tick) -> Spot<'a> {
    let (rule, measure) = (compiled.rule(), compiled.measure());
    let near = key.neighbourhood();
    // The remainder is below the number of cells.
    let number = u32::try_from(table.hash(&near) % u64::from(SHARED)).unwrap_or(0);
    let is_shared = match measure {
        // What is in flight there must come back there.
        Measure::Held(_) => rule.shared.used() > 0 && rule.shared.cell(number).lock().tally.is_held(),
        Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_) => false,
    };
    let place = if is_shared && !table.holds(&key, hash) {
        None
    } else {
        table.insert(key, hash, now, |tally, now| match measure {
            // While the table was full others may have counted this key.
            Measure::Window(_) | Measure::Quota(_) => {
                tally.carry_over(rule.sketch.counted(&near, now), measure, now)
            }
            Measure::Rate(_) if rule.shared.used() > 0 => {
                tally.clone_from(&rule.shared.cell(number).lock().tally);
            }
            Measure::Rate(_) | Measure::Held(_) => {}
        })
    };
    match (place, measure) {
        (Some(place), _) => Spot::Place { table, place },
        (None, Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
            Spot::Sketch { table, shard: rule.sketch.shard_of(&near), ceiling }
        }
        (None, Measure::Rate(_) | Measure::Held(_)) => {
            Spot::Shared { table, cell: rule.shared.cell(number), number }
        }
    }
}

/// Brings claims into the order of locking: almost always they are in it. Nothing where two keys were
/// found in one place: one of them has lost its own since.
#[inline]
fn sort(claims: &mut [Option<Claim<'_>>]) -> Option<()> {
    let rank = |claim: &Option<Claim<'_>>| claim.as_ref().map_or((0, 0), Claim::rank);
    for end in 1..claims.len() {
        let mut at = end;
        while at > 0 {
            match rank(&claims[at - 1]).cmp(&rank(&claims[at])) {
                Ordering::Less => break,
                Ordering::Equal if rank(&claims[at]).0 == Claim::DENSE => break,
                Ordering::Equal => return None,
                Ordering::Greater => claims.swap(at - 1, at),
            }
            at -= 1;
        }
    }
    Some(())
}

/// One rule's claim on a request.
pub(super) struct Claim<'a> {
    /// The rule's position in the route's order.
    pub(super) nth: u8,
    pub(super) rule: &'a CompiledRule,
    key: Key,
    pub(super) spot: Spot<'a>,
    /// What the request counts for.
    pub(super) cost: u32,
}

impl Claim<'_> {
    const DENSE: u8 = 0;

    /// The order of locking; a rule's number orders its own cells among other rules'.
    fn rank(&self) -> (u8, u64) {
        let rule = self.rule.rule();
        match self.spot {
            Spot::Dense { .. } => (Self::DENSE, 0),
            Spot::Place { place, .. } => (if rule.shape.strange() { 2 } else { 1 }, u64::from(place)),
            Spot::Sketch { .. } | Spot::Shared { .. } => (3, u64::from(rule.number)),
        }
    }

    /// Notes that a cell of the rule's own counts for the first time.
    #[cold]
    fn note_use(&self) {
        match self.spot {
            Spot::Shared { .. } => self.rule.rule().shared.note_use(),
            Spot::Dense { .. } => self.rule.rule().home.note_use(),
            Spot::Place { .. } | Spot::Sketch { .. } => {}
        }
    }

    /// What it may give back. What a sketch has counted it keeps.
    #[cold]
    fn item(&self) -> Option<Item> {
        let kept = match self.spot {
            Spot::Dense { number, .. } => Kept::Dense(number),
            Spot::Place { .. } => Kept::Place(self.key),
            Spot::Shared { number, .. } => Kept::Shared(number),
            Spot::Sketch { .. } => return None,
        };
        Some(Item { rule: self.rule.clone(), kept, n: self.cost })
    }
}

/// Cells that strangers beyond the table share, where a rule is no window.
const SHARED: u32 = 4096;

/// Where a claim is counted.
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    Dense { cell: &'a Cell, number: u32 },
    Place { table: &'a Table, place: u32 },
    Shared { table: &'a Table, cell: &'a Cell, number: u32 },
    Sketch { table: &'a Table, shard: usize, ceiling: &'a Ceiling },
}

/// A locked spot.
pub(super) enum Held<'a> {
    /// The key's own place.
    Exact(MutexGuard<'a, Place>),
    /// A shard that counts the key together with others.
    Together(MutexGuard<'a, Shard>, &'a Ceiling),
}

impl Held<'_> {
    #[inline]
    fn room(&mut self, claim: &Claim<'_>, now: Tick) -> u32 {
        match self {
            Self::Exact(place) => place.tally.room(claim.rule.measure(), now),
            Self::Together(shard, ceiling) => shard.room(&claim.key.neighbourhood(), ceiling),
        }
    }

    /// Counts what there is room for.
    #[inline]
    fn take(&mut self, claim: &Claim<'_>, now: Tick) {
        match self {
            Self::Exact(place) => {
                if place.idle_from == Tick::ZERO {
                    claim.note_use();
                }
                let (place, measure) = (&mut **place, claim.rule.measure());
                place.tally.take(claim.cost, measure, now);
                place.idle_from = place.tally.idle_from(measure, now);
            }
            Self::Together(shard, _) => shard.take_granted(&claim.key.neighbourhood(), claim.cost),
        }
    }

    #[inline]
    fn until(&self, claim: &Claim<'_>, n: u32, now: Tick) -> u64 {
        match self {
            Self::Exact(place) => place.tally.until(n, claim.rule.measure(), now),
            Self::Together(shard, ceiling) => shard.until(&claim.key.neighbourhood(), n, ceiling, now),
        }
    }
}
