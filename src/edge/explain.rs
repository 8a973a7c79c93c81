//! `openclaw-edge explain` and `GET /explain`: what would become of a request, as JSON.

use super::live::Site;
use super::shared;
use crate::admission::explain::{Explained, Question};
use crate::admission::{Asked, Now, Policy, Rejection};
use crate::limits::Standing;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// A request, in words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Method; GET where it is not said.
    #[serde(default = "get")]
    pub method: String,
    /// Host; none where it is not said.
    #[serde(default)]
    pub host: String,
    /// Path without query.
    pub path: String,
    /// The client's address.
    pub ip: IpAddr,
    /// The credential's id.
    pub credential: Option<String>,
    /// Bytes of the body.
    #[serde(default)]
    pub body: u32,
    /// The value of the field that the limits count by, where they do.
    pub value: Option<String>,
}

fn get() -> String {
    "GET".into()
}

/// What would become of it where nobody has used a shared limit yet; nothing where the method is no method.
#[must_use]
pub fn answer(policy: &Policy, request: &Request, now: Now) -> Option<Value> {
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    Some(match policy.explain(&question(request, &method), now) {
        Ok(explained) => told(policy, &explained),
        Err(refusal) => json!({ "outcome": outcome(Some(&refusal)) }),
    })
}

/// What would become of it on a running edge.
pub(super) async fn answer_live(site: &Site, policy: &Policy, request: &Request, now: Now) -> Option<Value> {
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    Some(match policy.explain(&question(request, &method), now) {
        Ok(mut explained) => {
            shared::explained(site, policy, &mut explained, now.tick).await;
            told(policy, &explained)
        }
        Err(refusal) => json!({ "outcome": outcome(Some(&refusal)) }),
    })
}

fn question<'a>(request: &'a Request, method: &'a Method) -> Question<'a> {
    Question {
        method,
        host: &request.host,
        path: &request.path,
        client: request.ip,
        credential: request.credential.as_deref(),
        body: request.body,
        value: request.value.as_deref(),
    }
}

fn told(policy: &Policy, explained: &Explained<'_>) -> Value {
    let standings = explained.decision.standings().as_slice();
    let limits: Vec<Value> = standings.iter().map(|one| limit(explained, one)).collect();
    json!({
        "route": explained.route.map(|index| policy.routes[index].name.as_str()),
        "tenant": explained.tenant.as_ref().map(|tenant| tenant.id.as_str()),
        "credential": explained.credential.as_ref().map(|credential| credential.id.as_str()),
        "asked": match explained.asked {
            Asked::Route => "all limits of the route",
            Asked::Stranger => "the route's limits for callers who are turned away",
            Asked::Unmatched => "the limits for requests that no route takes",
        },
        "limits": limits,
        "outcome": outcome(explained.refusal.as_ref()),
    })
}

fn limit(explained: &Explained<'_>, one: &Standing) -> Value {
    let rule = &explained.rules.rules()[one.rule];
    json!({
        "limit": rule.name().as_str(),
        "shadow": rule.is_shadow(),
        "shared": rule.is_shared(),
        "most": rule.limit(),
        "remaining": one.remaining,
        "cost": one.cost,
        "refuses": one.short,
        "more_in": one.effective_secs,
    })
}

fn outcome(refusal: Option<&Rejection>) -> Value {
    match refusal {
        None => json!({ "admitted": true }),
        Some(refusal) => {
            let answer = refusal.answer();
            json!({ "admitted": false, "status": answer.status, "code": answer.code })
        }
    }
}
