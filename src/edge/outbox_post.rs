//! One call to another mesh: a delivery is posted, and the answer says what becomes of it.
//!
//! Blocking, with a bound on its time; no redirect is followed, since the token is for one address alone. What a
//! mesh says beyond its status is not read.

use super::outbox_journal::Id;
use crate::config::checked::{Mesh, Peer};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);

/// How a mesh is called.
pub(super) struct Post {
    mesh: Arc<Mesh>,
    agent: Agent,
    timeout: Duration,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) outcome: Outcome,
    /// 0 where there was no answer.
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The mesh took it.
    Taken,
    /// The mesh had taken it before: an earlier answer got lost.
    Duplicate,
    /// It will never take it as it is.
    Refused,
    /// It may take it later.
    Failed,
}

impl Outcome {
    /// As metrics have it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Post {
    /// To this mesh; connections of the one before are used on where its time is the same.
    pub(super) fn of(mesh: &Arc<Mesh>, before: Option<&Self>) -> Self {
        let timeout = mesh.peer.as_ref().map_or(CONNECT, |peer| peer.timeout);
        let agent = before.filter(|before| before.timeout == timeout).map(|before| before.agent.clone());
        Self { mesh: mesh.clone(), agent: agent.unwrap_or_else(|| agent_of(timeout)), timeout }
    }

    /// Posts a delivery.
    pub(super) fn call(&self, id: Id, body: &[u8]) -> Call {
        let failed = Call { outcome: Outcome::Failed, status: 0, retry_after: None };
        let Some(Peer { url, token, .. }) = &self.mesh.peer else { return failed };
        let mut request = self
            .agent
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", id.text());
        if let Some(own) = &self.mesh.own_id {
            request = request.header("X-Mesh-Id", own.as_str());
        }
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, [b"Bearer ", token.expose()].concat());
        }
        match request.send(body) {
            Ok(answer) => judge(answer.status(), answer.headers()),
            // Whether it was taken nobody knows: it goes again, under the same id.
            Err(error) => {
                tracing::debug!(%error, mesh = %self.mesh.id, "a call failed");
                failed
            }
        }
    }
}

fn agent_of(timeout: Duration) -> Agent {
    let found = rustls_native_certs::load_native_certs().certs;
    let roots = if found.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::from(
            found.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect::<Vec<_>>(),
        )
    };
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .timeout_connect(Some(timeout.min(CONNECT)))
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("openclaw-edge/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build()
        .new_agent()
}

/// What an answer means. Keys and addresses can be put right, so 401, 403 and 404 are no reason to lay aside.
fn judge(status: StatusCode, fields: &HeaderMap) -> Call {
    let again = fields.get("x-replay").is_some_and(|value| value == "duplicate");
    let outcome = match status.as_u16() {
        200..=299 | 409 if again => Outcome::Duplicate,
        200..=299 => Outcome::Taken,
        400 | 405 | 410 | 411 | 413 | 414 | 415 | 422 => Outcome::Refused,
        _ => Outcome::Failed,
    };
    Call { outcome, status: status.as_u16(), retry_after: retry_after(fields, SystemTime::now()) }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(fields: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = fields.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(at.as_second()).ok()?);
    at.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use std::time::UNIX_EPOCH;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn an_answer_says_what_becomes_of_a_delivery() {
        let judged =
            |status: u16, pairs: &[_]| judge(StatusCode::from_u16(status).unwrap(), &fields(pairs)).outcome;
        let replay = [("x-replay", "duplicate")];
        assert_eq!(judged(200, &[]), Outcome::Taken);
        assert_eq!(judged(202, &[]), Outcome::Taken);
        assert_eq!(judged(200, &replay), Outcome::Duplicate);
        assert_eq!(judged(409, &replay), Outcome::Duplicate);
        for status in [400, 413, 422] {
            assert_eq!(judged(status, &[]), Outcome::Refused, "{status}");
        }
        for status in [301, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503] {
            assert_eq!(judged(status, &[]), Outcome::Failed, "{status}");
        }
    }

    #[test]
    fn a_mesh_may_say_when_to_come_back() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 30);
        let asked = |value| retry_after(&fields(&[("retry-after", value)]), now);
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1983 08:49:37 GMT"), None);
        assert_eq!(asked("soon"), None);
    }
}
