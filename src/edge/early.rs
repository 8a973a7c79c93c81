//! Refusals without a session: a connection whose last request was refused has its next head walked
//! through admission before anything is made for it, so that a flood costs little more than its heads.
//!
//! Only plain requests are looked at: HTTP/1.1, no body, nothing said about the connection. For any other,
//! and for any answer but a plain no, Pingora goes on with what was decided here: nothing is decided or
//! spent twice.

use super::exchange::Exchange;
use super::live::Site;
use super::observe::{self, Seen};
use super::proxy;
use super::respond;
use super::tls::Secured;
use crate::admission::Rejection;
use crate::identity::head;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::net::IpAddr;
use std::sync::Arc;

/// What came of a head.
pub(super) enum Early {
    /// It was refused, counted and told; this is the answer, and the connection stays.
    Refused(Vec<u8>),
    /// It was decided on; a session is to go on with it.
    Decided(Box<Exchange>),
    /// It was not looked at.
    Left,
}

/// Looks at a head that was examined.
#[cold]
pub(super) fn look(
    site: &Arc<Site>,
    (peer, secured): (Option<IpAddr>, Option<&Arc<Secured>>),
    bytes: &[u8],
) -> Early {
    let mut exchange = Box::new(Exchange::new(site));
    exchange.secured = secured.cloned();
    let whole = exchange.live.clone();
    let Some(live) = whole.as_ref() else { return Early::Left };
    let Some(request) = head::parts(bytes, live.head).as_ref().and_then(Request::of) else {
        return Early::Left;
    };
    let Request { method, path, fields } = &request;
    let verdict = proxy::admit(site, live, peer, (method, path, fields), &mut exchange);
    let rejection = match verdict {
        // What other edges count too is asked by a session: here nobody waits.
        Err(rejection) if is_plain(&rejection) && exchange.trail.subject.is_none() => rejection,
        verdict => {
            exchange.verdict = Some(verdict);
            return Early::Decided(exchange);
        }
    };
    let (answer, bytes_out) = respond::early(&exchange, &rejection);
    let status = rejection.answer().status;
    exchange.rejection = Some(rejection);
    let seen = Seen { method: method.as_str(), path, status, bytes_in: 0, bytes_out };
    observe::finished(site, &mut exchange, &seen, None);
    Early::Refused(answer)
}

/// Whether nothing but the answer follows from a refusal.
fn is_plain(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Limited
            | Rejection::Crowded
            | Rejection::CoolingDown { .. }
            | Rejection::Caller(_)
            | Rejection::Scope
            | Rejection::NotFound
            | Rejection::Method { .. }
            | Rejection::Path(_)
    )
}

/// A plain request.
struct Request<'a> {
    method: Method,
    path: &'a str,
    fields: HeaderMap,
}

impl<'a> Request<'a> {
    /// Nothing where the request is not plain.
    fn of(parts: &head::Parts<'a>) -> Option<Self> {
        if !parts.is_http11 || !parts.target.is_ascii() {
            return None;
        }
        let method = Method::from_bytes(parts.method).ok().filter(|method| method != Method::HEAD)?;
        let end = memchr::memchr(b'?', parts.target).unwrap_or(parts.target.len());
        let path = std::str::from_utf8(&parts.target[..end]).ok()?;
        let mut fields = HeaderMap::with_capacity(parts.fields.len());
        for (name, value) in &parts.fields {
            let name = HeaderName::from_bytes(name).ok()?;
            if concerns_connection(&name) {
                return None;
            }
            fields.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        Some(Self { method, path, fields })
    }
}

/// Whether a field announces a body or says what becomes of the connection.
fn concerns_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "content-length" | "expect" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::head::Bounds;

    fn check(head: &str) -> Option<(String, String, usize)> {
        let parts = head::parts(head.as_bytes(), Bounds { max_bytes: 16_384, max_fields: 64 })?;
        let Request { method, path, fields } = Request::of(&parts)?;
        Some((method.to_string(), path.to_owned(), fields.len()))
    }

    #[test]
    fn a_plain_request_is_read_as_it_came() {
        let found = check("GET /a/b%2Fc?d=/e?f HTTP/1.1\r\nHost: a\r\nX-API-Key:  k \r\n\r\n");
        assert_eq!(found, Some(("GET".to_owned(), "/a/b%2Fc".to_owned(), 2)));
    }

    #[test]
    fn bodies_and_words_about_the_connection_are_for_a_session() {
        for field in
            ["Connection: close", "Content-Length: 0", "Transfer-Encoding: chunked", "Upgrade: websocket"]
        {
            assert_eq!(check(&format!("POST /a HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")), None, "{field}");
        }
        assert_eq!(check("GET /a HTTP/1.0\r\nHost: a\r\n\r\n"), None);
        assert_eq!(check("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"), None);
        assert_eq!(check("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET"), None);
    }
}
