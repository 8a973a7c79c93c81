//! Reads a request's head off the socket, within its bounds, before Pingora does: the guard sees the very
//! bytes, slow heads are cut off, and refusals get an answer in JSON. A head that passed is handed to
//! Pingora as the bytes that it reads first.

use super::exchange::RequestId;
use super::live::Site;
use super::observe;
use super::proxy::Proxy;
use super::respond;
use crate::admission::Rejection;
use crate::identity::head::{self, Bounds, Progress};
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::server::HttpSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use pingora_timeout::timeout;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Sleep;

/// A first read takes most heads whole.
const FIRST_READ: usize = 2048;
/// Longest silence of a client within a body.
const BODY_READ: Duration = Duration::from_secs(30);
/// Longest stall of a client that takes an answer.
const WRITE: Duration = Duration::from_mins(1);
/// How long, and for how many bytes, a refused client is listened to, so that it gets to read the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// The application that the listeners run.
pub(super) struct Front {
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) site: Arc<Site>,
}

/// What bounds the reading of one head.
#[derive(Clone, Copy)]
struct Terms {
    bounds: Bounds,
    /// For its first byte.
    idle: Duration,
    /// From its first byte to its last.
    limit: Duration,
}

enum Reading {
    Whole(BytesMut),
    Closed,
    Refused(Rejection, Duration),
}

#[async_trait]
impl HttpServerApp for Front {
    /// Serves a connection to its end.
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // No listener offers HTTP/2, so there is no other kind of session.
        let ServerSession::H1(session) = session else { return None };
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(std::net::SocketAddr::ip);
        let mut stream = session.into_inner();
        let mut idle = Idle::default();
        loop {
            match read(&mut stream, self.terms()?, &mut idle).await {
                Reading::Closed => return None,
                Reading::Refused(rejection, took) => {
                    let id = RequestId::fresh();
                    let live = self.site.live.load_full();
                    let series = &live.as_ref().as_ref()?.unmatched;
                    observe::refused_head(&self.site, series, peer, &rejection, &id, took);
                    refuse(stream, &respond::raw(&rejection, &id)).await;
                    return None;
                }
                Reading::Whole(bytes) => {
                    let reused = self.proxy.process_new_http(ready(stream, bytes), shutdown).await?;
                    // Pingora's settings for a connection are the same for all here.
                    (stream, _) = reused.consume();
                }
            }
        }
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Front {
    /// Those that are in force now.
    fn terms(&self) -> Option<Terms> {
        let live = self.site.live.load();
        let live = live.as_ref().as_ref()?;
        Some(Terms { bounds: live.head, idle: live.keepalive, limit: live.head_timeout })
    }
}

/// The timer of a connection's silences. It is set once for many of them: only when it goes off does it
/// look how much of the present one is left, so that a busy connection hardly pays for it.
#[derive(Default)]
struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    /// Waits until a silence that begins now has lasted too long.
    async fn over(&mut self, longest: Duration) {
        let end = tokio::time::Instant::now() + longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        // After a reload the longest silence may be a shorter one.
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        loop {
            timer.as_mut().await;
            if timer.deadline() >= end {
                return;
            }
            timer.as_mut().reset(end);
        }
    }
}

/// A session whose first bytes are a head that was read already.
fn ready(stream: Stream, head: BytesMut) -> ServerSession {
    let mut session = HttpSession::new(stream);
    session.set_pipelined_prefix(head);
    session.set_read_timeout(Some(BODY_READ));
    session.set_write_timeout(Some(WRITE));
    session.set_total_drain_timeout(Some(LINGER));
    ServerSession::H1(session)
}

/// Reads until the head is whole. Idle connections end with the process when the edge goes down: they hold
/// nothing up.
async fn read(stream: &mut Stream, terms: Terms, idle: &mut Idle) -> Reading {
    let mut bytes = BytesMut::with_capacity(FIRST_READ);
    tokio::select! {
        biased;
        first = stream.read_buf(&mut bytes) => if !matches!(first, Ok(1..)) {
            return Reading::Closed;
        },
        () = idle.over(terms.idle) => return Reading::Closed,
    }
    // Most heads are whole at once and need no clock.
    let mut began = None;
    loop {
        let took = |began: Option<Instant>| began.map_or(Duration::ZERO, |began| began.elapsed());
        match head::examine(&bytes, terms.bounds) {
            Ok(Progress::Whole { .. }) => return Reading::Whole(bytes),
            Ok(Progress::Partial) => {}
            Err(fault) => return Reading::Refused(Rejection::Head(fault), took(began)),
        }
        // The deadline is for the whole head, however its bytes drip.
        let left = terms.limit.saturating_sub(began.get_or_insert_with(Instant::now).elapsed());
        match timeout(left, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Reading::Closed,
            Err(_) => return Reading::Refused(Rejection::HeadTimeout, took(began)),
        }
    }
}

/// Answers, then listens for a moment: a socket closed with unread bytes would reset the answer away.
async fn refuse(mut stream: Stream, answer: &[u8]) {
    let _ = timeout(LINGER, async {
        if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        let _ = stream.shutdown().await;
        let mut sink = vec![0; 8 * 1024];
        let mut seen = 0;
        while seen < LINGER_BYTES {
            match stream.read(&mut sink).await {
                Ok(n @ 1..) => seen += n,
                Ok(0) | Err(_) => return,
            }
        }
    })
    .await;
}
