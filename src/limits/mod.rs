//! How much is too much: hard ceilings over trailing windows, for many callers at once.
//!
//! The room knows no server, no clock, no runtime and no metrics: the time is an argument, the answer
//! is a value. It is read in this order:
//!
//! - [`Tick`], [`Window`]: one caller against one ceiling. At most `limit` in **any** trailing span;
//! - [`Subject`], [`Key`]: which count a request falls on;
//! - the table: exact counts for bounded many keys, kept apart for *known* callers (credentials,
//!   tenants, routes) and *strangers* (addresses), so that a flood of addresses pushes out nobody;
//! - the strangers' sketch: what counts addresses beyond the bound, together but never too low;
//! - [`RuleSet`], [`Limiter`], [`Decision`]: several rules on one request, all or nothing;
//! - [`headers`]: what the caller is told.
//!
//! State lives beside the policy: a [`Limiter`] outlives every reload, a [`RuleSet`] belongs to one
//! policy and only names state in the limiter.
//!
//! Quotas run on the same engine as windows and are held in memory alone: a quota does not survive a
//! restart yet.

mod decision;
mod dense;
pub mod headers;
mod index;
mod key;
mod limiter;
mod log;
mod rule;
mod strangers;
mod subwindows;
mod table;
#[cfg(test)]
mod tests;
mod tick;
mod window;

pub use decision::{Decision, Standing, Standings};
pub use key::{Key, Subject};
pub use limiter::{Limiter, Occupancy};
pub use rule::{CompiledRule, LimitsError, MAX_RULES, RuleSet};
pub use tick::Tick;
pub use window::{Ceiling, Window};
