//! What the edge itself tells a caller of their own tenant: quotas, what passed lately (`/api/traffic`), once or as it
//! happens, what was refused and why (`/api/refusals`), and which credentials there are. The rest of the API is the hub's.

use super::exchange::Exchange;
use super::headers::X_REQUEST_ID;
use super::live::{Live, Site, unix_now};
use super::observe::Seen;
use super::quotas;
use crate::admission::Rejection;
use crate::config::checked::Target;
use crate::identity::caller::Credential;
use crate::ids::{NodeId, TenantId};
use crate::signatures::Verified;
use crate::traffic::{self, Cause, Finished, Refusal};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// What was quiet is forgotten this often.
const SWEEP: u64 = 600;
/// A stream ends after this long, and its reader comes back with what it then has: a key that was taken back
/// follows nothing for longer.
const LONGEST: Duration = Duration::from_mins(5);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// How the caller's quotas stand.
    Quota,
    /// What passed lately.
    Traffic,
    /// The caller's tenant's last refusals.
    Refusals,
    /// The credentials of the caller's tenant.
    Credentials,
    /// What passed lately, and then every second what passed in it.
    Stream,
}

/// What an admitted request asks the edge itself for, if it does.
pub(super) fn asked(live: &Live, session: &Session, exchange: &Exchange) -> Option<Asked> {
    let head = session.req_header();
    let route = &live.policy.routes[exchange.admitted.as_ref()?.route];
    if route.target != Target::MissionControl || head.method != Method::GET || exchange.trail.tenant.is_none()
    {
        return None;
    }
    let is_stream = || {
        let wanted = head.headers.get(header::ACCEPT).and_then(|wanted| wanted.to_str().ok());
        wanted.is_some_and(|wanted| wanted.contains("text/event-stream"))
    };
    match head.uri.path() {
        "/api/quota" => Some(Asked::Quota),
        "/api/traffic" if is_stream() => Some(Asked::Stream),
        "/api/traffic" => Some(Asked::Traffic),
        "/api/refusals" => Some(Asked::Refusals),
        "/api/credentials" => Some(Asked::Credentials),
        _ => None,
    }
}

/// Answers it.
pub(super) async fn answer(
    site: &Site,
    session: &mut Session,
    exchange: &Exchange,
    asked: Asked,
) -> pingora::Result<()> {
    let Some(tenant) = exchange.trail.tenant.as_deref().map(|tenant| tenant.id.clone()) else {
        return Ok(());
    };
    match asked {
        Asked::Quota => send(session, exchange, format!("{}\n", quotas::own(site, exchange).await)).await,
        Asked::Traffic => {
            send(session, exchange, text(&site.traffic.of(&tenant, unix_now().as_secs()))).await
        }
        Asked::Refusals => {
            send(session, exchange, text(&json!({ "refusals": site.refusals.of(&tenant) }))).await
        }
        Asked::Credentials => send(session, exchange, text(&credentials(exchange, &tenant))).await,
        Asked::Stream => stream(site, session, exchange, &tenant).await,
    }
}

fn text(told: &impl Serialize) -> String {
    serde_json::to_string(told).unwrap_or_default() + "\n"
}

fn head(exchange: &Exchange, kind: &'static str) -> pingora::Result<ResponseHeader> {
    let mut head = ResponseHeader::build(StatusCode::OK, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, kind)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(X_REQUEST_ID, exchange.request_id.field())?;
    Ok(head)
}

async fn send(session: &mut Session, exchange: &Exchange, body: String) -> pingora::Result<()> {
    let body = Bytes::from(body);
    let mut head = head(exchange, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(body), true).await
}

/// All of it, and then every second the last whole one.
async fn stream(
    site: &Site,
    session: &mut Session,
    exchange: &Exchange,
    tenant: &TenantId,
) -> pingora::Result<()> {
    let mut head = head(exchange, "text/event-stream")?;
    head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    session.write_response_header(Box::new(head), false).await?;
    let mut at = unix_now().as_secs();
    let all = text(&site.traffic.of(tenant, at).until_before());
    let first = format!("retry: 1000\nevent: all\ndata: {all}\n");
    session.write_response_body(Some(Bytes::from(first)), false).await?;
    let mut draining = site.draining();
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        tokio::select! {
            () = tokio::time::sleep(until_next_second()) => {}
            _ = draining.wait_for(|draining| *draining) => break,
        }
        // Each second is told once, whatever the timer does; one that was missed is in the next `all`.
        if unix_now().as_secs() == at {
            continue;
        }
        at = unix_now().as_secs();
        let account = site.traffic.of(tenant, at);
        let event = format!("event: second\ndata: {}\n", text(&account.second_before()));
        session.write_response_body(Some(Bytes::from(event)), false).await?;
    }
    session.write_response_body(None, true).await
}

/// Seconds are those of the wall clock, for all readers the same.
fn until_next_second() -> Duration {
    SECOND.saturating_sub(Duration::from_nanos(u64::from(unix_now().subsec_nanos())))
}

/// Counts a finished exchange for its tenant; of who is nobody's the metrics tell.
pub(super) fn count(site: &Site, live: &Live, exchange: &Exchange, seen: &Seen<'_>, took: Duration) {
    let Some(tenant) = exchange.trail.tenant.as_deref() else { return };
    if let Some(route) = exchange.trail.route.map(|index| &live.policy.routes[index]) {
        site.traffic.finished(&Finished {
            tenant: (&tenant.id, tenant.number),
            route: (&route.name, route.number),
            status: seen.status,
            is_refused: exchange.rejection.as_ref().is_some_and(is_own),
            took: exchange.socket.is_none().then_some(took),
        });
    }
    if let Some(rejection) = &exchange.rejection {
        refused(site, live, exchange, rejection, &tenant.id);
        site.refusals.keep(&tenant.id, exchange.arrived.as_secs(), || told(live, exchange, rejection, seen));
    }
    if let Some(verified) = &exchange.verified {
        dropped(site, exchange, verified, &tenant.id);
    }
}

/// Whether a refusal is the edge's own decision, and not what became of an upstream.
fn is_own(rejection: &Rejection) -> bool {
    !matches!(
        rejection,
        Rejection::Unreachable
            | Rejection::BadUpstream
            | Rejection::UpstreamTimeout
            | Rejection::NoAddress
            | Rejection::Internal
    )
}

/// Which credentials a tenant has, when each ends and when it was last taken; of keys nothing.
fn credentials(exchange: &Exchange, tenant: &TenantId) -> Value {
    let live = exchange.live.as_ref().as_ref();
    let all = live.into_iter().flat_map(|live| live.policy.credentials());
    let one = |credential: &Arc<Credential>| {
        let used = credential.last_used.load(Ordering::Relaxed);
        json!({
            "id": credential.id.as_str(),
            "key": credential.age.word(),
            "node": credential.node.as_ref().map(NodeId::as_str),
            "begins": credential.begins,
            "expires": credential.expires,
            "lastUsed": (used > 0).then_some(used),
        })
    };
    let own: Vec<Value> = all.filter(|credential| credential.tenant.id == *tenant).map(one).collect();
    json!({ "credentials": own })
}

/// What is known of a refused request.
fn told(live: &Live, exchange: &Exchange, rejection: &Rejection, seen: &Seen<'_>) -> Refusal {
    let (trail, answer) = (&exchange.trail, rejection.answer());
    let limits = trail.limits(&live.policy).map(|(rules, decision)| {
        let standings = decision.standings().as_slice().iter();
        let asked = standings.map(|one| traffic::Asked {
            limit: rules.rules()[one.rule].name().to_string(),
            remaining: one.remaining.into(),
            refused: one.short,
        });
        asked.collect()
    });
    Refusal {
        at: u64::try_from(exchange.arrived.as_millis()).unwrap_or(u64::MAX),
        request: exchange.request_id.as_str().to_owned(),
        method: seen.method.to_owned(),
        path: seen.path.to_owned(),
        client: trail.client.map(|client| client.to_string()),
        route: trail.route.map(|index| live.policy.routes[index].name.to_string()),
        credential: trail.credential.as_ref().map(|credential| credential.id.to_string()),
        status: answer.status,
        code: answer.code,
        error: answer.error,
        detail: rejection.detail(),
        limits: limits.unwrap_or_default(),
    }
}

fn refused(site: &Site, live: &Live, exchange: &Exchange, rejection: &Rejection, tenant: &TenantId) {
    let (now, code) = (exchange.arrived.as_secs(), rejection.answer().code);
    site.traffic.caused(now, tenant, Cause::Refusal(code), 1);
    if matches!(rejection, Rejection::Signature(_)) {
        site.traffic.caused(now, tenant, Cause::Signature(code), 1);
    }
    if matches!(rejection, Rejection::Limited | Rejection::Crowded)
        && let Some((rules, decision)) = exchange.trail.limits(&live.policy)
    {
        for name in decision.violated_policies(rules) {
            site.traffic.caused(now, tenant, Cause::Limit(name.as_str().into()), 1);
        }
    }
}

fn dropped(site: &Site, exchange: &Exchange, verified: &Verified, tenant: &TenantId) {
    for (reason, n) in verified.dropped.by_reason().filter(|(_, n)| *n > 0) {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        site.traffic.caused(exchange.arrived.as_secs(), tenant, Cause::Signature(reason.code()), n);
    }
}

/// Puts what was counted in its second, until the edge goes down.
pub async fn tend(site: Arc<Site>) {
    let mut second = tokio::time::interval(SECOND);
    loop {
        tokio::select! {
            _ = second.tick() => {}
            () = site.until_draining() => return,
        }
        let now = unix_now().as_secs();
        site.traffic.fold(now);
        if now.is_multiple_of(SWEEP) {
            site.traffic.sweep(now);
        }
    }
}
