//! Where the limiter keeps quotas: what it reads at the start, reserves before spending, and tells.

use super::decide::{Claim, Held, Spot};
use super::decision::Standings;
use super::journal::{self, Earlier, Journal, Past};
use super::key::Subject;
use super::limiter::Limiter;
use super::names::Owner;
use super::quota::Quota;
use super::rule::{Home, Identity, Rule};
use super::sync::atomic::AtomicU64;
use super::sync::atomic::Ordering::Relaxed;
use super::table::Place;
use super::tally::{Measure, Tally};
use super::tick::{Tick, seconds_rounded_up};
use super::window::Ceiling;
use crate::config::checked::Limit;
use crate::ids::Name;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The file of reservations, and what it said at the start.
pub(super) struct Quotas {
    journal: Journal,
    earlier: Earlier,
    failed: AtomicU64,
}

/// How one caller's quota stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaStanding {
    /// The limit's name.
    pub quota: Name,
    /// What it counts by, as the config has it.
    pub by: &'static str,
    /// Of whom; a node is `tenant/node`.
    pub of: String,
    /// Most in a window.
    pub limit: u32,
    /// The window.
    pub per_secs: u64,
    /// What is left.
    pub remaining: u32,
    /// Seconds until there is more.
    pub more_in_secs: u32,
    /// Several edges count it together; this is what the edge lets through alone.
    pub is_shared: bool,
}

impl Limiter {
    /// Keeps quotas in a file, and goes on from what it says; how many of its lines could not be read.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn keep_quotas(&mut self, path: &Path, now: Tick) -> io::Result<usize> {
        let (journal, earlier) = Journal::open(path, now)?;
        let unreadable = earlier.unreadable();
        self.quotas = Some(Quotas { journal, earlier, failed: AtomicU64::new(0) });
        Ok(unreadable)
    }

    /// Asks the disk to keep what quotas have reserved. Once a second, off the request path.
    ///
    /// # Errors
    /// When the disk refuses; what was reserved stays so in memory.
    pub fn tend_quotas(&self, now: Tick) -> io::Result<()> {
        self.quotas.as_ref().map_or(Ok(()), |quotas| quotas.journal.tend(now))
    }

    /// Requests refused because their reservation could not be written.
    #[must_use]
    pub fn failed_reservations(&self) -> u64 {
        self.quotas.as_ref().map_or(0, |quotas| quotas.failed.load(Relaxed))
    }

    /// How every quota stands that has counted something, or may have elsewhere; with a subject, only its own.
    #[must_use]
    pub fn quotas(&self, subject: Option<&Subject>, now: Tick) -> Vec<QuotaStanding> {
        let names = self.names.lock();
        let rules: Vec<_> = names.rules.values().filter_map(|(_, rule)| rule.upgrade()).collect();
        let owners: Vec<_> = rules.iter().flat_map(|rule| names.owners(rule, subject)).collect();
        // Cells are begun below, which asks for names.
        drop(names);
        let mut all: Vec<_> = owners.into_iter().filter_map(|one| self.quota_standing(one, now)).collect();
        all.sort_by(|one, other| (&one.quota, &one.of).cmp(&(&other.quota, &other.of)));
        all
    }

    /// Says what a quota lets through for those who have another number than its own, by their numbers.
    /// Decisions do not ask for it: their rules have the number; whoever tells of quotas does.
    pub fn name_quota(&self, limit: &Limit, others: HashMap<u32, u32>) {
        let rule = self.names.lock().rules.get(&Identity::new(limit)).and_then(|(_, rule)| rule.upgrade());
        if let Some(quota) = rule.as_ref().and_then(|rule| rule.quota.as_ref()) {
            // Of what edges share, this edge's own part is told from here.
            let part = |n: u32| limit.shared.map_or(n, |shared| shared.alone.part(n));
            quota.limit.store(part(limit.limit), Relaxed);
            *quota.others.lock() = others.into_iter().map(|(number, n)| (number, part(n))).collect();
        }
    }

    fn quota_standing(&self, owner: Owner, now: Tick) -> Option<QuotaStanding> {
        let quota = owner.rule.quota.as_ref()?;
        let Home::Dense(axis, cells) = &owner.rule.home else { return None };
        let own = quota.others.lock().get(&owner.number).copied();
        let limit = own.unwrap_or_else(|| quota.limit.load(Relaxed));
        let measure = Measure::Quota(Ceiling::new(limit, quota.per));
        let mut place = cells.cell(owner.number).lock();
        self.begin_quota(&owner.rule, &measure, owner.number, &mut place);
        let remaining = place.tally.room(&measure, now);
        let is_shared = quota.is_shared.load(Relaxed);
        (remaining < limit || is_shared).then(|| QuotaStanding {
            quota: quota.name.clone(),
            by: axis.word(),
            of: owner.of,
            limit,
            per_secs: quota.per.as_secs(),
            remaining,
            more_in_secs: seconds_rounded_up(place.tally.until(remaining.saturating_add(1), &measure, now)),
            is_shared,
        })
    }

    /// Makes a cell a quota's, from what was reserved before.
    pub(super) fn begin_quota(&self, rule: &Rule, measure: &Measure, number: u32, place: &mut Place) {
        let (Some(quotas), Some(quota), Measure::Quota(ceiling)) = (&self.quotas, &rule.quota, measure)
        else {
            return;
        };
        let Home::Dense(axis, _) = &rule.home else { return };
        if place.tally.is_quota() {
            return;
        }
        let of = self.names.lock().name_of(*axis, number).unwrap_or_default();
        let owner = journal::owner(quota.name.as_str(), axis.word(), &of, quota.per);
        let nothing = Past::new();
        let past = quotas.earlier.by_owner.get(&owner).unwrap_or(&nothing);
        place.tally = Tally::Quota(Box::new(Quota::resume(owner, past, ceiling)));
    }

    pub(super) fn begin_claimed(&self, claim: &mut Claim<'_>) {
        if let (Spot::Dense { number, .. }, Some(Held::Exact(place))) = (claim.spot, &mut claim.held)
            && !place.tally.is_quota()
        {
            self.begin_quota(claim.rule.rule(), claim.rule.measure(), number, place);
        }
    }

    /// Writes down what quotas are about to spend; whether all of it could be. What could, stays
    /// reserved for the next.
    #[cold]
    pub(super) fn reserve(
        &self,
        claims: &mut [Option<Claim<'_>>],
        standings: &mut Standings,
        now: Tick,
    ) -> bool {
        let Some(quotas) = &self.quotas else { return true };
        for claim in claims.iter_mut().flatten() {
            let Some(Held::Exact(place)) = &mut claim.held else { continue };
            let (Tally::Quota(quota), Measure::Quota(ceiling)) = (&mut place.tally, claim.rule.measure())
            else {
                continue;
            };
            let standing = standings.at(claim.nth);
            if !standing.short && quota.reserve(claim.cost, ceiling, now, &quotas.journal).is_err() {
                quotas.failed.fetch_add(1, Relaxed);
                // Not a single free one: who cannot be written down is refused.
                standing.short = true;
                if !claim.rule.is_shadow() {
                    return false;
                }
            }
        }
        true
    }
}
