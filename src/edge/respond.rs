//! Turns a refusal into an answer: JSON that names a stable code, and for limits a problem (RFC 9457) with
//! the fields that say when to come back.

use super::exchange::{Exchange, RequestId};
use super::live::Live;
use crate::admission::Rejection;
use crate::limits::{Decision, RuleSet, headers as limits};
use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use std::fmt::Write as _;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Answers a refusal. Nothing was written to the client before.
pub(super) async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    rejection: Rejection,
) -> pingora::Result<()> {
    let answer = rejection.answer();
    let mut head = ResponseHeader::build(answer.status, Some(10))?;
    let body = body(&rejection, exchange, &mut head)?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    head.insert_header("x-request-id", exchange.request_id.field())?;
    fields(&rejection, &mut head)?;
    if rejection.closes() {
        session.set_keepalive(None);
    }
    exchange.rejection = Some(rejection);
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await
}

/// Fields that a refusal brings along.
fn fields(rejection: &Rejection, head: &mut ResponseHeader) -> pingora::Result<()> {
    match rejection {
        Rejection::Caller(_) => head.insert_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"openclaw-edge\""),
        ),
        Rejection::Method { allow } => head.insert_header(header::ALLOW, allow.as_str()),
        Rejection::Busy | Rejection::TooManySockets | Rejection::NoAddress => {
            head.insert_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
        }
        Rejection::SocketVersion => {
            head.insert_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        }
        _ => Ok(()),
    }
}

fn body(rejection: &Rejection, exchange: &Exchange, head: &mut ResponseHeader) -> pingora::Result<Bytes> {
    let answer = rejection.answer();
    let id = exchange.request_id.as_str();
    let live = exchange.live.as_ref().as_ref();
    if let (Rejection::Limited, Some(live)) = (rejection, live) {
        return limited(live, exchange, head);
    }
    head.insert_header(header::CONTENT_TYPE, JSON)?;
    let about = match (rejection, exchange.pool.as_ref().map(|pool| pool.name.as_str())) {
        (
            Rejection::Unreachable
            | Rejection::BadUpstream
            | Rejection::UpstreamTimeout
            | Rejection::NoAddress,
            Some(name),
        ) => format!(",\"upstream\":\"{name}\""),
        _ => String::new(),
    };
    let text = format!(
        "{{\"error\":\"{}\",\"code\":\"{}\"{about},\"request_id\":\"{id}\"}}\n",
        answer.error, answer.code
    );
    Ok(Bytes::from(text))
}

/// The problem of a spent limit names the rules; its fields describe the one that keeps longest.
fn limited(live: &Live, exchange: &Exchange, head: &mut ResponseHeader) -> pingora::Result<Bytes> {
    head.insert_header(header::CONTENT_TYPE, PROBLEM)?;
    let mut text = String::with_capacity(384);
    let problem = limits::QUOTA_EXCEEDED;
    let _ = write!(
        text,
        "{{\"type\":\"{}\",\"title\":\"{}\",\"status\":429,\"violated-policies\":[",
        problem.type_uri, problem.title
    );
    if let Some((rules, decision)) = exchange.trail.limits(&live.policy) {
        limit_fields(rules, decision, head)?;
        for (place, name) in decision.violated_policies(rules).enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\"{name}\"");
        }
    }
    let id = exchange.request_id.as_str();
    let _ = writeln!(
        text,
        "],\"error\":\"Too many requests\",\"code\":\"limit_exceeded\",\"request_id\":\"{id}\"}}"
    );
    Ok(Bytes::from(text))
}

/// Says where the limits stand, beside what an upstream says of its own.
pub(super) fn limit_fields(
    rules: &RuleSet,
    decision: &Decision,
    head: &mut ResponseHeader,
) -> pingora::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut text = String::with_capacity(96);
    let mut field = |name: &'static str, write: &dyn Fn(&mut String)| {
        text.clear();
        write(&mut text);
        if text.is_empty() { Ok(false) } else { head.append_header(name, text.as_str()) }
    };
    field(limits::RATE_LIMIT_POLICY, &|text| limits::write_rate_limit_policy(text, rules, decision))?;
    field(limits::RATE_LIMIT, &|text| limits::write_rate_limit(text, rules, decision))?;
    field("retry-after", &|text| limits::write_retry_after(text, decision))?;
    Ok(())
}

/// The whole answer to a head that was refused before there was a session; the connection closes after it.
pub(super) fn raw(rejection: &Rejection, id: &RequestId) -> Vec<u8> {
    let answer = rejection.answer();
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let id = id.as_str();
    let body =
        format!("{{\"error\":\"{}\",\"code\":\"{}\",\"request_id\":\"{id}\"}}\n", answer.error, answer.code);
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-request-id: {id}\r\nconnection: close\r\n\r\n{body}",
        answer.status,
        reason.unwrap_or("Refused"),
        body.len(),
    )
    .into_bytes()
}
