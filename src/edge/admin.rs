//! The admin listener: metrics and health, for operators and their machines. It changes nothing.

use super::live::Site;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Says whether a part that the edge needs is there.
pub type Ready = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

#[derive(Clone)]
struct Admin {
    site: Arc<Site>,
    store: Option<Ready>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, site: Arc<Site>, store: Option<Ready>) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { json(StatusCode::NOT_FOUND, "{\"error\":\"Not found\"}\n") })
        .with_state(Admin { site, store });
    axum::serve(listener, router).await
}

fn json(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let addresses = admin.site.limiter.occupancy().strangers;
    admin.site.metrics.limiter_addresses.set(i64::try_from(addresses).unwrap_or(i64::MAX));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.site.metrics.text())
        .into_response()
}

/// The process runs.
async fn healthz() -> Response {
    json(StatusCode::OK, "{\"ok\":true}\n")
}

/// New requests are welcome.
async fn readyz(State(admin): State<Admin>) -> Response {
    if *admin.site.draining().borrow() {
        return json(StatusCode::SERVICE_UNAVAILABLE, "{\"ready\":false,\"reason\":\"draining\"}\n");
    }
    if !admin.site.is_listening() {
        return json(StatusCode::SERVICE_UNAVAILABLE, "{\"ready\":false,\"reason\":\"starting\"}\n");
    }
    if let Some(store) = &admin.store
        && !store().await
    {
        return json(StatusCode::SERVICE_UNAVAILABLE, "{\"ready\":false,\"reason\":\"store\"}\n");
    }
    json(StatusCode::OK, "{\"ready\":true}\n")
}
