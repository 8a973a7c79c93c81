//! The registry of keys over HTTP: which public keys a node's signatures are checked with.
//!
//! A node's keys are one row: a write changes them all at once, so that a new key comes and an old one goes
//! without a moment between, and `If-Match` keeps two admins from undoing each other. Everyone of the tenant
//! reads them; who may administer the tenant writes them.

use super::access::Access;
use super::body;
use super::conditions;
use super::http::{App, KEYS, below};
use super::json::Json;
use super::model::{Act, Content, Expiry, Kind, NodeKeys, Target, Write};
use super::observe::Op;
use super::reply::{self, Refusal};
use super::rows_api::{may_write, read};
use super::uri::{self, Parameters};
use crate::ids::NodeId;
use crate::signatures::registered;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Uri};

/// What is after the name of the node whose earlier keys are brought back.
const RESTORE: &str = "/restore";

/// `GET /mesh/keys`.
pub(super) async fn list(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let list = async {
        let parameters = Parameters::parse(query.as_deref())?;
        app.list(&access, &headers, Kind::Key, &parameters).await
    };
    app.observed(Op::KeyList, list).await
}

/// `GET /mesh/keys/:node`, and with `/history` behind it.
pub(super) async fn get(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    read(&app, &access, &headers, query.as_deref(), Op::KeyGet, below(&uri, KEYS)?, target).await
}

/// `PUT /mesh/keys/:node`.
pub(super) async fn put(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let put = async {
        let target = target(below(&uri, KEYS)?)?;
        let parameters = Parameters::parse(query.as_deref())?;
        may_write(&access, &target)?;
        let held = app.hold(&headers, body).await?;
        let text = registered::write(&body::keys(&held.bytes)?);
        let keys = Json::parse(&text).ok_or(Refusal::InvalidBody)?;
        let updated_by = access.node().map(ToString::to_string).unwrap_or_default();
        let content = Content::Keys(NodeKeys { node: target.name, keys, updated_by });
        let act = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
        let condition = conditions::of_write(&headers, app.demand(&access, &parameters))?;
        let row = app.written(&access, Write { act, condition }).await?;
        tracing::info!(tenant = %access.tenant(), node = %row.content.target().name, by = ?access.node(), "a node's keys were registered");
        Ok(reply::row(&row, &parameters))
    };
    app.observed(Op::KeyPut, put).await
}

/// `DELETE /mesh/keys/:node`.
pub(super) async fn delete(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let delete = async {
        let target = target(below(&uri, KEYS)?)?;
        app.delete(&access, &headers, query.as_deref(), target).await
    };
    app.observed(Op::KeyDelete, delete).await
}

/// `POST /mesh/keys/:node/restore`.
pub(super) async fn restore(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let target = below(&uri, KEYS)?.strip_suffix(RESTORE).ok_or(Refusal::NotFound).and_then(target);
    app.observed(Op::Restore, app.restore(&access, &headers, query.as_deref(), body, target)).await
}

/// The node of what is behind `/mesh/keys/`; only what can sign mesh messages has keys.
fn target(rest: &str) -> Result<Target, Refusal> {
    if rest.contains('/') {
        return Err(Refusal::NotFound);
    }
    let node = NodeId::parse(&uri::segment(rest)?).map_err(|_| Refusal::InvalidNode)?;
    Ok(Target::keys(node.as_str()))
}
