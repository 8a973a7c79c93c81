//! What the protocol of an OpenClaw gateway says: frames, methods, scopes, the paths of its HTTP side.
//!
//! The room knows the protocol and nothing else: no socket, no config, no caller, no secret of its own.
//! What it holds was measured on OpenClaw 2026.9.6 (protocol 4) and 2026.4.29 (protocol 3).

pub mod connect;
pub mod frame;
pub mod incoming;
pub mod methods;
pub mod names;
pub mod operator;
pub mod reply;
mod scopes;
pub mod surface;

pub use scopes::{Scope, Scopes};
