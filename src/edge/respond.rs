//! Turns a refusal into an answer: JSON that names a stable code, and for limits a problem (RFC 9457) with
//! the fields that say when to come back.

use super::exchange::{Exchange, RequestId};
use super::headers;
use super::limits as limits_told;
use super::live::Live;
use super::tls::Secured;
use super::verify;
use crate::admission::Rejection;
use crate::config::checked::Denial;
use crate::identity::head::{self, Bounds};
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
/// Browsers ask their user: the key goes where the password does.
const ASK: &str = "Basic realm=\"openclaw-edge\", charset=\"UTF-8\"";

/// Answers a refusal. Nothing was written to the client before.
pub(super) async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    rejection: Rejection,
) -> pingora::Result<()> {
    if rejection == Rejection::Denied(Denial::Close) {
        session.set_keepalive(None);
        exchange.secured.iter().for_each(|secured| secured.close());
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
    headers::keep_to_https(&mut head.headers, exchange.secured.as_deref());
    fields(rejection, &mut head.headers);
    if exchange.asks {
        head.headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(ASK));
    }
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
        Rejection::Range { length } => match HeaderValue::try_from(format!("bytes */{length}")) {
            Ok(value) => (header::CONTENT_RANGE, value),
            Err(_) => return,
        },
        Rejection::Replayed => (verify::X_REPLAY, verify::DUPLICATE),
        Rejection::CoolingDown { ends_in_secs } => (header::RETRY_AFTER, HeaderValue::from(*ends_in_secs)),
        Rejection::OverBudget(_)
        | Rejection::Busy
        | Rejection::TooManySockets
        | Rejection::NoAddress
        | Rejection::Pending
        | Rejection::FolderUnavailable
        | Rejection::SessionsUnavailable
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
pub(super) fn raw(rejection: &Rejection, id: &RequestId, secured: Option<&Secured>) -> Vec<u8> {
    let answer = rejection.answer();
    let reason = http::StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let (kind, body) = plain(rejection, id);
    let hsts = secured.and_then(|secured| secured.hsts.as_ref()?.to_str().ok());
    let hsts = hsts.map(|hsts| format!("strict-transport-security: {hsts}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-request-id: {}\r\n{hsts}connection: close\r\n\r\n{body}",
        answer.status,
        reason.unwrap_or("Refused"),
        body.len(),
        id.as_str(),
    )
    .into_bytes()
}

/// The same for a head in frames, whose connection goes on.
pub(super) fn framed(
    rejection: &Rejection,
    id: &RequestId,
    secured: Option<&Secured>,
) -> (ResponseHeader, Bytes) {
    let mut head = http::Response::new(()).into_parts().0;
    head.status =
        StatusCode::from_u16(rejection.answer().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (kind, body) = plain(rejection, id);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers.insert(header::CACHE_CONTROL, NO_STORE);
    head.headers.insert(headers::X_REQUEST_ID, id.field());
    headers::keep_to_https(&mut head.headers, secured);
    (ResponseHeader::from(head), Bytes::from(body))
}

/// What a refusal says of which nothing but the head is known: its type and its text.
fn plain(rejection: &Rejection, id: &RequestId) -> (&'static str, String) {
    let answer = rejection.answer();
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
    for part in ["\",\"request_id\":\"", id.as_str(), "\"}\n"] {
        body.push_str(part);
    }
    (kind, body)
}

/// The answer that sends a request to `https`, where it may be sent there: what has a body, or changes something, has
/// been heard by everyone on the way already, and is better told so.
pub(super) fn redirect(bytes: &[u8], bounds: Bounds, port: u16) -> Option<(Vec<u8>, RequestId)> {
    let parts = head::parts(bytes, bounds)?;
    if !matches!(parts.method, b"GET" | b"HEAD") {
        return None;
    }
    let (_, host) = parts.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"))?;
    let host = without_port(std::str::from_utf8(host).ok()?);
    let target = std::str::from_utf8(parts.target).ok()?;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let id = RequestId::fresh();
    let answer = format!(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://{host}{port}{target}\r\ncontent-length: 0\r\n\
         cache-control: no-store\r\nx-request-id: {}\r\nconnection: keep-alive\r\n\r\n",
        id.as_str()
    );
    Some((answer.into_bytes(), id))
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => &host[..at],
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { max_bytes: 16_384, max_fields: 64 };

    fn check(head: &str, port: u16) -> Option<String> {
        let (answer, _) = redirect(head.as_bytes(), BOUNDS, port)?;
        let answer = String::from_utf8(answer).unwrap();
        answer.lines().find_map(|line| line.strip_prefix("location: ")).map(str::to_owned)
    }

    #[test]
    fn a_look_is_sent_to_the_same_place_over_https() {
        let get = |host: &str| format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(check(&get("site.test"), 443).as_deref(), Some("https://site.test/a?b=c"));
        assert_eq!(check(&get("site.test:80"), 8443).as_deref(), Some("https://site.test:8443/a?b=c"));
        assert_eq!(check(&get("[::1]:80"), 443).as_deref(), Some("https://[::1]/a?b=c"));
        assert_eq!(check(&get("[::1]"), 443).as_deref(), Some("https://[::1]/a?b=c"));
    }

    #[test]
    fn what_came_in_the_clear_and_changes_something_is_not_sent_on() {
        for head in ["POST /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a HTTP/1.0\r\n\r\n"] {
            assert_eq!(check(head, 443), None, "{head}");
        }
    }
}
