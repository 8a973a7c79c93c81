//! The services of an existing site, as far as the edge can tell them from the real ones.

use super::double::{Double, Reply, Seen};
use serde_json::{Value, json};

/// The bridge's webhook server.
pub(crate) fn bridge() -> Double {
    Double::start(answer_as_bridge)
}

/// What the bridge answers.
pub(crate) fn answer_as_bridge(seen: &Seen) -> Reply {
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/health" | "/") => {
            Reply::json(200, &json!({"ok": true, "service": "openclaw-bridge-ingest", "cacheWritable": true}))
        }
        ("POST", "/ingest") => counted(seen.json().as_ref()),
        ("POST", "/bridge") => bridged(seen),
        ("POST", _) => Reply::json(404, &json!({"error": "Not found"})),
        _ => Reply::json(405, &json!({"error": "Method not allowed"})),
    }
}

fn counted(body: Option<&Value>) -> Reply {
    match body {
        Some(body) => Reply::json(200, &counts(body)),
        None => Reply::json(400, &json!({"error": "Invalid JSON body"})),
    }
}

fn counts(body: &Value) -> Value {
    let of = |kind: &str| messages(body).iter().filter(|message| message["type"] == kind).count();
    let (memory, skill) = (of("memory"), of("skill"));
    json!({"ingested": memory + skill, "memory": memory, "skill": skill})
}

fn messages(body: &Value) -> Vec<&Value> {
    body.as_array().map_or_else(|| vec![body], |list| list.iter().collect())
}

fn bridged(seen: &Seen) -> Reply {
    let Some(body) = seen.json() else { return counted(None) };
    let inner = unwrapped(&body, seen.query("unwrap").unwrap_or("none"));
    let mut answer = counts(&inner);
    let asked = messages(&inner).into_iter().find(|message| message["type"] == "mesh_request");
    if let (Some(asked), Some("true")) = (asked, seen.query("handleRequest")) {
        let (id, kind) = (&asked["requestId"], &asked["kind"]);
        answer["response"] = json!({"type": "mesh_response", "requestId": id, "kind": kind, "nodeId": "bridge", "found": false});
    }
    Reply::json(200, &answer)
}

fn unwrapped(body: &Value, envelope: &str) -> Value {
    let first = |places: &[&str]| places.iter().find_map(|place| body.pointer(place)).cloned();
    let inner = match envelope {
        "telegram" => first(&[
            "/message/text",
            "/message/caption",
            "/channel_post/text",
            "/channel_post/caption",
            "/edited_message/text",
            "/edited_message/caption",
        ]),
        "discord" => first(&["/content", "/body/content", "/body"]),
        "generic" => first(&["/body", "/message", "/data"]),
        _ => None,
    };
    match inner {
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_else(|_| body.clone()),
        Some(inner) => inner,
        None => body.clone(),
    }
}

/// The federation hub, which knows one mesh and its key.
pub(crate) fn hub() -> Double {
    Double::start(|seen| match (seen.method.as_str(), seen.path()) {
        ("GET", "/health") => Reply::json(200, &json!({"ok": true, "service": "openclaw-federation-hub"})),
        ("GET", "/metrics") => Reply::text(200, "hub_messages_total 0\n").field("content-type", "text/plain"),
        ("POST", "/federation/in") => federated(seen),
        ("POST", "/federation/share") => match seen.field("authorization") {
            Some("Bearer share-secret") => Reply::json(200, &json!({"shared": 1})),
            _ => Reply::json(401, &json!({"error": "Unauthorized"})),
        },
        _ => Reply::json(404, &json!({"error": "Not found"})),
    })
}

/// The hub's own key for the mesh `hq`.
pub(crate) const HUB_KEY: &str = "hq-shared-key";

fn federated(seen: &Seen) -> Reply {
    let bearer = format!("Bearer {HUB_KEY}");
    let known = seen.field("authorization") == Some(&bearer) || seen.field("x-api-key") == Some(HUB_KEY);
    if seen.field("x-mesh-id") != Some("hq") || !known {
        return Reply::json(401, &json!({"error": "Unauthorized"}));
    }
    match seen.json() {
        None => Reply::json(400, &json!({"error": "Invalid JSON body"})),
        Some(body) if body["type"] == "bridge_down" => {
            Reply::json(502, &json!({"error": "Bridge unreachable"}))
        }
        Some(body) => Reply::json(200, &counts(&body)),
    }
}

/// The army server.
pub(crate) fn army() -> Double {
    Double::start(|seen| match (seen.method.as_str(), seen.path()) {
        ("GET", "/army/nodes") => {
            Reply::json(200, &json!([{"id": "ceo", "rank": "general", "status": "ready"}]))
        }
        ("GET", "/army/orders") => Reply::json(200, &json!([])),
        ("POST", "/army/orders") => Reply::json(202, &json!({"orderId": "o-1"})),
        ("POST", "/army/register") => Reply::json(200, &json!({"ok": true, "by": seen.field("x-node-id")})),
        _ => Reply::json(404, &json!({"error": "Not found"})),
    })
}
