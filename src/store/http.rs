//! The store's HTTP API: paths, methods, bodies in, JSON out.
//!
//! A handler has a tenant only through [`Access`], which the extractor below makes from a request that
//! [`Trust`] let in. Knows nothing of SQL.

use super::access::{Access, Trust};
use super::cursor::Cursors;
use super::model::Kind;
use super::observe::{Op, Outcome};
use super::policy::Policy;
use super::reply::{self, Refusal};
use super::search::Query;
use super::uri::Parameters;
use super::{Store, batch_api, body, feed_api, keys_api, list_api, openapi, rows_api, sync_api, usage_api};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, RawQuery, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Longest body that is taken.
const MOST_BODY: usize = 8 * 1024 * 1024;

/// Most bytes of bodies held at once, over all requests.
const MOST_BODIES: usize = 128 * 1024 * 1024;

/// Time for a whole body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct App {
    pub(super) store: Arc<Store>,
    pub(super) cursors: Cursors,
    /// Turns true when the store is told to stop: what waits for changes ends then.
    pub(super) closing: watch::Receiver<bool>,
    trust: Arc<Trust>,
    /// A permit is a byte of body that may be held.
    bodies: Arc<Semaphore>,
    body_time: Duration,
}

/// The API over this store, for those whom `trust` lets in.
pub(crate) fn router(store: Arc<Store>, trust: Trust, closing: watch::Receiver<bool>) -> Router {
    let app = App {
        cursors: Cursors::new(store.signing_key()),
        closing,
        store,
        trust: Arc::new(trust),
        bodies: Arc::new(Semaphore::new(MOST_BODIES)),
        body_time: BODY_TIME,
    };
    Router::new()
        .route("/", get(health))
        .route("/health", get(health))
        .route("/openapi.json", get(openapi::document))
        .route("/mesh/memory", get(memories).put(rows_api::put_memory))
        .route(
            "/mesh/memory/{*rest}",
            get(rows_api::memory).delete(rows_api::delete_memory).post(rows_api::restore_memory),
        )
        .route("/mesh/query", post(query))
        .route("/mesh/skills", get(list_api::skills).put(rows_api::put_skill))
        .route("/mesh/skills/{name}", get(rows_api::skill).delete(rows_api::delete_skill))
        .route("/mesh/skills/{name}/history", get(rows_api::skill))
        .route("/mesh/skills/{name}/restore", post(rows_api::restore_skill))
        .route("/mesh/keys", get(keys_api::list))
        .route("/mesh/keys/{node}", get(keys_api::get).put(keys_api::put).delete(keys_api::delete))
        .route("/mesh/keys/{node}/history", get(keys_api::get))
        .route("/mesh/keys/{node}/restore", post(keys_api::restore))
        .route("/mesh/batch", post(batch_api::batch))
        .route("/mesh/changes", get(feed_api::changes))
        .route("/mesh/sync", post(sync_api::sync))
        .route("/mesh/usage", get(usage_api::usage))
        .route("/mesh/tenant", delete(batch_api::erase))
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::MethodNotAllowed })
        .with_state(app)
}

impl App {
    /// The rules in force now.
    pub(super) fn policy(&self) -> Arc<Policy> {
        self.store.policy()
    }
}

impl FromRequestParts<App> for Access {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        Ok(app.trust.admit(&parts.headers)?)
    }
}

/// A request without its body, as handlers of rows take it.
pub(super) struct Call {
    pub(super) app: App,
    pub(super) access: Access,
    pub(super) headers: HeaderMap,
    uri: Uri,
}

impl FromRequestParts<App> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let access = Access::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), access, headers: parts.headers.clone(), uri: parts.uri.clone() })
    }
}

impl Call {
    /// What stands in the query.
    pub(super) fn parameters(&self) -> Result<Parameters, Refusal> {
        Parameters::parse(self.uri.query())
    }

    /// The path as it came, past a prefix. The router's own decoding could not tell a slash in a scope from
    /// one after it.
    pub(super) fn below(&self, prefix: &str) -> Result<&str, Refusal> {
        self.uri.path().strip_prefix(prefix).ok_or(Refusal::NotFound)
    }
}

async fn health(State(app): State<App>) -> Response {
    let available = app.store.is_available().await;
    let text = format!(r#"{{"ok":true,"service":"openclaw-mesh-store-api","storeAvailable":{available}}}"#);
    reply::json(StatusCode::OK, text.into_bytes())
}

async fn memories(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let found = Parameters::parse(query.as_deref())?;
    let Some(words) = found.q.clone() else {
        let list = app.list(&access, &headers, Kind::Memory, &found);
        return app.observed(Op::MemoryList, list).await;
    };
    let search = async {
        let query = Query {
            words,
            scope: found.scope.clone(),
            prefix: found.text("prefix").cloned(),
            limit: body::limit_of(found.limit.as_deref()),
            mode: body::mode(found.mode.as_deref())?,
            marks: body::marks(found.text("marks").map(String::as_str))?,
        };
        Ok(reply::rows(&app.store.search(&access, query).await?))
    };
    app.observed(Op::MemorySearch, search).await
}

async fn query(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let search = async {
        let held = app.hold(&headers, body).await?;
        let query = body::query(&held.bytes)?;
        Ok(reply::rows(&app.store.search(&access, query).await?))
    };
    app.observed(Op::MemorySearch, search).await
}

/// A whole body, and its share of what may be held.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl App {
    /// Reads a body, within bounds of length, time and what all bodies together may take.
    pub(super) async fn hold(&self, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let length = announced.unwrap_or(MOST_BODY);
        if length > MOST_BODY {
            return Err(Refusal::TooLarge);
        }
        let share = u32::try_from(length).map_err(|_| Refusal::TooLarge)?;
        let share = Arc::clone(&self.bodies).try_acquire_many_owned(share).map_err(|_| Refusal::Busy)?;
        let read = tokio::time::timeout(self.body_time, to_bytes(body, MOST_BODY))
            .await
            .map_err(|_| Refusal::TooSlow)?;
        // Whatever else cuts a body short, its client is gone and reads no answer.
        let bytes = read.map_err(|_| Refusal::TooLarge)?;
        Ok(Held { bytes, _share: share })
    }

    pub(super) async fn observed(
        &self,
        op: Op,
        work: impl Future<Output = Result<Response, Refusal>>,
    ) -> Result<Response, Refusal> {
        self.observed_as(op, work, |_| None).await
    }

    /// The same for work whose result may be a refusal in other words; `outcome` says which.
    pub(super) async fn observed_as<T>(
        &self,
        op: Op,
        work: impl Future<Output = Result<T, Refusal>>,
        outcome: impl Fn(&T) -> Option<Outcome>,
    ) -> Result<T, Refusal> {
        let started = now();
        let result = work.await;
        let outcome = match &result {
            Ok(done) => outcome(done).unwrap_or(Outcome::Done),
            Err(refusal) => refusal.outcome(),
        };
        self.store.observe().operation(op, outcome, started.elapsed().as_secs_f64());
        result
    }
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "measures an operation; no decision hangs on it")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{Folder, tenant};
    use crate::store::{Settings, Unobserved};

    fn app(folder: &Folder, most_bodies: usize) -> App {
        let settings = Settings::new(folder.path("mesh.db"), tenant("default"));
        let store = Arc::new(Store::open(&settings, Arc::new(Unobserved)).unwrap());
        App {
            cursors: Cursors::new(store.signing_key()),
            closing: watch::channel(false).1,
            store,
            trust: Arc::new(Trust::Edge),
            bodies: Arc::new(Semaphore::new(most_bodies)),
            body_time: Duration::ZERO,
        }
    }

    fn announcing(length: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, length.parse().unwrap())])
    }

    #[tokio::test]
    async fn bodies_beyond_what_may_be_held_at_once_find_the_store_busy() {
        let folder = Folder::new();
        let app = app(&folder, 10);
        let first = app.hold(&announcing("8"), Body::from("12345678")).await.unwrap();
        assert_eq!(app.hold(&announcing("3"), Body::from("123")).await.err(), Some(Refusal::Busy));
        assert_eq!(app.hold(&HeaderMap::new(), Body::from("1")).await.err(), Some(Refusal::Busy));
        drop(first);
        assert_eq!(app.hold(&announcing("3"), Body::from("123")).await.unwrap().bytes, "123");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let folder = Folder::new();
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(app(&folder, 10).hold(&announcing("1"), never).await.err(), Some(Refusal::TooSlow));
    }
}
