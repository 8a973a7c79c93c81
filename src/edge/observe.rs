//! What is told of a finished exchange: one line in the access log with the decision trail, and counts.
//!
//! Nothing that a client sends becomes a metric's label, and neither queries nor credentials are told.

use super::exchange::{Exchange, RequestId};
use super::line::Line;
use super::live::{Live, Site, unix_now};
use crate::admission::Rejection;
use crate::ids::Name;
use crate::metrics::RouteSeries;
use crate::signatures::Failure;
use http::header;
use pingora::proxy::Session;
use std::net::IpAddr;
use std::time::Duration;

/// The status that is logged when the client left before an answer (as nginx has it).
const CLIENT_GONE: u16 = 499;

/// Counts and tells a finished exchange.
pub(super) fn finished(site: &Site, exchange: &Exchange, session: &Session, error: Option<&pingora::Error>) {
    let Some(live) = exchange.live.as_ref() else { return };
    let status = session.response_written().map_or(CLIENT_GONE, |head| head.status.as_u16());
    let took = exchange.started.elapsed();
    let series = live.series(exchange.trail.route);
    series.finished(status);
    if exchange.socket.is_none() {
        series.took(took.as_secs_f64());
    }
    if let Some(rejection) = &exchange.rejection {
        refused(site, live, exchange, rejection);
    }
    if let Some(verified) = &exchange.verified {
        signatures(site, scheme(live, exchange), verified);
    }
    if site.access_log.is_on() {
        site.access_log.line(&line(live, exchange, session, status, took, error));
    }
}

fn refused(site: &Site, live: &Live, exchange: &Exchange, rejection: &Rejection) {
    let code = rejection.answer().code;
    site.metrics.refusals.with_label_values(&[code]).inc();
    match rejection {
        Rejection::Limited => {
            for name in violated(live, exchange) {
                site.metrics.limited.with_label_values(&[name]).inc();
            }
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
    series: &RouteSeries,
    peer: Option<IpAddr>,
    rejection: &Rejection,
    id: &RequestId,
    took: Duration,
) {
    let answer = rejection.answer();
    series.finished(answer.status);
    series.took(took.as_secs_f64());
    site.metrics.refusals.with_label_values(&[answer.code]).inc();
    if site.access_log.is_on() {
        let mut line = Line::begin(unix_now(), id.as_str());
        if let Some(peer) = peer {
            line.display("client", peer);
        }
        line.number("status", answer.status);
        line.text("refused", answer.code);
        line.millis("duration_ms", took);
        site.access_log.line(&line.end());
    }
}

fn line(
    live: &Live,
    exchange: &Exchange,
    session: &Session,
    status: u16,
    took: Duration,
    error: Option<&pingora::Error>,
) -> Vec<u8> {
    let head = session.req_header();
    let trail = &exchange.trail;
    let mut line = Line::begin(exchange.arrived, exchange.request_id.as_str());
    if let Some(client) = trail.client {
        line.display("client", client);
    }
    line.text("method", head.method.as_str());
    if let Some(host) = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()) {
        line.text("host", host);
    }
    line.text("path", head.uri.path());
    if let Some(index) = trail.route {
        line.text("route", live.policy.routes[index].name.as_str());
    }
    if let Some(tenant) = &trail.tenant {
        line.text("tenant", tenant.id.as_str());
    }
    if let Some(credential) = &trail.credential {
        line.text("credential", credential.id.as_str());
    }
    line.number("status", status);
    refusal(&mut line, live, exchange);
    limits(&mut line, live, exchange);
    if let Some(verified) = &exchange.verified {
        line.group("signatures", |line| {
            line.number("verified", verified.verified);
            line.number("unsigned", verified.unsigned);
            line.number("dropped", verified.dropped.total());
        });
    }
    if exchange.duplicate {
        line.text("replay", "duplicate");
    }
    line.number("bytes_in", session.body_bytes_read());
    line.number("bytes_out", session.body_bytes_sent());
    line.millis("duration_ms", took);
    passage(&mut line, exchange);
    if let Some(error) = error {
        line.text("error", error.etype().as_str());
    }
    line.end()
}

fn refusal(line: &mut Line, live: &Live, exchange: &Exchange) {
    let Some(rejection) = &exchange.rejection else { return };
    line.text("refused", rejection.answer().code);
    if let Some(detail) = rejection.detail().or_else(|| exchange.failure.map(failed)) {
        line.text("detail", &detail);
    }
    if let Some(limit) = violated(live, exchange).next() {
        line.text("limit", limit);
    }
}

/// Where each limit that was asked stands: what remains, by name.
fn limits(line: &mut Line, live: &Live, exchange: &Exchange) {
    let Some((rules, decision)) = exchange.trail.limits(&live.policy) else { return };
    let standings = decision.standings().as_slice();
    if standings.is_empty() {
        return;
    }
    line.group("limits", |line| {
        for standing in standings {
            line.number(rules.rules()[standing.rule].name().as_str(), standing.remaining);
        }
    });
}

/// Who answered, or how a relayed socket went.
fn passage(line: &mut Line, exchange: &Exchange) {
    if let Some(pool) = &exchange.pool {
        line.text("upstream", &pool.name);
    }
    if let Some(took) = exchange.upstream_took {
        line.millis("upstream_ms", took);
    }
    if exchange.tries > 1 {
        line.number("tries", exchange.tries);
    }
    if let Some(end) = exchange.socket {
        line.group("websocket", |line| {
            line.number("messages_in", end.messages_in);
            line.number("messages_out", end.messages_out);
            line.number("bytes_in", end.bytes_in);
            line.number("bytes_out", end.bytes_out);
            if let Some(code) = end.code {
                line.number("close_code", code);
            }
        });
    }
}
