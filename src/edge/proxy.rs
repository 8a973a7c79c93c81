//! Pingora's hooks, in the order in which they run. Each is a few calls; the work is in the rooms.

use super::body;
use super::console;
use super::cross_site;
use super::exchange::{Exchange, RequestId};
use super::federation;
use super::folder;
use super::headers::{self, Origin};
use super::insight;
use super::limits;
use super::live::{Live, Site};
use super::observe::{self, Seen};
use super::respond;
use super::screen::Trace;
use super::sessions;
use super::shared;
use super::sign;
use super::tls::Secured;
use super::tunnel;
use super::upstream::Pool;
use super::verify;
use crate::admission::{Admitted, Head, Now, Rejection};
use crate::config::checked::Target;
use crate::identity::sessions::Wire;
use crate::openclaw::surface;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, header, request, response};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The proxy that all listeners share.
pub(super) struct Proxy {
    pub(super) site: Arc<Site>,
}

/// What a hook answers when the site has no config, which `serve` never lets happen.
#[allow(clippy::unnecessary_box_returns, reason = "Pingora's hooks return boxed errors")]
fn unconfigured() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "no config is in force")
}

/// Carries a refusal through Pingora to `fail_to_proxy`, which answers it.
#[allow(clippy::unnecessary_box_returns, reason = "Pingora's hooks return boxed errors")]
fn carry(exchange: &mut Exchange, rejection: Rejection) -> Box<Error> {
    let status = rejection.answer().status;
    exchange.rejection = Some(rejection);
    Error::new(ErrorType::HTTPStatus(status))
}

pub(super) fn peer_of(session: &Session) -> Option<IpAddr> {
    session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
}

/// Walks a head through admission: method, path without query, fields.
pub(super) fn admit(
    site: &Site,
    live: &Live,
    peer: Option<IpAddr>,
    (method, path, fields): (&Method, &str, &HeaderMap),
    exchange: &mut Exchange,
) -> Result<Admitted, Rejection> {
    // A listener on a Unix socket has no address; its clients are this host's.
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if live.policy.trusts(peer)
        && let Some(id) = fields.get("x-request-id").and_then(RequestId::taken)
    {
        exchange.request_id = id;
    }
    exchange.host = fields.get(header::HOST).cloned();
    exchange.trace = Trace::of(fields);
    let host = exchange.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default();
    exchange.wire = wire(live, peer, exchange, fields);
    let certificate = exchange.secured.as_ref().and_then(|secured| secured.certificate(&live.entries));
    let view = Head { peer, method, host, path, fields, certificate, wire: exchange.wire };
    let now = Now { tick: site.tick(exchange.started), unix: exchange.arrived.as_secs() };
    match live.policy.admit(view, now, &mut exchange.trail) {
        Ok(admitted)
            if admitted.carrier.is_some_and(|carrier| cross_site::is_forged(carrier, method, fields)) =>
        {
            Err(Rejection::CrossSite)
        }
        Err(Rejection::Caller(fault)) => {
            exchange.asks = cross_site::may_be_asked(method, fields, live.policy.sessions());
            Err(Rejection::Caller(fault))
        }
        verdict => verdict,
    }
}

/// Over what a request came: what a trusted proxy says of it counts, else what was spoken on the socket.
fn wire(live: &Live, peer: IpAddr, exchange: &Exchange, fields: &HeaderMap) -> Wire {
    let said = || fields.get("x-forwarded-proto").filter(|_| live.policy.trusts(peer));
    let is_sealed = match said() {
        Some(proto) => proto == "https",
        None => exchange.secured.is_some(),
    };
    if is_sealed { Wire::Sealed } else { Wire::Clear }
}

impl Proxy {
    /// Walks the head through admission, unless that was done before there was a session.
    fn admit(&self, live: &Live, session: &Session, exchange: &mut Exchange) -> Result<Admitted, Rejection> {
        if let Some(verdict) = exchange.verdict.take() {
            return verdict;
        }
        let head = session.req_header();
        let asked = (&head.method, head.uri.path(), &head.headers);
        admit(&self.site, live, peer_of(session), asked, exchange)
    }

    /// Everything that may refuse before the upstream is even connected to.
    async fn gates(
        &self,
        live: &Live,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> pingora::Result<Result<(), Rejection>> {
        let mut passed = self.admit(live, session, exchange);
        if exchange.trail.subject.is_some() {
            // Boxed, as below: what few requests need must not make the future of all requests large.
            passed = Box::pin(shared::pass(&self.site, live, exchange, passed)).await;
        }
        let admitted = match passed {
            Ok(admitted) => admitted,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let route = admitted.route;
        exchange.pool = pool(live, &admitted).cloned();
        exchange.admitted = Some(admitted);
        let entry = &live.policy.routes[route];
        if entry.verify.is_some() || entry.federation.is_some() || entry.sign.is_some() {
            // Boxed, as below: what few requests need must not make the future of all requests large.
            return Box::pin(self.held(live, session, exchange, route)).await;
        }
        let declared = body::declared(&session.req_header().headers);
        if declared.is_some_and(|length| length > live.policy.routes[route].body_max) {
            return Ok(Err(Rejection::BodyTooLarge));
        }
        Ok(Ok(()))
    }

    /// What must be known of a body before it goes on: whose it is, whether it may cross the border; and what is
    /// signed in it.
    async fn held(
        &self,
        live: &Live,
        session: &mut Session,
        exchange: &mut Exchange,
        route: usize,
    ) -> pingora::Result<Result<(), Rejection>> {
        let entry = &live.policy.routes[route];
        if entry.verify.is_some() {
            let peer = peer_of(session);
            if let Err(no) = verify::verify(&self.site, live, session, exchange, route, peer).await? {
                return Ok(Err(no));
            }
        }
        if let Some(side) = entry.federation
            && !verify::is_answered(exchange)
            && let Err(no) = federation::cross(&self.site, live, session, exchange, (route, side)).await?
        {
            return Ok(Err(no));
        }
        if entry.sign.is_some() && !verify::is_answered(exchange) {
            return sign::hold(&self.site, live, session, exchange, route).await;
        }
        Ok(Ok(()))
    }
}

/// Who answers an admitted request; nobody else where the edge does.
fn pool<'a>(live: &'a Live, admitted: &Admitted) -> Option<&'a Arc<Pool>> {
    match (admitted.gateway, &live.policy.routes[admitted.route].target) {
        (Some(gateway), _) => Some(&live.gateways[gateway]),
        (None, Target::Upstream { index, .. }) => Some(&live.pools[*index]),
        (None, Target::Outbox | Target::Folder(_) | Target::Sessions | Target::Console) => None,
        // Gateways were found or refused by admission.
        (None, Target::MissionControl | Target::Gateway(_) | Target::GatewayParam(_)) => Some(&live.hub),
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed: Pingora's future of a request holds it three times over, and is copied whole for each request.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Exchange::new(&self.site))
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// What was decided before there was a session comes along with it.
    fn on_connection_reuse(
        &self,
        _: &mut Session,
        exchange: &mut Self::CTX,
        handed: Box<dyn Any + Send + Sync>,
    ) {
        if let Ok(decided) = handed.downcast::<Exchange>() {
            *exchange = decided;
        }
    }

    /// Tells [`front`](super::front) of a refusal.
    fn persist_connection_context(
        &self,
        _: &Session,
        exchange: &Self::CTX,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        exchange.rejection.as_ref().map(|_| Box::new(()) as Box<dyn Any + Send + Sync>)
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Self::CTX) -> pingora::Result<bool> {
        if exchange.secured.is_none() {
            exchange.secured = Secured::of(session.digest().and_then(|digest| digest.ssl_digest.as_ref()));
        }
        let whole = exchange.live.clone();
        let live = whole.as_ref().as_ref().ok_or_else(unconfigured)?;
        let refused = match self.gates(live, session, exchange).await? {
            Err(rejection) => Some(rejection),
            Ok(()) if verify::is_answered(exchange) => {
                verify::answer(session, exchange).await?;
                return Ok(true);
            }
            Ok(()) if let Some(asked) = insight::asked(live, session, exchange) => {
                // Boxed, as above: what few requests need must not make the future of all requests large.
                Box::pin(insight::answer(&self.site, session, exchange, asked)).await?;
                None
            }
            Ok(()) if sessions::is_asked(live, exchange) => {
                // Boxed, as above: what few requests need must not make the future of all requests large.
                Box::pin(sessions::answer(&self.site, live, session, exchange)).await?.err()
            }
            Ok(()) if let Some(place) = folder::of(live, exchange) => {
                // Boxed, as above: what few requests need must not make the future of all requests large.
                Box::pin(folder::answer(live, session, exchange, place)).await?.err()
            }
            Ok(()) if let Some(depth) = console::of(live, exchange) => {
                Box::pin(console::answer(live, session, exchange, depth)).await?.err()
            }
            Ok(()) if !session.is_upgrade_req() => return Ok(false),
            Ok(()) => match Box::pin(tunnel::serve(&self.site, live, session, exchange)).await? {
                tunnel::Outcome::Relayed => None,
                tunnel::Outcome::NotForUs => return Ok(false),
                tunnel::Outcome::Refused(rejection) => Some(rejection),
            },
        };
        if let Some(rejection) = refused {
            respond::refuse(session, exchange, rejection).await?;
            if !session.is_body_done() {
                Box::pin(body::linger(session)).await;
            }
        }
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _: &mut Session,
        exchange: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        exchange.tries += 1;
        // A request whose body was not held has only just come: the clock is looked at once.
        let straight = exchange.tries == 1 && exchange.held.is_none();
        exchange.dialled = Some(if straight { exchange.started } else { Instant::now() });
        match exchange.pool.as_ref().ok_or_else(unconfigured)?.pick() {
            Some(peer) => Ok(peer),
            None => Err(carry(exchange, Rejection::NoAddress)),
        }
    }

    /// Nothing was sent, so any request may go to the next address.
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        exchange: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let addresses = exchange.pool.as_ref().map_or(0, |pool| pool.len());
        error.set_retry(exchange.tries < addresses.min(4));
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let whole = exchange.live.clone();
        let live = whole.as_ref().as_ref().ok_or_else(unconfigured)?;
        let Some(admitted) = &exchange.admitted else { return Err(unconfigured()) };
        let route = &live.policy.routes[admitted.route];
        let gateway = admitted.gateway.map(|index| &live.policy.gateways[index]);
        let client = exchange.trail.client;
        let tell = gateway.is_none_or(|gateway| headers::forwarded_to_gateway(gateway.forwarded, client));
        let origin =
            tell.then(|| Origin::of(live, peer_of(session), exchange, &session.req_header().headers));
        // As plain parts, since Pingora's own keep a second map for the case of names. What goes on has
        // them in lower case, which every server reads alike (RFC 9110 section 5.1).
        let empty = http::Request::new(()).into_parts().0;
        let mut parts = request::Parts::from(std::mem::replace(request, RequestHeader::from(empty)));
        headers::cleanse(&mut parts.headers, admitted.carrier, route.forward_credential);
        headers::identify(&mut parts.headers, exchange, gateway.is_none());
        verify::tell(&mut parts.headers, exchange, route.verify.as_ref());
        federation::tell(&mut parts.headers, exchange);
        if let Some(origin) = origin {
            origin.write(&mut parts.headers);
        }
        if let Some(pool) = &exchange.pool {
            pool.mark(&mut parts.headers);
        }
        if let Some(gateway) = gateway {
            let below = surface::below(session.req_header().uri.path(), route.depth);
            headers::for_gateway_http(
                &mut parts.headers,
                exchange,
                gateway,
                surface::place(below, &parts.method),
            );
        }
        if let Some(body) = &exchange.body {
            parts.headers.remove(header::TRANSFER_ENCODING);
            parts.headers.remove(header::EXPECT);
            parts.headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from(body.len()));
        }
        let path = tunnel::path(route, gateway, &parts.method, &parts.uri);
        if let Some(sign) = &route.sign {
            let own = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
            let target = path.as_deref().unwrap_or(&own);
            sign::write(&self.site, exchange, sign, &mut parts, target)
                .map_err(|rejection| carry(exchange, rejection))?;
        }
        *request = RequestHeader::from(parts);
        if let Some(path) = path {
            request.set_raw_path(path.as_bytes())?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        piece: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(body) = &exchange.body {
            // Pingora offers the tail that it kept; the whole goes on, on every try.
            if !body.is_empty() {
                *piece = Some(body.clone());
            }
            return Ok(());
        }
        if piece.is_none() {
            return Ok(());
        }
        if end && piece.as_ref().is_some_and(Bytes::is_empty) {
            // An empty last piece would be written as a second end of a chunked body.
            *piece = None;
        }
        let whole = exchange.live.clone();
        let Some((live, admitted)) = whole.as_ref().as_ref().zip(exchange.admitted.as_ref()) else {
            return Ok(());
        };
        let most = live.policy.routes[admitted.route].body_max;
        body::count(exchange, most, piece.as_ref()).map_err(|rejection| carry(exchange, rejection))
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        answer: &mut ResponseHeader,
        exchange: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if answer.status.is_informational() {
            return Ok(());
        }
        if exchange.claim.is_some() {
            verify::answered(exchange, answer.status).await;
        }
        if let (Some(dialled), Some(pool)) = (exchange.dialled, &exchange.pool) {
            let took = dialled.elapsed();
            pool.seconds.observe(took.as_secs_f64());
            exchange.upstream_took = Some(took);
        }
        // As plain parts, for the reason given above.
        let empty = http::Response::new(()).into_parts().0;
        let mut parts = response::Parts::from(std::mem::replace(answer, ResponseHeader::from(empty)));
        headers::conceal(&mut parts.headers);
        headers::name_answer(&mut parts.headers, exchange);
        if let Some(live) = exchange.live.as_ref() {
            limits::tell(live, exchange, parts.status, &mut parts.headers);
            sessions::renew(&self.site, live, exchange, &mut parts.headers);
        }
        *answer = ResponseHeader::from(parts);
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Self::CTX,
    ) -> FailToProxy {
        let rejection = exchange.rejection.take().or_else(|| failure(error));
        let free = session
            .response_written()
            .is_none_or(|head| head.status.is_informational() && head.status != 101);
        let Some(rejection) = rejection else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        let error_code = rejection.answer().status;
        if free {
            session.set_keepalive(None);
            if respond::refuse(session, exchange, rejection).await.is_ok() {
                body::linger(session).await;
            }
        } else {
            exchange.rejection = Some(rejection);
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Self::CTX) {
        let head = session.req_header();
        let status = session.response_written().map_or(observe::CLIENT_GONE, |head| head.status.as_u16());
        let seen = Seen {
            method: head.method.as_str(),
            path: head.uri.path(),
            status,
            bytes_in: session.body_bytes_read(),
            bytes_out: session.body_bytes_sent(),
        };
        observe::finished(&self.site, exchange, &seen, error);
        if let (Some(secured), true) = (&exchange.secured, session.is_http2()) {
            match error {
                Some(error) if error.esource() == &ErrorSource::Downstream => {
                    secured.taken_back(&self.site.metrics);
                }
                Some(_) | None => secured.answered(),
            }
        }
    }

    /// The access log tells it, once.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }
}

/// What a failure on the way means for the client; nothing when the client itself is gone.
fn failure(error: &Error) -> Option<Rejection> {
    use ErrorType::{
        ConnectTimedout, HTTPStatus, InvalidHTTPHeader, ReadTimedout, TLSHandshakeTimedout, WriteTimedout,
    };
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, ReadTimedout | WriteTimedout | ConnectTimedout | TLSHandshakeTimedout) => {
            Some(Rejection::UpstreamTimeout)
        }
        (ErrorSource::Upstream, kind) if is_connect(kind) => Some(Rejection::Unreachable),
        (ErrorSource::Upstream, _) => Some(Rejection::BadUpstream),
        (ErrorSource::Downstream, ReadTimedout) => Some(Rejection::BodyTimeout),
        (ErrorSource::Downstream, InvalidHTTPHeader) => {
            Some(Rejection::Head(crate::identity::head::HeadFault::FieldValue))
        }
        (ErrorSource::Internal | ErrorSource::Unset, _) | (ErrorSource::Downstream, HTTPStatus(_)) => {
            Some(Rejection::Internal)
        }
        (ErrorSource::Downstream, _) => None,
    }
}

fn is_connect(kind: &ErrorType) -> bool {
    use ErrorType::{
        BindError, ConnectError, ConnectNoRoute, ConnectProxyFailure, ConnectRefused, SocketError,
        TLSHandshakeFailure,
    };
    matches!(
        kind,
        BindError
            | ConnectError
            | ConnectNoRoute
            | ConnectProxyFailure
            | ConnectRefused
            | SocketError
            | TLSHandshakeFailure
    )
}
