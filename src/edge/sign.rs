//! Routes that say `sign`: what goes on is signed with the edge's own key of the caller's tenant.
//!
//! Messages are signed while the body is held; a whole request when its fields and its path are what the upstream
//! will get. How either is signed, the signatures room knows.

use super::body;
use super::exchange::Exchange;
use super::live::{Live, Site, unix_now};
use super::verify;
use crate::admission::Rejection;
use crate::config::checked::{Sign, SignScheme, SigningKey, SigningSecret};
use crate::signatures::{border, outgoing};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header, request};
use pingora::proxy::Session;
use std::sync::Arc;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest name of a delivery that is taken from a client.
const LONGEST_ID: usize = 128;

/// The key that signs for the caller; the config's check saw that each tenant that can call has one.
fn key<'s>(sign: &'s Sign, exchange: &Exchange) -> Option<&'s SigningKey> {
    let tenant = &exchange.trail.tenant.as_ref()?.id;
    sign.keys.get(tenant).map(AsRef::as_ref)
}

/// Holds the body, and signs the messages in it where they are what is signed.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn hold(
    site: &Arc<Site>,
    live: &Live,
    session: &mut Session,
    exchange: &mut Exchange,
    route: usize,
) -> pingora::Result<Result<(), Rejection>> {
    let Some(sign) = live.policy.routes[route].sign.clone() else { return Ok(Ok(())) };
    if exchange.body.is_none() {
        match body::hold(session, site, live, route).await? {
            Ok((body, passage)) => {
                exchange.body = Some(body);
                exchange.held = Some(passage);
            }
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    let SignScheme::Mesh(form) = sign.scheme else { return Ok(Ok(())) };
    let (Some(body), Some(SigningSecret::Ed25519(key))) =
        (&exchange.body, key(&sign, exchange).map(|key| &key.key))
    else {
        return Ok(Err(Rejection::Internal));
    };
    match border::sign_all(body, key, form) {
        Ok(signed) => {
            exchange.body = Some(Bytes::from(signed));
            site.metrics.signed.with_label_values(&[sign.name]).inc();
            Ok(Ok(()))
        }
        Err(fault) => {
            exchange.failure = Some(fault.into());
            Ok(Err(Rejection::Unsignable))
        }
    }
}

/// Signs a whole request, whose head is as the upstream gets it but for its path, which is `target`.
///
/// # Errors
/// When it cannot be signed: then it must not go on.
pub(super) fn write(
    site: &Site,
    exchange: &Exchange,
    sign: &Sign,
    head: &mut request::Parts,
    target: &str,
) -> Result<(), Rejection> {
    if let Some(host) = sign.public_url.as_deref().and_then(|url| Some(url.split_once("://")?.1)) {
        let host = HeaderValue::from_str(host).map_err(|_| Rejection::Internal)?;
        head.headers.insert(header::HOST, host);
    }
    if matches!(sign.scheme, SignScheme::Mesh(_)) {
        return Ok(());
    }
    let key = key(sign, exchange).ok_or(Rejection::Internal)?;
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = sign.public_url.clone().unwrap_or_else(|| format!("http://{host}"));
    let id = name(exchange, head);
    let method = head.method.clone();
    let request = outgoing::Outgoing {
        method: method.as_str(),
        origin: &origin,
        target,
        body: exchange.body.as_deref().unwrap_or_default(),
        id: &id,
        now_unix: unix_now().as_secs(),
    };
    outgoing::sign(&sign.scheme, key, request, &mut head.headers).map_err(|error| {
        tracing::error!(%error, request_id = exchange.request_id.as_str(), "a request cannot be signed");
        Rejection::Unsignable
    })?;
    site.metrics.signed.with_label_values(&[sign.name]).inc();
    Ok(())
}

/// Names the delivery: as its own sender does, so that a retry has the same name; else as the request.
fn name(exchange: &Exchange, head: &request::Parts) -> String {
    let own = exchange.proved.as_ref().map(|proved| verify::name(&proved.identity));
    let told = || {
        let value = head.headers.get(IDEMPOTENCY_KEY)?.to_str().ok()?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_good = (1..=LONGEST_ID).contains(&value.len()) && value.bytes().all(fits);
        is_good.then(|| value.to_owned())
    };
    own.or_else(told).unwrap_or_else(|| exchange.request_id.as_str().replace('.', "-"))
}
