//! Every answer that is not a row: its status, its words, its headers, in one place.

use super::access::Stranger;
use super::error::{CommitError, StoreError};
use super::model::{Conflict, ToJson};
use super::observe::Outcome;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// Why a request was not done. What a client is told tells nothing about other tenants: a row of
/// theirs and no row are one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody whom the store knows.
    Unauthorized,
    /// The caller may not write there.
    Forbidden,
    /// No such row, or no such path.
    NotFound,
    /// The path is there for other methods.
    MethodNotAllowed,
    /// The body is longer than is taken.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The body is no JSON object.
    InvalidBody,
    /// A percent-encoding that is none, or no UTF-8.
    InvalidPath,
    /// The same in the query.
    InvalidQuery,
    /// A memory lacks a part.
    MissingMemory,
    /// `node_id` is there and is no text.
    InvalidNode,
    /// A skill lacks a name.
    MissingSkill,
    /// A skill lacks what it is.
    MissingContent,
    /// A query without words to look for.
    MissingWords,
    /// `mode` is neither of the two.
    UnknownMode,
    /// Semantic search needs an embedding service, and none is configured.
    NoSemanticSearch,
    /// The row is not as the request says.
    PreconditionFailed,
    /// The tenant has as many rows as it may.
    TooManyRows,
    /// The tenant has as many bytes as it may.
    TooManyBytes,
    /// Too much waits.
    Busy,
    /// The database failed.
    Unavailable,
}

impl Refusal {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "Request timeout"),
            Self::InvalidBody => (StatusCode::BAD_REQUEST, "Invalid JSON body"),
            Self::InvalidPath => (StatusCode::BAD_REQUEST, "Invalid path"),
            Self::InvalidQuery => (StatusCode::BAD_REQUEST, "Invalid query string"),
            Self::MissingMemory => (StatusCode::BAD_REQUEST, "Missing scope, key, or value"),
            Self::InvalidNode => (StatusCode::BAD_REQUEST, "Invalid node_id"),
            Self::MissingSkill => (StatusCode::BAD_REQUEST, "Missing name or source_node"),
            Self::MissingContent => (StatusCode::BAD_REQUEST, "Missing content or path"),
            Self::MissingWords => (StatusCode::BAD_REQUEST, "Missing query or q"),
            Self::UnknownMode => (StatusCode::BAD_REQUEST, "Unknown mode; use fts or semantic"),
            Self::NoSemanticSearch => (StatusCode::SERVICE_UNAVAILABLE, "Semantic search is not configured"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "Precondition failed"),
            Self::TooManyRows => (StatusCode::INSUFFICIENT_STORAGE, "The tenant may keep no more rows"),
            Self::TooManyBytes => (StatusCode::INSUFFICIENT_STORAGE, "The tenant may keep no more bytes"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Store is busy"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Store not available"),
        }
    }

    /// How whoever counts sees it.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::NotFound | Self::MethodNotAllowed => Outcome::Missing,
            Self::Unauthorized | Self::Forbidden => Outcome::Forbidden,
            Self::TooLarge
            | Self::TooSlow
            | Self::InvalidBody
            | Self::InvalidPath
            | Self::InvalidQuery
            | Self::MissingMemory
            | Self::InvalidNode
            | Self::MissingSkill
            | Self::MissingContent
            | Self::MissingWords
            | Self::UnknownMode
            | Self::NoSemanticSearch => Outcome::Invalid,
            Self::PreconditionFailed => Outcome::Conflict,
            Self::TooManyRows | Self::TooManyBytes => Outcome::Full,
            Self::Busy => Outcome::Busy,
            Self::Unavailable => Outcome::Failed,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, words) = self.parts();
        let mut response = json(status, format!("{{\"error\":\"{words}\"}}").into_bytes());
        if self == Self::Unauthorized {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self == Self::Busy {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Failed => Self::Unavailable,
        }
    }
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Missing => Self::NotFound,
            Conflict::ConditionFailed => Self::PreconditionFailed,
            Conflict::TooManyRows => Self::TooManyRows,
            Conflict::TooManyBytes => Self::TooManyBytes,
        }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            CommitError::Refused { conflict, .. } => conflict.into(),
        }
    }
}

impl From<Stranger> for Refusal {
    fn from(Stranger: Stranger) -> Self {
        Self::Unauthorized
    }
}

/// One row.
pub(crate) fn row(row: &impl ToJson) -> Response {
    let mut out = Vec::with_capacity(256);
    row.write_json(&mut out);
    json(StatusCode::OK, out)
}

/// A bare array of rows.
pub(crate) fn rows<R: ToJson>(rows: &[R]) -> Response {
    let mut out = Vec::with_capacity(256 * rows.len() + 2);
    out.push(b'[');
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        row.write_json(&mut out);
    }
    out.push(b']');
    json(StatusCode::OK, out)
}

/// JSON with a status.
pub(crate) fn json(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_store_says_when_to_come_back_and_a_stranger_how_to_be_known() {
        let busy = Refusal::from(StoreError::Busy).into_response();
        assert_eq!(
            (busy.status(), busy.headers()[RETRY_AFTER].as_bytes()),
            (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
        );
        let failed = Refusal::from(StoreError::Failed).into_response();
        assert_eq!(
            (failed.status(), failed.headers().get(RETRY_AFTER)),
            (StatusCode::SERVICE_UNAVAILABLE, None)
        );
        let stranger = Refusal::from(Stranger).into_response();
        assert_eq!(
            (stranger.status(), stranger.headers()[WWW_AUTHENTICATE].as_bytes()),
            (StatusCode::UNAUTHORIZED, &b"Bearer"[..])
        );
    }
}
