//! Every refusal that the edge may give: its code and the one status that goes with it.
//!
//! Written out a second time on purpose. Codes are a promise to clients, and this table is where a
//! change to the promise has to be made knowingly.

/// Code and status.
pub(crate) const REFUSALS: &[(&str, u16)] = &[
    ("address_denied", 403),
    ("ambiguous_length", 400),
    ("bad_content_length", 400),
    ("bad_expectation", 417),
    ("bad_field_name", 400),
    ("bad_field_value", 400),
    ("bad_handshake", 400),
    ("bad_host", 400),
    ("bad_line_ending", 400),
    ("bad_request_line", 400),
    ("bad_share", 400),
    ("bad_target", 400),
    ("bad_transfer_encoding", 400),
    ("bad_version", 505),
    ("body_timeout", 408),
    ("body_too_large", 413),
    ("busy", 503),
    ("delivery_pending", 409),
    ("early_upgrade_bytes", 400),
    ("folded_field", 400),
    ("forbidden", 403),
    ("head_timeout", 408),
    ("head_too_large", 431),
    ("internal", 500),
    ("invalid_json", 400),
    ("key_unknown", 401),
    ("length_required", 411),
    ("limit_exceeded", 429),
    ("malformed", 401),
    ("mesh_unknown", 403),
    ("method_not_allowed", 405),
    ("not_found", 404),
    ("outbox_full", 503),
    ("outbox_unavailable", 503),
    ("path_backslash", 400),
    ("path_dot_segment", 400),
    ("path_double_encoding", 400),
    ("path_empty_segment", 400),
    ("path_encoded_slash", 400),
    ("path_malformed", 400),
    ("path_needless_encoding", 400),
    ("path_nul", 400),
    ("replayed", 409),
    ("signature_invalid", 401),
    ("signature_missing", 401),
    ("stale", 401),
    ("too_many_fields", 431),
    ("too_many_sockets", 503),
    ("unauthorized", 401),
    ("unsignable", 400),
    ("upstream_failed", 502),
    ("upstream_timeout", 504),
    ("upstream_unreachable", 502),
    ("upstream_unresolved", 503),
    ("websocket_version", 426),
];

/// The status that goes with a code.
pub(crate) fn status_of(code: &str) -> Option<u16> {
    REFUSALS.iter().find(|(known, _)| *known == code).map(|&(_, status)| status)
}
