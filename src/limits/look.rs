//! What a request would meet, without spending anything: for those who ask why.
//!
//! Rules are looked at one after the other, so that under load the picture may be of several moments.

use super::decide::shared_number;
use super::decision::{Decision, Standings};
use super::key::{Key, Subject};
use super::limiter::Limiter;
use super::rule::{CompiledRule, Home, RuleSet};
use super::table::Table;
use super::tally::{Measure, Tally};
use super::tick::{Tick, seconds_rounded_up};

impl Limiter {
    /// The decision that [`Self::decide`] would make now. Counts nothing and makes no entry.
    #[must_use]
    pub fn look(&self, rules: &RuleSet, subject: &Subject, now: Tick) -> Decision {
        let mut standings = Standings::empty();
        let mut admitted = true;
        for (nth, rule) in rules.in_locking_order() {
            let cost = rule.price(subject);
            let Some(mut tally) = self.tally_of(rule, subject, now).filter(|_| cost > 0) else { continue };
            let remaining = tally.room(rule.measure(), now);
            standings.put(nth, remaining, cost);
            let standing = standings.at(nth);
            admitted &= !standing.short || rule.is_shadow();
            let n = if standing.short { cost } else { remaining.saturating_add(1) };
            standing.effective_secs = seconds_rounded_up(tally.until(n, rule.measure(), now));
        }
        standings.close(rules.rules().len());
        if admitted { Decision::Admitted(standings) } else { Decision::refused(standings, rules) }
    }

    /// A copy of what a subject has used of a rule; nothing where the rule does not apply.
    fn tally_of(&self, rule: &CompiledRule, subject: &Subject, now: Tick) -> Option<Tally> {
        let (compiled, rule) = (rule, rule.rule());
        let table = match &rule.home {
            Home::Dense(axis, cells) => {
                let number = axis.of(subject)?;
                let mut place = cells.cell(number).lock();
                self.begin_quota(rule, compiled.measure(), number, &mut place);
                return Some(place.tally.clone());
            }
            Home::Known => &self.known,
            Home::Strangers => &self.strangers,
            Home::Values => &self.values,
        };
        let key = Key::of(rule.number, rule.shape, subject)?;
        Some(copied(table, &key).unwrap_or_else(|| {
            let mut tally = Tally::empty();
            match compiled.measure() {
                Measure::Window(_) | Measure::Quota(_) => {
                    tally.carry_over(rule.sketch.counted(&key.neighbourhood(), now), compiled.measure(), now);
                }
                Measure::Rate(_) | Measure::Held(_) => {
                    let number = shared_number(table, &key.neighbourhood());
                    if let Some(cell) = rule.shared.made(number) {
                        tally.clone_from(&cell.lock().tally);
                    }
                }
            }
            tally
        }))
    }
}

fn copied(table: &Table, key: &Key) -> Option<Tally> {
    let mut found = None;
    table.with(key, |cell| {
        let place = cell.lock();
        found = cell.is(key).then(|| place.tally.clone());
    });
    found
}
