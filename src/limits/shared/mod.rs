//! Limits that several edges count together: which of a route's rules are, under which key each counts, and
//! the script that decides.
//!
//! No server is known here: what is asked and what came back are values. The edge carries them.

mod key;
mod line;

pub use key::Who;
pub use line::{Line, SCRIPT, Terms, VALUES, standing};

use super::rule::{CompiledRule, RuleSet};
use super::tally::Measure;
use crate::config::checked::{Limit, SharedLimit, WhenUnreachable};

/// A rule that is counted elsewhere.
pub(super) struct SharedRule {
    when: WhenUnreachable,
    /// What is taken ahead; 0: nothing is.
    block: u32,
    /// The same rule, kept here alone with this edge's share.
    alone: CompiledRule,
    /// The same, as a set of its own.
    mirror: RuleSet,
    /// Front of its keys' digests.
    seed: key::Seed,
    kind: &'static str,
    /// Microseconds.
    span: Box<str>,
}

impl SharedRule {
    pub(super) fn new(limit: &Limit, shared: &SharedLimit, measure: &Measure, alone: CompiledRule) -> Self {
        let (kind, span) = line::terms(measure);
        Self {
            when: shared.when,
            // A plan may have a smaller number than the limit itself.
            block: shared.block.min(measure.limit()),
            mirror: RuleSet::of_one(alone.clone()),
            alone,
            seed: key::Seed::new(limit, kind),
            kind,
            span: span.into(),
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        match self.when {
            WhenUnreachable::Closed => true,
            WhenUnreachable::Local | WhenUnreachable::Open => false,
        }
    }

    /// What this edge alone is to be asked for while nobody else answers.
    pub(super) const fn stand_in(&self) -> Option<&CompiledRule> {
        match self.when {
            WhenUnreachable::Local => Some(&self.alone),
            WhenUnreachable::Open | WhenUnreachable::Closed => None,
        }
    }
}
