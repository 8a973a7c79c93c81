//! Mission Control: one read-only API over all gateways of the caller's tenant. Reached by the edge alone,
//! over a Unix socket that only this process's user can open; it believes the tenant from the edge.
//!
//! [`link`] is one connection of the edge's own to one gateway, made as [`dial`] says and made anew after a
//! pause that [`away`] reckons; [`calls`] matches its answers with those who wait. [`operator`] follows what a
//! gateway does and keeps a [`picture`] of it; [`api`] answers from that, and [`feed`] tells of it.

pub mod api;
#[cfg(test)]
mod api_tests;
pub mod away;
pub mod calls;
pub mod device;
pub mod dial;
mod events;
pub mod examine;
pub mod feed;
pub mod fleet;
pub mod link;
#[cfg(test)]
mod link_tests;
mod lists;
pub mod mux;
pub mod operator;
pub mod pairing;
pub mod picture;
mod query;
mod reply;
pub mod rows;
mod standing;
mod status;

pub use api::{Hub, serve};
pub use calls::{CallError, Json};
pub use dial::Dial;
pub use fleet::Fleet;
pub use link::{Link, LinkState, Signal};
pub use mux::Switchboard;
pub use operator::Operator;
