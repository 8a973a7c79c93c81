//! Sessions of browsers, and that there is a route for them.

use super::checked::{OverHttp, Sessions};
use super::checker::Checker;
use super::tree::Spot;
use super::{Surroundings, raw, secrets};
use crate::secret::Secret;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const MONTH: Duration = Duration::from_hours(30 * 24);
/// Shortest secret, in bytes.
const SHORTEST: usize = 32;
/// Fewest different bytes in it: 32 random digits have more, what is typed to fill 32 places has not.
const DIFFERENT: usize = 8;

/// Nothing when there are none, and when they have mistakes, which have been told.
pub(super) fn check(
    raw: &raw::Config,
    top: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Sessions> {
    let spot = top.key("sessions");
    let route = raw.routes.iter().position(|route| route.sessions);
    let Some(sessions) = &raw.sessions else {
        if let Some(index) = route.filter(|_| !spot.is_partial()) {
            let at = top.key("routes").item(index).key_at("sessions");
            let hint = "`sessions: { secret: { file: … } }` at the top";
            checker.hinted(at, "this route is for sessions, and there are none", hint);
        }
        return None;
    };
    if route.is_none() {
        let hint = "a route `{ name: auth, path: /auth/**, sessions: true }`";
        checker.lacks(top.key("routes"), "there are `sessions`, and no route where they begin", hint);
    }
    let secret = secret(&sessions.secret, spot.key("secret"), checker, around);
    let previous = match &sessions.previous_secret {
        Some(source) => self::secret(source, spot.key("previous_secret"), checker, around).map(Some),
        None => Some(None),
    };
    let bounds = (MINUTE, MONTH);
    let lifetime = checker.duration(spot.key("lifetime"), sessions.lifetime.as_deref(), 12 * HOUR, bounds);
    let idle = checker.duration(spot.key("idle"), sessions.idle.as_deref(), HOUR, bounds);
    Some(Sessions {
        secret: secret?,
        previous: previous?,
        lifetime: lifetime?,
        idle: idle?,
        over_http: if sessions.allow_http { OverHttp::Allowed } else { OverHttp::Refused },
    })
}

fn secret(
    source: &raw::SecretSource,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Secret> {
    let secret = secrets::resolve(source, spot, around, checker)?;
    let mut seen = [false; 256];
    secret.expose().iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let hint = "`openclaw-edge keys new` makes a good one";
    if secret.expose().len() < SHORTEST {
        let message = format!("this secret is weak: it is shorter than {SHORTEST} characters");
        checker.hinted(spot.at, message, hint);
        return None;
    }
    if seen.iter().filter(|seen| **seen).count() < DIFFERENT {
        checker.hinted(spot.at, "this secret is weak: it says the same again and again", hint);
        return None;
    }
    Some(secret)
}
