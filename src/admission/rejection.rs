//! Every way in which the edge says no, and the one answer to each.
//!
//! The code is stable: clients, metrics and logs all carry it. The sentence for clients never says what
//! exists, which key was close, or what another tenant has.

use crate::config::checked::Denial;
use crate::identity::caller::CallerFault;
use crate::identity::head::HeadFault;
use crate::identity::path::PathFault;
use crate::identity::sessions::NoSession;
use crate::limits::Budget;
use crate::limits::headers::{ABNORMAL_USAGE_DETECTED, Problem, QUOTA_EXCEEDED, TEMPORARY_REDUCED_CAPACITY};
use crate::signatures;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The head is malformed or too large.
    Head(HeadFault),
    /// The head did not come in time.
    HeadTimeout,
    /// The client's address is on a list of those that are kept out.
    Denied(Denial),
    /// The client's address cools down after too many strikes.
    CoolingDown {
        /// Seconds until it is over.
        ends_in_secs: u32,
    },
    /// The client's address holds too much of the edge before anyone is known.
    OverBudget(Budget),
    /// It came in the clear to a socket that sends everyone to `https`.
    HttpsRequired,
    /// The path could be read in two ways.
    Path(PathFault),
    /// No route takes it, or what it names is not there for this caller.
    NotFound,
    /// The path is served, by other methods.
    Method {
        /// For the `Allow` field.
        allow: String,
    },
    /// Who calls is not known.
    Caller(CallerFault),
    /// A browser sends its user's key for another site.
    CrossSite,
    /// What no session can begin with.
    SessionSource(NoSession),
    /// That a session has ended cannot be written down.
    SessionsUnavailable,
    /// The caller may not do this.
    Scope,
    /// A limit refused; which, the trail says.
    Limited,
    /// A limit refused that counts what all callers together have in flight.
    Crowded,
    /// A limit that several edges share cannot be asked, and lets nothing pass then.
    LimitsUnreachable,
    /// The body is larger than the route takes.
    BodyTooLarge,
    /// The body did not come in time.
    BodyTimeout,
    /// A body that must be held came without a length and is too large for that.
    LengthRequired,
    /// Too many bodies are being held.
    Busy,
    /// A message's signature.
    Signature(signatures::Reason),
    /// A delivery that the upstream took before.
    Replayed,
    /// A delivery that is on its way to the upstream just now.
    Pending,
    /// The body has no messages that could be signed.
    Unsignable,
    /// The caller's key is of no mesh, or it says that it is another.
    Mesh,
    /// What came from another mesh is no JSON.
    InvalidJson,
    /// What is to be shared cannot be read, or names an audience that is not there.
    BadShare,
    /// Too much waits for other meshes.
    OutboxFull,
    /// What is to be shared cannot be written down.
    OutboxUnavailable,
    /// A client asks for another version of a file than there is (RFC 9110 section 13.1).
    Precondition,
    /// A client asks for a part of a file that has none such.
    Range {
        /// Bytes of the file.
        length: u64,
    },
    /// A folder, or a file in it, cannot be read.
    FolderUnavailable,
    /// A WebSocket handshake that is none (RFC 6455 section 4.2.1).
    Handshake,
    /// A WebSocket handshake of another version than 13 (RFC 6455 section 4.4).
    SocketVersion,
    /// Too many WebSockets are open.
    TooManySockets,
    /// The upstream could not be reached.
    Unreachable,
    /// The upstream broke off or spoke nonsense.
    BadUpstream,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// No address is known for the upstream.
    NoAddress,
    /// A mistake of ours.
    Internal,
}

/// The answer to a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: &'static str,
    /// Sentence for the client.
    pub error: &'static str,
}

const fn say(status: u16, code: &'static str, error: &'static str) -> Answer {
    Answer { status, code, error }
}

impl Rejection {
    /// Status, code and sentence.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Head(fault) => head(*fault),
            Self::HeadTimeout => say(408, "head_timeout", "The request head did not arrive in time"),
            Self::Denied(_) => say(403, "address_denied", "Forbidden"),
            Self::CoolingDown { .. } => say(429, "cooling_down", "Too many bad requests; try again later"),
            Self::OverBudget(_) => say(429, "budget_exceeded", "Too much at once from this address"),
            Self::HttpsRequired => say(403, "https_required", "Only https is served here"),
            Self::Path(fault) => path(*fault),
            Self::NotFound => say(404, "not_found", "Not found"),
            Self::Method { .. } => say(405, "method_not_allowed", "Method not allowed"),
            Self::Caller(_) => say(401, "unauthorized", "Unauthorized"),
            Self::CrossSite => say(403, "cross_site", "Forbidden"),
            Self::SessionSource(_) => say(403, "session_source", "No session can begin with this"),
            Self::SessionsUnavailable => {
                say(503, "sessions_unavailable", "The session cannot be ended; try again")
            }
            Self::Scope => say(403, "forbidden", "Forbidden"),
            Self::Limited => say(429, "limit_exceeded", "Too many requests"),
            Self::Crowded => say(503, "over_capacity", "Too many requests at the same time; try again"),
            Self::LimitsUnreachable => {
                say(503, "limits_unreachable", "The limits cannot be checked just now; try again")
            }
            Self::BodyTooLarge => say(413, "body_too_large", "Payload too large"),
            Self::BodyTimeout => say(408, "body_timeout", "The request body did not arrive in time"),
            Self::LengthRequired => say(411, "length_required", "A body of this size needs Content-Length"),
            Self::Busy => say(503, "busy", "Too many request bodies are being held; try again"),
            Self::Signature(reason) => say(401, reason.code(), "Unauthorized"),
            Self::Replayed => say(409, "replayed", "This delivery was taken before"),
            Self::Pending => say(409, "delivery_pending", "This delivery is on its way just now"),
            Self::Unsignable => say(400, "unsignable", "The body has no messages that can be signed"),
            Self::Mesh => say(403, "mesh_unknown", "Forbidden"),
            // As the federation hub says it.
            Self::InvalidJson => say(400, "invalid_json", "Invalid JSON body"),
            Self::BadShare => {
                say(400, "bad_share", "The body has nothing that can be shared with that audience")
            }
            Self::OutboxFull => say(503, "outbox_full", "Too much waits for other meshes; try again"),
            Self::OutboxUnavailable => {
                say(503, "outbox_unavailable", "The outbox cannot be written; try again")
            }
            Self::Precondition => say(412, "precondition_failed", "There is another version now"),
            Self::Range { .. } => say(416, "range_not_satisfiable", "There is no such part"),
            Self::FolderUnavailable => {
                say(503, "folder_unavailable", "The files cannot be read just now; try again")
            }
            Self::Handshake => say(400, "bad_handshake", "Not a WebSocket handshake"),
            Self::SocketVersion => say(426, "websocket_version", "Only WebSocket version 13 is served"),
            Self::TooManySockets => say(503, "too_many_sockets", "Too many WebSockets are open; try again"),
            Self::Unreachable => say(502, "upstream_unreachable", "The upstream could not be reached"),
            Self::BadUpstream => say(502, "upstream_failed", "The upstream broke off"),
            Self::UpstreamTimeout => say(504, "upstream_timeout", "The upstream did not answer in time"),
            Self::NoAddress => say(503, "upstream_unresolved", "The upstream has no known address"),
            Self::Internal => say(500, "internal", "Internal error"),
        }
    }

    /// Whether the connection must be closed, since the next request's beginning cannot be trusted.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Self::Head(_)
                | Self::HeadTimeout
                | Self::BodyTimeout
                | Self::Denied(_)
                | Self::HttpsRequired
                | Self::OverBudget(_)
                | Self::Internal
        )
    }

    /// The problem type that says what this is, where there is one that does.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            // The caller has used up what it is given.
            Self::Limited => Some(QUOTA_EXCEEDED),
            // The edge has no more to give just now, to anyone.
            Self::Crowded | Self::LimitsUnreachable | Self::Busy | Self::TooManySockets => {
                Some(TEMPORARY_REDUCED_CAPACITY)
            }
            // What comes from the address is not what callers send.
            Self::CoolingDown { .. } | Self::OverBudget(_) => Some(ABNORMAL_USAGE_DETECTED),
            Self::Head(_)
            | Self::HeadTimeout
            | Self::Denied(_)
            | Self::HttpsRequired
            | Self::Path(_)
            | Self::NotFound
            | Self::Method { .. }
            | Self::Caller(_)
            | Self::CrossSite
            | Self::SessionSource(_)
            | Self::SessionsUnavailable
            | Self::Scope
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::LengthRequired
            | Self::Signature(_)
            | Self::Replayed
            | Self::Pending
            | Self::Unsignable
            | Self::Mesh
            | Self::InvalidJson
            | Self::BadShare
            | Self::OutboxFull
            | Self::OutboxUnavailable
            | Self::Precondition
            | Self::Range { .. }
            | Self::FolderUnavailable
            | Self::Handshake
            | Self::SocketVersion
            | Self::Unreachable
            | Self::BadUpstream
            | Self::UpstreamTimeout
            | Self::NoAddress
            | Self::Internal => None,
        }
    }

    /// More for the operator's eyes: the exact reason where clients get a general one.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Caller(fault) => Some(fault.to_string()),
            Self::OverBudget(budget) => Some(budget.word().to_owned()),
            Self::SessionSource(why) => Some(why.to_string()),
            Self::Head(_)
            | Self::HeadTimeout
            | Self::Denied(_)
            | Self::CoolingDown { .. }
            | Self::HttpsRequired
            | Self::Path(_)
            | Self::NotFound
            | Self::Method { .. }
            | Self::CrossSite
            | Self::SessionsUnavailable
            | Self::Scope
            | Self::Limited
            | Self::Crowded
            | Self::LimitsUnreachable
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::LengthRequired
            | Self::Busy
            | Self::Signature(_)
            | Self::Replayed
            | Self::Pending
            | Self::Unsignable
            | Self::Mesh
            | Self::InvalidJson
            | Self::BadShare
            | Self::OutboxFull
            | Self::OutboxUnavailable
            | Self::Precondition
            | Self::Range { .. }
            | Self::FolderUnavailable
            | Self::Handshake
            | Self::SocketVersion
            | Self::TooManySockets
            | Self::Unreachable
            | Self::BadUpstream
            | Self::UpstreamTimeout
            | Self::NoAddress
            | Self::Internal => None,
        }
    }
}

fn head(fault: HeadFault) -> Answer {
    match fault {
        HeadFault::TooLarge => say(431, "head_too_large", "The request head is too large"),
        HeadFault::TooManyFields => say(431, "too_many_fields", "The request head has too many fields"),
        HeadFault::LineEnding => {
            say(400, "bad_line_ending", "A line of the request head does not end in CR LF")
        }
        HeadFault::RequestLine => say(400, "bad_request_line", "The request line is malformed"),
        HeadFault::Target => say(400, "bad_target", "The request target must be a path"),
        HeadFault::Version => say(505, "bad_version", "Only HTTP/1.1 and HTTP/1.0 are served here"),
        HeadFault::Method => say(405, "method_not_allowed", "Method not allowed"),
        HeadFault::Folded => say(400, "folded_field", "A header field is folded over lines"),
        HeadFault::FieldName => say(400, "bad_field_name", "A header field has a malformed name"),
        HeadFault::FieldValue => say(400, "bad_field_value", "A header field has a malformed value"),
        HeadFault::ContentLength => say(400, "bad_content_length", "Content-Length is repeated or malformed"),
        HeadFault::LengthAndEncoding => {
            say(400, "ambiguous_length", "Content-Length and Transfer-Encoding exclude each other")
        }
        HeadFault::TransferEncoding => {
            say(400, "bad_transfer_encoding", "The only Transfer-Encoding taken is one chunked")
        }
        HeadFault::Host => say(400, "bad_host", "Host is missing, repeated or malformed"),
        HeadFault::Expectation => say(417, "bad_expectation", "The only expectation taken is 100-continue"),
        HeadFault::EarlyUpgradeBytes => {
            say(400, "early_upgrade_bytes", "Bytes were sent before the upgrade was agreed")
        }
    }
}

fn path(fault: PathFault) -> Answer {
    match fault {
        PathFault::Backslash => say(400, "path_backslash", "The path has a backslash"),
        PathFault::DotSegment => say(400, "path_dot_segment", "The path has a dot segment"),
        PathFault::EmptySegment => say(400, "path_empty_segment", "The path has an empty segment"),
        PathFault::Nul => say(400, "path_nul", "The path has an encoded NUL"),
        PathFault::DoubleEncoding => say(400, "path_double_encoding", "The path is percent-encoded twice"),
        PathFault::EncodedSlash => say(400, "path_encoded_slash", "The path has an encoded slash"),
        PathFault::NeedlessEncoding => {
            say(400, "path_needless_encoding", "The path percent-encodes characters that need no encoding")
        }
        PathFault::Malformed => say(400, "path_malformed", "The path has a malformed percent-encoding"),
    }
}
