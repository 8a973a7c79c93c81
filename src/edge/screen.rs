//! What becomes of each frame of a client whose frames are checked: on to the gateway, or answered here.
//!
//! A refused call is answered in the gateway's own shape and the socket lives; only a storm of them ends
//! it. Frames of the gateway are not looked at.

use super::live::{Live, Site};
use crate::admission::GatewayEntry;
use crate::identity::caller::Credential;
use crate::limits::{Decision, MethodCode, RuleSet, Subject};
use crate::openclaw::frame::{self, Call};
use crate::openclaw::methods::{self, Denied, Role};
use crate::openclaw::{Scopes, names, reply};
use http::HeaderMap;
use prometheus::IntCounter;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const MINUTE: Duration = Duration::from_mins(1);

/// Why a storm of refused calls is ended: as gateways do.
pub(super) const STORM: (CloseCode, &str) = (CloseCode::Policy, "repeated refused calls");

/// What becomes of a frame.
pub(super) enum Verdict {
    /// It goes on as it came.
    Pass,
    /// It goes on as this text.
    PassAs(String),
    /// It does not go on; the client gets this.
    Answer(String),
    /// It does not go on, and nobody could be answered.
    Drop,
    /// One too many was refused: the client gets this, if anything, and the socket ends.
    End(Option<String>),
}

/// Where a socket leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To one gateway, which heard its `connect`.
    ToOne,
    /// To the multiplexer: frames say for which gateway they are, under old names too, and a `connect` is
    /// answered there.
    ToMany,
}

/// How many refusals a socket to the multiplexer gets, as one to a gateway does by default.
const MANYS_PATIENCE: usize = 60;

/// A client's socket, as its frames are judged.
pub(super) struct Screen<'l> {
    leads: Leads,
    site: &'l Site,
    rules: &'l RuleSet,
    subject: Subject,
    scopes: Scopes,
    role: Role,
    trace: Option<Trace>,
    patience: Patience,
    passed: IntCounter,
    /// Calls that were answered here.
    pub(super) refused: u64,
}

impl<'l> Screen<'l> {
    /// A socket that has connected in a role. `trace` is what its calls are told of, where they may be.
    pub(super) fn new(
        site: &'l Site,
        (rules, entry): (&'l RuleSet, &GatewayEntry),
        (subject, credential): (Subject, &Credential),
        (role, trace): (Role, Option<Trace>),
    ) -> Self {
        Self {
            leads: Leads::ToOne,
            site,
            rules,
            subject,
            scopes: credential.gateway,
            role,
            trace,
            patience: Patience::new(entry.max_refused),
            passed: site.metrics.calls.with_label_values(&["passed"]),
            refused: 0,
        }
    }

    /// A socket to the multiplexer, whose callers are operators; to which gateways a trace goes on is decided there.
    pub(super) fn to_many(
        site: &'l Site,
        rules: &'l RuleSet,
        (subject, credential): (Subject, &Credential),
        trace: Option<Trace>,
    ) -> Self {
        Self {
            leads: Leads::ToMany,
            site,
            rules,
            subject,
            scopes: credential.gateway,
            role: Role::Operator,
            trace,
            patience: Patience::new(MANYS_PATIENCE),
            passed: site.metrics.calls.with_label_values(&["passed"]),
            refused: 0,
        }
    }

    /// Judges a frame.
    pub(super) fn judge(&mut self, text: &[u8]) -> Verdict {
        let (result, answer) = match frame::read(text) {
            Ok(call) => match self.refuse(&call, text.len()) {
                None => {
                    self.passed.inc();
                    return self.pass(&call, text);
                }
                Some((result, answer)) => (result, Some(answer)),
            },
            Err((fault, id)) => {
                let answer = id.map(|id| reply::invalid(id, &format!("invalid request frame: {fault}")));
                ("malformed", answer)
            }
        };
        let answer = match self.leads {
            Leads::ToOne => answer,
            Leads::ToMany => answer.map(|answer| reply::addressed(frame::gateway(text), &answer)),
        };
        self.site.metrics.calls.with_label_values(&[result]).inc();
        self.refused += 1;
        match answer {
            answer if self.patience.is_over(Instant::now()) => Verdict::End(answer),
            Some(answer) => Verdict::Answer(answer),
            None => Verdict::Drop,
        }
    }

    /// Why a call does not go on, and what its caller is told.
    fn refuse(&self, call: &Call<'_>, bytes: usize) -> Option<(&'static str, String)> {
        let name = match (self.leads, call.method) {
            (Leads::ToOne, "connect") => {
                return Some(("denied", reply::invalid(call.id, "this socket is connected already")));
            }
            (Leads::ToMany, "connect") => return None,
            (Leads::ToOne, name) => name,
            (Leads::ToMany, name) => names::today(name, call.params).method,
        };
        let method = methods::find(name);
        if let Err(denied) = methods::allow(method, self.role, self.scopes) {
            return Some(match denied {
                Denied::Scope(_) | Denied::Role(_) => ("denied", reply::denied(call.id, denied)),
            });
        }
        if self.rules.is_empty() {
            return None;
        }
        let subject = Subject {
            method: MethodCode::of_call(method),
            body: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..self.subject
        };
        let decision = self.site.limiter.decide(self.rules, &subject, self.site.tick(Instant::now()));
        self.tell(&decision);
        let seconds = decision.retry_after_secs()?;
        let names = decision.violated_policies(self.rules).map(crate::ids::Name::as_str);
        Some(("limited", reply::limited(call.id, call.method, seconds, names)))
    }

    fn tell(&self, decision: &Decision) {
        let metrics = &self.site.metrics;
        for name in decision.violated_policies(self.rules) {
            metrics.limited.with_label_values(&[name.as_str()]).inc();
        }
        if self.rules.has_shadows() {
            for name in decision.would_refuse(self.rules) {
                metrics.would_limit.with_label_values(&[name.as_str()]).inc();
            }
        }
    }

    /// Says on whose trace the call is, where it does not say so itself.
    fn pass(&self, call: &Call<'_>, text: &[u8]) -> Verdict {
        let Some(trace) = self.trace.as_ref().filter(|_| !call.is_traced) else { return Verdict::Pass };
        let Ok(front) = std::str::from_utf8(&text[..call.close]) else { return Verdict::Pass };
        Verdict::PassAs(format!("{front},\"traceparent\":\"{}\"}}", trace.child()))
    }
}

/// Whom a call counts for: as the upgrade did.
pub(super) fn subject(exchange: &super::exchange::Exchange, live: &Live, route: usize) -> Option<Subject> {
    let trail = &exchange.trail;
    Some(Subject {
        credential: trail.credential.as_ref().map(|credential| credential.number),
        node: trail.credential.as_ref().and_then(|credential| credential.node_number),
        tenant: trail.tenant.as_ref().map(|tenant| tenant.number),
        freed_by: trail.freed_by(),
        ..Subject::stranger(trail.client?, live.policy.routes[route].number)
    })
}

/// The trace that a request came on, or a socket was opened on (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    /// 32 hex digits.
    id: String,
    /// Two of them.
    flags: String,
}

impl Trace {
    /// What `traceparent` says, if it is one.
    pub(super) fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all("traceparent").iter();
        let text = values.next()?.to_str().ok()?;
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
        };
        let mut parts = text.split('-');
        let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let good = version == "00"
            && is_hex(id, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2)
            && id.bytes().any(|b| b != b'0')
            && span.bytes().any(|b| b != b'0')
            && parts.next().is_none()
            && values.next().is_none();
        good.then(|| Self { id: id.to_owned(), flags: flags.to_owned() })
    }

    /// Its 32 hex digits, as lines of the access log have it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A span of its own for one call.
    fn child(&self) -> String {
        format!("00-{}-{:016x}-{}", self.id, fastrand::u64(1..), self.flags)
    }
}

/// How many refusals a socket still gets: as many as `most` at once, and as many anew within a minute.
struct Patience {
    step: Duration,
    most: Duration,
    paid_until: Option<Instant>,
}

impl Patience {
    fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        Self { step: MINUTE / most, most: (MINUTE / most) * most, paid_until: None }
    }

    /// Takes one more; whether that was one too many.
    fn is_over(&mut self, now: Instant) -> bool {
        let paid = self.paid_until.map_or(now, |until| until.max(now)) + self.step;
        self.paid_until = Some(paid);
        paid > now + self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn patience_ends_and_comes_back() {
        let (mut patience, now) = (Patience::new(3), Instant::now());
        assert_eq!([(); 4].map(|()| patience.is_over(now)), [false, false, false, true]);
        assert!(!patience.is_over(now + MINUTE * 2));
    }

    #[test]
    fn only_a_whole_trace_is_carried_on() {
        let of = |text: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert("traceparent", HeaderValue::from_static(text));
            Trace::of(&fields)
        };
        let trace = of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let child = trace.child();
        assert!(
            child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && child.ends_with("-01"),
            "{child}"
        );
        assert_eq!(child.len(), 55);
        assert!(!child.contains("00f067aa0ba902b7"));
        for bad in [
            "",
            "00-x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
