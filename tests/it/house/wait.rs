//! Waiting on conditions. Nothing here sleeps for a length of time and hopes.

use std::time::{Duration, Instant};

/// How long a condition gets that is expected to hold at once on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When the deadline passes; `what` names what did not happen.
pub(crate) fn until<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(3));
    }
}
