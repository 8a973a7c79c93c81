//! What is told of a finished exchange: one line in the access log with the decision trail, and counts.
//!
//! Nothing that a client sends becomes a metric's label, and neither queries nor credentials are told.

use super::abuse;
use super::exchange::{Exchange, RequestId};
use super::insight;
use super::limits as told;
use super::line::{Line, member};
use super::live::{Live, Site, unix_now};
use crate::admission::Rejection;
use crate::identity::address::AddressText;
use crate::ids::Name;
use crate::limits::Standing;
use crate::signatures::Failure;
use std::net::IpAddr;
use std::time::Duration;

/// The status that is logged when the client left before an answer (as nginx has it).
pub(super) const CLIENT_GONE: u16 = 499;

/// What was asked for, what was answered, and how much passed each way.
pub(super) struct Seen<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) bytes_in: usize,
    pub(super) bytes_out: usize,
}

/// Counts and tells a finished exchange.
pub(super) fn finished(
    site: &Site,
    exchange: &mut Exchange,
    seen: &Seen<'_>,
    error: Option<&pingora::Error>,
) {
    let whole = exchange.live.clone();
    let Some(live) = whole.as_ref() else { return };
    let status = seen.status;
    told::settle(site, live, exchange, status);
    let took = exchange.started.elapsed();
    let series = live.series(exchange.trail.route);
    series.finished(status);
    if exchange.socket.is_none() {
        series.took(took.as_secs_f64());
    }
    insight::count(site, live, exchange, seen, took);
    if let Some(rejection) = &exchange.rejection {
        refused(site, live, exchange, rejection);
        if let Some(client) = exchange.trail.client {
            abuse::strike(site, live, client, rejection);
        }
    }
    if let Some(verified) = &exchange.verified {
        signatures(site, scheme(live, exchange), verified);
    }
    if site.access_log.is_on() {
        let line = line(live, exchange, seen, took, error);
        site.access_log.line(exchange.arrived, &line);
    }
}

fn refused(site: &Site, live: &Live, exchange: &Exchange, rejection: &Rejection) {
    let code = rejection.answer().code;
    site.metrics.refusals.with_label_values(&[code]).inc();
    site.ledger.refused(exchange, code);
    match rejection {
        Rejection::Limited | Rejection::Crowded => {
            for name in violated(live, exchange) {
                site.metrics.limited.with_label_values(&[name]).inc();
            }
        }
        Rejection::Denied(_) => {
            let list = exchange.trail.listed.and_then(|listed| live.policy.lists.name(listed));
            site.metrics.denied.with_label_values(&[list.map_or("", Name::as_str)]).inc();
        }
        Rejection::Signature(_) => {
            site.metrics.signatures.with_label_values(&[scheme(live, exchange), code]).inc();
        }
        _ => {}
    }
}

/// What the route verifies by.
fn scheme(live: &Live, exchange: &Exchange) -> &'static str {
    let verify = exchange.trail.route.and_then(|index| live.policy.routes[index].verify.as_ref());
    verify.map_or("none", |verify| verify.name)
}

fn signatures(site: &Site, scheme: &str, verified: &crate::signatures::Verified) {
    let count = |result: &str, n: usize| {
        if n > 0 {
            site.metrics.signatures.with_label_values(&[scheme, result]).inc_by(n as u64);
        }
    };
    count("verified", verified.verified);
    count("unsigned", verified.unsigned);
    for (reason, n) in verified.dropped.by_reason() {
        count(reason.code(), n);
    }
}

/// What is wrong with a body, for the operator: clients get the code alone.
fn failed(failure: Failure) -> String {
    let at = failure.index.map(|index| format!("message {index}: ")).unwrap_or_default();
    match failure.detail {
        Some(detail) => format!("{at}{detail}"),
        None => format!("{at}{}", failure.reason.code()),
    }
}

fn violated<'a>(live: &'a Live, exchange: &'a Exchange) -> impl Iterator<Item = &'a str> {
    let limits = exchange.trail.limits(&live.policy).into_iter();
    limits.flat_map(|(rules, decision)| decision.violated_policies(rules)).map(Name::as_str)
}

/// Counts and tells a head that was refused before there was a session.
pub(super) fn refused_head(
    site: &Site,
    live: &Live,
    peer: Option<IpAddr>,
    rejection: &Rejection,
    id: &RequestId,
    took: Duration,
) {
    let answer = rejection.answer();
    let series = &live.unmatched;
    series.finished(answer.status);
    series.took(took.as_secs_f64());
    if let Some(peer) = peer {
        abuse::strike(site, live, peer, rejection);
    }
    site.metrics.refusals.with_label_values(&[answer.code]).inc();
    if site.access_log.is_on() {
        let mut line = Line::begin(id.as_str());
        if let Some(peer) = peer {
            line.word(member!("client"), AddressText::of(peer).as_bytes());
        }
        line.number(member!("status"), answer.status);
        line.word(member!("refused"), answer.code.as_bytes());
        line.millis(member!("duration_ms"), took);
        site.access_log.line(unix_now(), &line);
    }
}

/// Counts and tells a request that was sent to `https`.
pub(super) fn redirected(site: &Site, live: &Live, peer: Option<IpAddr>, id: &RequestId) {
    const STATUS: u16 = 308;
    live.unmatched.finished(STATUS);
    live.unmatched.took(0.0);
    if site.access_log.is_on() {
        let mut line = Line::begin(id.as_str());
        if let Some(peer) = peer {
            line.word(member!("client"), AddressText::of(peer).as_bytes());
        }
        line.number(member!("status"), STATUS);
        line.millis(member!("duration_ms"), Duration::ZERO);
        site.access_log.line(unix_now(), &line);
    }
}

fn line(
    live: &Live,
    exchange: &Exchange,
    seen: &Seen<'_>,
    took: Duration,
    error: Option<&pingora::Error>,
) -> Line {
    let trail = &exchange.trail;
    let mut line = Line::begin(exchange.request_id.as_str());
    if let Some(trace) = &exchange.trace {
        line.word(member!("trace"), trace.id().as_bytes());
    }
    if let Some(client) = trail.client {
        line.word(member!("client"), AddressText::of(client).as_bytes());
    }
    line.word(member!("method"), seen.method.as_bytes());
    if let Some(host) = exchange.host.as_ref().and_then(|host| host.to_str().ok()) {
        line.text(member!("host"), host);
    }
    line.text(member!("path"), seen.path);
    if let Some(index) = trail.route {
        line.told(&live.policy.routes[index].told);
    }
    match (&trail.credential, &trail.tenant) {
        (Some(credential), _) => line.told(&credential.told),
        (None, Some(tenant)) => line.told(&tenant.told),
        (None, None) => {}
    }
    line.number(member!("status"), seen.status);
    refusal(&mut line, live, exchange);
    limits(&mut line, live, exchange);
    if let Some(verified) = &exchange.verified {
        let results = [
            ("verified", verified.verified),
            ("unsigned", verified.unsigned),
            ("dropped", verified.dropped.total()),
        ];
        line.numbers(member!("signatures"), results);
    }
    if exchange.duplicate {
        line.word(member!("replay"), b"duplicate");
    }
    line.number(member!("bytes_in"), seen.bytes_in);
    line.number(member!("bytes_out"), seen.bytes_out);
    line.millis(member!("duration_ms"), took);
    passage(&mut line, exchange);
    if let Some(error) = error {
        line.text(member!("error"), error.etype().as_str());
    }
    line
}

fn refusal(line: &mut Line, live: &Live, exchange: &Exchange) {
    let Some(rejection) = &exchange.rejection else { return };
    line.word(member!("refused"), rejection.answer().code.as_bytes());
    if let Some(list) = exchange.trail.listed.and_then(|listed| live.policy.lists.name(listed)) {
        line.word(member!("list"), list.as_str().as_bytes());
    }
    if let Some(detail) = rejection.detail().or_else(|| exchange.failure.map(failed)) {
        line.text(member!("detail"), &detail);
    }
    if let Some(limit) = violated(live, exchange).next() {
        line.word(member!("limit"), limit.as_bytes());
    }
}

/// Where each limit that was asked stands: what remains, by name.
fn limits(line: &mut Line, live: &Live, exchange: &Exchange) {
    let Some((rules, decision)) = exchange.trail.limits(&live.policy) else { return };
    let standings = decision.standings().as_slice();
    if !standings.is_empty() {
        let remaining = |s: &Standing| (rules.rules()[s.rule].name().as_str(), s.remaining);
        line.numbers(member!("limits"), standings.iter().map(remaining));
    }
    if rules.has_shadows() {
        decision.would_refuse(rules).for_each(|name| line.text(member!("would_refuse"), name.as_str()));
    }
}

/// Who answered, or how a relayed socket went.
fn passage(line: &mut Line, exchange: &Exchange) {
    if let Some(pool) = &exchange.pool {
        line.told(&pool.told);
    }
    if let Some(took) = exchange.upstream_took {
        line.millis(member!("upstream_ms"), took);
    }
    if exchange.tries > 1 {
        line.number(member!("tries"), exchange.tries);
    }
    if let Some(end) = exchange.socket {
        let counts = [
            ("messages_in", Some(end.messages_in)),
            ("messages_out", Some(end.messages_out)),
            ("bytes_in", Some(end.bytes_in)),
            ("bytes_out", Some(end.bytes_out)),
            ("calls_refused", Some(end.refused).filter(|&refused| refused > 0)),
            ("close_code", end.code.map(u64::from)),
        ];
        let counts = counts.into_iter().filter_map(|(name, count)| Some((name, count?)));
        line.numbers(member!("websocket"), counts);
    }
}
