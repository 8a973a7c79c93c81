//! How a client's WebSocket comes in: an upgrade on the hub's own listener, with the fields that the edge
//! has set. Nothing of it is believed from anyone but the edge, which alone can open the hub's socket.

use super::super::api::Caller;
use super::super::reply::Refusal;
use super::session::{self, Who};
use super::switchboard::Switchboard;
use crate::ids::{CredentialId, NodeId, TenantId};
use crate::openclaw::Scopes;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// A gateway takes 25 MiB, and the edge passes a little more on.
const MAX_MESSAGE: usize = 32 << 20;
/// The codec's own is 128 KiB, for every idle client.
const READ_BUFFER: usize = 4 << 10;

/// The path that leads here.
pub(in crate::hub) fn router(board: Arc<Switchboard>) -> Router {
    Router::new().route("/ws", get(enter)).with_state(board)
}

async fn enter(
    State(board): State<Arc<Switchboard>>,
    Caller { tenant, .. }: Caller,
    request: Request<Body>,
) -> Response {
    accept(&board, tenant, request).unwrap_or_else(|| {
        let upgrade = [(header::UPGRADE, HeaderValue::from_static("websocket"))];
        (upgrade, Refusal::UpgradeRequired).into_response()
    })
}

/// Takes an upgrade over. Nothing where the request is none.
fn accept(board: &Arc<Switchboard>, tenant: TenantId, mut request: Request<Body>) -> Option<Response> {
    let accept = handshake(request.method(), request.headers())?;
    let who = who(tenant, request.headers())?;
    let board = board.clone();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(stream) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MAX_MESSAGE))
                    .max_frame_size(Some(MAX_MESSAGE))
                    .read_buffer_size(READ_BUFFER);
                let stream = TokioIo::new(stream);
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
                session::serve(board, who, socket).await;
            }
            Err(error) => tracing::debug!(%error, "a client left during its handshake"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(accept).ok()?);
    Some(response)
}

fn handshake(method: &Method, fields: &HeaderMap) -> Option<String> {
    let is = |name: header::HeaderName, value: &str| {
        fields.get(name).is_some_and(|field| field.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let is_one =
        method == Method::GET && is(header::UPGRADE, "websocket") && is(header::SEC_WEBSOCKET_VERSION, "13");
    let key = fields.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_one)?;
    Some(derive_accept_key(key.as_bytes()))
}

fn who(tenant: TenantId, fields: &HeaderMap) -> Option<Who> {
    let told = |name: &str| fields.get(name).and_then(|value| value.to_str().ok());
    let credential = CredentialId::parse(told("x-credential-id")?).ok()?;
    let words = told("x-credential-scopes").unwrap_or_default();
    Some(Who {
        tenant,
        credential: credential.to_string(),
        node: told("x-node-id").and_then(|node| NodeId::parse(node).ok()).map(|node| node.to_string()),
        request: told("x-request-id").map(str::to_owned),
        scopes: Scopes::of(words.split([' ', ','])).operators(),
    })
}
