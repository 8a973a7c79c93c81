//! Decides on requests, and keeps every count for as long as some policy asks for it.
//!
//! A decision over several rules is all or nothing, also as other threads see it: the places of all
//! rules are locked, all are asked, then all are taken or none. Places are locked in one order (known
//! callers' places, strangers' places, sketch shards; ascending in each), so no two decisions can wait
//! for each other. A decision allocates nothing, except where a new caller makes an entry.

use super::decision::{Decision, Standing, Standings};
use super::key::{Key, Subject};
use super::rule::{CompiledRule, Identity, LimitsError, MAX_RULES, Rule, RuleSet};
use super::strangers::{Shard, Sketch};
use super::table::{Place, Table};
use super::tick::{Tick, seconds_rounded_up};
use crate::config::checked::Limit;
use crate::ids::{CredentialId, Name, TenantId};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Most keys without an address; what an operator can name stays far below it.
const MAX_KNOWN: usize = 1 << 22;

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
            known: self.known.len(),
            strangers: self.strangers.len(),
            max_strangers: self.max_addresses,
            sketch_shards: rules.iter().map(|rule| rule.sketch.shards_made()).sum(),
        }
    }

    /// Decides on one request: every rule that applies to `subject` counts it, or none does. A rule by
    /// something that the subject lacks does not apply.
    #[must_use]
    pub fn decide(&self, rules: &RuleSet, subject: &Subject, now: Tick) -> Decision {
        let mut claims = [const { None }; MAX_RULES];
        let len = claim_all(&mut claims, rules, subject);
        let claims = &mut claims[..len];
        loop {
            // A place can go to another key between being found and being locked. That needs its count
            // to be over, and means that another decision got on, so this ends.
            match self.try_decide(claims, now) {
                Some(Verdict::Admitted) => return Decision::Admitted(standings(claims)),
                Some(Verdict::Refused) => return Decision::refused(standings(claims)),
                None => {}
            }
        }
    }

    fn try_decide(&self, claims: &mut [Option<Claim<'_>>], now: Tick) -> Option<Verdict> {
        let mut spots = [(Spot::Known(0), 0); MAX_RULES];
        let spots = &mut spots[..claims.len()];
        for (nth, (spot, claim)) in spots.iter_mut().zip(claims.iter().flatten()).enumerate() {
            *spot = (self.spot(claim, now), nth);
        }
        spots.sort_unstable();
        // Two keys never share a place: one of them has lost its own since it was looked up.
        if spots.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut held = [const { None }; MAX_RULES];
        let held = &mut held[..claims.len()];
        for &(spot, nth) in spots.iter() {
            held[nth] = Some(self.hold(claims[nth].as_ref()?, spot, now)?);
        }
        Some(settle(claims, held, now))
    }

    /// Where a claim is counted, made if need be.
    fn spot(&self, claim: &Claim<'_>, now: Tick) -> Spot {
        let rule = claim.rule.rule();
        let table = self.table(rule);
        let found = table.find(&claim.key).or_else(|| {
            table.insert(claim.key, now, |window, now| {
                // While the table was full the sketch may have counted this key.
                let counted = rule.sketch.counted(&claim.key, now);
                window.carry_over(counted, claim.rule.ceiling(), now);
            })
        });
        match found {
            Some(place) if rule.shape.ip() => Spot::Stranger(place),
            Some(place) => Spot::Known(place),
            None => Spot::Sketch { rule: rule.number, shard: rule.sketch.shard_of(&claim.key) },
        }
    }

    /// Locks a spot, if it still is the claim's.
    fn hold<'a>(&'a self, claim: &Claim<'a>, spot: Spot, now: Tick) -> Option<Held<'a>> {
        let rule = claim.rule.rule();
        let table = self.table(rule);
        match spot {
            Spot::Known(place) | Spot::Stranger(place) => {
                let place = table.lock(place);
                (place.key == claim.key).then_some(Held::Exact(place))
            }
            Spot::Sketch { shard, .. } => {
                let shard = rule.sketch.lock(shard, now);
                // If the key has got a place meanwhile, that place has what the sketch counted.
                table.find(&claim.key).is_none().then_some(Held::Together(shard))
            }
        }
    }

    fn table(&self, rule: &Rule) -> &Table {
        if rule.shape.ip() { &self.strangers } else { &self.known }
    }
}

/// Whether all rules had room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Admitted,
    Refused,
}

/// Asks all, then takes all or none.
fn settle(claims: &mut [Option<Claim<'_>>], held: &mut [Option<Held<'_>>], now: Tick) -> Verdict {
    let mut verdict = Verdict::Admitted;
    for (claim, held) in claims.iter_mut().flatten().zip(held.iter_mut().flatten()) {
        // All are asked even after a refusal, since all are reported.
        claim.remaining = held.room(claim, now);
        if claim.remaining == 0 {
            verdict = Verdict::Refused;
        }
    }
    for (claim, held) in claims.iter_mut().flatten().zip(held.iter_mut().flatten()) {
        if verdict == Verdict::Admitted {
            held.take_granted(claim, now);
            claim.remaining -= 1;
        }
        claim.until_more = held.until_more(claim, now);
    }
    verdict
}

fn standings(claims: &[Option<Claim<'_>>]) -> Standings {
    let mut standings = Standings::empty();
    claims.iter().flatten().for_each(|claim| standings.push(claim.standing()));
    standings
}

/// Writes down one claim for each rule that applies, in the route's order, and says how many.
fn claim_all<'a>(
    claims: &mut [Option<Claim<'a>>; MAX_RULES],
    rules: &'a RuleSet,
    subject: &Subject,
) -> usize {
    let mut len = 0;
    for (nth, compiled) in rules.rules().iter().enumerate() {
        let rule = compiled.rule();
        if let Some(key) = Key::of(rule.number, rule.shape, subject) {
            claims[len] = Some(Claim { nth, rule: compiled, key, remaining: 0, until_more: 0 });
            len += 1;
        }
    }
    len
}

/// One rule's claim on a request.
struct Claim<'a> {
    nth: usize,
    rule: &'a CompiledRule,
    key: Key,
    /// How many more the rule admits, once all was decided.
    remaining: u32,
    /// For how many nanoseconds no more than that.
    until_more: u64,
}

impl Claim<'_> {
    fn standing(&self) -> Standing {
        let (remaining, window_secs) = (self.remaining, self.rule.window_secs());
        let effective_secs = seconds_rounded_up(self.until_more);
        Standing {
            rule: self.nth,
            limit: self.rule.limit(),
            remaining,
            window_secs,
            // A coarse count holds on for longer than the window. Who has to wait is told so; who has
            // not need not be puzzled by it.
            effective_secs: if remaining == 0 { effective_secs } else { effective_secs.min(window_secs) },
        }
    }
}

/// Where a claim is counted. The order of the variants and numbers is the order of locking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Known(u32),
    Stranger(u32),
    Sketch { rule: u32, shard: usize },
}

/// A locked spot.
enum Held<'a> {
    /// The key's own place.
    Exact(MutexGuard<'a, Place>),
    /// A shard that counts the key together with others.
    Together(MutexGuard<'a, Shard>),
}

impl Held<'_> {
    fn room(&mut self, claim: &Claim<'_>, now: Tick) -> u32 {
        let ceiling = claim.rule.ceiling();
        match self {
            Self::Exact(place) => place.window.room(ceiling, now),
            Self::Together(shard) => shard.room(&claim.key, ceiling),
        }
    }

    fn take_granted(&mut self, claim: &Claim<'_>, now: Tick) {
        match self {
            Self::Exact(place) => {
                place.window.take_granted(now);
                place.idle_from = place.window.idle_from(claim.rule.ceiling());
            }
            Self::Together(shard) => shard.take_granted(&claim.key),
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
        let rule = Arc::new(Rule { number, shape: identity.shape, sketch });
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
