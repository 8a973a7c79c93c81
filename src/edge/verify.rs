//! Routes that say `verify`: the body is held, proved, and only then sent on, with what upstreams are told of
//! who sent it.
//!
//! What a signature is, the signatures room knows; this file hands it the request as the sender saw it.

use super::body;
use super::door::Unproved;
use super::exchange::Exchange;
use super::headers::{self, Origin};
use super::live::{Live, Site, unix_now};
use super::replay::{self, Claim};
use super::shared::Claimed;
use crate::admission::Rejection;
use crate::config::checked::{MeshRules, Replay, ReplayAnswer, Scheme, Sender, SetupCalls, Verify};
use crate::signatures::schemes;
use crate::signatures::{
    self, Context, Delivery, Failure, Forward, Identity, Proved, Reason, Scratch, Taken, Verified,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;

/// How often a body is proved: each time after the first, another edge took something of it meanwhile.
const TRIES: usize = 3;

pub(super) const X_VERIFIED_SOURCE: HeaderName = HeaderName::from_static("x-verified-source");
pub(super) const X_VERIFIED_KEY_ID: HeaderName = HeaderName::from_static("x-verified-key-id");
/// Says that a delivery was taken before.
pub(super) const X_REPLAY: HeaderName = HeaderName::from_static("x-replay");
/// Its one value.
pub(super) const DUPLICATE: HeaderValue = HeaderValue::from_static("duplicate");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Holds and proves the body of a request to this route.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn verify(
    site: &Arc<Site>,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
    route: usize,
    peer: Option<IpAddr>,
) -> pingora::Result<Result<(), Rejection>> {
    // Until the signature is proved nobody is known, unless a credential came too.
    let unproved = match (&exchange.trail.credential, exchange.trail.client) {
        (None, Some(client)) => Unproved::hold(site, client, body::claim(session, live, route)),
        (Some(_), _) | (None, None) => Ok(None),
    };
    let _unproved = match unproved {
        Ok(unproved) => unproved,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let (body, passage) = match body::hold(session, site, live, route).await? {
        Ok(held) => held,
        Err(rejection) => return Ok(Err(rejection)),
    };
    exchange.held = Some(passage);
    let Some(policy) = live.policy.routes[route].verify.clone() else { return Ok(Err(Rejection::Internal)) };
    // Again where another edge knew more: what it knew is then known here.
    for _ in 0..TRIES {
        let verified = match prove(site, live, session, exchange, peer, &policy, &body).await {
            Proof::Given(verified) => verified,
            Proof::CameAgain(replay) => return Ok(came_again(site, exchange, replay)),
            Proof::Refused(rejection) => return Ok(Err(rejection)),
        };
        if let (Some(client), None) = (exchange.trail.client, &exchange.trail.credential)
            && verified.verified > 0
        {
            live.policy.remember_signer(route, client);
        }
        if let (Some(replay), false) = (policy.replay, is_setup(exchange)) {
            match claim(site, live, exchange, route, replay, &verified).await {
                Standing::Fresh(claim) => exchange.claim = Some(claim),
                Standing::Taken => return Ok(came_again(site, exchange, replay)),
                Standing::OnItsWay => break,
                Standing::Learned => continue,
                Standing::Unsigned => {}
            }
        }
        exchange.body = Some(match &verified.forward {
            Forward::AsIs => body,
            Forward::Rewritten(bytes) => Bytes::copy_from_slice(bytes),
        });
        exchange.verified = Some(verified);
        return Ok(Ok(()));
    }
    site.metrics.replays.with_label_values(&["pending"]).inc();
    Ok(Err(Rejection::Pending))
}

/// What became of a body.
enum Proof {
    /// It is proved.
    Given(Verified),
    /// Every message of it was taken before.
    CameAgain(Replay),
    /// It is not.
    Refused(Rejection),
}

async fn prove(
    site: &Site,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
    peer: Option<IpAddr>,
    policy: &Verify,
    body: &[u8],
) -> Proof {
    let proved = match &policy.scheme {
        Scheme::Mesh(rules) => {
            let proved = mesh(site, live, session, exchange, (policy, rules), body);
            match &exchange.trail.tenant {
                // Perhaps a key that its node has since a moment ago.
                Some(tenant) if names_unknown_key(&proved) && live.keys.look_again(&tenant.id).await => {
                    mesh(site, live, session, exchange, (policy, rules), body)
                }
                Some(_) | None => proved,
            }
        }
        Scheme::Sender(sender) => self::sender(live, session, exchange, peer, (policy, sender), body),
    };
    match (proved, policy.replay) {
        (Ok(verified), _) => Proof::Given(verified),
        (Err(Failure { reason: Reason::Replayed, index: None, .. }), Some(replay)) => {
            Proof::CameAgain(replay)
        }
        (Err(failure), _) => {
            exchange.failure = Some(failure);
            Proof::Refused(match failure.reason {
                Reason::Replayed => Rejection::Replayed,
                reason => Rejection::Signature(reason),
            })
        }
    }
}

/// Whether a message was refused or taken out because of a key that nobody knows.
fn names_unknown_key(proved: &Result<Verified, Failure>) -> bool {
    match proved {
        Ok(verified) => verified.dropped.by_reason().any(|(reason, _)| reason == Reason::KeyUnknown),
        Err(failure) => failure.reason == Reason::KeyUnknown,
    }
}

/// What a delivery is told, here and by the other edges.
enum Standing {
    /// It may go on.
    Fresh(Claim),
    /// An upstream took it before.
    Taken,
    /// It is on its way just now.
    OnItsWay,
    /// Something of it was taken elsewhere, which is now known here.
    Learned,
    /// Nothing in it was signed.
    Unsigned,
}

/// Claims what a body holds.
async fn claim(
    site: &Arc<Site>,
    live: &Live,
    exchange: &Exchange,
    route: usize,
    replay: Replay,
    verified: &Verified,
) -> Standing {
    let Some(tenant) = exchange.trail.tenant.as_ref() else { return Standing::Unsigned };
    let one = exchange.proved.as_ref().map(|proved| std::slice::from_ref(&proved.identity));
    let identities = one.unwrap_or(&verified.identities);
    if identities.is_empty() {
        return Standing::Unsigned;
    }
    let name = live.policy.routes[route].name.as_str();
    let now = unix_now().as_secs();
    let claim = match site.replay.claim(&tenant.id, name, identities, replay.keep, now) {
        replay::Standing::Fresh(claim) => claim,
        replay::Standing::Taken => return Standing::Taken,
        replay::Standing::OnItsWay => return Standing::OnItsWay,
    };
    let Some(shared) = &site.shared else { return Standing::Fresh(claim) };
    match shared.claim(&tenant.id, claim.names()).await {
        Claimed::Fresh(elsewhere) => Standing::Fresh(claim.with(elsewhere)),
        Claimed::OnItsWay => Standing::OnItsWay,
        Claimed::Taken(taken) => {
            claim.learn(&taken, now);
            Standing::Learned
        }
    }
}

/// What a delivery is told that was taken before.
pub(super) fn came_again(site: &Site, exchange: &mut Exchange, replay: Replay) -> Result<(), Rejection> {
    let (label, told) = match replay.answer {
        ReplayAnswer::Duplicate | ReplayAnswer::Off => ("duplicate", Ok(())),
        ReplayAnswer::Conflict => ("conflict", Err(Rejection::Replayed)),
    };
    site.metrics.replays.with_label_values(&[label]).inc();
    exchange.duplicate = true;
    told
}

/// The upstream answered: if it took the delivery, that is marked before the sender hears of it.
pub(super) async fn answered(exchange: &mut Exchange, status: StatusCode) {
    if let Some(claim) = exchange.claim.take()
        && status.is_success()
    {
        claim.taken(unix_now().as_secs()).await;
    }
}

fn mesh(
    site: &Site,
    live: &Live,
    session: &Session,
    exchange: &Exchange,
    (policy, rules): (&Verify, &MeshRules),
    body: &[u8],
) -> Result<Verified, Failure> {
    // The config's check lets `verify` stand only where callers have a tenant.
    let Some(tenant) = &exchange.trail.tenant else { return Err(Reason::KeyUnknown.into()) };
    let route = exchange.trail.route.map_or("", |route| live.policy.routes[route].name.as_str());
    let now = unix_now();
    let is_taken = |identity: &Identity| site.replay.is_taken(&tenant.id, route, identity, now.as_secs());
    let keys = live.keys.current();
    let context = Context {
        policy: rules,
        tenant: &tenant.id,
        keys: &keys,
        query: session.req_header().uri.query(),
        now_unix: now.as_secs_f64(),
        taken: policy.replay.is_some().then_some(Taken(&is_taken)),
    };
    signatures::verify(body, &context, &mut Scratch::default())
}

fn sender(
    live: &Live,
    session: &Session,
    exchange: &mut Exchange,
    peer: Option<IpAddr>,
    (policy, sender): (&Verify, &Sender),
    body: &[u8],
) -> Result<Verified, Failure> {
    let head = session.req_header();
    let told = || Origin::of(live, peer, exchange, &head.headers).url();
    let origin = policy.public_url.clone().unwrap_or_else(told);
    let delivery = Delivery {
        method: head.method.as_str(),
        origin: &origin,
        target: head.uri.path_and_query().map_or("/", |target| target.as_str()),
        fields: &head.headers,
        body,
        now_unix: unix_now().as_secs(),
    };
    let mut proved = schemes::verify(sender, &delivery)?;
    if policy.setup_calls == SetupCalls::Forward {
        proved.setup = None;
    }
    exchange.proved = Some(proved);
    Ok(Verified::whole())
}

fn is_setup(exchange: &Exchange) -> bool {
    exchange.proved.as_ref().is_some_and(|proved| proved.setup.is_some())
}

/// Whether the edge itself has the answer that the sender waits for: to a call at set-up, to a delivery that was
/// taken before, or to what is shared with other meshes.
pub(super) fn is_answered(exchange: &Exchange) -> bool {
    exchange.duplicate || exchange.own_answer.is_some() || is_setup(exchange)
}

/// JSON from the edge itself.
pub(super) async fn answer(session: &mut Session, exchange: &Exchange) -> pingora::Result<()> {
    let setup = exchange.proved.as_ref().and_then(|proved| proved.setup.as_ref());
    let duplicate = || Bytes::from_static(b"{\"ok\":true,\"duplicate\":true}");
    let (status, body) = match (&exchange.own_answer, setup) {
        (Some(own), _) => own.clone(),
        (None, Some(setup)) => (StatusCode::OK, Bytes::from(setup.answer())),
        (None, None) => (StatusCode::OK, duplicate()),
    };
    let mut head = http::Response::new(()).into_parts().0;
    head.status = status;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.headers.insert(headers::X_REQUEST_ID, exchange.request_id.field());
    if exchange.duplicate {
        head.headers.insert(X_REPLAY, DUPLICATE);
    }
    if let Some(dropped) = headers::dropped(exchange) {
        head.headers.insert(headers::X_MESSAGES_DROPPED, dropped);
    }
    session.write_response_header(Box::new(ResponseHeader::from(head)), false).await?;
    session.write_response_body(Some(body), true).await
}

/// Tells the upstream who was verified. What a client had said of that was removed before.
pub(super) fn tell(fields: &mut HeaderMap, exchange: &Exchange, policy: Option<&Arc<Verify>>) {
    let (Some(verified), Some(policy)) = (&exchange.verified, policy) else { return };
    let own = exchange.proved.as_ref().and_then(|proved| proved.key_id.clone());
    let ids = own.unwrap_or_else(|| verified.key_ids.join(", "));
    if let Some(ids) = HeaderValue::from_str(&ids).ok().filter(|ids| !ids.is_empty()) {
        fields.insert(X_VERIFIED_KEY_ID, ids);
    }
    if let Some(token) = &policy.hook_token {
        fields.insert(header::AUTHORIZATION, token.clone());
    }
    let Some(Proved { identity, .. }) = &exchange.proved else {
        // An OpenClaw gateway's hooks: messages have no one name, so the body names the delivery.
        if let (Some(_), Some(body)) = (&policy.hook_token, &exchange.body)
            && let Ok(id) = HeaderValue::from_str(&name(&Identity::of([policy.name.as_bytes(), body])))
        {
            fields.insert(IDEMPOTENCY_KEY, id);
        }
        return;
    };
    fields.insert(X_VERIFIED_SOURCE, HeaderValue::from_static(policy.name));
    if let Ok(id) = HeaderValue::from_str(&name(identity)) {
        fields.insert(IDEMPOTENCY_KEY, id);
    }
    fields.remove(schemes::SECRET_FIELD);
}

/// A delivery's name for upstreams: the same on a retry. 128 bits of it are enough.
pub(super) fn name(identity: &Identity) -> String {
    hex::encode(&identity.0[..16])
}
