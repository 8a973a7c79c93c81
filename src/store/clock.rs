//! The time of the store: the machine's, or one that a test sets.
//!
//! Rows carry seconds and senders milliseconds; nothing here knows what for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the store's time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine.
    System,
    /// Unix seconds that whoever holds the other handle sets.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// Unix seconds.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        match self {
            Self::System => system_seconds(),
            Self::Set(seconds) => seconds.load(Ordering::Relaxed),
        }
    }
}

fn system_seconds() -> i64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "rows carry the time of their write and end at a time of the wall's clock"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
