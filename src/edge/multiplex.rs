//! The socket that leads to all gateways of its caller: it ends here, and goes on to the hub over the hub's
//! own socket, with the fields that say who calls.
//!
//! What a caller may call, and how much, is judged here frame by frame as for one gateway; which gateways
//! there are, and everything about their connections, the hub knows.

use super::bounded::Bounded;
use super::exchange::{Exchange, SocketEnd};
use super::headers;
use super::live::{Live, Site};
use super::relay;
use super::screen::{self, Screen, Trace};
use super::tunnel::{self, Outcome, PIPE};
use super::vigil::{self, Watch};
use crate::admission::Rejection;
use crate::config::checked::Target;
use crate::identity::head::HeadFault;
use http::{HeaderMap, HeaderValue, header};
use pingora::proxy::Session;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where the hub has it.
const PATH: &str = "/ws";
/// The hub is in this process: it answers at once, or not at all.
const DIAL: Duration = Duration::from_secs(5);

/// Whether an upgrade is for it.
pub(super) fn is_its(target: &Target, path: &str) -> bool {
    match target {
        Target::MissionControl => path == PATH,
        Target::Upstream { .. }
        | Target::Folder(_)
        | Target::Gateway(_)
        | Target::GatewayParam(_)
        | Target::Sessions
        | Target::Console
        | Target::Outbox => false,
    }
}

/// Relays an admitted upgrade to the hub until it has ended.
pub(super) async fn serve(
    site: &Arc<Site>,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
    accept: &str,
) -> pingora::Result<Outcome> {
    let Some(admitted) = exchange.admitted.as_ref() else { return Ok(Outcome::NotForUs) };
    let route = &live.policy.routes[admitted.route];
    let known = exchange.trail.credential.clone().zip(screen::subject(exchange, live, route.index));
    let Some((credential, subject)) = known else { return Ok(Outcome::Refused(Rejection::Scope)) };
    let began = Instant::now();
    let dialled = tokio::time::timeout(DIAL, dial(live, exchange)).await;
    let hub = match dialled {
        Ok(Ok(hub)) => hub,
        Ok(Err(rejection)) => return Ok(Outcome::Refused(rejection)),
        Err(_) => return Ok(Outcome::Refused(Rejection::UpstreamTimeout)),
    };
    exchange.upstream_took = Some(began.elapsed());
    if tunnel::is_early(session) {
        return Ok(Outcome::Refused(Rejection::Head(HeadFault::EarlyUpgradeBytes)));
    }
    session.write_response_header(tunnel::switching(accept, None, exchange)?, false).await?;
    session.set_read_timeout(None);
    site.metrics.websockets.with_label_values(&["relayed"]).inc();
    let fields = &session.req_header().headers;
    let rules = route.call_rules(exchange.trail.tariff());
    let screen = Screen::to_many(site, rules, (subject, &credential), Trace::of(fields));
    let watch = vigil::over(site, exchange, fields, None);
    exchange.socket = Some(run(site, session, hub, watch, screen).await);
    Ok(Outcome::Relayed)
}

async fn run(
    site: &Site,
    session: &mut Session,
    hub: WebSocketStream<UnixStream>,
    watch: Watch,
    screen: Screen<'_>,
) -> SocketEnd {
    let (near, far) = tokio::io::duplex(PIPE);
    let relayed = async {
        let far = Bounded::new(far, None);
        let client = WebSocketStream::from_raw_socket(far, Role::Server, Some(tunnel::frames())).await;
        relay::relay(site, client, hub, watch, Some(screen)).await
    };
    let ((), end) = tokio::join!(tunnel::pump(session, near), relayed);
    end
}

async fn dial(live: &Live, exchange: &Exchange) -> Result<WebSocketStream<UnixStream>, Rejection> {
    let path = live.hub.socket().ok_or(Rejection::NoAddress)?;
    let stream = UnixStream::connect(path).await.map_err(|_| Rejection::Unreachable)?;
    let request = request(exchange).ok_or(Rejection::Handshake)?;
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(tunnel::frames())).await;
    opened.map(|(hub, _)| hub).map_err(|error| {
        tracing::error!(%error, "the hub refused a WebSocket");
        Rejection::BadUpstream
    })
}

/// None of the client's own fields goes on.
fn request(exchange: &Exchange) -> Option<http::Request<()>> {
    let mut fields = HeaderMap::new();
    headers::identify(&mut fields, exchange, true);
    fields.insert(header::HOST, HeaderValue::from_static("hub"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    fields.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&generate_key()).ok()?);
    let mut request = http::Request::builder().uri(format!("ws://hub{PATH}")).body(()).ok()?;
    *request.headers_mut() = fields;
    Some(request)
}
