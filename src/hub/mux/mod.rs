//! The multiplexer: one socket of a client for all gateways of its tenant.
//!
//! [`socket`] lets a client in, [`session`] takes its frames and [`call`] carries each to its gateway; [`trunk`] is
//! a connection that clients with the same scopes share, and [`switchboard`] has all of them. [`frame`] and [`shapes`]
//! write what clients read; [`wants`] and [`queue`] are what one asked for and what waits for it. Frames:
//! docs/gateways.md.

mod call;
mod frame;
mod queue;
mod session;
mod shapes;
mod socket;
mod switchboard;
mod trunk;
mod wants;

pub(in crate::hub) use socket::router;
pub use switchboard::Switchboard;
