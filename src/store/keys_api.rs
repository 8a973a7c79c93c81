//! The registry of keys over HTTP: which public keys a node's signatures are checked with.
//!
//! A node's keys are one row: a write changes them all at once, so that a new key comes and an old one goes
//! without a moment between, and `If-Match` keeps two admins from undoing each other. Everyone of the tenant
//! reads them; who may administer the tenant writes them.

use super::body;
use super::conditions;
use super::http::Call;
use super::json::Json;
use super::model::{Act, Content, Expiry, Kind, NodeKeys, Target, Write};
use super::observe::Op;
use super::reply::{self, Refusal};
use super::rows_api::{self, Rows};
use super::uri;
use super::writes::may_write;
use crate::ids::NodeId;
use crate::signatures::registered;
use axum::body::Body;
use axum::response::Response;

const KEYS: Rows = Rows { prefix: "/mesh/keys/", target };

/// `GET /mesh/keys`.
pub(super) async fn list(call: Call) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = &call;
    let list = async { app.list(access, headers, Kind::Key, &call.parameters()?).await };
    app.observed(Op::KeyList, list).await
}

/// `GET /mesh/keys/:node`, and with `/history` behind it.
pub(super) async fn get(call: Call) -> Result<Response, Refusal> {
    rows_api::read(&call, Op::KeyGet, KEYS).await
}

/// `PUT /mesh/keys/:node`.
pub(super) async fn put(call: Call, body: Body) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = &call;
    let put = async {
        let (target, parameters) = (KEYS.named(&call)?, call.parameters()?);
        may_write(access, &target)?;
        let held = app.hold(headers, body).await?;
        let text = registered::write(&body::keys(&held.bytes)?);
        let keys = Json::parse(&text).ok_or(Refusal::InvalidBody)?;
        let updated_by = access.node().map(ToString::to_string).unwrap_or_default();
        let content = Content::Keys(NodeKeys { node: target.name, keys, updated_by });
        let act = Act::Put { content, expiry: Expiry::Never, sent_ms: None, proof: None };
        let condition = conditions::of_write(headers, app.demand(access, &parameters))?;
        let row = app.written(access, Write { act, condition }).await?;
        tracing::info!(tenant = %access.tenant(), node = %row.content.target().name, by = ?access.node(), "a node's keys were registered");
        Ok(reply::row(&row, &parameters))
    };
    app.observed(Op::KeyPut, put).await
}

/// `DELETE /mesh/keys/:node`.
pub(super) async fn delete(call: Call) -> Result<Response, Refusal> {
    rows_api::delete(&call, Op::KeyDelete, KEYS).await
}

/// `POST /mesh/keys/:node/restore`.
pub(super) async fn restore(call: Call, body: Body) -> Result<Response, Refusal> {
    rows_api::restore(&call, body, KEYS).await
}

/// The node of what is behind `/mesh/keys/`; only what can sign mesh messages has keys.
fn target(rest: &str) -> Result<Target, Refusal> {
    if rest.contains('/') {
        return Err(Refusal::NotFound);
    }
    let node = NodeId::parse(&uri::segment(rest)?).map_err(|_| Refusal::InvalidNode)?;
    Ok(Target::keys(node.as_str()))
}
