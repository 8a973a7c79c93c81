//! Routes that say `verify`: the body is held, proved, and only then sent on, with what upstreams are told of
//! who sent it.
//!
//! What a signature is, the signatures room knows; this file hands it the request as the sender saw it.

use super::body;
use super::exchange::Exchange;
use super::headers::{self, Origin};
use super::live::{Live, Site, unix_now};
use crate::admission::Rejection;
use crate::config::checked::{MeshRules, Scheme, Sender, SetupCalls, Verify};
use crate::signatures::schemes;
use crate::signatures::{self, Context, Delivery, Failure, Forward, Identity, Proved, Scratch, Verified};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;

const X_VERIFIED_SOURCE: HeaderName = HeaderName::from_static("x-verified-source");
const X_VERIFIED_KEY_ID: HeaderName = HeaderName::from_static("x-verified-key-id");
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
    let (body, passage) = match body::hold(session, site, live, route).await? {
        Ok(held) => held,
        Err(rejection) => return Ok(Err(rejection)),
    };
    exchange.held = Some(passage);
    let Some(policy) = live.policy.routes[route].verify.clone() else { return Ok(Err(Rejection::Internal)) };
    let proved = match &policy.scheme {
        Scheme::Mesh(rules) => mesh(live, session, exchange, rules, &body),
        Scheme::Sender(sender) => self::sender(live, session, exchange, peer, (&policy, sender), &body),
    };
    let verified = match proved {
        Ok(verified) => verified,
        Err(failure) => {
            exchange.failure = Some(failure);
            return Ok(Err(Rejection::Signature(failure.reason)));
        }
    };
    exchange.body = Some(match &verified.forward {
        Forward::AsIs => body,
        Forward::Rewritten(bytes) => Bytes::copy_from_slice(bytes),
    });
    exchange.verified = Some(verified);
    Ok(Ok(()))
}

fn mesh(
    live: &Live,
    session: &Session,
    exchange: &Exchange,
    policy: &MeshRules,
    body: &[u8],
) -> Result<Verified, Failure> {
    // The config's check lets `verify` stand only where callers have a tenant.
    let Some(tenant) = &exchange.trail.tenant else { return Err(signatures::Reason::KeyUnknown.into()) };
    let context = Context {
        policy,
        tenant: &tenant.id,
        keys: &live.policy.nodes,
        query: session.req_header().uri.query(),
        now_unix: unix_now().as_secs_f64(),
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
    let told;
    let origin = match &policy.public_url {
        Some(url) => url,
        None => {
            told = Origin::of(live, peer, exchange.trail.client, &head.headers).url();
            &told
        }
    };
    let delivery = Delivery {
        method: head.method.as_str(),
        origin,
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

/// Whether the edge itself has the answer that the sender waits for.
pub(super) fn is_setup(exchange: &Exchange) -> bool {
    exchange.proved.as_ref().is_some_and(|proved| proved.setup.is_some())
}

/// Answers a sender's call at set-up.
pub(super) async fn answer_setup(session: &mut Session, exchange: &Exchange) -> pingora::Result<()> {
    let setup = exchange.proved.as_ref().and_then(|proved| proved.setup.as_ref());
    let body = Bytes::from(setup.map(schemes::Setup::answer).unwrap_or_default());
    answer(session, exchange, body).await
}

/// 200 with JSON, from the edge itself.
async fn answer(session: &mut Session, exchange: &Exchange, body: Bytes) -> pingora::Result<()> {
    let mut head = http::Response::new(()).into_parts().0;
    head.status = StatusCode::OK;
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.headers.insert(headers::X_REQUEST_ID, exchange.request_id.field());
    session.write_response_header(Box::new(ResponseHeader::from(head)), false).await?;
    session.write_response_body(Some(body), true).await
}

/// Tells the upstream who was verified. What a client had said of that was removed before.
pub(super) fn tell(fields: &mut HeaderMap, exchange: &Exchange, policy: Option<&Arc<Verify>>) {
    let (Some(proved), Some(policy)) = (&exchange.proved, policy) else { return };
    let Proved { identity, key_id, .. } = proved;
    fields.insert(X_VERIFIED_SOURCE, HeaderValue::from_static(policy.name));
    if let Some(id) = key_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        fields.insert(X_VERIFIED_KEY_ID, id);
    }
    if let Ok(id) = HeaderValue::from_str(&name(identity)) {
        fields.insert(IDEMPOTENCY_KEY, id);
    }
    fields.remove(schemes::SECRET_FIELD);
    if let Some(token) = &policy.hook_token {
        fields.insert(header::AUTHORIZATION, token.clone());
    }
}

/// A delivery's name for upstreams: the same on a retry. 128 bits of it are enough.
fn name(identity: &Identity) -> String {
    hex::encode(&identity.0[..16])
}
