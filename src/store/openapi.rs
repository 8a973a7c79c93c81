//! `GET /openapi.json`: the API in OpenAPI 3.1, written by hand and held to the router and its answers by tests.

use super::reply;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

/// Open to everybody: it says what can be asked, and nothing of what is kept.
pub(super) async fn document() -> Response {
    let mut response = reply::json(StatusCode::OK, DOCUMENT.as_bytes().to_vec());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
