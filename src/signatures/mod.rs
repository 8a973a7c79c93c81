//! The signatures room: whether a body's mesh messages were signed by the nodes they name.
//!
//! In reading order: `scan` walks JSON once and copies its canonical form as it goes, `names`
//! orders and compares member names, [`canonical`] cuts a body into messages, [`sig_text`] reads a
//! signature's base64, [`envelope`] finds the messages inside a chat platform's wrapping, [`keys`]
//! holds who may sign, [`mesh`] puts these together into one answer, [`sign`] is the other side.
//!
//! The room has no clock, no sockets and no state of its own: time, keys and buffers are handed in.

pub mod canonical;
pub mod envelope;
pub mod keys;
mod malformed;
pub mod mesh;
mod names;
mod scan;
pub mod sig_text;
pub mod sign;
mod strings;
#[cfg(test)]
mod vectors;

pub use canonical::Canonicaliser;
pub use keys::KeyRegistry;
pub use malformed::Malformed;
pub use mesh::{Context, Failure, Forward, Reason, Scratch, Verified, verify};
