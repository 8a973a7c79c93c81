//! Mission Control: one read-only API over all gateways of the caller's tenant. Reached by the edge alone,
//! over a Unix socket that only this process's user can open; it believes the tenant from the edge.
//!
//! [`link`] is one connection of the edge's own to one gateway, made as [`dial`] says and made anew after a
//! pause that [`away`] reckons; [`calls`] matches its answers with those who wait.

pub mod api;
pub mod away;
pub mod calls;
pub mod dial;
pub mod fleet;
pub mod link;
#[cfg(test)]
mod link_tests;
pub mod mux;

pub use api::serve;
pub use calls::{CallError, Json};
pub use dial::Dial;
pub use fleet::Fleet;
pub use link::{Link, LinkState, Signal};
pub use mux::Switchboard;
