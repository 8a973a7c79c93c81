//! What is kept, what may be done to it and what can be asked of it, in words that belong to no engine.
//!
//! A row does not carry its tenant: whoever holds a row was let in to its tenant before. `change` is a
//! tenant's own counter: every write of the tenant takes the next number, none is ever used twice, and
//! numbers become visible in their order. It is the row's entity tag, its place in the feed, and what
//! lists break ties by.

mod feed;
mod hits;
mod lists;
mod rows;
mod upkeep;
mod words;
mod writes;

pub(crate) use feed::MOST_STRETCH_BYTES;
pub use feed::{Action, Change, Interest, Stretch, Version};
pub use hits::{Found, Hit};
pub(crate) use hits::{MOST_HITS, USUAL_HITS};
pub use lists::{Filter, Page, Place};
pub(crate) use lists::{MOST_PAGE_BYTES, past_prefix};
pub(crate) use rows::bytes;
pub use rows::{Content, Kind, NewMemory, NewSkill, NodeKeys, Row, Stamp, Target};
pub(crate) use upkeep::Outlived;
pub use upkeep::{Swept, Upkeep};
pub use words::ToJson;
pub use writes::{Act, Bounds, Condition, Conflict, Done, Expiry, Usage, Write};
