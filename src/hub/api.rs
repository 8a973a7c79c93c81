//! The API's HTTP face. Shapes: docs/api.md.

use super::fleet::{Fleet, Gateway};
use super::mux::{self, Switchboard};
use crate::ids::TenantId;
use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::io;
use std::sync::Arc;
use tokio::net::UnixListener;

/// Serves until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: UnixListener, fleet: Arc<Fleet>, board: Arc<Switchboard>) -> io::Result<()> {
    axum::serve(listener, router(fleet).merge(mux::router(board))).await
}

fn router(fleet: Arc<Fleet>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/api/gateways", get(gateways))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "Not found") })
        .method_not_allowed_fallback(|| async { error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") })
        .with_state(fleet)
}

/// The tenant that the edge found: handlers can get one from nowhere else.
pub(super) struct Caller(pub(super) TenantId);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let tenant = parts.headers.get("x-tenant-id").and_then(|value| value.to_str().ok());
        match tenant.map(TenantId::parse) {
            Some(Ok(tenant)) => Ok(Self(tenant)),
            Some(Err(_)) | None => Err(error(StatusCode::UNAUTHORIZED, "Unauthorized")),
        }
    }
}

pub(super) fn error(status: StatusCode, text: &'static str) -> Response {
    #[derive(Serialize)]
    struct Body {
        error: &'static str,
    }
    (status, axum::Json(Body { error: text })).into_response()
}

#[derive(Serialize)]
struct Health {
    ok: bool,
    service: &'static str,
    gateways: usize,
}

async fn health(State(fleet): State<Arc<Fleet>>, Caller(tenant): Caller) -> Response {
    let gateways = fleet.of(&tenant).len();
    axum::Json(Health { ok: true, service: "mission-control-proxy", gateways }).into_response()
}

#[derive(Serialize)]
struct Gateways {
    gateways: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    name: String,
    ws_url: Option<String>,
    control_ui_url: Option<String>,
}

async fn gateways(State(fleet): State<Arc<Fleet>>, Caller(tenant): Caller, fields: HeaderMap) -> Response {
    let base = base(&fields);
    let gateways = fleet.of(&tenant).iter().map(|gateway| entry(gateway, &base)).collect();
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(Gateways { gateways })).into_response()
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
