//! Why a gateway cannot be had, and how long to wait before the next try.
//!
//! Nothing here knows a socket: the pause is a number that the caller waits for.

use crate::openclaw::incoming::Fault;
use std::time::Duration;

/// First pause after a failure; each that follows is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// Longest of those.
const LONGEST: Duration = Duration::from_secs(10);
/// Longest pause that a gateway may ask for.
const LONGEST_ASKED: Duration = Duration::from_mins(10);
/// A gateway locks an address out that shows ten wrong secrets within a minute.
const WRONG_SECRET: Duration = Duration::from_mins(1);
/// Somebody has to do something.
const SOMEBODY: Duration = Duration::from_secs(15);

/// Why a gateway is away. The text is for the gateway's own tenant and for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nobody has tried yet.
    #[error("it has not been dialled yet")]
    Untried,
    /// No connection.
    #[error("it cannot be reached")]
    Unreachable,
    /// A connection, and then nothing.
    #[error("it did not answer in time")]
    TimedOut,
    /// Its certificate does not hold.
    #[error("its TLS certificate was not accepted")]
    Tls,
    /// It is no WebSocket, or speaks no protocol that the edge speaks.
    #[error("it does not speak a gateway's protocol as the edge does")]
    Protocol,
    /// It answered the handshake with a refusal of HTTP.
    #[error("it refused the WebSocket with status {0}")]
    Http(u16),
    /// It does not take the secret.
    #[error("it does not take the edge's secret")]
    Unauthorized,
    /// Too many wrong secrets came from the edge's address.
    #[error("it has locked the edge's address out for a while")]
    LockedOut,
    /// The edge's device waits for approval.
    #[error("it has not approved the edge's device: openclaw-edge gateways pair")]
    NotPaired,
    /// The edge's own device cannot be had.
    #[error("the edge's own device cannot be read")]
    NoDevice,
    /// It lets the edge in and grants it too little, or too much.
    #[error("it does not grant what the edge asks for ({0})")]
    NotGranted(&'static str),
    /// It is starting.
    #[error("it is starting")]
    Starting,
    /// It is going down to start anew.
    #[error("it is restarting")]
    Restarting,
    /// It has no room.
    #[error("it is too busy")]
    Busy,
    /// It threw the edge out: its settings or the edge's rights have changed.
    #[error("it has closed the edge's socket because rights have changed")]
    Revoked,
    /// It closed the socket.
    #[error("it closed the socket (code {0})")]
    Closed(u16),
    /// The connection broke.
    #[error("the connection broke")]
    Broken,
    /// Not even a tick came.
    #[error("it has fallen silent")]
    Silent,
    /// It refused the connect for another reason.
    #[error("it refused to connect")]
    Refused,
}

impl Why {
    /// Its stable code, in answers and as a label of metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Untried => "not_dialled",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Http(_) => "http_refused",
            Self::Unauthorized => "unauthorized",
            Self::LockedOut => "locked_out",
            Self::NotPaired => "not_paired",
            Self::NoDevice => "no_device",
            Self::NotGranted(_) => "not_granted",
            Self::Starting => "starting",
            Self::Restarting => "restarting",
            Self::Busy => "busy",
            Self::Revoked => "revoked",
            Self::Closed(_) => "closed",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Refused => "refused",
        }
    }

    /// What the refusal of a connect means.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Self {
        match (fault.detail.as_deref(), fault.code.as_str()) {
            (Some("PAIRING_REQUIRED"), _) | (_, "NOT_PAIRED") => Self::NotPaired,
            (Some("AUTH_RATE_LIMITED"), _) => Self::LockedOut,
            (Some("AUTH_SCOPE_MISMATCH"), _) => Self::NotGranted("the device's token has other scopes"),
            (Some("PROTOCOL_MISMATCH"), _) => Self::Protocol,
            (Some(detail), _) if detail.contains("AUTH_") || detail == "DEVICE_IDENTITY_REQUIRED" => {
                Self::Unauthorized
            }
            (_, "UNAVAILABLE") if fault.reason.as_deref() == Some("startup-sidecars") => Self::Starting,
            (_, "UNAVAILABLE") => Self::Busy,
            _ => Self::Refused,
        }
    }

    /// What a close means.
    #[must_use]
    pub const fn of_close(code: u16) -> Self {
        match code {
            1012 => Self::Restarting,
            1013 => Self::Busy,
            4001 => Self::Revoked,
            code => Self::Closed(code),
        }
    }

    /// Shortest pause that makes sense after it.
    const fn least(&self) -> Duration {
        match self {
            Self::Unauthorized | Self::LockedOut => WRONG_SECRET,
            Self::NotPaired | Self::NoDevice | Self::NotGranted(_) | Self::Protocol | Self::Tls => SOMEBODY,
            Self::Restarting | Self::Starting => Duration::from_millis(500),
            Self::Busy => Duration::from_secs(1),
            Self::Untried
            | Self::Unreachable
            | Self::TimedOut
            | Self::Http(_)
            | Self::Revoked
            | Self::Closed(_)
            | Self::Broken
            | Self::Silent
            | Self::Refused => Duration::ZERO,
        }
    }
}

/// How often in a row it failed.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure. `asked` is what the gateway asked for; `chance` is from 0 to 1 and
    /// spreads those who failed together over the half of the pause.
    pub fn pause(&mut self, why: &Why, asked: Option<Duration>, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(self.failures.min(16)).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        let asked = asked.unwrap_or_default().min(LONGEST_ASKED).max(why.least());
        // Never before the gateway said, and not all at that very moment.
        if asked > pause { asked + pause.min(asked / 4) } else { pause }
    }

    /// It went well for long enough.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> =
            (0..9).map(|_| backoff.pause(&Why::Unreachable, None, 1.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.pause(&Why::Unreachable, None, 0.0), Duration::from_millis(125));
    }

    #[test]
    fn a_gateway_is_not_asked_before_it_said() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_mins(5);
        let pause = backoff.pause(&Why::LockedOut, Some(asked), 0.5);
        assert!(pause >= asked && pause < asked * 2, "{pause:?}");
        let mut wrong = Backoff::default();
        // Fewer than ten wrong secrets a minute, even with several sockets to one gateway.
        assert!(wrong.pause(&Why::Unauthorized, None, 0.0) >= WRONG_SECRET);
        let long = Backoff::default().pause(&Why::Busy, Some(Duration::from_hours(9)), 0.0);
        assert!(long < LONGEST_ASKED * 2, "{long:?}");
    }

    #[test]
    fn refusals_are_told_apart() {
        let check = |error: &str| Why::of_fault(&Fault::read(serde_json::from_str(error).ok()));
        for (error, why) in [
            (r#"{"code":"NOT_PAIRED","details":{"code":"PAIRING_REQUIRED"}}"#, Why::NotPaired),
            (r#"{"code":"NOT_PAIRED","details":{"code":"DEVICE_IDENTITY_REQUIRED"}}"#, Why::NotPaired),
            (r#"{"code":"INVALID_REQUEST","details":{"code":"AUTH_TOKEN_MISMATCH"}}"#, Why::Unauthorized),
            (
                r#"{"code":"INVALID_REQUEST","details":{"code":"DEVICE_AUTH_SIGNATURE_INVALID"}}"#,
                Why::Unauthorized,
            ),
            (r#"{"code":"INVALID_REQUEST","details":{"code":"AUTH_RATE_LIMITED"}}"#, Why::LockedOut),
            (r#"{"code":"INVALID_REQUEST","details":{"code":"PROTOCOL_MISMATCH"}}"#, Why::Protocol),
            (r#"{"code":"UNAVAILABLE","details":{"reason":"startup-sidecars"}}"#, Why::Starting),
            (r#"{"code":"UNAVAILABLE"}"#, Why::Busy),
            (r#"{"code":"NEW"}"#, Why::Refused),
        ] {
            assert_eq!(check(error), why, "{error}");
        }
        assert_eq!(Why::of_close(1012), Why::Restarting);
        assert_eq!(Why::of_close(4001), Why::Revoked);
        assert_eq!(Why::of_close(1006), Why::Closed(1006));
    }

    proptest! {
        #[test]
        fn a_pause_is_never_shorter_than_asked_nor_endless(
            failures in 0_usize..40, asked in proptest::option::of(0_u64..400_000), chance in 0.0_f64..1.0
        ) {
            let mut backoff = Backoff::default();
            let asked = asked.map(Duration::from_millis);
            for _ in 0..failures {
                backoff.pause(&Why::Closed(1006), asked, chance);
            }
            let pause = backoff.pause(&Why::Closed(1006), asked, chance);
            prop_assert!(pause >= asked.unwrap_or_default());
            prop_assert!(pause <= LONGEST.max(asked.unwrap_or_default() * 5 / 4));
        }
    }
}
