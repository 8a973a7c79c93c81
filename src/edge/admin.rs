//! The admin listener: metrics and health, for operators and their machines. All that it changes is that it lifts
//! cool-downs.

use super::explain::{Request, answer_live};
use super::live::{Site, unix_now};
use crate::admission::Now;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
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
        .route("/quotas", get(quotas))
        .route("/explain", get(explained))
        .route("/cooldowns", get(cooldowns).delete(lift_all))
        .route("/cooldowns/{*prefix}", delete(lift))
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
    let occupancy = admin.site.limiter.occupancy();
    let addresses = occupancy.strangers;
    admin.site.metrics.limiter_values.set(i64::try_from(occupancy.values).unwrap_or(i64::MAX));
    let failed = admin.site.limiter.failed_reservations();
    admin.site.outbox.measure();
    let cooling = admin.site.limiter.strikes().cooling_down(admin.site.tick(Instant::now())).len();
    admin.site.metrics.cooling.set(i64::try_from(cooling).unwrap_or(i64::MAX));
    admin.site.metrics.quota_failures.set(i64::try_from(failed).unwrap_or(i64::MAX));
    admin.site.metrics.limiter_addresses.set(i64::try_from(addresses).unwrap_or(i64::MAX));
    if let Some(live) = admin.site.live.load().as_ref() {
        let used = live
            .policy
            .credentials()
            .map(|one| (one.id.as_str(), one.age.word(), one.last_used.load(Ordering::Relaxed)));
        admin.site.metrics.credentials_used(used);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], admin.site.metrics.text())
        .into_response()
}

/// How quotas stand.
async fn quotas(State(admin): State<Admin>) -> Response {
    // A quota that is looked at for the first time comes from what the file said: no disk is read.
    Json(super::quotas::all(&admin.site).await).into_response()
}

/// Who cools down.
async fn cooldowns(State(admin): State<Admin>) -> Response {
    Json(super::abuse::cooldowns(&admin.site)).into_response()
}

/// Ends the pause of one address, or of the IPv6 /64 that it is in.
async fn lift(State(admin): State<Admin>, Path(prefix): Path<String>) -> Response {
    match prefix.parse() {
        Ok(prefix) if super::abuse::lift(&admin.site, prefix) => json(StatusCode::OK, "{\"lifted\":1}\n"),
        Ok(_) => json(StatusCode::NOT_FOUND, "{\"error\":\"This address does not cool down\"}\n"),
        Err(_) => json(StatusCode::BAD_REQUEST, "{\"error\":\"Say an address, or an IPv6 /64\"}\n"),
    }
}

/// Ends all pauses.
async fn lift_all(State(admin): State<Admin>) -> Response {
    Json(serde_json::json!({ "lifted": super::abuse::lift_all(&admin.site) })).into_response()
}

/// What would become of a request.
async fn explained(State(admin): State<Admin>, request: Result<Query<Request>, QueryRejection>) -> Response {
    let Ok(Query(request)) = request else {
        return json(
            StatusCode::BAD_REQUEST,
            "{\"error\":\"Say `path` and `ip`, and perhaps `method`, `host`, `credential`, `body`\"}\n",
        );
    };
    let live = admin.site.live.load_full();
    let now = Now { tick: admin.site.tick(Instant::now()), unix: unix_now().as_secs() };
    let told = match live.as_ref() {
        Some(live) => answer_live(&admin.site, &live.policy, &request, now).await,
        None => None,
    };
    match told {
        Some(told) => Json(told).into_response(),
        None => json(StatusCode::BAD_REQUEST, "{\"error\":\"This is no method\"}\n"),
    }
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
