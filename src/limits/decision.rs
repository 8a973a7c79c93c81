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
        const NONE: Standing = Standing { rule: 0, remaining: 0, effective_secs: ABSENT };
        Self { items: [NONE; MAX_RULES], len: 0 }
    }

    /// Puts one where its rule stands in the route's order.
    #[inline]
    pub(super) fn put(&mut self, nth: u8, remaining: u32) {
        let rule = usize::from(nth);
        self.items[rule] = Standing { rule, remaining, effective_secs: ABSENT - 1 };
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
        self.violated().map(|standing| standing.effective_secs).max()
    }

    /// The refusing rules' names, the one with the longest wait first; empty when admitted. These are
    /// the `violated-policies` of a problem document.
    pub fn violated_policies<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a Name> {
        self.worst_first()
            .filter(|standing| !self.is_admitted() && standing.remaining == 0)
            .filter_map(|standing| rules.rules().get(standing.rule))
            .map(super::CompiledRule::name)
    }

    /// The standings, the refusing rule (if any) before the others.
    pub(super) fn worst_first(&self) -> impl Iterator<Item = &Standing> {
        let first = match self {
            Self::Admitted(_) => None,
            Self::Refused { rule, .. } => Some(*rule),
        };
        let all = self.standings().as_slice();
        let refusing = all.iter().filter(move |standing| Some(standing.rule) == first);
        refusing.chain(all.iter().filter(move |standing| Some(standing.rule) != first))
    }

    pub(super) fn refused(standings: Standings) -> Self {
        // The first of those that wait longest; `max_by_key` alone would give the last.
        let worst = standings.as_slice().iter().rev().filter(|standing| standing.remaining == 0);
        let rule = worst.max_by_key(|standing| standing.effective_secs).map_or(0, |standing| standing.rule);
        Self::Refused { rule, standings }
    }

    fn violated(&self) -> impl Iterator<Item = &Standing> {
        // Nothing is taken on a refusal, so a rule without room is one that refused.
        let refused = !self.is_admitted();
        self.standings().as_slice().iter().filter(move |standing| refused && standing.remaining == 0)
    }
}
