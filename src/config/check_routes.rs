//! What is served and on which terms: every rule about one route, then those about all of them.

use super::check_backends::Backends;
use super::check_identity::{Identity, scopes};
use super::check_limits::Limits;
use super::checked::{
    Access, Border, Dimension, LimitKind, Mesh, Mode, PathPattern, Route, SigningKey, Target,
};
use super::checker::{Checker, shown};
use super::clash::{self, Claim};
use super::problems::{did_you_mean, printable};
use super::raw::Scheme;
use super::tree::{Document, Spot};
use super::{Surroundings, check_folder, check_signing, check_verify, pattern, raw};
use crate::ids::{Name, Scope};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Most scopes that are told apart: callers carry theirs as bits of a `u128`.
const MOST_SCOPES: usize = 120;
/// Most limits on one request: the limiter decides in arrays of this length.
const MOST_LIMITS: usize = 8;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// What this file makes.
pub(super) struct Serving {
    pub(super) routes: Vec<Route>,
    pub(super) unmatched_limits: Vec<usize>,
}

/// What routes refer to.
pub(super) struct Others<'a, 'b> {
    pub(super) identity: &'b Identity<'a>,
    pub(super) limits: &'b Limits<'a>,
    pub(super) backends: &'b Backends<'a>,
    pub(super) signing_keys: &'b [Arc<SigningKey>],
    pub(super) meshes: &'b [Arc<Mesh>],
    pub(super) around: Surroundings<'b>,
}

pub(super) fn check(
    raw: &raw::Config,
    document: &Document,
    others: &Others<'_, '_>,
    checker: &mut Checker,
) -> Serving {
    let top = document.top();
    let all = top.key("routes");
    let limits = others.limits;
    if document.written().key("routes").is_empty_list() {
        checker.problem(all.at, "at least one route is needed");
    }
    let mut spots = Vec::new();
    let mut routes = Vec::new();
    for (index, one) in raw.routes.iter().enumerate() {
        if let Some(route) = route(one, all.item(index), others, checker) {
            spots.push(all.item(index));
            routes.push(route);
        }
    }
    names(&raw.routes, all, checker);
    clashes(&routes, &spots, checker);
    let spot = top.key("unmatched").key("limits");
    let unmatched_limits = unmatched(&raw.unmatched.limits, spot, limits, checker);
    all_scopes(raw, &routes, top, checker);
    unused(raw, top, checker);
    Serving { routes, unmatched_limits }
}

fn route(raw: &raw::Route, spot: Spot<'_>, others: &Others<'_, '_>, checker: &mut Checker) -> Option<Route> {
    let name = checker.id(spot.key("name"), "the name", &raw.name, Name::parse);
    let path = path(raw, spot, checker);
    let host = match &raw.host {
        Some(text) => pattern_at(spot.key("host"), "the host", text, pattern::host(text), checker).map(Some),
        None => Some(None),
    };
    let methods = if raw.folder.is_some() || raw.console {
        check_folder::methods(&raw.methods, spot.key("methods"), checker)
    } else {
        methods(&raw.methods, spot.key("methods"), checker)
    };
    let access = access(raw, spot, others.identity, checker);
    let limits = limits(raw, spot.key("limits"), access.as_ref(), others.limits, checker);
    let call_limits = call_limits(raw, spot.key("call_limits"), access.as_ref(), others.limits, checker);
    let verify = match &raw.verify {
        Some(verify) => check_verify::check(verify, spot.key("verify"), others.around, checker).map(Some),
        None => Some(None),
    };
    let sign = match (&raw.sign, &access) {
        (Some(sign), Some(access)) => {
            let (keys, identity) = (others.signing_keys, others.identity);
            check_signing::sign(sign, spot.key("sign"), access, identity, keys, checker).map(Some)
        }
        (Some(_), None) => None,
        (None, _) => Some(None),
    };
    border(raw, spot, others.meshes, checker);
    let target = target(raw, spot, path.as_ref(), others.backends, checker);
    let (body_max, body_timeout) = body(raw, spot.key("body"), checker);
    Some(Route {
        name: name?,
        path: path?,
        host: host?,
        methods: methods?,
        access: access?,
        limits,
        call_limits,
        encoded_slashes: raw.encoded_slashes,
        body_max: body_max?,
        body_timeout: body_timeout?,
        verify: verify?,
        sign: sign?,
        federation: raw.federation,
        forward_credential: raw.forward_credential,
        target: target?,
    })
}

/// What a side of the border, and a route that signs, cannot be besides.
fn border(raw: &raw::Route, spot: Spot<'_>, meshes: &[Arc<Mesh>], checker: &mut Checker) {
    if raw.sign.is_some() {
        if raw.public {
            let message = "a public route has no tenant whose key could sign";
            checker.problem(spot.key_at("sign"), message);
        }
        let leads_inside = raw.gateway.is_some()
            || raw.mission_control
            || raw.folder.is_some()
            || raw.sessions
            || raw.console;
        if leads_inside || raw.federation == Some(Border::Share) {
            let hint = "where a mesh's messages are signed, its entry in `meshes` says";
            checker.hinted(spot.key_at("sign"), "`sign` goes with `upstream`", hint);
        }
    }
    let Some(side) = raw.federation else { return };
    let at = spot.key_at("federation");
    if raw.public || (side == Border::In && raw.tenant.is_some()) {
        checker.hinted(at, "who crosses the border is known by a credential", "`scopes: [federation]`");
    }
    if side == Border::In && raw.verify.is_some() {
        let hint = "`public_keys` of the mesh say with what its messages are signed";
        checker.hinted(spot.key_at("verify"), "`verify` does not go with `federation: in`", hint);
    }
    let is_used = |mesh: &Arc<Mesh>| match side {
        Border::In => !mesh.credentials.is_empty(),
        Border::Share => mesh.peer.is_some(),
    };
    if !meshes.iter().any(is_used) {
        checker.warn(at, "no entry in `meshes` goes with this route");
    }
}

fn pattern_at<T>(
    spot: Spot<'_>,
    what: &str,
    text: &str,
    parsed: Result<T, pattern::PatternError>,
    checker: &mut Checker,
) -> Option<T> {
    let parsed = parsed.map_err(|error| format!("{} {error}", shown(spot, what, text)));
    checker.take(spot.at, parsed)
}

fn path(raw: &raw::Route, spot: Spot<'_>, checker: &mut Checker) -> Option<PathPattern> {
    pattern_at(spot.key("path"), "the path", &raw.path, pattern::path(&raw.path), checker)
}

pub(super) fn methods(raw: &[String], spot: Spot<'_>, checker: &mut Checker) -> Option<Vec<http::Method>> {
    let mut methods = Vec::new();
    let mut all_good = true;
    for (index, text) in raw.iter().enumerate() {
        let spot = spot.item(index);
        let is_upper = !text.bytes().any(|b| b.is_ascii_lowercase());
        match http::Method::from_bytes(text.as_bytes()) {
            Ok(method) if is_upper && methods.contains(&method) => {
                checker.problem(spot.at, shown(spot, "this method stands here twice:", text));
            }
            Ok(http::Method::CONNECT) => {
                checker.problem(spot.at, "CONNECT has no path, so no route can take it");
                all_good = false;
            }
            Ok(method) if is_upper => methods.push(method),
            Ok(_) => {
                let hint = format!("did you mean `{}`?", text.to_ascii_uppercase());
                checker.hinted(spot.at, "methods are written in upper case", hint);
                all_good = false;
            }
            Err(_) => {
                checker.problem(spot.at, shown(spot, "this is no method:", text));
                all_good = false;
            }
        }
    }
    all_good.then_some(methods)
}

fn access(
    raw: &raw::Route,
    spot: Spot<'_>,
    identity: &Identity<'_>,
    checker: &mut Checker,
) -> Option<Access> {
    let needed = scopes(&raw.scopes, spot.key("scopes"), checker);
    if raw.public {
        if !raw.scopes.is_empty() {
            checker.problem(spot.key_at("scopes"), "a public route has no caller who could have `scopes`");
        }
        if raw.tenant.is_some() {
            checker.problem(spot.key_at("tenant"), "a public route has no caller to be of a `tenant`");
        }
        if raw.verify.is_some() {
            let hint = "take `public` out and say whose they are: `tenant: NAME`";
            checker.hinted(
                spot.key_at("verify"),
                "signed messages belong to a tenant, and a public route has none",
                hint,
            );
        }
        return Some(Access::Public);
    }
    let Some(tenant) = &raw.tenant else {
        if let Some(verify) = raw.verify.as_ref().filter(|verify| verify.scheme != Scheme::Mesh) {
            let message = format!(
                "senders of `{}` have no credential: the route needs a `tenant`",
                verify.scheme.as_str()
            );
            checker.lacks(spot, &message, "`tenant: NAME` says whose the deliveries are");
        }
        return Some(Access::Credential(needed));
    };
    let at = spot.key_at("tenant");
    if !raw.scopes.is_empty() {
        let hint = "leave `tenant` out, or `scopes`";
        checker.hinted(
            spot.key_at("scopes"),
            "a signature carries no `scopes`, and `tenant` says that it is all there is",
            hint,
        );
    }
    let is_signed = raw.verify.as_ref().is_some_and(|verify| verify.mode == Mode::Required);
    if !is_signed && !spot.is_partial() && !spot.key("verify").is_partial() {
        let hint = "add `verify: { scheme: mesh, mode: required }`";
        checker.hinted(at, "`tenant` is for routes whose callers must sign", hint);
    }
    let tenant = checker.tenant(spot.key("tenant"), tenant, &identity.known)?;
    Some(Access::Signature(tenant))
}

fn limits(
    raw: &raw::Route,
    spot: Spot<'_>,
    access: Option<&Access>,
    limits: &Limits<'_>,
    checker: &mut Checker,
) -> Vec<usize> {
    named_limits(&raw.limits, spot, limits, checker, |dimension| uncounted(access, dimension))
}

/// Why callers of a route cannot be told apart by this.
fn uncounted(access: Option<&Access>, dimension: Dimension) -> Option<&'static str> {
    match (access, dimension) {
        (Some(Access::Public), Dimension::Credential | Dimension::Tenant | Dimension::Node) => {
            Some("counts by who is calling, and this route is public")
        }
        (Some(Access::Signature(_)), Dimension::Credential | Dimension::Node) => {
            Some("counts by credential, and callers of this route have none")
        }
        (
            _,
            Dimension::Ip
            | Dimension::Network
            | Dimension::Header
            | Dimension::Route
            | Dimension::Method
            | Dimension::Tenant
            | Dimension::Node
            | Dimension::Credential,
        ) => None,
    }
}

/// Calls are made inside the WebSockets of a gateway; how long one takes nobody knows before its answer.
fn call_limits(
    raw: &raw::Route,
    spot: Spot<'_>,
    access: Option<&Access>,
    limits: &Limits<'_>,
    checker: &mut Checker,
) -> Vec<usize> {
    if raw.gateway.is_none() && !raw.mission_control && !raw.call_limits.is_empty() {
        let message = "`call_limits` goes with `gateway` and `mission_control` only: others have no calls";
        checker.problem(spot.at, message);
    }
    let indexes = named_limits(&raw.call_limits, spot, limits, checker, |dimension| match dimension {
        Dimension::Header => Some("counts by a header, and calls have none"),
        dimension => uncounted(access, dimension),
    });
    for index in &indexes {
        if limits.all[*index].kind == LimitKind::Concurrency {
            let message = "a number in flight counts sockets, not calls: put it into `limits`";
            checker.problem(spot.at, message);
        }
    }
    indexes
}

fn unmatched(raw: &[String], spot: Spot<'_>, limits: &Limits<'_>, checker: &mut Checker) -> Vec<usize> {
    named_limits(raw, spot, limits, checker, |dimension| match dimension {
        Dimension::Ip | Dimension::Network | Dimension::Method => None,
        Dimension::Credential
        | Dimension::Tenant
        | Dimension::Node
        | Dimension::Route
        | Dimension::Header => {
            Some("counts by more than `ip`, and nothing else is known of requests that no route takes")
        }
    })
}

/// Indexes of limits by name; `refuse` says why a dimension cannot be counted here.
fn named_limits(
    names: &[String],
    spot: Spot<'_>,
    limits: &Limits<'_>,
    checker: &mut Checker,
    refuse: impl Fn(Dimension) -> Option<&'static str>,
) -> Vec<usize> {
    let mut indexes = Vec::new();
    if names.len() > MOST_LIMITS {
        checker.hinted(spot.at, "these are too many limits for one request", "at most eight");
    }
    for (at, name) in names.iter().enumerate() {
        let spot = spot.item(at);
        if checker.known(spot, "limit", name, &limits.known).is_none() {
            continue;
        }
        // One that is not found here was told where it stands.
        let found = limits.all.iter().position(|limit| limit.name.as_str() == name);
        let Some(index) = found else { continue };
        if indexes.contains(&index) {
            checker.problem(spot.at, shown(spot, "this limit stands here twice:", name));
            continue;
        }
        if let Some(why) = limits.all[index].by.iter().find_map(|one| refuse(*one)) {
            checker.problem(spot.at, format!("{} {why}", shown(spot, "the limit", name)));
        }
        one_header(limits, &indexes, index, spot, checker);
        indexes.push(index);
        // What is proposed for a limit follows it, and goes where it goes.
        let proposed = limits.all.get(index + 1);
        if proposed.is_some_and(|other| other.name.as_str().strip_suffix(".proposed") == Some(name)) {
            indexes.push(index + 1);
        }
    }
    if indexes.len() > MOST_LIMITS && names.len() <= MOST_LIMITS {
        let hint = "at most eight, and each that is proposed counts too";
        checker.hinted(spot.at, "these are too many limits for one request", hint);
    }
    indexes
}

/// A request's value of one field is looked at, not of several.
fn one_header(limits: &Limits<'_>, others: &[usize], index: usize, spot: Spot<'_>, checker: &mut Checker) {
    let Some(header) = &limits.all[index].header else { return };
    let mut counted = others.iter().filter_map(|other| limits.all[*other].header.as_ref());
    if let Some(other) = counted.find(|other| *other != header) {
        let message = format!("this limit counts by `{header}`, and another of the route by `{other}`");
        checker.hinted(spot.at, message, "the limits of one route count by one field");
    }
}

fn body(raw: &raw::Route, spot: Spot<'_>, checker: &mut Checker) -> (Option<usize>, Option<Duration>) {
    let is_held = raw.verify.is_some() || raw.sign.is_some() || raw.federation.is_some();
    let default = if is_held { 1 << 20 } else { 64 << 20 };
    let most = if is_held { 64 << 20 } else { 1 << 40 };
    let max = checker.size(spot.key("max"), raw.body.max.as_ref(), default, (0, most));
    let timeout = raw.body.timeout.as_deref();
    let timeout = checker.duration(spot.key("timeout"), timeout, 30 * SECOND, (SECOND, HOUR));
    (max, timeout)
}

fn target(
    raw: &raw::Route,
    spot: Spot<'_>,
    path: Option<&PathPattern>,
    backends: &Backends<'_>,
    checker: &mut Checker,
) -> Option<Target> {
    if raw.upstream.is_none() {
        for (key, prefix) in [("strip_prefix", &raw.strip_prefix), ("add_prefix", &raw.add_prefix)] {
            if prefix.is_some() {
                checker.problem(spot.key_at(key), format!("`{key}` goes with `upstream` only"));
            }
        }
    }
    if raw.federation == Some(Border::Share) {
        let leads = raw.upstream.is_some() || raw.gateway.is_some() || raw.folder.is_some();
        if leads || raw.mission_control || raw.sessions || raw.console {
            let message = "the edge itself answers what is shared: such a route leads nowhere else";
            checker.problem(spot.key_at("federation"), message);
        }
        return Some(Target::Outbox);
    }
    if raw.sessions {
        sessions(raw, spot, path, checker);
        return Some(Target::Sessions);
    }
    if raw.console {
        console(raw, spot, path, checker);
        return Some(Target::Console);
    }
    match (&raw.upstream, &raw.gateway, &raw.folder, raw.mission_control) {
        (Some(name), None, None, false) => upstream(name, raw, spot, path, backends, checker),
        (None, Some(text), None, false) => gateway(text, raw, spot, path?, backends, checker),
        (None, None, Some(folder), false) => {
            check_folder::check(folder, raw, spot, path, checker).map(Target::Folder)
        }
        (None, None, None, true) => {
            if raw.public {
                let at = spot.key_at("public");
                checker
                    .problem(at, "`mission_control` shows a caller what is theirs, so it cannot be public");
            }
            if raw.verify.is_some() {
                let at = spot.key_at("verify");
                checker.problem(at, "`mission_control` takes no signed messages");
            }
            Some(Target::MissionControl)
        }
        (None, None, None, false) => {
            let message = "a route needs one of `upstream`, `gateway`, `static`, `mission_control`, `sessions` and `console`";
            checker.lacks(spot, message, "such as `upstream: bridge`");
            None
        }
        _ => {
            let message = "a route has only one of `upstream`, `gateway`, `static`, `mission_control`, `sessions` and `console`";
            checker.problem(spot.at, message);
            None
        }
    }
}

fn sessions(raw: &raw::Route, spot: Spot<'_>, path: Option<&PathPattern>, checker: &mut Checker) {
    let leads = raw.upstream.is_some() || raw.gateway.is_some() || raw.folder.is_some();
    if leads || raw.mission_control || raw.console {
        let message = "the edge itself answers for sessions: such a route leads nowhere else";
        checker.problem(spot.key_at("sessions"), message);
    }
    if raw.public || raw.tenant.is_some() || raw.verify.is_some() {
        let hint = "leave `public`, `tenant` and `verify` out";
        checker.hinted(spot.key_at("sessions"), "a session begins with a credential", hint);
    }
    if path.is_some_and(|path| !path.rest) {
        checker.hinted(spot.key("path").at, "this path has nothing behind it", "`/auth/**`");
    }
}

/// What a route that leads to the console cannot be besides.
fn console(raw: &raw::Route, spot: Spot<'_>, path: Option<&PathPattern>, checker: &mut Checker) {
    let leads = raw.upstream.is_some() || raw.gateway.is_some() || raw.folder.is_some();
    if leads || raw.mission_control {
        let message = "the edge itself answers with the console: such a route leads nowhere else";
        checker.problem(spot.key_at("console"), message);
    }
    if path.is_some_and(|path| !path.rest) {
        let hint = "such as `/console/**`: its scripts and styles are below it";
        checker.hinted(spot.key("path").at, "where the console is served, the path ends in `/**`", hint);
    }
    if raw.verify.is_some() {
        checker
            .problem(spot.key_at("verify"), "the console is served to readers: there is no body to `verify`");
    }
    if raw.federation.is_some() {
        checker.problem(spot.key_at("federation"), "no mesh is behind the console");
    }
}

fn upstream(
    name: &str,
    raw: &raw::Route,
    spot: Spot<'_>,
    path: Option<&PathPattern>,
    backends: &Backends<'_>,
    checker: &mut Checker,
) -> Option<Target> {
    let index = backends.upstream(name, spot.key("upstream"), checker);
    let mut prefix = |key: &str, text: &Option<String>| match text {
        Some(text) => pattern_at(spot.key(key), "the prefix", text, pattern::prefix(text), checker).map(Some),
        None => Some(None),
    };
    let strip = prefix("strip_prefix", &raw.strip_prefix);
    let add = prefix("add_prefix", &raw.add_prefix);
    if let (Some(Some(strip)), Some(path)) = (&strip, path)
        && !pattern::literal_prefix(path).starts_with(&strip.iter().map(String::as_str).collect::<Vec<_>>())
    {
        let at = spot.key("strip_prefix").at;
        let message = "this is not how the route's `path` begins, so it could not always be taken off";
        checker.problem(at, message);
    }
    strip?;
    add?;
    Some(Target::Upstream {
        index: index?,
        strip_prefix: raw.strip_prefix.clone().unwrap_or_default(),
        add_prefix: raw.add_prefix.clone().unwrap_or_default(),
    })
}

fn gateway(
    text: &str,
    raw: &raw::Route,
    spot: Spot<'_>,
    path: &PathPattern,
    backends: &Backends<'_>,
    checker: &mut Checker,
) -> Option<Target> {
    let at = spot.key("gateway");
    let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return backends.gateway(text, at, checker).map(Target::Gateway);
    };
    if raw.public {
        let message = "callers choose among their own gateways, so this route cannot be public";
        checker.problem(spot.key_at("public"), message);
    }
    let params = pattern::params(path);
    let position = params.iter().position(|param| *param == name);
    if position.is_none() {
        let hint = did_you_mean(name, params);
        checker.told(at.at, shown(at, "the path has no parameter", text), hint);
    }
    position.map(Target::GatewayParam)
}

fn names(raw: &[raw::Route], all: Spot<'_>, checker: &mut Checker) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, route) in raw.iter().enumerate() {
        if let Some(first) = seen.insert(&route.name, index) {
            let spot = all.item(index).key("name");
            let line = all.item(first).at.line;
            let message = shown(spot, "two routes are called", &route.name);
            checker.problem(spot.at, format!("{message}; the other is on line {line}"));
        }
    }
}

fn clashes(routes: &[Route], spots: &[Spot<'_>], checker: &mut Checker) {
    let claims: Vec<Claim<'_>> = routes
        .iter()
        .map(|route| Claim { host: route.host.as_ref(), path: &route.path, methods: &route.methods })
        .collect();
    for (later, first) in clash::find(&claims) {
        let line = spots[first].at.line;
        let message = format!(
            "the routes `{}` (line {line}) and `{}` take the same requests",
            routes[first].name, routes[later].name
        );
        let hint = "tell them apart by `methods`, `host` or `path`";
        checker.hinted(spots[later].key("path").at, message, hint);
    }
}

fn all_scopes(raw: &raw::Config, routes: &[Route], top: Spot<'_>, checker: &mut Checker) {
    let held: HashSet<&str> =
        raw.credentials.iter().flat_map(|one| &one.scopes).map(String::as_str).collect();
    let needed = raw.routes.iter().flat_map(|one| &one.scopes).map(String::as_str);
    let count = held.iter().copied().chain(needed).collect::<HashSet<&str>>().len();
    if count > MOST_SCOPES {
        let message = format!("{count} different scopes are named; at most {MOST_SCOPES} are told apart");
        checker.problem(top.key_at("credentials"), message);
    }
    for route in routes {
        let Access::Credential(scopes) = &route.access else { continue };
        let missing: Option<&Scope> = scopes.iter().find(|scope| !held.contains(scope.as_str()));
        if let Some(scope) = missing {
            let message = format!("no credential has the scope `{scope}` that `{}` needs", route.name);
            checker.warn(top.key_at("routes"), message);
        }
    }
}

fn unused(raw: &raw::Config, top: Spot<'_>, checker: &mut Checker) {
    let limits: HashSet<&str> = raw
        .routes
        .iter()
        .flat_map(|route| route.limits.iter().chain(&route.call_limits))
        .chain(&raw.unmatched.limits)
        .map(String::as_str)
        .collect();
    let upstreams: HashSet<&str> = raw.routes.iter().filter_map(|route| route.upstream.as_deref()).collect();
    for (section, noun, used) in [("limits", "limit", limits), ("upstreams", "upstream", upstreams)] {
        let spot = top.key(section);
        for name in spot.keys().filter(|name| !used.contains(name)) {
            checker.warn(spot.key_at(name), format!("no route uses the {noun} `{}`", printable(name)));
        }
    }
}
