//! What is told of a finished exchange: one line in the access log with the decision trail, and counts.
//!
//! Nothing that a client sends becomes a metric's label, and neither queries nor credentials are told.

use super::exchange::{Exchange, RequestId};
use super::live::{Live, Site, unix_now};
use crate::admission::Rejection;
use crate::ids::Name;
use crate::limits::Standing;
use crate::metrics::RouteSeries;
use crate::signatures::Failure;
use http::header;
use pingora::proxy::Session;
use serde::{Serialize, Serializer};
use std::fmt::Display;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The status that is logged when the client left before an answer (as nginx has it).
const CLIENT_GONE: u16 = 499;

/// One line of the access log. Absent parts are left out.
#[derive(Serialize, Default)]
struct Line<'a> {
    #[serde(serialize_with = "text")]
    time: jiff::Timestamp,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Remaining<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<Signatures>,
    bytes_in: usize,
    bytes_out: usize,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket: Option<Socket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Remaining<'a> {
    name: &'a str,
    remaining: u32,
}

#[derive(Serialize)]
struct Signatures {
    verified: usize,
    unsigned: usize,
    dropped: usize,
}

#[derive(Serialize)]
struct Socket {
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
}

fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

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
        signatures(site, verified);
    }
    if site.access_log.is_on() {
        tell(site, &line(live, exchange, session, status, took, error));
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
        Rejection::Signature(_) => site.metrics.signatures.with_label_values(&[code]).inc(),
        _ => {}
    }
}

fn signatures(site: &Site, verified: &crate::signatures::Verified) {
    let count = |result: &str, n: usize| {
        if n > 0 {
            site.metrics.signatures.with_label_values(&[result]).inc_by(n as u64);
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

fn line<'a>(
    live: &'a Live,
    exchange: &'a Exchange,
    session: &'a Session,
    status: u16,
    took: Duration,
    error: Option<&'a pingora::Error>,
) -> Line<'a> {
    let head = session.req_header();
    let trail = &exchange.trail;
    Line {
        time: timestamp(exchange.arrived),
        request_id: exchange.request_id.as_str(),
        client: trail.client,
        method: head.method.as_str(),
        host: head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        path: head.uri.path(),
        route: trail.route.map(|index| live.policy.routes[index].name.as_str()),
        tenant: trail.tenant.as_ref().map(|tenant| tenant.id.as_str()),
        credential: trail.credential.as_ref().map(|credential| credential.id.as_str()),
        status,
        refused: exchange.rejection.as_ref().map(|rejection| rejection.answer().code),
        detail: exchange
            .rejection
            .as_ref()
            .and_then(Rejection::detail)
            .or_else(|| exchange.failure.map(failed)),
        limit: violated(live, exchange).next(),
        limits: remaining(live, exchange),
        signatures: exchange.verified.as_ref().map(|verified| Signatures {
            verified: verified.verified,
            unsigned: verified.unsigned,
            dropped: verified.dropped.total(),
        }),
        bytes_in: session.body_bytes_read(),
        bytes_out: session.body_bytes_sent(),
        duration_ms: millis(took),
        upstream: exchange.pool.as_ref().map(|pool| pool.name.as_str()),
        upstream_ms: exchange.upstream_took.map(millis),
        tries: (exchange.tries > 1).then_some(exchange.tries),
        websocket: exchange.socket.map(|end| Socket {
            messages_in: end.messages_in,
            messages_out: end.messages_out,
            bytes_in: end.bytes_in,
            bytes_out: end.bytes_out,
            close_code: end.code,
        }),
        error: error.map(|error| error.etype().as_str()),
    }
}

fn remaining<'a>(live: &'a Live, exchange: &'a Exchange) -> Vec<Remaining<'a>> {
    let Some((rules, decision)) = exchange.trail.limits(&live.policy) else { return Vec::new() };
    let told = |standing: &Standing| Remaining {
        name: rules.rules()[standing.rule].name().as_str(),
        remaining: standing.remaining,
    };
    decision.standings().as_slice().iter().map(told).collect()
}

/// Counts and tells a head that was refused before there was a session.
pub(super) fn refused_head(
    site: &Site,
    series: &RouteSeries,
    peer: Option<IpAddr>,
    rejection: &Rejection,
    id: &RequestId,
    began: Instant,
) {
    let answer = rejection.answer();
    series.finished(answer.status);
    series.took(began.elapsed().as_secs_f64());
    site.metrics.refusals.with_label_values(&[answer.code]).inc();
    if site.access_log.is_on() {
        let line = Line {
            time: timestamp(unix_now()),
            request_id: id.as_str(),
            client: peer,
            status: answer.status,
            refused: Some(answer.code),
            duration_ms: millis(began.elapsed()),
            ..Line::default()
        };
        tell(site, &line);
    }
}

fn tell(site: &Site, line: &Line<'_>) {
    let mut out = Vec::with_capacity(640);
    match serde_json::to_writer(&mut out, line) {
        Ok(()) => {
            out.push(b'\n');
            site.access_log.line(&out);
        }
        Err(error) => tracing::error!(%error, "an access-log line could not be made"),
    }
}

fn timestamp(unix: Duration) -> jiff::Timestamp {
    // Milliseconds are what a person can use; the year 9999 is far.
    i64::try_from(unix.as_millis())
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default()
}

/// Milliseconds with three places.
fn millis(time: Duration) -> f64 {
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}
