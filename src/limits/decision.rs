//! What came of a request: admitted by every rule or refused by one, and how each rule stands.
//!
//! Values only, inline and without a heap; what they are called in an answer is in [`super::headers`].

use super::rule::{MAX_RULES, RuleSet};
use crate::ids::Name;

/// How one rule stands after the decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Which rule: its position in [`RuleSet::rules`].
    pub rule: usize,
    /// How many more would be admitted now.
    pub remaining: u32,
    /// Whole seconds, rounded up, within which no more than `remaining` are admitted; with none
    /// remaining, the time to wait.
    pub effective_secs: u32,
    /// What this request costs here.
    pub cost: u32,
    /// Whether there was no room for it.
    pub short: bool,
}

/// Marks the standing of a rule that did not apply; a wait of 136 years is cut to a second less.
const ABSENT: u32 = u32::MAX;

/// How every rule that applied stands, in the route's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standings {
    items: [Standing; MAX_RULES],
    len: u8,
}

impl Standings {
    pub(super) const fn empty() -> Self {
        const NONE: Standing =
            Standing { rule: 0, remaining: 0, effective_secs: ABSENT, cost: 0, short: false };
        Self { items: [NONE; MAX_RULES], len: 0 }
    }

    /// Puts one where its rule stands in the route's order.
    #[inline]
    pub(super) fn put(&mut self, nth: u8, remaining: u32, cost: u32) {
        let (rule, short) = (usize::from(nth), remaining < cost);
        self.items[rule] = Standing { rule, remaining, effective_secs: ABSENT - 1, cost, short };
        self.len += 1;
    }

    /// The one that was put there.
    #[inline]
    pub(super) fn at(&mut self, nth: u8) -> &mut Standing {
        &mut self.items[usize::from(nth)]
    }

    /// Moves those that were put together where some of `rules` rules did not apply.
    #[inline]
    pub(super) fn close(&mut self, rules: usize) {
        if usize::from(self.len) < rules {
            self.close_up();
        }
    }

    #[cold]
    fn close_up(&mut self) {
        let mut to = 0;
        for from in 0..MAX_RULES {
            if self.items[from].effective_secs != ABSENT {
                self.items[to] = self.items[from];
                to += 1;
            }
        }
    }

    /// One for each rule that applied.
    #[must_use]
    pub fn as_slice(&self) -> &[Standing] {
        &self.items[..usize::from(self.len)]
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Every rule that applies had room, and has counted it.
    Admitted(Standings),
    /// At least one rule had no room; none has counted it.
    Refused {
        /// Position in [`RuleSet::rules`] of the rule with the longest wait.
        rule: usize,
        /// How every rule that applied stands.
        standings: Standings,
    },
}

impl Decision {
    /// How every rule that applied stands.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        match self {
            Self::Admitted(standings) | Self::Refused { standings, .. } => standings,
        }
    }

    /// Whether every rule had room.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        match self {
            Self::Admitted(_) => true,
            Self::Refused { .. } => false,
        }
    }

    /// Seconds for `Retry-After`: no earlier than any refusing rule has room again.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u32> {
        match self {
            Self::Admitted(_) => None,
            Self::Refused { rule, standings } => {
                standings.as_slice().iter().find(|one| one.rule == *rule).map(|one| one.effective_secs)
            }
        }
    }

    /// The refusing rules' names, the one with the longest wait first; empty when admitted. These are
    /// the `violated-policies` of a problem document.
    pub fn violated_policies<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Name> {
        self.worst_first(rules)
            .filter(|standing| !self.is_admitted() && standing.short)
            .filter_map(|standing| rules.rules().get(standing.rule))
            .map(super::CompiledRule::name)
    }

    /// Whether what refuses is that all callers together have too much in flight: the rule with the longest
    /// wait counts by nothing that is the caller's.
    #[must_use]
    pub fn is_crowded(&self, rules: &RuleSet) -> bool {
        match self {
            Self::Admitted(_) => false,
            Self::Refused { rule, .. } => {
                rules.rules().get(*rule).is_some_and(super::CompiledRule::is_capacity)
            }
        }
    }

    /// Names of the rules that only tell, and would have refused.
    pub fn would_refuse<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Name> {
        let short = self.standings().as_slice().iter().filter(|standing| standing.short);
        let rules = short.filter_map(|standing| rules.rules().get(standing.rule));
        rules.filter(|rule| rule.is_shadow()).map(super::CompiledRule::name)
    }

    /// The standings of rules that refuse, the one that did (if any) before the others.
    pub(super) fn worst_first<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Standing> {
        let first = match self {
            Self::Admitted(_) => None,
            Self::Refused { rule, .. } => Some(*rule),
        };
        let told = move |one: &&Standing| rules.rules().get(one.rule).is_some_and(|rule| !rule.is_shadow());
        let all = self.standings().as_slice();
        let refusing = all.iter().filter(move |standing| Some(standing.rule) == first);
        refusing.chain(all.iter().filter(move |standing| Some(standing.rule) != first)).filter(told)
    }

    /// The whole decision, with the standings of rules that were asked elsewhere.
    #[must_use]
    pub fn joined(&self, rules: &RuleSet, others: &[Standing]) -> Self {
        let mut standings = Standings::empty();
        for one in self.standings().as_slice().iter().chain(others) {
            if let Some(place) = standings.items.get_mut(one.rule) {
                *place = *one;
                standings.len += 1;
            }
        }
        standings.close(rules.rules().len());
        let refuses = |one: &Standing| one.short && !rules.rules()[one.rule].is_shadow();
        if self.is_admitted() && !others.iter().any(refuses) {
            Self::Admitted(standings)
        } else {
            Self::refused(standings, rules)
        }
    }

    pub(super) fn refused(standings: Standings, rules: &RuleSet) -> Self {
        // The first of those that wait longest; `max_by_key` alone would give the last.
        let refuses = |one: &&Standing| one.short && !rules.rules()[one.rule].is_shadow();
        let worst = standings.as_slice().iter().rev().filter(refuses);
        let rule = worst.max_by_key(|standing| standing.effective_secs).map_or(0, |standing| standing.rule);
        Self::Refused { rule, standings }
    }
}
