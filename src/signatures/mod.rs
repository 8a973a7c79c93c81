//! The signatures room: whether a body's mesh messages were signed by the nodes they name, and whether a
//! webhook came from the sender that its route is for.
//!
//! In reading order: `scan` walks JSON once and copies its canonical form as it goes, `names`
//! orders and compares member names, [`canonical`] cuts a body into messages, [`sig_text`] reads a
//! signature's base64, [`envelope`] finds the messages inside a chat platform's wrapping, [`keys`]
//! holds who may sign and `multiples` what makes asking them quick, [`mesh`] puts these together into one answer,
//! [`registered`] reads what a store's registry says of a node's keys, [`sign`] is the other side.
//! For webhooks: [`delivery`] is a request as its sender signed it, [`schemes`] has a file a sender, [`mac`]
//! is their HMAC. On the way out: [`outgoing`] signs a whole request, [`border`] says which messages cross to and
//! from other meshes, and under which names.
//!
//! The room has no clock, no sockets and no state of its own: time, keys and buffers are handed in.

pub mod border;
pub mod canonical;
pub mod delivery;
pub mod envelope;
pub mod keys;
pub mod mac;
mod malformed;
pub mod mesh;
mod multiples;
mod names;
pub mod outgoing;
pub mod registered;
mod scan;
pub mod schemes;
pub mod sig_text;
pub mod sign;
mod strings;
#[cfg(test)]
mod vectors;

pub use canonical::Canonicaliser;
pub use delivery::{Delivery, Identity};
pub use keys::KeyRegistry;
pub use malformed::Malformed;
pub use mesh::{Context, Failure, Forward, Reason, Scratch, Taken, Verified, verify};
pub use schemes::{Proved, Setup};
