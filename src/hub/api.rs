//! The API's HTTP face: who calls, and what each path answers. Shapes: docs/api.md and `openapi.json` beside
//! this file, which tests hold to the answers.

use super::fleet::{Fleet, Gateway};
use super::mux::{self, Switchboard};
use super::query::{Query, Takes};
use super::reply::{Refusal, json};
use super::standing::Standing;
use super::{events, lists, status};
use crate::ids::{Scope, TenantId};
use axum::Router;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::watch;

/// The API in OpenAPI 3.1.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The gateways.
    pub fleet: Arc<Fleet>,
    /// Becomes true when the edge goes down: streams end then.
    pub draining: watch::Receiver<bool>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: UnixListener, hub: Hub, board: Arc<Switchboard>) -> io::Result<()> {
    axum::serve(listener, router(hub).merge(mux::router(board))).await
}

pub(super) fn router(hub: Hub) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/gateways", get(gateways))
        .route("/api/gateways/{id}", get(gateway))
        .route("/api/gateways/{id}/status", get(gateway_status))
        .route("/api/tasks", get(tasks))
        .route("/api/jobs", get(jobs))
        .route("/api/events", get(stream))
        .route("/api/federation/health", get(federation))
        .route("/api/openapi.json", get(document))
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
        .with_state(hub)
}

/// Who calls, as the edge found it: handlers can get a tenant from nowhere else.
pub(super) struct Caller {
    pub(super) tenant: TenantId,
    scopes: HashSet<Scope>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let told = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let tenant = told("x-tenant-id").and_then(|text| TenantId::parse(text).ok());
        let words = told("x-credential-scopes").unwrap_or_default().split(' ');
        let scopes = words.filter_map(|word| Scope::parse(word).ok()).collect();
        Ok(Self { tenant: tenant.ok_or(Refusal::Unauthorized)?, scopes })
    }
}

#[derive(Serialize)]
struct Health {
    ok: bool,
    service: &'static str,
    gateways: usize,
}

async fn health(State(hub): State<Hub>, caller: Caller) -> Response {
    let gateways = hub.fleet.of(&caller.tenant).len();
    json(&Health { ok: true, service: "mission-control-proxy", gateways })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Gateways {
    gateways: Vec<Entry>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_army: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    name: String,
    ws_url: Option<String>,
    control_ui_url: Option<String>,
}

async fn gateways(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    Query::read(query.as_deref(), Takes::Nothing)?;
    let base = base(&fields);
    let gateways = hub.fleet.of(&caller.tenant).iter().map(|gateway| entry(gateway, &base)).collect();
    let has_army = hub.fleet.has_army(|scope| caller.scopes.contains(scope));
    Ok(json(&Gateways { gateways, has_army }))
}

fn entry(gateway: &Gateway, base: &str) -> Entry {
    Entry {
        id: gateway.id.to_string(),
        name: gateway.name.clone(),
        ws_url: gateway.path.as_ref().map(|path| format!("{base}{path}")),
        control_ui_url: gateway.control_ui.clone(),
    }
}

/// The edge's own address as the caller used it: a gateway's inner address is nobody's business.
fn base(fields: &HeaderMap) -> String {
    let told = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    let scheme = if told("x-forwarded-proto") == Some("https") { "wss" } else { "ws" };
    format!("{scheme}://{}", told("x-forwarded-host").unwrap_or("localhost"))
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    entry: Entry,
    #[serde(flatten)]
    standing: Standing,
    agents: Option<Vec<super::rows::Agent>>,
    channels: Option<Vec<String>>,
}

async fn gateway(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let gateway = hub.fleet.find(&caller.tenant, &id).ok_or(Refusal::NotFound)?;
    Query::read(query.as_deref(), Takes::Nothing)?;
    let picture = gateway.operator.as_ref().map(|operator| operator.picture());
    let picture = picture.as_deref();
    Ok(json(&Details {
        entry: entry(&gateway, &base(&fields)),
        standing: Standing::of(&gateway),
        agents: picture.and_then(|picture| picture.agents()).map(<[_]>::to_vec),
        channels: picture.and_then(|picture| picture.channels()).map(<[_]>::to_vec),
    }))
}

async fn gateway_status(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let gateway = hub.fleet.find(&caller.tenant, &id).ok_or(Refusal::NotFound)?;
    Query::read(query.as_deref(), Takes::Nothing)?;
    Ok(json(&status::of(&gateway)))
}

async fn tasks(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::read(query.as_deref(), Takes::Tasks)?;
    Ok(json(&lists::tasks(&chosen(&hub, &caller, &query)?, &query)))
}

async fn jobs(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let query = Query::read(query.as_deref(), Takes::Jobs)?;
    Ok(json(&lists::jobs(&chosen(&hub, &caller, &query)?, &query)))
}

async fn stream(
    State(hub): State<Hub>,
    caller: Caller,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let query = Query::read(query.as_deref(), Takes::Events)?;
    let gateways = chosen(&hub, &caller, &query)?;
    // One that cannot be read is one that is not known.
    let last = fields.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    Ok(events::stream(&hub, &caller.tenant, &gateways, query.gateways, last)?.into_response())
}

/// The gateways that a filter names, or all of the caller's. One that is not the caller's is not there.
fn chosen(hub: &Hub, caller: &Caller, query: &Query) -> Result<Vec<Arc<Gateway>>, Refusal> {
    if query.gateways.is_empty() {
        return Ok(hub.fleet.of(&caller.tenant));
    }
    let find = |id: &String| hub.fleet.find(&caller.tenant, id).ok_or(Refusal::NotFound);
    let mut chosen: Vec<Arc<Gateway>> = query.gateways.iter().map(find).collect::<Result<_, _>>()?;
    // Named twice, told once.
    let mut seen = HashSet::new();
    chosen.retain(|gateway| seen.insert(gateway.id.clone()));
    Ok(chosen)
}

/// Where a route leads to a federation hub, that answers; this is for sites without one.
async fn federation(_: Caller) -> Response {
    #[derive(Serialize)]
    struct Body {
        error: &'static str,
        ok: bool,
    }
    (http::StatusCode::NOT_FOUND, json(&Body { error: "Not configured", ok: false })).into_response()
}

async fn document(_: Caller) -> Response {
    ([(http::header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
