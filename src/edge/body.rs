//! Bodies: those that must be verified are held whole before the upstream is even connected to; all others
//! pass in pieces, counted.
//!
//! Holding is bounded in bytes (the route's), in time (the route's) and in number (the site's budget). The
//! last 64 KiB stay in Pingora's retry buffer, so that it offers the body to the next hook, where the
//! whole of it is put back (docs/architecture.md, "Held bodies").

use super::exchange::Exchange;
use super::live::{Live, Passage, Site};
use crate::admission::Rejection;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// Size of Pingora's retry buffer: what is left of a body must fit for it to be offered again.
const TAIL: usize = 64 * 1024;
/// Room that a body without a length gets at first.
const UNKNOWN: usize = 16 * 1024;

/// The length that a head declares; the head's guard saw to it that there is one reading.
pub(super) fn declared(fields: &HeaderMap) -> Option<usize> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether the client waits to be told to send its body.
fn waits(fields: &HeaderMap) -> bool {
    fields.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Bytes that a body is counted for before it comes; one without a length as the most that it may become.
pub(super) fn claim(session: &Session, live: &Live, route: usize) -> usize {
    let most = live.policy.routes[route].body_max;
    declared(&session.req_header().headers).map_or(most, |length| length.min(most))
}

/// Reads the whole body.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn hold(
    session: &mut Session,
    site: &Arc<Site>,
    live: &Live,
    route: usize,
) -> pingora::Result<Result<(Bytes, Passage), Rejection>> {
    let route = &live.policy.routes[route];
    let length = declared(&session.req_header().headers);
    if length.is_some_and(|length| length > route.body_max) {
        return Ok(Err(Rejection::BodyTooLarge));
    }
    // A body without a length is counted at the most that it may become.
    let claim = length.unwrap_or(route.body_max);
    let Some(passage) = site.hold(claim, live.max_held_bodies) else { return Ok(Err(Rejection::Busy)) };
    match pingora_timeout::timeout(route.body_timeout, read(session, length, route.body_max)).await {
        Ok(read) => Ok(read?.map(|body| (body, passage))),
        Err(_) => Ok(Err(Rejection::BodyTimeout)),
    }
}

async fn read(
    session: &mut Session,
    length: Option<usize>,
    most: usize,
) -> pingora::Result<Result<Bytes, Rejection>> {
    if waits(&session.req_header().headers) {
        session.write_continue_response().await?;
    }
    let mut body = BytesMut::with_capacity(length.unwrap_or(UNKNOWN).min(most));
    let mut armed = false;
    loop {
        if !armed && length.is_none_or(|length| length.saturating_sub(body.len()) <= TAIL) {
            session.enable_retry_buffering();
            armed = true;
        }
        match session.read_request_body().await? {
            None => break,
            Some(piece) if body.len() + piece.len() > most => return Ok(Err(Rejection::BodyTooLarge)),
            Some(piece) => body.extend_from_slice(&piece),
        }
    }
    // Only a body of unknown length beyond the retry buffer cannot be offered again.
    if body.is_empty() || session.get_retry_buffer().is_some() {
        Ok(Ok(body.freeze()))
    } else {
        Ok(Err(Rejection::LengthRequired))
    }
}

/// Reads and drops what a refused client still sends, within bounds, so that it gets to read the answer.
pub(super) async fn linger(session: &mut Session) {
    const MOST: usize = 8 * 1024 * 1024;
    let _ = pingora_timeout::timeout(Duration::from_secs(3), async {
        let mut seen = 0;
        while let Ok(Some(piece)) = session.read_request_body().await {
            seen += piece.len();
            if seen > MOST {
                break;
            }
        }
    })
    .await;
}

/// Counts a piece of a streamed body.
///
/// # Errors
/// When the route's bound is passed.
pub(super) fn count(exchange: &mut Exchange, most: usize, piece: Option<&Bytes>) -> Result<(), Rejection> {
    exchange.streamed += piece.map_or(0, Bytes::len);
    if exchange.streamed > most { Err(Rejection::BodyTooLarge) } else { Ok(()) }
}
