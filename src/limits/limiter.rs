//! Decides on requests, and keeps every count for as long as some policy asks for it.
//!
//! A decision over several rules is all or nothing, also as other threads see it: the places of all
//! rules are locked, all are asked, then all are taken or none. Places are locked in one order (cells
//! of known callers by their rules' numbers, places of products, strangers' places, sketch shards by
//! their rules' numbers; ascending in each), so no two decisions can wait for each other. A decision allocates nothing, except where a new caller makes an entry.

use super::decision::{Decision, Standings};
use super::key::{Key, Subject};
use super::rule::{CompiledRule, Home, Identity, LimitsError, MAX_RULES, Rule, RuleSet};
use super::strangers::{Shard, Sketch};
use super::table::{Cell, Place, Table};
use super::tick::{Tick, seconds_rounded_up};
use crate::config::checked::Limit;
use crate::ids::{CredentialId, Name, TenantId};
use parking_lot::{Mutex, MutexGuard};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Most products of known things; what an operator can name stays far below it.
const MAX_KNOWN: usize = 1 << 20;

/// All counts, and the numbers that stand for names in them. Outlives every policy.
pub struct Limiter {
    known: Table,
    strangers: Table,
    names: Mutex<Names>,
    max_addresses: usize,
}

/// How full the limiter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Counts of credentials, tenants and routes.
    pub known: usize,
    /// Exact counts of addresses.
    pub strangers: usize,
    /// Most exact counts of addresses.
    pub max_strangers: usize,
    /// Sketch shards in memory, 256 KiB each; above 0 once addresses did not fit.
    pub sketch_shards: usize,
}

#[derive(Default)]
struct Names {
    rules: HashMap<Identity, (u32, Weak<Rule>)>,
    next_rule: u32,
    credentials: HashMap<CredentialId, u32>,
    tenants: HashMap<TenantId, u32>,
    routes: HashMap<Name, u32>,
}

impl Limiter {
    /// A limiter that counts at most `max_addresses` keys with an address exactly. A limit that counts
    /// by address makes one such key for each address, so several limits share the bound.
    #[must_use]
    pub fn new(max_addresses: usize) -> Self {
        Self {
            known: Table::new(MAX_KNOWN),
            strangers: Table::new(max_addresses),
            names: Mutex::default(),
            max_addresses,
        }
    }

    /// Makes the rules of one route. A limit that was there before (same name, dimensions, kind and
    /// window) keeps its counts, also under another number of requests; limits named twice count once.
    ///
    /// # Errors
    /// [`LimitsError::TooMany`] for more than [`MAX_RULES`] different limits.
    pub fn compile<'a>(&self, limits: impl IntoIterator<Item = &'a Limit>) -> Result<RuleSet, LimitsError> {
        let mut names = self.names.lock();
        RuleSet::new(limits.into_iter().map(|limit| {
            let rule = names.rule(limit, self.max_addresses);
            CompiledRule::new(rule, &limit.name, limit.limit, limit.per)
        }))
    }

    /// The number that stands for a credential, the same in every policy.
    pub fn intern_credential(&self, id: &CredentialId) -> u32 {
        number(&mut self.names.lock().credentials, id)
    }

    /// The number that stands for a tenant, the same in every policy.
    pub fn intern_tenant(&self, id: &TenantId) -> u32 {
        number(&mut self.names.lock().tenants, id)
    }

    /// The number that stands for a route, the same in every policy.
    pub fn intern_route(&self, name: &Name) -> u32 {
        number(&mut self.names.lock().routes, name)
    }

    /// Drops the counts of rules that no policy names any more, and says how many. To be called some
    /// time after a reload and off the request path: it looks at every place, one at a time.
    pub fn forget_removed(&self) -> usize {
        let gone = self.names.lock().remove_dead_rules();
        if gone.is_empty() {
            return 0;
        }
        let is_gone = |rule: u32| gone.contains(&rule);
        self.known.forget(is_gone) + self.strangers.forget(is_gone)
    }

    /// How full the limiter is. Looks at every shard: for a scrape, not for a request.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let rules: Vec<_> = self.names.lock().rules.values().filter_map(|(_, rule)| rule.upgrade()).collect();
        Occupancy {
            known: self.known.len() + rules.iter().map(|rule| rule.home.used()).sum::<usize>(),
            strangers: self.strangers.len(),
            max_strangers: self.max_addresses,
            sketch_shards: rules.iter().map(|rule| rule.sketch.shards_made()).sum(),
        }
    }

    /// Decides on one request: every rule that applies to `subject` counts it, or none does. A rule by
    /// something that the subject lacks does not apply.
    #[must_use]
    pub fn decide(&self, rules: &RuleSet, subject: &Subject, now: Tick) -> Decision {
        // A place can go to another key between being found and being locked. That needs its count to be
        // over, and means that another decision got on, so this ends.
        loop {
            let decision = match rules.rules().len() {
                0 => Some(Decision::Admitted(Standings::empty())),
                1 => self.attempt::<1>(rules, subject, now),
                2 => self.attempt::<2>(rules, subject, now),
                3 => self.attempt::<3>(rules, subject, now),
                4 => self.attempt::<4>(rules, subject, now),
                _ => self.attempt::<MAX_RULES>(rules, subject, now),
            };
            if let Some(decision) = decision {
                return decision;
            }
        }
    }

    /// One try, in arrays that are no longer than the rules are many.
    #[inline]
    fn attempt<const N: usize>(&self, rules: &RuleSet, subject: &Subject, now: Tick) -> Option<Decision> {
        let mut claims = [const { None }; N];
        // First everything is looked up, so that what is not in the processor's cache comes in at once.
        let mut len = 0;
        for (nth, rule) in rules.in_locking_order() {
            if let Some((key, spot)) = self.look_up(rule, subject, now) {
                claims[len] = Some(Claim { nth, rule, key, spot });
                len += 1;
            }
        }
        let claims = &mut claims[..len];
        sort(claims)?;
        let mut held = [const { None }; N];
        for (held, claim) in held.iter_mut().zip(claims.iter().flatten()) {
            *held = Some(Self::hold(claim, now)?);
        }
        Some(settle(rules, claims, &mut held[..len], now))
    }

    /// Where a claim is counted, made if need be; nothing where the rule does not apply.
    #[inline]
    fn look_up<'a>(
        &'a self,
        rule: &'a CompiledRule,
        subject: &Subject,
        now: Tick,
    ) -> Option<(Key, Spot<'a>)> {
        let compiled = rule;
        let rule = compiled.rule();
        let table = match &rule.home {
            Home::Dense(axis, cells) => {
                return Some((Key::VACANT, Spot::Dense(cells.cell(axis.of(subject)?))));
            }
            Home::Known => &self.known,
            Home::Strangers => &self.strangers,
        };
        let key = Key::of(rule.number, rule.shape, subject)?;
        let hash = table.hash(&key);
        let found = table.find(&key, hash).or_else(|| {
            table.insert(key, hash, now, |window, now| {
                // While the table was full the sketch may have counted this key.
                let counted = rule.sketch.counted(&key, now);
                window.carry_over(counted, compiled.ceiling(), now);
            })
        });
        let spot = match found {
            Some(place) => Spot::Place { table, place },
            None => Spot::Sketch { table, shard: rule.sketch.shard_of(&key) },
        };
        Some((key, spot))
    }

    /// Locks a spot, if it still is the claim's.
    #[inline]
    fn hold<'a>(claim: &Claim<'a>, now: Tick) -> Option<Held<'a>> {
        match claim.spot {
            Spot::Dense(cell) => Some(Held::Exact(cell.lock())),
            Spot::Place { table, place } => {
                let cell = table.cell(place);
                let place = cell.lock();
                cell.is(&claim.key).then_some(Held::Exact(place))
            }
            Spot::Sketch { table, shard } => {
                let shard = claim.rule.rule().sketch.lock(shard, now);
                // If the key has got a place meanwhile, that place has what the sketch counted.
                (!table.holds(&claim.key, table.hash(&claim.key))).then_some(Held::Together(shard))
            }
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

/// Asks all, then takes all or none.
#[inline]
fn settle(
    rules: &RuleSet,
    claims: &[Option<Claim<'_>>],
    held: &mut [Option<Held<'_>>],
    now: Tick,
) -> Decision {
    let mut standings = Standings::empty();
    let mut admitted = true;
    for (claim, held) in claims.iter().zip(held.iter_mut()) {
        let (Some(claim), Some(held)) = (claim, held) else { continue };
        // All are asked even after a refusal, since all are reported.
        let remaining = held.room(claim, now);
        admitted &= remaining > 0;
        standings.put(claim.nth, remaining);
    }
    for (claim, held) in claims.iter().zip(held.iter_mut()) {
        let (Some(claim), Some(held)) = (claim, held) else { continue };
        let standing = standings.at(claim.nth);
        let until_more = if admitted {
            standing.remaining -= 1;
            held.take_granted(claim, now)
        } else {
            held.until_more(claim, now)
        };
        let secs = seconds_rounded_up(until_more);
        // A coarse count holds on for longer than the window. Who has to wait is told so; who has not
        // need not be puzzled by it.
        let window = claim.rule.window_secs();
        standing.effective_secs = if standing.remaining == 0 { secs } else { secs.min(window) };
    }
    standings.close(rules.rules().len());
    if admitted { Decision::Admitted(standings) } else { Decision::refused(standings) }
}

/// One rule's claim on a request.
struct Claim<'a> {
    /// The rule's position in the route's order.
    nth: u8,
    rule: &'a CompiledRule,
    key: Key,
    spot: Spot<'a>,
}

impl Claim<'_> {
    const DENSE: u8 = 0;

    /// The order of locking; a rule's number orders its own cells among other rules'.
    fn rank(&self) -> (u8, u64) {
        let rule = self.rule.rule();
        match self.spot {
            Spot::Dense(_) => (Self::DENSE, 0),
            Spot::Place { place, .. } => (if rule.shape.ip() { 2 } else { 1 }, u64::from(place)),
            Spot::Sketch { .. } => (3, u64::from(rule.number)),
        }
    }
}

/// Where a claim is counted.
#[derive(Clone, Copy)]
enum Spot<'a> {
    Dense(&'a Cell),
    Place { table: &'a Table, place: u32 },
    Sketch { table: &'a Table, shard: usize },
}

/// A locked spot.
enum Held<'a> {
    /// The key's own place.
    Exact(MutexGuard<'a, Place>),
    /// A shard that counts the key together with others.
    Together(MutexGuard<'a, Shard>),
}

impl Held<'_> {
    #[inline]
    fn room(&mut self, claim: &Claim<'_>, now: Tick) -> u32 {
        let ceiling = claim.rule.ceiling();
        match self {
            Self::Exact(place) => place.window.room(ceiling, now),
            Self::Together(shard) => shard.room(&claim.key, ceiling),
        }
    }

    /// Counts one for which there is room, and says for how long no more than the rest is admitted.
    #[inline]
    fn take_granted(&mut self, claim: &Claim<'_>, now: Tick) -> u64 {
        let ceiling = claim.rule.ceiling();
        match self {
            Self::Exact(place) => {
                if place.idle_from == Tick::ZERO {
                    claim.rule.rule().home.note_use();
                }
                let place = &mut **place;
                place.window.take_granted(now);
                place.idle_from = place.window.idle_from(ceiling);
                place.window.until_more(ceiling, now)
            }
            Self::Together(shard) => {
                shard.take_granted(&claim.key);
                shard.until_more(&claim.key, ceiling, now)
            }
        }
    }

    fn until_more(&self, claim: &Claim<'_>, now: Tick) -> u64 {
        let ceiling = claim.rule.ceiling();
        match self {
            Self::Exact(place) => place.window.until_more(ceiling, now),
            Self::Together(shard) => shard.until_more(&claim.key, ceiling, now),
        }
    }
}

impl Names {
    fn rule(&mut self, limit: &Limit, max_addresses: usize) -> Arc<Rule> {
        let identity = Identity::new(&limit.name, &limit.by, limit.kind, limit.per);
        if let Some(rule) = self.rules.get(&identity).and_then(|(_, rule)| rule.upgrade()) {
            return rule;
        }
        let number = self.next_rule;
        // Numbers are never used twice, so that a dead rule's counts cannot become another's.
        self.next_rule += 1;
        let sketch = Sketch::new(max_addresses, limit.per);
        let rule = Arc::new(Rule::new(number, identity.shape, sketch));
        self.rules.insert(identity, (number, Arc::downgrade(&rule)));
        rule
    }

    fn remove_dead_rules(&mut self) -> Vec<u32> {
        let mut gone = Vec::new();
        self.rules.retain(|_, (number, rule)| {
            let alive = rule.strong_count() > 0;
            if !alive {
                gone.push(*number);
            }
            alive
        });
        gone
    }
}

fn number<T: Clone + Eq + Hash>(numbers: &mut HashMap<T, u32>, name: &T) -> u32 {
    if let Some(&known) = numbers.get(name) {
        return known;
    }
    // A config would have to name four thousand million things for this to saturate.
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    numbers.insert(name.clone(), next);
    next
}
