//! A look at a gateway from outside: whether it shakes hands with the edge, and what it grants. For the doctor,
//! which keeps no connection.

use super::away::Why;
use super::dial::Dial;
use crate::openclaw::{Scope, Scopes};
use std::time::{Duration, Instant};

/// A gateway that shook hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its version.
    pub version: String,
    /// What it grants.
    pub granted: Vec<&'static str>,
    /// Time until its hello.
    pub took: Duration,
}

impl Dial {
    /// Shakes hands with the scopes that the edge's own link asks for, and leaves.
    ///
    /// # Errors
    /// [`Why`] it does not come to that.
    pub async fn examine(&self, within: Duration) -> Result<Seen, Why> {
        let began = Instant::now();
        let asked = Scopes::of([Scope::Read.as_str()]);
        let opened = tokio::time::timeout(within, self.open(asked)).await.map_err(|_| Why::TimedOut)?;
        let (_, greeting) = opened.map_err(|failed| failed.why)?;
        let granted = greeting.granted.least().into_iter().map(Scope::as_str).collect();
        Ok(Seen { version: greeting.version, granted, took: began.elapsed() })
    }
}
