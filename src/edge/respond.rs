//! Turns a refusal into an answer: JSON that names a stable code, and for limits a problem (RFC 9457) with
//! the fields that say when to come back.

use super::exchange::{Exchange, RequestId};
use super::headers;
use super::limits as limits_told;
use super::live::Live;
use super::verify;
use crate::admission::Rejection;
use crate::config::checked::Denial;
use crate::limits::headers::Problem;
use crate::limits::{Decision, RuleSet};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, response};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::proxy::Session;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CHALLENGE: &str = "Bearer realm=\"openclaw-edge\"";

/// Answers a refusal. Nothing was written to the client before.
pub(super) async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    rejection: Rejection,
) -> pingora::Result<()> {
    if rejection == Rejection::Denied(Denial::Close) {
        session.set_keepalive(None);
        exchange.rejection = Some(rejection);
        return Ok(());
    }
    let (head, body) = answer(exchange, &rejection);
    if rejection.closes() {
        session.set_keepalive(None);
    }
    exchange.rejection = Some(rejection);
    session.write_response_header(Box::new(ResponseHeader::from(head)), false).await?;
    session.write_response_body(Some(body), true).await
}

/// The answer to a refusal.
fn answer(exchange: &Exchange, rejection: &Rejection) -> (response::Parts, Bytes) {
    let mut head = http::Response::new(()).into_parts().0;
    head.status =
        StatusCode::from_u16(rejection.answer().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    head.headers.reserve(10);
    let body = body(rejection, exchange, &mut head.headers);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers.insert(header::CACHE_CONTROL, NO_STORE);
    head.headers.insert(headers::X_REQUEST_ID, exchange.request_id.field());
    fields(rejection, &mut head.headers);
    (head, body)
}

/// The same answer as it goes over the wire, for a request that no session was made for; the connection
/// stays. Also the length of its body.
pub(super) fn early(exchange: &Exchange, rejection: &Rejection) -> (Vec<u8>, usize) {
    let (head, body) = answer(exchange, rejection);
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.status.canonical_reason().unwrap_or("Refused").as_bytes());
    out.extend_from_slice(b"\r\n");
    // As a session writes them.
    ResponseHeader::from(head).header_to_h1_wire(&mut out);
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(get_cached_date().as_bytes());
    out.extend_from_slice(b"\r\nConnection: keep-alive\r\n\r\n");
    out.extend_from_slice(&body);
    (out, body.len())
}

/// Fields that a refusal brings along.
fn fields(rejection: &Rejection, fields: &mut HeaderMap) {
    let (name, value) = match rejection {
        Rejection::Caller(_) => (header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)),
        Rejection::Method { allow } => match HeaderValue::from_str(allow) {
            Ok(allow) => (header::ALLOW, allow),
            Err(_) => return,
        },
        Rejection::Replayed => (verify::X_REPLAY, verify::DUPLICATE),
        Rejection::CoolingDown { ends_in_secs } => (header::RETRY_AFTER, HeaderValue::from(*ends_in_secs)),
        Rejection::OverBudget(_)
        | Rejection::Busy
        | Rejection::TooManySockets
        | Rejection::NoAddress
        | Rejection::Pending
        | Rejection::LimitsUnreachable => (header::RETRY_AFTER, HeaderValue::from_static("1")),
        Rejection::OutboxFull | Rejection::OutboxUnavailable => {
            (header::RETRY_AFTER, HeaderValue::from_static("30"))
        }
        Rejection::SocketVersion => (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        _ => return,
    };
    fields.insert(name, value);
}

fn body(rejection: &Rejection, exchange: &Exchange, fields: &mut HeaderMap) -> Bytes {
    let answer = rejection.answer();
    let id = exchange.request_id.as_str();
    let live = exchange.live.as_ref().as_ref();
    let upstream = matches!(
        rejection,
        Rejection::Unreachable | Rejection::BadUpstream | Rejection::UpstreamTimeout | Rejection::NoAddress
    );
    let about = match &exchange.pool {
        Some(pool) if upstream => format!(",\"upstream\":\"{}\"", pool.name),
        Some(_) | None => String::new(),
    };
    let mut text = String::with_capacity(512);
    text.push('{');
    fields.insert(header::CONTENT_TYPE, JSON);
    if let Some(problem) = rejection.problem() {
        fields.insert(header::CONTENT_TYPE, PROBLEM);
        let limited = matches!(rejection, Rejection::Limited | Rejection::Crowded);
        let limits = live.filter(|_| limited).and_then(|live| told(live, exchange, fields));
        members(&mut text, problem, answer.status, limits);
    }
    for part in ["\"error\":\"", answer.error, "\",\"code\":\"", answer.code, "\"", &about] {
        text.push_str(part);
    }
    for part in [",\"request_id\":\"", id, "\"}\n"] {
        text.push_str(part);
    }
    Bytes::from(text)
}

/// The limits that were asked; the fields describe the one that keeps longest first.
fn told<'a>(
    live: &'a Live,
    exchange: &'a Exchange,
    fields: &mut HeaderMap,
) -> Option<(&'a RuleSet, &'a Decision)> {
    let (rules, decision) = exchange.trail.limits(&live.policy)?;
    limits_told::fields(rules, decision, None, live.policy.dialect, fields);
    Some((rules, decision))
}

/// The members of a problem (RFC 9457), up to our own.
fn members(text: &mut String, problem: Problem, status: u16, limits: Option<(&RuleSet, &Decision)>) {
    let mut digits = itoa::Buffer::new();
    for part in ["\"type\":\"", problem.type_uri, "\",\"title\":\"", problem.title, "\",\"status\":"] {
        text.push_str(part);
    }
    text.push_str(digits.format(status));
    text.push_str(",\"violated-policies\":[");
    let names = limits.into_iter().flat_map(|(rules, decision)| decision.violated_policies(rules));
    for (place, name) in names.enumerate() {
        text.push_str(if place == 0 { "\"" } else { ",\"" });
        text.push_str(name.as_str());
        text.push('"');
    }
    text.push_str("],");
}

/// The whole answer to a head that was refused before there was a session; the connection closes after it.
pub(super) fn raw(rejection: &Rejection, id: &RequestId) -> Vec<u8> {
    let answer = rejection.answer();
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let id = id.as_str();
    let mut body = String::from("{");
    let kind = match rejection.problem() {
        Some(problem) => {
            members(&mut body, problem, answer.status, None);
            "application/problem+json"
        }
        None => "application/json",
    };
    for part in ["\"error\":\"", answer.error, "\",\"code\":\"", answer.code] {
        body.push_str(part);
    }
    for part in ["\",\"request_id\":\"", id, "\"}\n"] {
        body.push_str(part);
    }
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-request-id: {id}\r\nconnection: close\r\n\r\n{body}",
        answer.status,
        reason.unwrap_or("Refused"),
        body.len(),
    )
    .into_bytes()
}
