//! Counts what a store does: the series of the metrics room, kept up by what the store tells.

use crate::metrics::StoreSeries;
use crate::store::{Hearing, Observe, Op, Outcome, Swept};

/// A store's observer.
#[derive(Debug)]
pub(in crate::cli) struct Counted(pub(in crate::cli) StoreSeries);

impl Observe for Counted {
    fn operation(&self, op: Op, outcome: Outcome, seconds: f64) {
        self.0.operations.with_label_values(&[op.as_str(), outcome.as_str()]).inc();
        self.0.seconds.with_label_values(&[op.as_str()]).observe(seconds);
    }

    fn embedding_lag(&self, changes: i64) {
        self.0.embedding_lag.set(changes);
    }

    fn swept(&self, swept: Swept) {
        let Swept { rows, versions, changes } = swept;
        for (what, count) in [("rows", rows), ("versions", versions), ("changes", changes)] {
            self.0.swept.with_label_values(&[what]).inc_by(u64::from(count));
        }
    }

    fn sweep_failed(&self) {
        self.0.sweep_failures.inc();
    }

    fn secret_refused(&self, pattern: &'static str) {
        self.0.secrets_refused.with_label_values(&[pattern]).inc();
    }

    fn hearing(&self, hearing: Hearing) {
        self.0.listening.set(i64::from(hearing == Hearing::IsTold));
    }

    fn heard(&self) {
        self.0.heard.inc();
    }
}
