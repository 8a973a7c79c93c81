//! openclaw-edge: the front door for OpenClaw gateways, mesh webhooks and mesh stores.
//!
//! The rooms, by floor; each imports from floors below it and never from a sibling
//! (`tests/it/floors.rs` holds that):
//!
//! | floor | rooms |
//! | --- | --- |
//! | 4 | [`cli`]: what a person types |
//! | 3 | [`edge`]: Pingora's shell; [`hub`]: Mission Control; [`store`]: the mesh store |
//! | 2 | [`admission`]: the gates that a request's head passes, in the one order that compiles; [`console`]: the page for operators |
//! | 1 | [`config`], [`metrics`], [`audit`], [`identity`], [`limits`], [`signatures`], [`folder`], [`traffic`]: what passed lately |
//! | 0 | [`ids`], [`secret`], [`jose`]: signed tokens and their keys; [`openclaw`]: what the protocol of a gateway says |
//!
//! The life of a request: `edge::front` reads its head within bounds, [`identity::head`] sees that it has
//! one reading; [`admission`] finds the client's address, the route, the caller, what the caller may do,
//! and takes from the limits, all or nothing; [`signatures`] checks a held body where the route says so;
//! then the edge sends it on, or relays a WebSocket, and tells of it in one line. docs/architecture.md
//! has the same with reasons.

pub mod admission;
pub mod audit;
pub mod cli;
pub mod config;
pub mod console;
pub mod edge;
pub mod folder;
pub mod hub;
pub mod identity;
pub mod ids;
pub mod jose;
pub mod limits;
pub mod metrics;
pub mod openclaw;
pub mod secret;
pub mod signatures;
pub mod store;
pub mod traffic;
