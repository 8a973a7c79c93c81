//! The listener for operators of a store that runs alone: metrics and health. It changes nothing.

use crate::metrics::StoreMetrics;
use crate::store::Store;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What is told of.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) metrics: Arc<StoreMetrics>,
    pub(super) store: Arc<Store>,
}

/// Serves until it is dropped.
///
/// # Errors
/// When the listener fails.
pub(super) async fn serve(listener: TcpListener, told: Told) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { json(StatusCode::OK, "{\"ok\":true}\n") }))
        .route("/readyz", get(readyz))
        .fallback(|| async { json(StatusCode::NOT_FOUND, "{\"error\":\"Not found\"}\n") })
        .with_state(told);
    axum::serve(listener, router).await
}

async fn metrics(State(told): State<Told>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, told.metrics.text()).into_response()
}

/// The database answers.
async fn readyz(State(told): State<Told>) -> Response {
    if told.store.is_available().await {
        json(StatusCode::OK, "{\"ready\":true}\n")
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, "{\"ready\":false,\"reason\":\"store\"}\n")
    }
}

fn json(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
