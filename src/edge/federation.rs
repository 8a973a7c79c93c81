//! The border's two sides. `federation: in`: another mesh calls with its own key; what it may say comes in, named
//! after it, once. `federation: share`: what a tenant may share is put into the outbox of each of its meshes, and
//! answered when the disk has it.
//!
//! Which messages cross is the signatures room's to say.

use super::body;
use super::exchange::Exchange;
use super::live::{Live, Site, unix_now};
use super::outbox::Parcel;
use super::outbox_journal::Id;
use super::outbox_queue::PutError;
use super::replay::Standing;
use super::verify;
use crate::admission::Rejection;
use crate::config::checked::{Border, Mesh, Peer, Replay, ReplayAnswer, SigningSecret};
use crate::identity::caller::Tenant;
use crate::signatures::Identity;
use crate::signatures::border::{self, Audience, Crossing, Inbound, LetterFault, Outbound};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::proxy::Session;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const X_MESH_ID: HeaderName = HeaderName::from_static("x-mesh-id");
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long a delivery is remembered: longer than an outbox tries by default.
const REMEMBERED: Replay = Replay { answer: ReplayAnswer::Duplicate, keep: Duration::from_hours(72) };

/// What came over the border.
pub(super) struct Arrived {
    pub(super) mesh: Arc<Mesh>,
    pub(super) crossing: Crossing,
}

/// Does what the route's side of the border does.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn cross(
    site: &Arc<Site>,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
    (route, side): (usize, Border),
) -> pingora::Result<Result<(), Rejection>> {
    let mesh = match side {
        Border::Share => None,
        // Before the body is read: who is no mesh need not send one.
        Border::In => match caller(live, session, exchange) {
            Some(mesh) => Some(mesh),
            None => return Ok(Err(Rejection::Mesh)),
        },
    };
    if exchange.body.is_none() {
        match body::hold(session, site, live, route).await? {
            Ok((body, passage)) => {
                exchange.body = Some(body);
                exchange.held = Some(passage);
            }
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    let told = session.req_header().headers.get(IDEMPOTENCY_KEY).map(|value| value.as_bytes().to_vec());
    Ok(match mesh {
        Some(mesh) => arrive(site, live, exchange, route, mesh, told.as_deref()),
        None => share(site, live, exchange, told.as_deref()).await,
    })
}

/// The mesh whose key the caller has; not when it says that it is another.
fn caller(live: &Live, session: &Session, exchange: &Exchange) -> Option<Arc<Mesh>> {
    let mesh = live.policy.mesh_of(&exchange.trail.credential.as_ref()?.id)?;
    let mut said = session.req_header().headers.get_all(&X_MESH_ID).iter();
    said.all(|value| value == mesh.id.as_str()).then(|| mesh.clone())
}

fn arrive(
    site: &Arc<Site>,
    live: &Live,
    exchange: &mut Exchange,
    route: usize,
    mesh: Arc<Mesh>,
    told: Option<&[u8]>,
) -> Result<(), Rejection> {
    let body = exchange.body.clone().unwrap_or_default();
    let keys = live.policy.keys_of(&mesh);
    let own = mesh.own_id.as_ref();
    let now = unix_now();
    let border = Inbound { mesh: &mesh.id, own, accept: &mesh.accept, keys, now_unix: now.as_secs_f64() };
    let mut crossing = border::inbound(&body, &border).map_err(|fault| {
        exchange.failure = Some(fault.into());
        Rejection::InvalidJson
    })?;
    // With the body: an id that is used twice for two bodies names two deliveries.
    let identity =
        told.map(|id| Identity::of([b"federation".as_slice(), mesh.id.as_str().as_bytes(), id, &body]));
    if let Some(identity) = identity.filter(|_| crossing.passed > 0) {
        let name = live.policy.routes[route].name.as_str();
        let keep = REMEMBERED.keep;
        match site.replay.claim(&mesh.tenant, name, &[identity], keep, now.as_secs()) {
            Standing::Fresh(claim) => exchange.claim = Some(claim),
            Standing::Taken => return verify::came_again(site, exchange, REMEMBERED),
            Standing::OnItsWay => {
                site.metrics.replays.with_label_values(&["pending"]).inc();
                return Err(Rejection::Pending);
            }
        }
    }
    count(site, &mesh, "in", &crossing);
    if crossing.passed == 0 {
        // As the hub answers where nothing is left of a batch.
        exchange.own_answer =
            Some((StatusCode::OK, Bytes::from_static(b"{\"ingested\":0,\"memory\":0,\"skill\":0}\n")));
    }
    exchange.body = Some(Bytes::from(std::mem::take(&mut crossing.body)));
    exchange.arrived_over = Some(Arrived { mesh, crossing });
    Ok(())
}

/// Tells the upstream from which mesh it is, and whose signature was held. A client's own fields were removed.
pub(super) fn tell(fields: &mut HeaderMap, exchange: &Exchange) {
    let Some(Arrived { mesh, crossing }) = &exchange.arrived_over else { return };
    if let Ok(id) = HeaderValue::from_str(mesh.id.as_str()) {
        fields.insert(X_MESH_ID, id);
    }
    if crossing.verified > 0 {
        fields.insert(verify::X_VERIFIED_SOURCE, HeaderValue::from_static("mesh"));
        if let Ok(ids) = HeaderValue::from_str(&crossing.key_ids.join(", ")) {
            fields.insert(verify::X_VERIFIED_KEY_ID, ids);
        }
    }
}

async fn share(
    site: &Arc<Site>,
    live: &Live,
    exchange: &mut Exchange,
    told: Option<&[u8]>,
) -> Result<(), Rejection> {
    let Some(tenant) = exchange.trail.tenant.clone() else { return Err(Rejection::Internal) };
    let body = exchange.body.clone().unwrap_or_default();
    let (messages, audience) = border::letter(&body).map_err(|fault| refused(exchange, fault))?;
    let meshes = audience_of(live, &tenant, &audience).ok_or(Rejection::BadShare)?;
    let (mut parcels, mut deliveries, mut most) = (Vec::new(), Vec::new(), 0);
    for (mesh, peer) in meshes {
        let sign = peer.sign.as_ref().and_then(|key| match &key.key {
            SigningSecret::Ed25519(key) => Some(&**key),
            // Refused by the config's check.
            SigningSecret::Hmac(_) => None,
        });
        let border = Outbound { mesh: &mesh.id, share: &peer.share, sign };
        let crossing =
            border::outbound(messages, &border).map_err(|fault| refused(exchange, fault.into()))?;
        count(site, mesh, "out", &crossing);
        if crossing.passed == 0 {
            continue;
        }
        most = most.max(crossing.passed);
        let id = id(&tenant, mesh, told, &crossing.body);
        deliveries.push(json!({ "mesh": mesh.id.as_str(), "id": id.text(), "messages": crossing.passed, "withheld": crossing.barred() }));
        parcels.push(Parcel { id, mesh: mesh.id.clone(), body: crossing.body });
    }
    if !parcels.is_empty() {
        site.outbox.put(&tenant.id, parcels).await.map_err(|error| match error {
            PutError::Full => Rejection::OutboxFull,
            PutError::Write(error) => {
                tracing::error!(%error, tenant = %tenant.id, "the outbox cannot be written");
                Rejection::OutboxUnavailable
            }
        })?;
    }
    let answer = json!({ "shared": most, "deliveries": deliveries });
    exchange.own_answer = Some((StatusCode::ACCEPTED, Bytes::from(format!("{answer}\n"))));
    Ok(())
}

fn refused(exchange: &mut Exchange, fault: LetterFault) -> Rejection {
    if let LetterFault::Malformed(fault) = fault {
        exchange.failure = Some(fault.into());
    }
    Rejection::BadShare
}

/// The tenant's meshes that are meant; nothing where one is named that is none of them.
fn audience_of<'l>(
    live: &'l Live,
    tenant: &Tenant,
    audience: &Audience,
) -> Option<Vec<(&'l Arc<Mesh>, &'l Peer)>> {
    let own = || live.policy.meshes_of(&tenant.id).filter_map(|mesh| Some((mesh, mesh.peer.as_ref()?)));
    match audience {
        Audience::All => Some(own().collect()),
        Audience::Meshes(names) => {
            let is_known = |name: &String| own().any(|(mesh, _)| mesh.id.as_str() == name);
            let is_meant = |mesh: &Mesh| names.iter().any(|name| mesh.id.as_str() == name);
            names.iter().all(is_known).then(|| own().filter(|(mesh, _)| is_meant(mesh)).collect())
        }
    }
}

/// A delivery's name. The same for what a caller says again under the same key, so that it waits once, and goes
/// under the same name if it is gone already.
fn id(tenant: &Tenant, mesh: &Mesh, told: Option<&[u8]>, body: &[u8]) -> Id {
    match told {
        Some(key) => {
            let parts =
                [b"outbox".as_slice(), tenant.id.as_str().as_bytes(), mesh.id.as_str().as_bytes(), key, body];
            let identity = Identity::of(parts);
            Id(std::array::from_fn(|at| identity.0[at]))
        }
        None => Id(fastrand::u128(..).to_be_bytes()),
    }
}

fn count(site: &Site, mesh: &Mesh, direction: &str, crossing: &Crossing) {
    let add = |result: &str, n: usize| {
        let labels = [mesh.tenant.as_str(), mesh.id.as_str(), direction, result];
        if n > 0 {
            site.metrics.federation.with_label_values(&labels).inc_by(n as u64);
        }
    };
    add("passed", crossing.passed);
    for (bar, n) in crossing.by_reason() {
        add(bar.code(), n);
    }
}
