//! Strikes as they happen, and pauses as operators see and lift them.
//!
//! What too many strikes are, the limits know; which refusals are strikes is said here, in one place.

use super::live::{Live, Site};
use crate::admission::Rejection;
use crate::identity::caller::CallerFault;
use crate::limits::{CoolDown, Prefix, Strike};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Instant;

/// Counts a refusal as a strike, if it is one.
pub(super) fn strike(site: &Site, live: &Live, client: IpAddr, rejection: &Rejection) {
    let Some(why) = why(rejection) else { return };
    site.metrics.strikes.with_label_values(&[why.word()]).inc();
    if let Some(pause) = live.policy.strike(client, why, site.tick(Instant::now())) {
        site.metrics.cooldowns.inc();
        tracing::warn!(
            prefix = %pause.prefix,
            seconds = pause.pause_secs,
            times = pause.times,
            unauthorized = pause.strikes[0],
            signature = pause.strikes[1],
            head = pause.strikes[2],
            "an address cools down after too many bad requests"
        );
    }
}

fn why(rejection: &Rejection) -> Option<Strike> {
    match rejection {
        Rejection::Caller(
            CallerFault::Missing
            | CallerFault::Unknown
            | CallerFault::TooEarly
            | CallerFault::Expired
            | CallerFault::Ambiguous
            | CallerFault::Token(_),
        ) => Some(Strike::Unauthorized),
        Rejection::Signature(_) => Some(Strike::Signature),
        Rejection::Head(_) | Rejection::HeadTimeout => Some(Strike::Head),
        // Browsers send a session that is over until they are told of something new; nobody guesses what is sealed.
        Rejection::Caller(CallerFault::Session(_))
        | Rejection::Denied(_)
        | Rejection::CoolingDown { .. }
        | Rejection::OverBudget(_)
        | Rejection::HttpsRequired
        | Rejection::Path(_)
        | Rejection::NotFound
        | Rejection::Method { .. }
        | Rejection::CrossSite
        | Rejection::SessionSource(_)
        | Rejection::SessionsUnavailable
        | Rejection::Scope
        | Rejection::Limited
        | Rejection::Crowded
        | Rejection::LimitsUnreachable
        | Rejection::BodyTooLarge
        | Rejection::BodyTimeout
        | Rejection::LengthRequired
        | Rejection::Busy
        | Rejection::Replayed
        | Rejection::Pending
        | Rejection::Unsignable
        | Rejection::Mesh
        | Rejection::InvalidJson
        | Rejection::BadShare
        | Rejection::OutboxFull
        | Rejection::OutboxUnavailable
        | Rejection::Precondition
        | Rejection::Range { .. }
        | Rejection::FolderUnavailable
        | Rejection::Handshake
        | Rejection::SocketVersion
        | Rejection::TooManySockets
        | Rejection::Unreachable
        | Rejection::BadUpstream
        | Rejection::UpstreamTimeout
        | Rejection::NoAddress
        | Rejection::Internal => None,
    }
}

/// Everyone who cools down.
pub(super) fn cooldowns(site: &Site) -> Value {
    let all = site.limiter.strikes().cooling_down(site.tick(Instant::now()));
    json!({ "cooldowns": all.iter().map(told).collect::<Vec<Value>>() })
}

fn told(one: &CoolDown) -> Value {
    let strikes: serde_json::Map<String, Value> = Strike::ALL
        .iter()
        .zip(one.strikes)
        .map(|(strike, count)| (strike.word().to_owned(), count.into()))
        .collect();
    json!({
        "prefix": one.prefix.to_string(),
        "ends_in": one.ends_in_secs,
        "pause": one.pause_secs,
        "times": one.times,
        "strikes": strikes,
    })
}

/// Ends one pause; whether there was one.
pub(super) fn lift(site: &Site, prefix: Prefix) -> bool {
    let lifted = site.limiter.strikes().lift(prefix, site.tick(Instant::now()));
    if lifted {
        tracing::info!(%prefix, "a cool-down is lifted");
    }
    lifted
}

/// Ends all pauses; how many there were.
pub(super) fn lift_all(site: &Site) -> usize {
    let lifted = site.limiter.strikes().lift_all(site.tick(Instant::now()));
    tracing::info!(lifted, "all cool-downs are lifted");
    lifted
}
