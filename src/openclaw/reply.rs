//! The edge's own frames to a client: a challenge, and refusals in the shapes that a gateway gives them.

use super::methods::Denied;
use std::fmt::Write as _;

/// What a client is told when a call does not go on. `id` is the id's JSON text.
fn refusal(id: &str, code: &str, message: &str, rest: &str) -> String {
    let message = serde_json::Value::from(message);
    format!(
        "{{\"type\":\"res\",\"id\":{id},\"ok\":false,\"error\":{{\"code\":\"{code}\",\"message\":{message}{rest}}}}}"
    )
}

/// The challenge that opens a socket.
#[must_use]
pub fn challenge(nonce: &str, unix_ms: u128) -> String {
    format!(
        "{{\"type\":\"event\",\"event\":\"connect.challenge\",\"payload\":{{\"nonce\":\"{nonce}\",\"ts\":{unix_ms}}}}}"
    )
}

/// A call that the caller may not make.
#[must_use]
pub fn denied(id: &str, denied: Denied) -> String {
    match denied {
        Denied::Scope(scope) => {
            let scope = scope.as_str();
            let details = format!(
                ",\"details\":{{\"code\":\"MISSING_SCOPE\",\"missingScope\":\"{scope}\",\"requiredScopes\":[\"{scope}\"]}}"
            );
            refusal(id, "FORBIDDEN", &format!("missing scope: {scope}"), &details)
        }
        Denied::Role(role) => {
            refusal(id, "INVALID_REQUEST", &format!("unauthorized role: {}", role.as_str()), "")
        }
    }
}

/// A call beyond a limit.
#[must_use]
pub fn limited<'a>(
    id: &str,
    method: &str,
    seconds: u32,
    limits: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut details = String::new();
    let wait = u64::from(seconds) * 1000;
    let method = serde_json::Value::from(method);
    let _ = write!(
        details,
        ",\"retryable\":true,\"retryAfterMs\":{wait},\"details\":{{\"code\":\"LIMIT_EXCEEDED\",\"method\":{method},\"limits\":["
    );
    for (place, limit) in limits.into_iter().enumerate() {
        let _ = write!(details, "{}\"{limit}\"", if place == 0 { "" } else { "," });
    }
    details.push_str("]}");
    let name = method.as_str().unwrap_or_default();
    refusal(id, "UNAVAILABLE", &format!("rate limit exceeded for {name}; retry after {seconds}s"), &details)
}

/// A frame that is none, or a `connect` that the edge does not pass on.
#[must_use]
pub fn invalid(id: &str, message: &str) -> String {
    refusal(id, "INVALID_REQUEST", message, "")
}

/// The gateway cannot be had now. `reason` is a stable word.
#[must_use]
pub fn unavailable(id: &str, message: &str, reason: &str, wait_ms: u32) -> String {
    let rest =
        format!(",\"retryable\":true,\"retryAfterMs\":{wait_ms},\"details\":{{\"reason\":\"{reason}\"}}");
    refusal(id, "UNAVAILABLE", message, &rest)
}

/// A call that went on and whose answer does not come: whether it did something the caller has to find out,
/// so it is not to be made again blindly. `reason` is a stable word.
#[must_use]
pub fn unanswered(id: &str, message: &str, reason: &str) -> String {
    let rest = format!(",\"retryable\":false,\"details\":{{\"reason\":\"{reason}\"}}");
    refusal(id, "UNAVAILABLE", message, &rest)
}

/// There is no gateway of that name for this caller.
#[must_use]
pub fn no_gateway(id: &str) -> String {
    refusal(id, "INVALID_REQUEST", "unknown gateway", ",\"details\":{\"code\":\"GATEWAY_NOT_FOUND\"}")
}

/// Longest id of a gateway that is sent back; ids of gateways have no more.
const LONGEST_GATEWAY: usize = 64;

/// A frame of this file, or of a gateway, on a socket that leads to many: which gateway it is of, as the
/// client's own frame has it between its quotes.
#[must_use]
pub fn addressed(gateway: Option<&str>, frame: &str) -> String {
    match (gateway.filter(|id| id.len() <= LONGEST_GATEWAY), frame.strip_prefix('{')) {
        (Some(id), Some(rest)) => format!("{{\"gatewayId\":\"{id}\",{rest}"),
        (None, _) | (_, None) => frame.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scopes::Scope;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_frame_for_one_of_many_says_which() {
        let frame = invalid("7", "no");
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let told = read(&addressed(Some("ceo"), &frame));
        assert_eq!((&told["gatewayId"], &told["id"]), (&json!("ceo"), &json!(7)));
        assert_eq!(addressed(None, &frame), frame);
        assert_eq!(addressed(Some(&"x".repeat(65)), &frame), frame);
    }

    #[test]
    fn refusals_have_the_gateways_shapes() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(
            read(&denied("\"r\"", Denied::Scope(Scope::Admin))),
            json!({"type": "res", "id": "r", "ok": false, "error": {"code": "FORBIDDEN",
                "message": "missing scope: operator.admin", "details": {"code": "MISSING_SCOPE",
                "missingScope": "operator.admin", "requiredScopes": ["operator.admin"]}}})
        );
        let answer = read(&limited("\"r\"", "a\"b", 3, ["calls"]));
        assert_eq!(answer["error"]["retryAfterMs"], 3000);
        assert_eq!(
            answer["error"]["details"],
            json!({"code": "LIMIT_EXCEEDED", "method": "a\"b", "limits": ["calls"]})
        );
        assert_eq!(read(&challenge("n", 5))["payload"], json!({"nonce": "n", "ts": 5}));
        assert_eq!(read(&unavailable("\"r\"", "away", "x", 7))["error"]["details"]["reason"], "x");
        assert_eq!(read(&invalid("7", "no"))["id"], 7);
        assert_eq!(read(&unanswered("\"r\"", "late", "timeout"))["error"]["retryable"], false);
        assert_eq!(read(&no_gateway("\"r\""))["error"]["details"]["code"], "GATEWAY_NOT_FOUND");
    }
}
