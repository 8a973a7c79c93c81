//! What an admitted request may give back: its place among those in flight when it ends, and what it
//! spent where the upstream failed.
//!
//! Dropping a [`Receipt`] gives the places in flight back, also when a panic does it.

use super::key::Key;
use super::limiter::Limiter;
use super::rule::CompiledRule;
use super::table::Cell;
use super::tally::Measure;
use super::tick::Tick;
use crate::config::checked::Refund;
use std::sync::Arc;

/// What one rule may get back.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) rule: CompiledRule,
    pub(super) kept: Kept,
    pub(super) n: u32,
}

/// Where a rule has counted a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// In the cell of a known caller.
    Dense(u32),
    /// In the place of a key.
    Place(Key),
    /// In a cell that several strangers share.
    Shared(u32),
}

/// What an admitted request may give back.
#[derive(Debug)]
pub struct Receipt {
    limiter: Arc<Limiter>,
    items: Vec<Item>,
    then: Tick,
}

impl Receipt {
    pub(super) fn new(limiter: Arc<Limiter>, items: Vec<Item>, then: Tick) -> Option<Self> {
        (!items.is_empty()).then_some(Self { limiter, items, then })
    }

    /// Gives back what was spent on rules that ask for it: the upstream failed. Once.
    pub fn refund(&mut self) {
        for item in &mut self.items {
            match (item.rule.refund(), item.rule.measure()) {
                (_, Measure::Held(_)) | (Refund::Never, _) => {}
                (Refund::UpstreamFailed, Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_)) => {
                    give_back(&self.limiter, item, self.then);
                    item.n = 0;
                }
            }
        }
    }
}

impl Receipt {
    /// Gives back everything: what elsewhere was refused is not spent here.
    pub fn undo(mut self) {
        for item in std::mem::take(&mut self.items) {
            give_back(&self.limiter, &item, self.then);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.items.iter().for_each(|item| release(&self.limiter, item, self.then));
    }
}

/// Gives back a place among those in flight.
pub(super) fn release(limiter: &Limiter, item: &Item, then: Tick) {
    match item.rule.measure() {
        Measure::Held(_) => give_back(limiter, item, then),
        Measure::Window(_) | Measure::Quota(_) | Measure::Rate(_) => {}
    }
}

fn give_back(limiter: &Limiter, item: &Item, then: Tick) {
    limiter.with_cell(&item.rule, item.kept, |cell: &Cell| {
        let mut place = cell.lock();
        if matches!(item.kept, Kept::Place(key) if !cell.is(&key)) {
            // The key's count is over and its place another's.
            return;
        }
        place.tally.give_back(item.n, item.rule.measure(), then);
        if matches!(item.rule.measure(), Measure::Held(_)) {
            place.idle_from = place.tally.idle_from(item.rule.measure(), then);
        }
    });
}
