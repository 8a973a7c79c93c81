//! What stands behind the edge: upstreams and OpenClaw gateways.

use super::check_identity::Identity;
use super::checked::{EmbeddedStore, Gateway, Upstream, UpstreamTarget};
use super::checker::{Checker, Known, shown};
use super::problems::printable;
use super::tree::{Document, Spot};
use super::urls::{check_control_ui, gateway_url, split_authority};
use super::{Surroundings, check_embeddings, check_operator, check_store, raw, secrets};
use crate::ids::{GatewayId, Name, TenantId};
use crate::secret::Secret;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

/// Fields that the edge itself writes, or that belong to one connection (RFC 9110, section 7.6.1).
const OWN_HEADERS: [&str; 22] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-credential-id",
    "x-credential-scopes",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-node-id",
    "x-real-ip",
    "x-request-id",
    "x-tenant-id",
];
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const BRIEF: Duration = Duration::from_millis(10);

/// What this file makes.
pub(super) struct Backends<'a> {
    pub(super) upstreams: Vec<Upstream>,
    /// Enabled ones.
    pub(super) gateways: Vec<Gateway>,
    pub(super) known_upstreams: Known<'a>,
    /// Enabled and others.
    pub(super) known_gateways: Known<'a>,
    pub(super) disabled_gateways: Vec<&'a str>,
}

pub(super) fn check<'a>(
    raw: &'a raw::Config,
    document: &'a Document,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Backends<'a> {
    let (top, written) = (document.top(), document.written());
    let mut upstreams = Vec::new();
    for (name, one) in &raw.upstreams {
        upstreams.extend(upstream(name, one, top.key("upstreams"), identity, checker, around));
    }
    one_store_at_most(raw, top.key("upstreams"), checker);
    Backends {
        upstreams,
        gateways: gateways(&raw.gateways, top.key("gateways"), identity, checker, around),
        disabled_gateways: raw
            .gateways
            .iter()
            .filter(|gateway| !gateway.enabled)
            .map(|gateway| gateway.id.as_str())
            .collect(),
        known_upstreams: Known {
            names: raw.upstreams.keys().map(String::as_str).collect(),
            broken: written.key("upstreams").keys().collect(),
        },
        known_gateways: Known {
            names: raw.gateways.iter().map(|gateway| gateway.id.as_str()).collect(),
            broken: written.key("gateways").items().filter_map(|one| one.key("id").text()).collect(),
        },
    }
}

fn one_store_at_most(raw: &raw::Config, all: Spot<'_>, checker: &mut Checker) {
    let mut stores = all
        .keys()
        .filter(|name| raw.upstreams.get(*name).is_some_and(|upstream| upstream.embedded.is_some()));
    let Some(first) = stores.next() else { return };
    for other in stores {
        let message = format!("a second embedded store; `{}` is the first", printable(first));
        checker.problem(all.key(other).key_at("embedded"), message);
    }
}

fn upstream(
    name: &str,
    raw: &raw::Upstream,
    all: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Upstream> {
    let spot = all.key(name);
    let name = match Name::parse(name) {
        Ok(name) => Some(name),
        Err(error) => {
            checker.problem(all.key_at(name), format!("the upstream's name {error}"));
            None
        }
    };
    let target = target(raw, spot, identity, checker, around);
    let headers = headers(&raw.headers, spot.key("headers"), checker, around);
    let mut time = |key: &str, text: &Option<String>, default: Duration| {
        checker.duration(spot.key(key), text.as_deref(), default, (BRIEF, HOUR))
    };
    let connect_timeout = time("connect_timeout", &raw.connect_timeout, 2 * SECOND);
    let read_timeout = time("read_timeout", &raw.read_timeout, 60 * SECOND);
    let write_timeout = time("write_timeout", &raw.write_timeout, 30 * SECOND);
    let idle_timeout = time("idle_timeout", &raw.idle_timeout, 4 * SECOND);
    Some(Upstream {
        name: name?,
        target: target?,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
        write_timeout: write_timeout?,
        idle_timeout: idle_timeout?,
        headers,
    })
}

fn target(
    raw: &raw::Upstream,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<UpstreamTarget> {
    match (&raw.embedded, raw.servers.is_empty()) {
        (None, false) => servers(&raw.servers, spot.key("servers"), checker),
        (Some(store), true) => embedded(store, spot.key("embedded"), identity, checker, around),
        (Some(_), false) => {
            let at = spot.key_at("embedded");
            checker.problem(at, "an upstream has either `servers` or `embedded`, not both");
            None
        }
        (None, true) => {
            let hint = "such as `servers: [\"127.0.0.1:4077\"]`";
            checker.lacks(spot, "an upstream needs `servers` or `embedded`", hint);
            None
        }
    }
}

fn servers(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Option<UpstreamTarget> {
    let mut servers: Vec<String> = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let spot = spot.item(index);
        if split_authority(text).is_none_or(|(_, port)| port.is_none()) {
            let hint = "`host:port`, such as `127.0.0.1:4077`, `bridge.internal:4077`, `[::1]:4077`";
            checker.hinted(spot.at, "this is no server", hint);
        } else if servers.contains(text) {
            checker.problem(spot.at, shown(spot, "this server stands here twice:", text));
        } else {
            servers.push(text.clone());
        }
    }
    (!servers.is_empty()).then_some(UpstreamTarget::Servers(servers))
}

fn embedded(
    raw: &raw::Embedded,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<UpstreamTarget> {
    if raw.database.is_empty() {
        checker.problem(spot.key("database").at, "the file's name is empty");
        return None;
    }
    let legacy = raw.legacy_tenant.as_deref();
    let legacy_tenant = match legacy {
        Some(text) => checker.tenant(spot.key("legacy_tenant"), text, &identity.known)?,
        // Needs no entry: without one, nobody reads those rows.
        None => TenantId::parse("default").ok()?,
    };
    let embeddings = check_embeddings::embeddings(&raw.embeddings, spot.key("embeddings"), checker, around)?;
    let rules = check_store::store_rules(&raw.rules, spot.key("rules"), Some(&identity.known), checker)?;
    let database = PathBuf::from(&raw.database);
    let store = EmbeddedStore { database, legacy_tenant, embeddings, rules };
    Some(UpstreamTarget::Embedded(Box::new(store)))
}

pub(super) fn headers(
    raw: &BTreeMap<String, raw::SecretSource>,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Vec<(http::HeaderName, Secret)> {
    let mut headers: Vec<(http::HeaderName, Secret)> = Vec::new();
    for (name, source) in raw {
        let at = spot.key_at(name);
        let secret = secrets::resolve(source, spot.key(name), around, checker);
        let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
            checker.problem(at, "this is no name of a header");
            continue;
        };
        if OWN_HEADERS.contains(&name.as_str()) {
            checker.problem(at, format!("`{name}` is set by the edge itself"));
            continue;
        }
        if headers.iter().any(|(known, _)| *known == name) {
            checker.problem(at, format!("`{name}` stands here twice"));
            continue;
        }
        let Some(secret) = secret else { continue };
        if http::HeaderValue::from_bytes(secret.expose()).is_err() {
            checker.problem(spot.key(name.as_str()).at, "this cannot be sent in a header");
            continue;
        }
        headers.push((name, secret));
    }
    headers
}

fn gateways(
    raw: &[raw::Gateway],
    all: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Vec<Gateway> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut gateways = Vec::new();
    for (index, one) in raw.iter().enumerate() {
        let spot = all.item(index);
        if let Some(first) = seen.insert(&one.id, index) {
            let line = all.item(first).at.line;
            let message = shown(spot.key("id"), "two gateways are called", &one.id);
            checker.problem(spot.key("id").at, format!("{message}; the other is on line {line}"));
        }
        gateways.extend(gateway(one, spot, identity, checker, around));
    }
    gateways
}

fn gateway(
    raw: &raw::Gateway,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Gateway> {
    let id = checker.id(spot.key("id"), "the id", &raw.id, GatewayId::parse);
    let tenant = checker.tenant(spot.key("tenant"), &raw.tenant, &identity.known);
    let url = match gateway_url(&raw.url) {
        Ok(url) => Some(url),
        // Not shown: a token may have been put into it.
        Err(error) => {
            let hint = "`ws://host:port` or `wss://host:port`, with a path where the gateway has one";
            checker.hinted(spot.key("url").at, error.to_string(), hint);
            None
        }
    };
    if let Some(Err(error)) = raw.control_ui.as_deref().map(check_control_ui) {
        checker.hinted(spot.key("control_ui").at, error.to_string(), "`http://host:port/path`");
    }
    // One that is out of service may have lost its secret already.
    let token = match raw.token.as_ref().filter(|_| raw.enabled) {
        Some(source) => Some(token(source, spot.key("token"), checker, around)?),
        None => None,
    };
    let within = raw.connect_within.as_deref();
    let within = checker.duration(spot.key("connect_within"), within, 10 * SECOND, (SECOND, 14 * SECOND));
    let max_refused = checker.number(spot.key("max_refused"), raw.max_refused, 60, (1, 100_000));
    let operator = check_operator::operator(&raw.operator, spot.key("operator"), checker, around);
    let (id, tenant, url) = (id?, tenant?, url?);
    let (frames, connect_within, max_refused) = (raw.frames, within?, max_refused?);
    let (control_ui, forwarded) = (raw.control_ui.clone(), raw.forwarded);
    let name = raw.name.clone().unwrap_or_else(|| raw.id.clone());
    raw.enabled.then_some(Gateway {
        id,
        name,
        tenant,
        url,
        token,
        control_ui,
        forwarded,
        frames,
        connect_within,
        max_refused,
        operator: operator?,
    })
}

fn token(
    source: &raw::SecretSource,
    spot: Spot<'_>,
    checker: &mut Checker,
    around: Surroundings<'_>,
) -> Option<Secret> {
    let secret = secrets::resolve(source, spot, around, checker)?;
    let is_text = std::str::from_utf8(secret.expose()).is_ok_and(|text| !text.contains(char::is_control));
    if !is_text {
        checker.problem(spot.at, "this token is not text on one line");
        return None;
    }
    Some(secret)
}

impl Backends<'_> {
    /// The enabled gateway of that name. `None` when there is none, or when it is broken and told.
    pub(super) fn gateway(&self, text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<usize> {
        checker.known(spot, "gateway", text, &self.known_gateways)?;
        if self.disabled_gateways.contains(&text) {
            checker.problem(spot.at, shown(spot, "this gateway is not enabled:", text));
        }
        self.gateways.iter().position(|gateway| gateway.id.as_str() == text)
    }

    /// The upstream of that name. `None` when there is none, or when it is broken and told.
    pub(super) fn upstream(&self, text: &str, spot: Spot<'_>, checker: &mut Checker) -> Option<usize> {
        checker.known(spot, "upstream", text, &self.known_upstreams)?;
        self.upstreams.iter().position(|upstream| upstream.name.as_str() == text)
    }
}
