//! What must hold for every answer of the edge, whatever the test was about.

use super::client::Answer;
use super::codes::status_of;

/// Fields that are between the edge and its upstreams; none may reach a client.
const INTERNAL: &[&str] = &[
    "x-tenant-id",
    "x-node-id",
    "x-credential-id",
    "x-credential-scopes",
    "x-edge-auth",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-openclaw-scopes",
];

/// Asserts on what no answer may show and every refusal must.
pub(crate) fn inspect(answer: &Answer) {
    for (name, value) in &answer.fields {
        let name = name.to_ascii_lowercase();
        assert!(!INTERNAL.contains(&name.as_str()), "{name} leaks: {answer:?}");
        let named = value.to_ascii_lowercase().contains("pingora");
        assert!(!named, "the server's software is named in {name}: {answer:?}");
    }
    let id = answer.field("x-request-id");
    assert!(id.is_some_and(|id| !id.is_empty()), "no X-Request-Id: {answer:?} {}", answer.text());
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else { return };
    let (Some(code), Some(named)) = (body.get("code"), body.get("request_id")) else { return };
    refusal(answer, &body, code.as_str().expect("a code is a text"));
    assert_eq!(named.as_str(), id, "the body names another request");
}

fn refusal(answer: &Answer, body: &serde_json::Value, code: &str) {
    let status = status_of(code).unwrap_or_else(|| panic!("{code} is in no table: {answer:?}"));
    assert_eq!(answer.status, status, "{code} came with another status: {answer:?}");
    let sentence = body.get("error").and_then(|error| error.as_str()).unwrap_or_default();
    assert!(!sentence.is_empty(), "a refusal without a sentence: {answer:?}");
    let is_problem =
        status == 429 || matches!(code, "busy" | "too_many_sockets" | "over_capacity" | "limits_unreachable");
    let kind = if is_problem { "application/problem+json" } else { "application/json" };
    let said = answer.field("content-type").unwrap_or_default();
    assert!(said.starts_with(kind), "{code} came as {said}");
}
