//! Making the edge known at a gateway as a device: tried again and again until somebody has approved it.

use super::away::Why;
use super::dial::{Dial, Failed};
use crate::openclaw::Scopes;
use std::time::Duration;

/// Between two looks whether it was approved.
const LOOK: Duration = Duration::from_secs(2);

/// What pairing came to, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The gateway knows the request under this id, and waits for somebody.
    Waits(String),
    /// The gateway is away; it is tried again.
    Away(Why),
}

impl Dial {
    /// Shows the edge's device to the gateway until it is let in with these scopes; the gateway's token is
    /// kept then. `told` hears of each new step.
    ///
    /// # Errors
    /// [`Why`], where waiting helps nothing.
    pub async fn pair(&self, scopes: Scopes, mut told: impl FnMut(&Step)) -> Result<(), Why> {
        let mut last = None;
        loop {
            let Err(Failed { why, asked, request }) = self.open(scopes).await else { return Ok(()) };
            let step = match (why, request) {
                (Why::NotPaired, Some(request)) => Step::Waits(request),
                (
                    why @ (Why::Unreachable
                    | Why::TimedOut
                    | Why::Starting
                    | Why::Restarting
                    | Why::Busy
                    | Why::Revoked
                    | Why::Broken
                    | Why::Closed(_)),
                    _,
                ) => Step::Away(why),
                (why, _) => return Err(why),
            };
            if last.as_ref() != Some(&step) {
                told(&step);
                last = Some(step);
            }
            tokio::time::sleep(asked.unwrap_or_default().max(LOOK)).await;
        }
    }
}
