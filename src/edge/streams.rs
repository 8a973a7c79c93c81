//! HTTP/2: each stream is a request of its own, held to the guard that heads of HTTP/1.1 are held to, and then goes
//! the same way. The codec reads frames and gives one reading of each head; how many streams, how large heads, and how
//! often streams may be taken back is bounded here.
//!
//! WebSockets do not come over it: the edge offers no extended CONNECT (RFC 8441), so clients open an HTTP/1.1
//! connection for them.

use super::door::Guest;
use super::exchange::RequestId;
use super::front::{Front, LINGER, WRITE};
use super::observe;
use super::respond;
use super::tls::Secured;
use crate::admission::Rejection;
use crate::identity::head::{self, Bounds, Framed, HeadFault};
use async_trait::async_trait;
use http::{HeaderValue, Uri, header};
use parking_lot::Mutex;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, HttpSession, default_h2_options};
use pingora::server::ShutdownWatch;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most requests at once on one connection.
const STREAMS: u32 = 100;
/// What the codec adds to each field when it counts a head (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// What a client may send of a body, and of all bodies of a connection, before it is read.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What may wait for a slow client, for each stream.
const SEND_BUFFER: usize = 64 * 1024;

/// One connection's requests.
pub(super) struct Streams {
    front: Arc<Front>,
    bounds: Bounds,
    options: HttpServerOptions,
    began: Instant,
    /// Until a first head is whole.
    guest: Mutex<Option<Guest>>,
}

impl Streams {
    pub(super) fn new(front: Arc<Front>, guest: Guest) -> Option<Self> {
        let (bounds, idle) = front.idle_terms()?;
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(idle);
        Some(Self { front, bounds, options, began: Instant::now(), guest: Mutex::new(Some(guest)) })
    }
}

#[async_trait]
impl HttpServerApp for Streams {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let ServerSession::H2(mut stream) = session else { return None };
        let guest = self.guest.lock().take();
        if let Some(mut guest) = guest {
            guest.through(self.began.elapsed());
        }
        stream.set_write_timeout(Some(WRITE));
        stream.set_total_drain_timeout(Some(LINGER));
        let has_body = !stream.is_body_empty();
        if let Err(fault) = settle(stream.req_header_mut(), has_body, self.bounds) {
            self.refuse(&mut stream, Rejection::Head(fault)).await;
            return None;
        }
        self.front.proxy.process_new_http(ServerSession::H2(stream), shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        let list = self.bounds.max_bytes + FIELD_OVERHEAD * self.bounds.max_fields;
        options.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
        options.max_concurrent_streams(STREAMS);
        options.initial_window_size(STREAM_WINDOW);
        options.initial_connection_window_size(CONNECTION_WINDOW);
        options.max_send_buffer_size(SEND_BUFFER);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Streams {
    async fn refuse(&self, stream: &mut HttpSession, rejection: Rejection) {
        let site = &self.front.site;
        let whole = site.live.load_full();
        let Some(live) = whole.as_ref() else { return };
        let id = RequestId::fresh();
        let secured = Secured::of(stream.digest().and_then(|digest| digest.ssl_digest.as_ref()));
        let peer = stream.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        observe::refused_head(site, live, peer, &rejection, &id, Duration::ZERO);
        let (head, body) = respond::framed(&rejection, &id, secured.as_deref());
        // A client that has left misses nothing.
        if stream.write_response_header(Box::new(head), false).is_ok() {
            drop(stream.write_body(body, true).await);
        }
    }
}

/// Holds a head to the guard, then gives it the shape that a head of HTTP/1.1 has, so that nobody behind this has to
/// know the difference: a Host field, a target that is a path, one Cookie field (RFC 9113 section 8.2.3), and
/// `Transfer-Encoding: chunked` where a body comes whose length is not known.
fn settle(head: &mut RequestHeader, has_body: bool, bounds: Bounds) -> Result<(), HeadFault> {
    let host = match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).map_err(|_| HeadFault::Host)?,
        None => head.headers.get(header::HOST).cloned().ok_or(HeadFault::Host)?,
    };
    head::frame(
        Framed {
            method: head.method.as_str().as_bytes(),
            target: head.raw_path(),
            host: host.as_bytes(),
            fields: head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
        },
        bounds,
    )?;
    let target = head.uri.path_and_query().cloned().ok_or(HeadFault::Target)?;
    let unsized_body = has_body && !head.headers.contains_key(header::CONTENT_LENGTH);
    let wrong = |_| HeadFault::FieldValue;
    if let Some(cookie) = one_cookie(head)? {
        head.insert_header(header::COOKIE, cookie).map_err(wrong)?;
    }
    head.insert_header(header::HOST, host).map_err(wrong)?;
    if unsized_body {
        head.insert_header(header::TRANSFER_ENCODING, "chunked").map_err(wrong)?;
    }
    head.set_uri(Uri::from(target));
    Ok(())
}

/// The crumbs of a cookie in one piece, where there are several.
fn one_cookie(head: &RequestHeader) -> Result<Option<HeaderValue>, HeadFault> {
    let crumbs: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return Ok(None);
    }
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map(Some).map_err(|_| HeadFault::FieldValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { max_bytes: 16 * 1024, max_fields: 64 };

    fn head(uri: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut builder = http::Request::builder().method("POST").version(http::Version::HTTP_2).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0.into()
    }

    fn check(uri: &str, fields: &[(&'static str, &str)], has_body: bool) -> Result<RequestHeader, HeadFault> {
        let mut head = head(uri, fields);
        settle(&mut head, has_body, BOUNDS).map(|()| head)
    }

    #[test]
    fn a_head_gets_the_shape_that_http_1_has() {
        let fields = [("cookie", "a=1"), ("x-other", "y"), ("cookie", "b=2")];
        let head = check("https://site.test:8443/a%2Fb?c=d", &fields, true).unwrap();
        assert_eq!(head.uri.to_string(), "/a%2Fb?c=d");
        assert_eq!(head.headers["host"], "site.test:8443");
        assert_eq!(head.headers["cookie"], "a=1; b=2");
        assert_eq!(head.headers["transfer-encoding"], "chunked");
    }

    #[test]
    fn a_length_or_no_body_needs_no_encoding() {
        let sized = check("https://a/", &[("content-length", "5")], true).unwrap();
        let none = check("https://a/", &[], false).unwrap();
        assert!([sized, none].iter().all(|head| !head.headers.contains_key("transfer-encoding")));
    }

    #[test]
    fn the_guard_holds_for_frames_too() {
        for (uri, field, fault) in [
            ("https://a/", ("content-length", "+5"), HeadFault::ContentLength),
            ("https://a/", ("expect", "more"), HeadFault::Expectation),
            ("https://a/", ("transfer-encoding", "chunked"), HeadFault::TransferEncoding),
            ("https://a/", ("connection", "close"), HeadFault::FieldName),
            ("https://a/", ("upgrade", "websocket"), HeadFault::FieldName),
            ("https://user@a/", ("x", "y"), HeadFault::Host),
        ] {
            assert_eq!(check(uri, &[field], false).err(), Some(fault), "{uri} {field:?}");
        }
        let many: Vec<_> = (0..65).map(|_| ("x", "y")).collect();
        assert_eq!(check("https://a/", &many, false).err(), Some(HeadFault::TooManyFields));
        let long = "y".repeat(17 * 1024);
        assert_eq!(check("https://a/", &[("x", long.as_str())], false).err(), Some(HeadFault::TooLarge));
    }
}
