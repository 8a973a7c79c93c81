//! Which fields go on, which never do, and which the edge sets: towards upstreams and gateways.
//!
//! Whatever says who calls is the edge's to say. A client's own is removed before the edge's is set.

use super::exchange::Exchange;
use super::live::Live;
use super::tls::Secured;
use crate::admission::GatewayEntry;
use crate::config::checked::Forwarded;
use crate::identity::address::AddressText;
use crate::identity::caller::{Carrier, X_API_KEY};
use crate::identity::sessions::{self, CLEAR_COOKIE, COOKIE};
use crate::openclaw::surface::Place;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");
const X_CREDENTIAL_ID: HeaderName = HeaderName::from_static("x-credential-id");
const X_CREDENTIAL_SCOPES: HeaderName = HeaderName::from_static("x-credential-scopes");
const X_NODE_ID: HeaderName = HeaderName::from_static("x-node-id");
const X_VERIFIED_SOURCE: HeaderName = HeaderName::from_static("x-verified-source");
pub(super) const X_MESSAGES_DROPPED: HeaderName = HeaderName::from_static("x-messages-dropped");
const X_OPENCLAW_SCOPES: HeaderName = HeaderName::from_static("x-openclaw-scopes");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that say who calls or for whom. Prefixes are in [`is_identity`].
const IDENTITY: &[&str] = &[
    "forwarded",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-credential-id",
    "x-credential-scopes",
    "x-edge-auth",
    "x-node-id",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "x-tenant-id",
    "true-client-ip",
    "cf-connecting-ip",
];

/// Whether a field (in lower case) is the edge's to set: then a client's own does not go on. Some servers
/// take `_` for `-`, so the names in that writing do not go on either.
pub(super) fn is_identity(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x' | b'f' | b't' | b'c' | b's') if memchr::memchr(b'_', name.as_bytes()).is_some() => {
            is_identity(&name.replace('_', "-"))
        }
        Some(b'x') => {
            let prefixes = [
                "x-forwarded-",
                "x-verified-",
                "x-openclaw-",
                "x-client-cert",
                "x-ssl-client-",
                "x-amzn-mtls-",
                "x-arr-clientcert",
            ];
            prefixes.iter().any(|prefix| name.starts_with(prefix)) || IDENTITY.contains(&name)
        }
        Some(b'f' | b't' | b'c' | b's') => {
            // Client-Cert and Client-Cert-Chain (RFC 9440), and what others call them.
            let prefixes = ["tailscale-", "client-cert", "ssl-client-"];
            IDENTITY.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
        }
        // No name of ours begins like this.
        _ => false,
    }
}

/// The address, scheme and host that upstreams are told the client used.
pub(super) struct Origin {
    client: Option<IpAddr>,
    proto: HeaderValue,
    host: Option<HeaderValue>,
}

impl Origin {
    /// A trusted proxy's word counts for scheme and host; else the socket's own.
    pub(super) fn of(live: &Live, peer: Option<IpAddr>, exchange: &Exchange, fields: &HeaderMap) -> Self {
        let trusted = peer.is_some_and(|peer| live.policy.trusts(peer));
        let told = |name: &str| trusted.then(|| fields.get(name).cloned()).flatten();
        let own = if exchange.secured.is_some() { "https" } else { "http" };
        let own = HeaderValue::from_static(own);
        let proto = told("x-forwarded-proto").filter(|proto| proto == "https" || proto == "http");
        Self {
            client: exchange.trail.client,
            proto: proto.unwrap_or(own),
            host: told("x-forwarded-host").or_else(|| exchange.host.clone()),
        }
    }

    /// Scheme, host and port as the client wrote them.
    pub(super) fn url(&self) -> String {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        format!("{}://{}", text(&self.proto), self.host.as_ref().map(text).unwrap_or_default())
    }

    /// Sets the fields; a client's own were removed before.
    pub(super) fn write(self, fields: &mut HeaderMap) {
        if let Some(client) = self.client
            && let Ok(client) = HeaderValue::from_bytes(AddressText::of(client).as_bytes())
        {
            fields.insert(X_FORWARDED_FOR, client);
        }
        fields.insert(X_FORWARDED_PROTO, self.proto);
        if let Some(host) = self.host {
            fields.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// Takes out what a client may not say, and its credential unless the route hands it on.
pub(super) fn cleanse(fields: &mut HeaderMap, carrier: Option<Carrier>, keep_credential: bool) {
    // Almost no request has any: one look over the names costs less than a dozen removals.
    let mut found: Option<Vec<HeaderName>> = None;
    for name in fields.keys() {
        if is_identity(name.as_str()) {
            found.get_or_insert_default().push(name.clone());
        }
    }
    for name in found.into_iter().flatten() {
        fields.remove(name);
    }
    match carrier {
        Some(Carrier::ApiKey) if !keep_credential => drop(fields.remove(&X_API_KEY)),
        Some(Carrier::Authorization) if !keep_credential => drop(fields.remove(header::AUTHORIZATION)),
        // Where the edge took no credential, the fields are the upstream's own business.
        Some(Carrier::ApiKey | Carrier::Authorization | Carrier::Session | Carrier::Certificate) | None => {}
    }
    take_out_sessions(fields);
}

/// A session is between a browser and the edge, whatever else the request came with.
fn take_out_sessions(fields: &mut HeaderMap) {
    let has = |cookies: &HeaderValue| memchr::memmem::find(cookies.as_bytes(), sessions::MARK).is_some();
    if !fields.get_all(header::COOKIE).iter().any(has) {
        return;
    }
    let all: Vec<HeaderValue> = fields.get_all(header::COOKIE).iter().cloned().collect();
    fields.remove(header::COOKIE);
    for cookies in all {
        let pairs = cookies.as_bytes().split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let kept: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty() && !is_session(pair)).collect();
        if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_bytes(&kept.join(&b"; "[..]))) {
            fields.append(header::COOKIE, kept);
        }
    }
}

/// Whether a cookie, as either side writes it, has one of the names of ours.
fn is_session(pair: &[u8]) -> bool {
    let end = memchr::memchr2(b'=', b';', pair).unwrap_or(pair.len());
    [COOKIE, CLEAR_COOKIE].iter().any(|name| pair[..end].trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

/// What passes between the edge and the services behind it, and is no client's business.
const INTERNAL: &[&str] = &[
    "x-tenant-id",
    "x-node-id",
    "x-credential-id",
    "x-credential-scopes",
    "x-edge-auth",
    "x-openclaw-scopes",
];

/// Takes out of an answer what only the edge and its upstreams say to each other, and what is the edge's alone to give.
pub(super) fn conceal(fields: &mut HeaderMap) {
    let told = |name: &HeaderName| name.as_str().starts_with('x') && INTERNAL.contains(&name.as_str());
    if fields.keys().any(told) {
        for name in INTERNAL {
            fields.remove(*name);
        }
    }
    if fields.get_all(header::SET_COOKIE).iter().any(|cookie| is_session(cookie.as_bytes())) {
        let kept: Vec<HeaderValue> = fields
            .get_all(header::SET_COOKIE)
            .iter()
            .filter(|cookie| !is_session(cookie.as_bytes()))
            .cloned()
            .collect();
        fields.remove(header::SET_COOKIE);
        for cookie in kept {
            fields.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Says which request an answer is to, and what did not go on of it.
pub(super) fn name_answer(fields: &mut HeaderMap, exchange: &Exchange) {
    fields.reserve(4);
    fields.insert(X_REQUEST_ID, exchange.request_id.field());
    if let Some(dropped) = dropped(exchange) {
        fields.insert(X_MESSAGES_DROPPED, dropped);
    }
    keep_to_https(fields, exchange.secured.as_deref());
}

/// Tells browsers to come over `https` alone, where the socket's config says so. It is the edge's to say: what an
/// upstream says of it does not count.
pub(super) fn keep_to_https(fields: &mut HeaderMap, secured: Option<&Secured>) {
    if let Some(hsts) = secured.and_then(|secured| secured.hsts.as_ref()) {
        fields.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

/// How many messages did not go on, if any.
pub(super) fn dropped(exchange: &Exchange) -> Option<HeaderValue> {
    let dropped = exchange.verified.as_ref().map_or(0, |verified| verified.dropped.total())
        + exchange.arrived_over.as_ref().map_or(0, |arrived| arrived.crossing.barred());
    (dropped > 0).then(|| HeaderValue::from(dropped))
}

/// Says which request it is, and to services that may know it, who calls.
pub(super) fn identify(fields: &mut HeaderMap, exchange: &Exchange, who: bool) {
    fields.reserve(8);
    fields.insert(X_REQUEST_ID, exchange.request_id.field());
    if !who {
        return;
    }
    if let Some(tenant) = &exchange.trail.tenant {
        fields.insert(X_TENANT_ID, tenant.field.clone());
    }
    if let Some(credential) = &exchange.trail.credential {
        fields.insert(X_CREDENTIAL_ID, credential.id_field.clone());
        fields.insert(X_CREDENTIAL_SCOPES, credential.scopes_field.clone());
        if let Some(node) = &credential.node_field {
            fields.insert(X_NODE_ID, node.clone());
        }
    }
    if exchange.verified.as_ref().is_some_and(|verified| verified.verified > 0) {
        fields.insert(X_VERIFIED_SOURCE, HeaderValue::from_static("mesh"));
    }
}

/// What a gateway is told of the client: nothing, or one rebuilt chain without a loopback address (a
/// gateway refuses both a chain it did not ask for and one that claims its own host).
pub(super) fn forwarded_to_gateway(policy: Forwarded, client: Option<IpAddr>) -> bool {
    match policy {
        Forwarded::Off => false,
        Forwarded::Trusted => client.is_some_and(|ip| !ip.is_loopback()),
    }
}

/// A client's fields for the handshake with a gateway.
pub(super) fn for_gateway(
    exchange: &Exchange,
    fields: &HeaderMap,
    carrier: Option<Carrier>,
    tell: Option<Origin>,
) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let dropped = is_identity(name.as_str())
            || is_hop_by_hop(name)
            || (name == X_API_KEY && carrier == Some(Carrier::ApiKey))
            || (name == header::AUTHORIZATION && carrier == Some(Carrier::Authorization));
        if !dropped {
            out.append(name, value.clone());
        }
    }
    take_out_sessions(&mut out);
    identify(&mut out, exchange, false);
    if let Some(origin) = tell {
        origin.write(&mut out);
    }
    out
}

/// Tells a gateway which scopes the caller has: it grants no others.
pub(super) fn scopes(fields: &mut HeaderMap, exchange: &Exchange) {
    let Some(credential) = &exchange.trail.credential else { return };
    if let Ok(value) = HeaderValue::try_from(credential.gateway.field()) {
        fields.insert(X_OPENCLAW_SCOPES, value);
    }
}

/// A request to a gateway's HTTP side: the caller's scopes, and the gateway's secret where it wants that
/// and the caller has brought nothing of its own.
pub(super) fn for_gateway_http(
    fields: &mut HeaderMap,
    exchange: &Exchange,
    gateway: &GatewayEntry,
    place: Place,
) {
    scopes(fields, exchange);
    let is_known = exchange.trail.credential.is_some();
    let Some(token) = gateway.token.as_ref().filter(|_| is_known && place.takes_secret) else { return };
    if fields.contains_key(header::AUTHORIZATION) {
        return;
    }
    let text = zeroize::Zeroizing::new([b"Bearer ", token.expose()].concat());
    if let Ok(mut value) = HeaderValue::from_bytes(&text) {
        value.set_sensitive(true);
        fields.insert(header::AUTHORIZATION, value);
    }
}

/// Fields of one connection (RFC 9110 section 7.6.1), and those of the WebSocket handshake that each hop
/// makes for itself.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "content-length"
            | "upgrade"
            | "expect"
            | "sec-websocket-key"
            | "sec-websocket-version"
            | "sec-websocket-extensions"
            | "sec-websocket-accept"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_say_who_it_is() {
        for name in [
            "x-tenant-id",
            "x-node-id",
            "x-forwarded-for",
            "x-forwarded-user",
            "forwarded",
            "x-real-ip",
            "x-verified-source",
            "x-openclaw-scopes",
            "tailscale-user-login",
            "x-edge-auth",
            "x-credential-id",
            "x-credential-scopes",
            "x_tenant_id",
            "x-forwarded_for",
            "client-cert",
            "client-cert-chain",
            "x-client-cert",
            "x-ssl-client-s-dn",
            "ssl_client_verify",
            "x-forwarded-client-cert",
        ] {
            assert!(is_identity(name), "{name}");
        }
        for name in ["x-api-version", "accept", "x-mesh-id", "content-type", "cookie", "traceparent"] {
            assert!(!is_identity(name), "{name}");
        }
    }

    #[test]
    fn a_session_stays_at_the_edge() {
        for (given, kept) in [
            (&["a=b; __Host-openclaw-session=x; c=d"][..], &["a=b; c=d"][..]),
            (&["openclaw-session=x"], &[]),
            (&["a=openclaw-session", "OPENCLAW-session = x;b=c"], &["a=openclaw-session", "b=c"]),
            (&["a=b;c=d"], &["a=b;c=d"]),
        ] {
            let cookies = given.iter().map(|text| (header::COOKIE, HeaderValue::from_static(text)));
            let mut fields: HeaderMap = cookies.collect();
            cleanse(&mut fields, None, true);
            let left: Vec<_> = fields.get_all(header::COOKIE).iter().collect();
            assert_eq!(left, kept, "{given:?}");
        }
        let set = ["openclaw-session=x; Path=/", "a=b", "__Host-openclaw-session=x"];
        let set = set.map(|text| (header::SET_COOKIE, HeaderValue::from_static(text)));
        let mut fields = HeaderMap::from_iter(set);
        conceal(&mut fields);
        assert_eq!(fields.get_all(header::SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b"]);
    }

    #[test]
    fn a_gateway_never_hears_of_a_loopback_client() {
        let check = |policy, ip: &str| forwarded_to_gateway(policy, Some(ip.parse().unwrap()));
        assert!(check(Forwarded::Trusted, "203.0.113.9"));
        assert!(!check(Forwarded::Trusted, "127.0.0.1"));
        assert!(!check(Forwarded::Off, "203.0.113.9"));
    }
}
