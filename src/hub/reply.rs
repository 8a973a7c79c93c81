//! Every answer of the API that is no row: its status and its words, in one place.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// Why a request was not done. Another tenant's gateway and none are one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody whom the edge has named.
    Unauthorized,
    /// No such path, or no such gateway for this caller.
    NotFound,
    /// The path is there for other methods.
    MethodNotAllowed,
    /// A parameter that is not known.
    UnknownParameter,
    /// One that stands there twice.
    RepeatedParameter,
    /// `limit` is none.
    Limit,
    /// `runs` is none.
    Runs,
    /// `since` is no time.
    Since,
    /// `cursor` is none of this API's.
    Cursor,
    /// A filter that is no list of words.
    Words,
    /// The path is for WebSockets.
    UpgradeRequired,
    /// Too many of the tenant's listen.
    TooManyListeners,
}

impl Refusal {
    const fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::UnknownParameter => (StatusCode::BAD_REQUEST, "Unknown parameter"),
            Self::RepeatedParameter => (StatusCode::BAD_REQUEST, "Repeated parameter"),
            Self::Limit => (StatusCode::BAD_REQUEST, "limit must be a number from 1 to 500"),
            Self::Runs => (StatusCode::BAD_REQUEST, "runs must be a number from 0 to 50"),
            Self::Since => (StatusCode::BAD_REQUEST, "since must be Unix milliseconds or a time in RFC 3339"),
            Self::Cursor => (StatusCode::BAD_REQUEST, "Invalid cursor"),
            Self::Words => (StatusCode::BAD_REQUEST, "A filter must be words with commas between them"),
            Self::UpgradeRequired => (StatusCode::UPGRADE_REQUIRED, "Upgrade Required"),
            Self::TooManyListeners => (StatusCode::SERVICE_UNAVAILABLE, "Too many listeners"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: &'static str,
        }
        let (status, error) = self.parts();
        let mut response = (status, json(&Body { error })).into_response();
        if self == Self::TooManyListeners {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        response
    }
}

/// JSON that nobody keeps.
pub(super) fn json<T: Serialize>(body: &T) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}
