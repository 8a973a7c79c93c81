//! How much is too much: hard ceilings over trailing windows, for many callers at once.
//!
//! The room knows no server, no clock, no runtime and no metrics: the time is an argument, the answer
//! is a value. It is read in this order:
//!
//! - [`Tick`], [`Window`], [`Pace`], [`Measure`]: one caller against one ceiling (at most `limit` in
//!   **any** trailing span), one smooth rate, one number in flight;
//! - [`Subject`], [`Key`]: which count a request falls on;
//! - the table: exact counts for bounded many keys, kept apart for *known* callers (credentials,
//!   tenants, routes) and *strangers* (addresses), so that a flood of addresses pushes out nobody;
//! - the strangers' sketch: what counts addresses beyond the bound, together but never too low;
//! - [`RuleSet`], [`Limiter`], [`Decision`]: several rules on one request, all or nothing;
//! - [`Receipt`]: what an admitted request gives back when it is over;
//! - [`headers`]: what the caller is told;
//! - [`Strikes`], [`Budgets`], [`Familiar`]: who misbehaves, what a prefix may hold before anyone is known,
//!   and who was known from where.
//!
//! State lives beside the policy: a [`Limiter`] outlives every reload, a [`RuleSet`] belongs to one
//! policy and only names state in the limiter.
//!
//! A quota is a window whose spend stands on disk before it is spent: the one file that the room writes.

mod budgets;
mod cost;
mod decide;
mod decision;
mod dense;
mod familiar;
pub mod headers;
mod index;
mod journal;
mod key;
mod lasting;
mod limiter;
mod log;
mod look;
#[cfg(all(test, shuttle))]
mod model;
mod names;
mod pace;
mod prefix;
mod quota;
mod receipt;
mod rule;
pub mod shared;
mod strangers;
mod strikes;
mod subwindows;
mod sync;
mod table;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_kinds;
#[cfg(test)]
mod tests_oracle;
#[cfg(test)]
mod tests_quotas;
mod tick;
mod window;

pub use budgets::{Budget, BudgetTerms, Budgets};
pub use cost::MethodCode;
pub use decision::{Decision, Standing, Standings};
pub use familiar::Familiar;
pub use key::{Key, Subject};
pub use lasting::QuotaStanding;
pub use limiter::{Limiter, Occupancy};
pub use pace::Pace;
pub use prefix::{Prefix, PrefixError};
pub use receipt::Receipt;
pub use rule::{CompiledRule, LimitsError, MAX_RULES, RuleSet};
pub use strikes::{CoolDown, Pause, Strike, StrikeTerms, Strikes};
pub use tally::Measure;
pub use tick::Tick;
pub use window::{Ceiling, Window};
