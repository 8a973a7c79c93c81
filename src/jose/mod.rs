//! What the standards for signed tokens say: the compact form (RFC 7515), key sets (RFC 7517), three algorithms.
//!
//! The room knows forms and signatures and nothing else: no issuer, no tenant, no clock, no socket.

mod jwk;
mod jws;

pub use jwk::{JwkError, TokenKeys};
pub use jws::{Algorithm, JwsError, MAX_TOKEN, Token, TokenKey, looks_like_one};
