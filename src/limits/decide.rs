//! One decision: everything is looked up, locked in one order, asked, and then all is taken or nothing.

use super::decision::{Decision, Standing, Standings};
use super::key::{Key, Subject};
use super::limiter::Limiter;
use super::receipt::{Item, Kept};
use super::rule::{CompiledRule, Home, MAX_RULES, RuleSet};
use super::strangers::Shard;
use super::sync::MutexGuard;
use super::table::{Cell, Place, Start, Table};
use super::tally::Measure;
use super::tick::{Tick, seconds_rounded_up};
use super::window::Ceiling;
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
        let mut standings = Standings::empty();
        // A place can go to another key between being found and being locked. That needs its count to be
        // over, and means that another decision got on, so this ends.
        let admitted = loop {
            let attempt = match rules.rules().len() {
                0 => Some(true),
                1 => self.attempt::<1>(rules, subject, now, &mut standings, items),
                2 => self.attempt::<2>(rules, subject, now, &mut standings, items),
                3 => self.attempt::<3>(rules, subject, now, &mut standings, items),
                4 => self.attempt::<4>(rules, subject, now, &mut standings, items),
                _ => self.attempt::<MAX_RULES>(rules, subject, now, &mut standings, items),
            };
            match attempt {
                Some(admitted) => break admitted,
                None => standings = Standings::empty(),
            }
        };
        standings.close(rules.rules().len());
        if admitted { Decision::Admitted(standings) } else { Decision::refused(standings, rules) }
    }

    /// One try, in arrays that are no longer than the rules are many; whether the request passes.
    fn attempt<const N: usize>(
        &self,
        rules: &RuleSet,
        subject: &Subject,
        now: Tick,
        standings: &mut Standings,
        items: &mut Vec<Item>,
    ) -> Option<bool> {
        let mut claims = [const { None }; N];
        // First everything is looked up, so that what is not in the processor's cache comes in at once.
        let mut len = 0;
        for (nth, rule) in rules.in_locking_order() {
            let cost = rule.price(subject);
            if cost == 0 {
                continue;
            }
            if let Some(claim) = self.claim(nth, rule, subject, cost, now) {
                claims[len] = Some(claim);
                len += 1;
            }
        }
        let claims = &mut claims[..len];
        sort(claims)?;
        let mut admitted = true;
        for claim in claims.iter_mut().flatten() {
            admitted &= self.ask(claim, standings, now)?;
        }
        if admitted && rules.has_quotas() {
            admitted = self.reserve(claims, standings, now);
        }
        for claim in claims.iter_mut().flatten() {
            let standing = standings.at(claim.nth);
            claim.settle(admitted, standing, now);
            if admitted && (claim.rule.gives_back() || rules.is_shared()) && !standing.short {
                items.extend(claim.item());
            }
        }
        Some(admitted)
    }

    /// Where a rule counts a request, made if need be; nothing where it does not apply.
    #[inline]
    fn claim<'a>(
        &'a self,
        nth: u8,
        compiled: &'a CompiledRule,
        subject: &Subject,
        cost: u32,
        now: Tick,
    ) -> Option<Claim<'a>> {
        let rule = compiled.rule();
        let table = match &rule.home {
            Home::Dense(axis, cells) => {
                let number = axis.of(subject)?;
                let spot = Spot::Dense { cell: cells.cell(number), number };
                return Some(Claim { nth, rule: compiled, key: Key::VACANT, spot, cost, held: None });
            }
            Home::Known => &self.known,
            Home::Strangers => &self.strangers,
            Home::Values => &self.values,
        };
        let key = Key::of(rule.number, rule.shape, subject)?;
        let hash = table.hash(&key);
        let spot = match table.find(&key, hash) {
            Some(place) => Spot::Place { cell: table.cell(place), place },
            None => newcomer(table, compiled, key, hash, now),
        };
        Some(Claim { nth, rule: compiled, key, spot, cost, held: None })
    }

    /// Locks a claim's spot, if it still is the claim's, and puts down what room there is; whether that
    /// lets the request pass. All are asked even after a refusal, since all are reported.
    #[inline]
    fn ask(&self, claim: &mut Claim<'_>, standings: &mut Standings, now: Tick) -> Option<bool> {
        claim.hold(now)?;
        if matches!(claim.rule.measure(), Measure::Quota(_)) {
            self.begin_claimed(claim);
        }
        let remaining = claim.room(now);
        standings.put(claim.nth, remaining, claim.cost);
        Some(remaining >= claim.cost || claim.rule.is_shadow())
    }
}

/// A place for a key that was not found, or where it is counted together with others.
#[cold]
fn newcomer<'a>(table: &'a Table, compiled: &'a CompiledRule, key: Key, hash: u64, now: Tick) -> Spot<'a> {
    let (rule, measure) = (compiled.rule(), compiled.measure());
    let near = key.neighbourhood();
    let number = shared_number(table, &near);
    // While the table was full others may have counted this key. Who counts it there looks for its place with
    // that count locked, and the place is there before this looks: one of the two sees the other.
    let place = table.insert(key, hash, now, |tally, now| match measure {
        Measure::Window(_) | Measure::Quota(_) => {
            tally.carry_over(rule.sketch.counted(&near, now), measure, now);
            Start::Stands
        }
        Measure::Rate(_) => {
            if let Some(cell) = rule.shared.made(number) {
                tally.clone_from(&cell.lock().tally);
            }
            Start::Stands
        }
        // What is in flight there must come back there.
        Measure::Held(_) if rule.shared.made(number).is_some_and(|cell| cell.lock().tally.is_held()) => {
            Start::IsElsewhere
        }
        Measure::Held(_) => Start::Stands,
    });
    match (place, measure) {
        (Some(place), _) => Spot::Place { cell: table.cell(place), place },
        (None, Measure::Window(ceiling) | Measure::Quota(ceiling)) => {
            Spot::Sketch { table, shard: rule.sketch.shard_of(&near), ceiling }
        }
        (None, Measure::Rate(_) | Measure::Held(_)) => {
            Spot::Shared { table, cell: rule.shared.cell(number), number }
        }
    }
}

/// The cell that a neighbourhood shares beyond the table.
pub(super) fn shared_number(table: &Table, near: &Key) -> u32 {
    // The remainder is below the number of cells.
    u32::try_from(table.hash(near) % u64::from(SHARED)).unwrap_or(0)
}

/// Brings claims into the order of locking: almost always they are in it. Nothing where two keys were
/// found in one place: one of them has lost its own since.
#[inline]
fn sort(claims: &mut [Option<Claim<'_>>]) -> Option<()> {
    for end in 1..claims.len() {
        let mut at = end;
        while at > 0 {
            match rank(claims[at - 1].as_ref()).cmp(&rank(claims[at].as_ref())) {
                Ordering::Less => break,
                Ordering::Equal if rank(claims[at].as_ref()) == Claim::DENSE => break,
                Ordering::Equal => return None,
                Ordering::Greater => claims.swap(at - 1, at),
            }
            at -= 1;
        }
    }
    Some(())
}

#[inline]
fn rank(claim: Option<&Claim<'_>>) -> u64 {
    claim.map_or(Claim::DENSE, Claim::rank)
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
    /// The spot, once it is locked.
    pub(super) held: Option<Held<'a>>,
}

impl Claim<'_> {
    const DENSE: u64 = 0;

    /// The order of locking: known callers' places, strangers' places, what is counted together. Cells of
    /// a rule's own come first and are in order; a rule's number orders what its strangers share.
    #[inline]
    fn rank(&self) -> u64 {
        let (group, number) = match self.spot {
            Spot::Dense { .. } => return Self::DENSE,
            Spot::Place { place, .. } => (u64::from(self.rule.rule().home.class()), place),
            Spot::Sketch { .. } | Spot::Shared { .. } => (4, self.rule.rule().number),
        };
        group << 32 | u64::from(number)
    }

    /// Locks the spot, if it still is the claim's.
    #[inline]
    fn hold(&mut self, now: Tick) -> Option<()> {
        let held = match self.spot {
            Spot::Dense { cell, .. } => Held::Exact(cell.lock()),
            Spot::Place { cell, .. } => {
                let place = cell.lock();
                if !cell.is(&self.key) {
                    return None;
                }
                Held::Exact(place)
            }
            Spot::Shared { table, cell, .. } => {
                let place = cell.lock();
                if table.holds(&self.key, table.hash(&self.key)) {
                    return None;
                }
                Held::Exact(place)
            }
            Spot::Sketch { table, shard, ceiling } => {
                let shard = self.rule.rule().sketch.lock(shard, now);
                // If the key has got a place meanwhile, that place has what the sketch counted.
                if table.holds(&self.key, table.hash(&self.key)) {
                    return None;
                }
                Held::Together(shard, ceiling)
            }
        };
        self.held = Some(held);
        Some(())
    }

    /// How many more there is room for; none before the spot is locked.
    #[inline]
    fn room(&mut self, now: Tick) -> u32 {
        match &mut self.held {
            Some(Held::Exact(place)) => place.tally.room(self.rule.measure(), now),
            Some(Held::Together(shard, ceiling)) => shard.room(&self.key.neighbourhood(), ceiling),
            None => 0,
        }
    }

    /// Counts the request where all rules let it pass, and says how the rule stands then.
    #[inline]
    fn settle(&mut self, admitted: bool, standing: &mut Standing, now: Tick) {
        let takes = admitted && !standing.short;
        if takes {
            standing.remaining -= self.cost;
        }
        let cost = if takes { self.cost } else { 0 };
        let n = if standing.short { self.cost } else { standing.remaining.saturating_add(1) };
        let measure = self.rule.measure();
        let nanos = match &mut self.held {
            Some(Held::Exact(place)) if takes => {
                if place.idle_from == Tick::ZERO {
                    note_use(self.rule, &self.spot);
                }
                let spent = place.tally.spend(cost, n, measure, now);
                place.idle_from = spent.idle_from;
                spent.until
            }
            Some(Held::Exact(place)) => place.tally.until(n, measure, now),
            Some(Held::Together(shard, ceiling)) => {
                let near = self.key.neighbourhood();
                if takes {
                    shard.take_granted(&near, cost);
                }
                shard.until(&near, n, ceiling, now)
            }
            None => 0,
        };
        let secs = seconds_rounded_up(nanos);
        // A coarse count holds on for longer than the window. Who has to wait is told so; who has not
        // need not be puzzled by it.
        let waits = standing.short || standing.remaining == 0;
        standing.effective_secs = if waits { secs } else { secs.min(self.rule.window_secs()) };
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

/// Notes that a cell of a known caller counts for the first time.
#[cold]
fn note_use(rule: &CompiledRule, spot: &Spot<'_>) {
    match spot {
        Spot::Dense { .. } => rule.rule().home.note_use(),
        Spot::Place { .. } | Spot::Sketch { .. } | Spot::Shared { .. } => {}
    }
}

/// Cells that strangers beyond the table share, where a rule is no window.
const SHARED: u32 = 4096;

/// Where a claim is counted.
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    Dense { cell: &'a Cell, number: u32 },
    Place { cell: &'a Cell, place: u32 },
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
