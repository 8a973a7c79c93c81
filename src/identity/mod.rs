//! Who is calling: what their bytes look like, where they come from, which key they hold.
//!
//! Everything here works on borrowed bytes and given lists; it opens no socket and reads no clock.

pub mod address;
pub mod caller;
pub mod certificate;
pub mod head;
pub mod lists;
pub mod path;
pub mod sessions;
pub mod tokens;
