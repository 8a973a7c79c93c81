//! Every answer that is not a row: its status, its words, its headers, in one place.

use super::access::Stranger;
use super::conditions;
use super::embed::EmbedError;
use super::error::{CommitError, StoreError};
use super::guard::Pattern;
use super::model::{Conflict, Done, Row, Stamp, ToJson, Version};
use super::observe::Outcome;
use super::search::SearchError;
use super::uri::Parameters;
use crate::config::public_key::KeyError;
use crate::signatures::registered::RegisteredError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

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
    /// `node_id` is there and is no text, or a node's name that is none.
    InvalidNode,
    /// Keys that no node may have.
    Keys(RegisteredError),
    /// A skill lacks a name.
    MissingSkill,
    /// A skill lacks what it is.
    MissingContent,
    /// A query without words to look for.
    MissingWords,
    /// `mode` is none of the three.
    UnknownMode,
    /// `marks` is none.
    UnknownMarks,
    /// Semantic search is switched off in the config.
    NoSemanticSearch,
    /// The caller may not administer the tenant.
    NotAdmin,
    /// The tenant was not named again.
    NotConfirmed,
    /// A scope, key or value is longer than may be.
    TooLong,
    /// It fits this pattern of secrets.
    Secret(Pattern),
    /// A condition that cannot be read, or two.
    InvalidCondition,
    /// A write that must say what it has read does not.
    PreconditionRequired,
    /// A number that is none.
    InvalidNumber,
    /// A time to live that is none.
    InvalidTtl,
    /// An operation that does not say of which row.
    MissingTarget,
    /// An operation that is none.
    UnknownOperation,
    /// A batch with more than may be.
    TooManyOperations,
    /// A cursor that the store did not make for this list.
    InvalidCursor,
    /// An order that is none.
    UnknownOrder,
    /// The embedding service gave no vector.
    Embedding(EmbedError),
    /// A kind that is none.
    UnknownKind,
    /// A sync message that is none.
    InvalidMessage,
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

/// Words that stay the same, for programs that tell refusals of one status apart. Answers that clients of the
/// untenanted store know have none.
const CODES: &[(Refusal, &str)] = &[
    (Refusal::TooLong, "too_long"),
    (Refusal::TooManyRows, "too_many_rows"),
    (Refusal::TooManyBytes, "too_many_bytes"),
];

impl Refusal {
    fn parts(self) -> (StatusCode, &'static str, Outcome) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", Outcome::Forbidden),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden", Outcome::Forbidden),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found", Outcome::Missing),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", Outcome::Missing)
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Payload too large", Outcome::Invalid),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "Request timeout", Outcome::Invalid),
            Self::InvalidBody => (StatusCode::BAD_REQUEST, "Invalid JSON body", Outcome::Invalid),
            Self::InvalidPath => (StatusCode::BAD_REQUEST, "Invalid path", Outcome::Invalid),
            Self::InvalidQuery => (StatusCode::BAD_REQUEST, "Invalid query string", Outcome::Invalid),
            Self::MissingMemory => {
                (StatusCode::BAD_REQUEST, "Missing scope, key, or value", Outcome::Invalid)
            }
            Self::InvalidNode => (StatusCode::BAD_REQUEST, "Invalid node_id", Outcome::Invalid),
            Self::Keys(error) => (StatusCode::BAD_REQUEST, keys_words(error), Outcome::Invalid),
            Self::MissingSkill => (StatusCode::BAD_REQUEST, "Missing name or source_node", Outcome::Invalid),
            Self::MissingContent => (StatusCode::BAD_REQUEST, "Missing content or path", Outcome::Invalid),
            Self::MissingWords => (StatusCode::BAD_REQUEST, "Missing query or q", Outcome::Invalid),
            Self::UnknownMode => {
                (StatusCode::BAD_REQUEST, "Unknown mode; use fts, semantic or hybrid", Outcome::Invalid)
            }
            Self::UnknownMarks => (StatusCode::BAD_REQUEST, "Unknown marks; use html", Outcome::Invalid),
            Self::NoSemanticSearch => {
                (StatusCode::SERVICE_UNAVAILABLE, "Semantic search is not configured", Outcome::Invalid)
            }
            Self::NotAdmin => {
                (StatusCode::FORBIDDEN, "Forbidden: this needs the admin right", Outcome::Forbidden)
            }
            Self::NotConfirmed => {
                (StatusCode::BAD_REQUEST, "Name the tenant in confirm to erase it", Outcome::Invalid)
            }
            Self::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "Scope, key or value too long", Outcome::Invalid)
            }
            Self::Secret(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "This looks like a secret and is not kept",
                Outcome::Invalid,
            ),
            Self::InvalidCondition => {
                (StatusCode::BAD_REQUEST, "Invalid If-Match or If-None-Match", Outcome::Invalid)
            }
            Self::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "This write needs If-Match or If-None-Match: *",
                Outcome::Conflict,
            ),
            Self::InvalidNumber => (StatusCode::BAD_REQUEST, "Invalid number", Outcome::Invalid),
            Self::InvalidTtl => (StatusCode::BAD_REQUEST, "Invalid ttl or expires_at", Outcome::Invalid),
            Self::MissingTarget => {
                (StatusCode::BAD_REQUEST, "An operation needs scope and key, or name", Outcome::Invalid)
            }
            Self::UnknownOperation => {
                (StatusCode::BAD_REQUEST, "Unknown op; use put, delete, restore or purge", Outcome::Invalid)
            }
            Self::TooManyOperations => {
                (StatusCode::BAD_REQUEST, "A batch has at most 1000 operations", Outcome::Invalid)
            }
            Self::InvalidCursor => (StatusCode::BAD_REQUEST, "Invalid cursor", Outcome::Invalid),
            Self::UnknownOrder => {
                (StatusCode::BAD_REQUEST, "Unknown order; use newest or key", Outcome::Invalid)
            }
            Self::UnknownKind => {
                (StatusCode::BAD_REQUEST, "Unknown kind; use memory, skill or key", Outcome::Invalid)
            }
            Self::InvalidMessage => (StatusCode::BAD_REQUEST, "Invalid sync message", Outcome::Invalid),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "Precondition failed", Outcome::Conflict)
            }
            Self::TooManyRows => {
                (StatusCode::INSUFFICIENT_STORAGE, "The tenant may keep no more rows", Outcome::Full)
            }
            Self::TooManyBytes => {
                (StatusCode::INSUFFICIENT_STORAGE, "The tenant may keep no more bytes", Outcome::Full)
            }
            Self::Embedding(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, embedding_words(error), Outcome::Failed)
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Store is busy", Outcome::Busy),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Store not available", Outcome::Failed),
        }
    }

    /// How whoever counts sees it.
    pub(crate) fn outcome(self) -> Outcome {
        self.parts().2
    }
}

impl Refusal {
    /// The answer when it is one of several operations that is refused.
    pub(crate) fn at(self, index: usize) -> Response {
        self.told(&format!(",\"index\":{index}"))
    }

    /// Words and codes are ours and need no escape.
    fn told(self, more: &str) -> Response {
        let (status, words, _) = self.parts();
        let coded = CODES.iter().find(|(refusal, _)| *refusal == self);
        let code = match (self, coded) {
            (Self::Secret(pattern), _) => {
                format!(",\"code\":\"secret_found\",\"pattern\":\"{pattern}\"")
            }
            (_, Some((_, code))) => format!(",\"code\":\"{code}\""),
            (_, None) => String::new(),
        };
        let mut response = json(status, format!("{{\"error\":\"{words}\"{code}{more}}}").into_bytes());
        self.fields(response.headers_mut());
        response
    }

    fn fields(self, headers: &mut HeaderMap) {
        if self == Self::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self == Self::Busy {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.told("")
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

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Store(error) => error.into(),
            SearchError::NotConfigured => Self::NoSemanticSearch,
            SearchError::Embedding(error) => Self::Embedding(error),
        }
    }
}

/// What a client is told of the service: what is wrong with it, and not where it is.
fn embedding_words(error: EmbedError) -> &'static str {
    match error {
        EmbedError::Unreachable => "The embedding service cannot be reached",
        EmbedError::Silent => "The embedding service did not answer in time",
        EmbedError::TextRefused => "The embedding service does not take the text",
        EmbedError::Refused => "The embedding service refuses the key, the model or the path",
        EmbedError::Malformed => "The embedding service answered what are no embeddings",
    }
}

/// What a client is told of keys that are refused; never what stood there.
fn keys_words(error: RegisteredError) -> &'static str {
    match error {
        RegisteredError::Form => "Keys are objects of kid, public_key, not_before and not_after",
        RegisteredError::Number => "A node has 1 to 16 keys",
        RegisteredError::Id => "A kid is 1 to 128 visible ASCII characters without a comma",
        RegisteredError::SameId => "Two keys have one kid",
        RegisteredError::SameKey => "A key is there twice",
        RegisteredError::Time => "A key ends before it begins",
        RegisteredError::Key(KeyError::Private) => {
            "A private key stands here; only its public half belongs here"
        }
        RegisteredError::Key(KeyError::Form) => "A public_key is no Ed25519 public key",
        RegisteredError::Key(KeyError::Length) => "A public_key is PEM or base64 of 32 bytes",
        RegisteredError::Key(KeyError::Weak) => "A public_key is weak: anyone can sign for it",
        RegisteredError::Key(KeyError::NotCanonical) => "A public_key is not written in its canonical form",
    }
}

impl From<Stranger> for Refusal {
    fn from(Stranger: Stranger) -> Self {
        Self::Unauthorized
    }
}

/// How often the row was written.
const MESH_VERSION: HeaderName = HeaderName::from_static("mesh-version");
/// Unix seconds from which on it is gone.
const MESH_EXPIRES_AT: HeaderName = HeaderName::from_static("mesh-expires-at");

/// One row.
pub(crate) fn row(row: &Row, parameters: &Parameters) -> Response {
    told_row(row, parameters, None)
}

fn told_row(row: &Row, parameters: &Parameters, proof: Option<&[u8]>) -> Response {
    let mut out = Vec::with_capacity(256);
    write_row(&mut out, row, parameters, proof);
    let mut response = json(StatusCode::OK, out);
    stamp(response.headers_mut(), &row.stamp);
    response
}

/// One row for a caller who may have it already; with the standing of its proof it is always told, since that may
/// change while the row does not.
///
/// # Errors
/// [`Refusal::InvalidCondition`].
pub(crate) fn known_row(
    found: &Row,
    headers: &HeaderMap,
    parameters: &Parameters,
    proof: Option<&[u8]>,
) -> Result<Response, Refusal> {
    if proof.is_none() && conditions::is_known(headers, &conditions::tag(&found.stamp))? {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        stamp(response.headers_mut(), &found.stamp);
        shared(response.headers_mut());
        return Ok(response);
    }
    let mut response = told_row(found, parameters, proof);
    shared(response.headers_mut());
    Ok(response)
}

fn stamp(headers: &mut HeaderMap, stamp: &Stamp) {
    headers.insert(ETAG, conditions::tag(stamp));
    headers.insert(MESH_VERSION, HeaderValue::from(stamp.version));
    if let Some(end) = stamp.expires_at {
        headers.insert(MESH_EXPIRES_AT, HeaderValue::from(end));
    }
}

/// What is shared changes under a cache's hands, and belongs to one tenant: a cache may keep it for the one
/// caller, and asks each time whether it is still so.
pub(crate) fn shared(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Authorization, X-API-Key"));
}

/// A row, with what the store says of it when it is asked for, and how its proof stands.
fn write_row(out: &mut Vec<u8>, row: &Row, parameters: &Parameters, proof: Option<&[u8]>) {
    row.write_json(out);
    out.pop();
    if parameters.meta {
        meta(out, &row.stamp);
    }
    if let Some(proof) = proof {
        out.extend_from_slice(b",\"proof\":");
        out.extend_from_slice(proof);
    }
    out.push(b'}');
}

fn meta(out: &mut Vec<u8>, stamp: &Stamp) {
    let end = stamp.expires_at.map_or_else(|| "null".to_owned(), |end| end.to_string());
    let text = format!(
        ",\"version\":{},\"change\":{},\"etag\":\"\\\"v{}.{}\\\"\",\"expires_at\":{end}",
        stamp.version, stamp.change, stamp.version, stamp.change
    );
    out.extend_from_slice(text.as_bytes());
}

/// That a row is gone.
pub(crate) fn deleted(stamp: &Stamp) -> Response {
    let text = format!(r#"{{"deleted":true,"version":{}}}"#, stamp.version);
    json(StatusCode::OK, text.into_bytes())
}

/// A row's past, newest first.
pub(crate) fn versions(versions: &[Version], more: bool) -> Response {
    let mut out = b"{\"versions\":[".to_vec();
    for (index, version) in versions.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_version(&mut out, version);
    }
    out.extend_from_slice(b"],\"next_before\":");
    match versions.last() {
        Some(last) if more => out.extend_from_slice(last.stamp.version.to_string().as_bytes()),
        Some(_) | None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    let mut response = json(StatusCode::OK, out);
    shared(response.headers_mut());
    response
}

fn write_version(out: &mut Vec<u8>, version: &Version) {
    let action = version.action.as_str();
    let stamp = &version.stamp;
    out.extend_from_slice(
        format!(
            "{{\"version\":{},\"action\":\"{action}\",\"updated_at\":{}",
            stamp.version, stamp.updated_at
        )
        .as_bytes(),
    );
    if let Some(content) = &version.content {
        out.extend_from_slice(b",\"row\":");
        let row = Row { content: content.clone(), stamp: *stamp, sent_ms: None, proof: None };
        row.write_json(out);
    }
    out.push(b'}');
}

/// How the operations of a batch ended.
pub(crate) fn batch(done: &[Done], parameters: &Parameters) -> Response {
    let mut out = b"{\"results\":[".to_vec();
    for (index, one) in done.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match one {
            Done::Written(row) => {
                out.extend_from_slice(b"{\"written\":true");
                meta(&mut out, &row.stamp);
                out.extend_from_slice(b",\"row\":");
                write_row(&mut out, row, parameters, None);
                out.push(b'}');
            }
            Done::Deleted(stamp) => {
                out.extend_from_slice(
                    format!(r#"{{"deleted":true,"version":{}}}"#, stamp.version).as_bytes(),
                );
            }
            Done::Purged => out.extend_from_slice(b"{\"purged\":true}"),
            Done::Passed => out.extend_from_slice(b"{\"passed\":true}"),
        }
    }
    out.extend_from_slice(b"]}");
    json(StatusCode::OK, out)
}

/// A page of rows: a bare array. `proofs` are as many as the rows, or none.
pub(crate) fn page(rows: &[Row], parameters: &Parameters, proofs: &[Vec<u8>]) -> Response {
    let mut out = Vec::with_capacity(256 * rows.len() + 2);
    out.push(b'[');
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_row(&mut out, row, parameters, proofs.get(index).map(Vec::as_slice));
    }
    out.push(b']');
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
