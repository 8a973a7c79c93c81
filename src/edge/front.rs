//! Reads a request's head off the socket, within its bounds, before Pingora does: the guard sees the very
//! bytes, slow heads are cut off, and refusals get an answer in JSON. A head that passed is handed to
//! Pingora as the bytes that it reads first.

use super::door::Guest;
use super::early::{self, Early};
use super::entrance;
use super::exchange::{Exchange, RequestId};
use super::live::{Live, Site};
use super::observe;
use super::proxy::Proxy;
use super::respond;
use super::tls::Secured;
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
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Sleep;

/// A first read takes most heads whole.
const FIRST_READ: usize = 2048;
/// Longest silence of a client within a body.
const BODY_READ: Duration = Duration::from_secs(30);
/// Longest stall of a client that takes an answer.
pub(super) const WRITE: Duration = Duration::from_mins(1);
/// How long, and for how many bytes, a refused client is listened to, so that it gets to read the answer.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// The application behind the entrance: one connection's requests, in turn.
pub(super) struct Front {
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) site: Arc<Site>,
}

/// How a connection has gone so far.
#[derive(Clone, Copy)]
enum Manner {
    Usual,
    /// Its last request was refused, so the next one may well be.
    Refused,
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
        // Streams of HTTP/2 go by `streams`.
        let ServerSession::H1(session) = session else { return None };
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        let mut guest = Guest::enter(&self.site, peer)?;
        let mut stream = session.into_inner();
        let secured = Secured::of(stream.get_ssl_digest().as_ref());
        let mut idle = Idle::default();
        let mut manner = Manner::Usual;
        loop {
            match read(&mut stream, self.terms()?, &mut idle, &mut guest).await {
                Reading::Closed => return None,
                Reading::Refused(rejection, took) => {
                    let id = RequestId::fresh();
                    let whole = self.site.live.load_full();
                    let live = whole.as_ref().as_ref()?;
                    observe::refused_head(&self.site, live, peer, &rejection, &id, took);
                    refuse(stream, &respond::raw(&rejection, &id, secured.as_deref())).await;
                    return None;
                }
                Reading::Whole(bytes) => {
                    let handed = match self.early(manner, (peer, secured.as_ref()), &bytes, shutdown) {
                        Early::Refused(answer) => {
                            write(&mut stream, &answer).await?;
                            continue;
                        }
                        Early::Decided(exchange) => Some(exchange),
                        Early::Left => None,
                    };
                    let session = ready(stream, bytes, handed);
                    let reused = self.proxy.process_new_http(session, shutdown).await?;
                    // Pingora's settings for a connection are the same for all here, but for what the proxy
                    // leaves behind after a refusal.
                    let (kept, settings) = reused.consume();
                    let refused = settings.and_then(|mut settings| settings.take_user_context());
                    manner = refused.map_or(Manner::Usual, |_| Manner::Refused);
                    stream = kept;
                }
            }
        }
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}

impl Front {
    /// Looks at a head before a session is made for it, on connections where that has a point.
    #[inline]
    fn early(
        &self,
        manner: Manner,
        from: (Option<IpAddr>, Option<&Arc<Secured>>),
        bytes: &[u8],
        shutdown: &ShutdownWatch,
    ) -> Early {
        match manner {
            Manner::Usual => Early::Left,
            // Pingora closes what is left when the edge goes down.
            Manner::Refused if *shutdown.borrow() => Early::Left,
            Manner::Refused => early::look(&self.site, from, bytes),
        }
    }

    /// Those that are in force now.
    fn terms(&self) -> Option<Terms> {
        let live = self.site.live.load();
        let live = live.as_ref().as_ref()?;
        Some(Terms { bounds: live.head, idle: live.keepalive, limit: live.head_timeout })
    }
}

impl Front {
    /// Bounds on heads, and how long a connection may be idle.
    pub(super) fn idle_terms(&self) -> Option<(Bounds, Duration)> {
        self.terms().map(|terms| (terms.bounds, terms.idle))
    }

    /// Sends every request of a connection to `https`, or refuses it; nothing in it goes further.
    pub(super) async fn redirect(&self, mut stream: Stream, port: u16) {
        let peer = entrance::peer(&stream);
        let Some(mut guest) = Guest::enter(&self.site, peer) else { return };
        let mut idle = Idle::default();
        while let Some(terms) = self.terms() {
            let (rejection, took) = match read(&mut stream, terms, &mut idle, &mut guest).await {
                Reading::Closed => return,
                Reading::Refused(rejection, took) => (rejection, took),
                Reading::Whole(bytes) => match respond::redirect(&bytes, terms.bounds, port) {
                    Some((answer, id)) => {
                        self.told(|live| observe::redirected(&self.site, live, peer, &id));
                        if write(&mut stream, &answer).await.is_none() {
                            return;
                        }
                        continue;
                    }
                    None => (Rejection::HttpsRequired, Duration::ZERO),
                },
            };
            let id = RequestId::fresh();
            self.told(|live| observe::refused_head(&self.site, live, peer, &rejection, &id, took));
            return refuse(stream, &respond::raw(&rejection, &id, None)).await;
        }
    }

    fn told(&self, tell: impl FnOnce(&Live)) {
        let whole = self.site.live.load_full();
        if let Some(live) = whole.as_ref() {
            tell(live);
        }
    }
}

/// The timer of a connection's silences. It is set once for many of them: only when it goes off does it
/// look how much of the present one is left, so that a busy connection hardly pays for it.
#[derive(Default)]
struct Idle {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes: while that is the same task, it need not be told again.
    wakes: Option<Waker>,
}

impl Idle {
    /// Waits until a silence that begins now has lasted too long.
    async fn over(&mut self, longest: Duration) {
        let end = tokio::time::Instant::now() + longest;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        // After a reload the longest silence may be a shorter one.
        if timer.deadline() > end {
            timer.as_mut().reset(end);
            self.wakes = None;
        }
        let wakes = &mut self.wakes;
        poll_fn(|context| {
            loop {
                let waits = wakes.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
                if waits && !timer.is_elapsed() {
                    return Poll::Pending;
                }
                if timer.as_mut().poll(context).is_pending() {
                    *wakes = Some(context.waker().clone());
                    return Poll::Pending;
                }
                *wakes = None;
                if timer.deadline() >= end {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(end);
            }
        })
        .await;
    }
}

/// A session whose first bytes are a head that was read already, and perhaps what was decided on it.
fn ready(stream: Stream, head: BytesMut, handed: Option<Box<Exchange>>) -> ServerSession {
    let mut session = HttpSession::new(stream);
    if let Some(exchange) = handed {
        session.set_connection_user_context(Some(exchange));
    }
    session.set_pipelined_prefix(head);
    session.set_read_timeout(Some(BODY_READ));
    session.set_write_timeout(Some(WRITE));
    session.set_total_drain_timeout(Some(LINGER));
    ServerSession::H1(session)
}

/// Reads until the head is whole. Idle connections end with the process when the edge goes down: they hold
/// nothing up.
async fn read(stream: &mut Stream, terms: Terms, idle: &mut Idle, guest: &mut Guest) -> Reading {
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
            Ok(Progress::Whole { .. }) => {
                guest.through(took(began));
                return Reading::Whole(bytes);
            }
            Ok(Progress::Partial) => {}
            Err(fault) => return Reading::Refused(Rejection::Head(fault), took(began)),
        }
        // The deadline is for the whole head, however its bytes drip.
        let waited = began.get_or_insert_with(Instant::now).elapsed();
        let left = match guest.waits(bytes.len(), waited, terms.limit) {
            Ok(left) => left,
            Err(rejection) => return Reading::Refused(rejection, waited),
        };
        match timeout(left, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Reading::Closed,
            Err(_) => return Reading::Refused(guest.out_of_time(terms.limit, took(began)), took(began)),
        }
    }
}

/// Writes an answer after which the connection stays; nothing when it does not.
async fn write(stream: &mut Stream, answer: &[u8]) -> Option<()> {
    let written = timeout(WRITE, async {
        stream.write_all(answer).await?;
        stream.flush().await
    });
    written.await.ok()?.ok()
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
