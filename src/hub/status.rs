//! One gateway's state in numbers, for a dashboard's tile.

use super::fleet::Gateway;
use super::picture::{List, Picture};
use super::rows::Health;
use super::standing::{Standing, Trouble, trouble};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// All of these count what is known; nothing where it is not known yet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    id: String,
    name: String,
    /// `connected` or `disconnected`.
    status: &'static str,
    #[serde(flatten)]
    standing: Standing,
    agents: Option<usize>,
    sessions: Option<u64>,
    active_sessions: Option<u64>,
    channels: Option<usize>,
    tasks: Option<Counts>,
    jobs: Option<Jobs>,
    health: Option<Health>,
    /// How many clients and devices are connected to it.
    presence: Option<usize>,
    /// What it says of itself.
    gateway: Option<Value>,
    /// Lists that it would not give.
    errors: Vec<Trouble>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    total: usize,
    active: usize,
    by_status: BTreeMap<String, usize>,
}

#[derive(Debug, Default, Serialize)]
struct Jobs {
    total: usize,
    enabled: usize,
    running: usize,
    failing: usize,
}

pub(super) fn of(gateway: &Gateway) -> Summary {
    let standing = Standing::of(gateway);
    let errors = trouble(gateway, &standing, &[List::Tasks, List::Jobs, List::Agents, List::Sessions]);
    // No event tells of the gateway's own status: it is asked for anew for the next who looks.
    if let Some(operator) = gateway.operator.as_ref().filter(|_| standing.connected) {
        operator.look();
    }
    let picture = gateway.operator.as_ref().map(|operator| operator.picture());
    let picture = picture.as_deref();
    let sessions = picture.and_then(Picture::sessions);
    Summary {
        id: gateway.id.to_string(),
        name: gateway.name.clone(),
        status: if standing.connected { "connected" } else { "disconnected" },
        agents: picture.and_then(Picture::agents).map(<[_]>::len),
        sessions: sessions.map(|sessions| sessions.total),
        active_sessions: sessions.map(|sessions| sessions.active),
        channels: picture.and_then(Picture::channels).map(<[_]>::len),
        tasks: picture.filter(|picture| picture.has(List::Tasks)).map(tasks),
        jobs: picture.filter(|picture| picture.has(List::Jobs)).map(jobs),
        health: picture.and_then(Picture::health).cloned(),
        presence: picture.and_then(Picture::presence),
        gateway: picture.and_then(Picture::status).cloned(),
        errors: errors.into_iter().collect(),
        standing,
    }
}

fn tasks(picture: &Picture) -> Counts {
    picture.tasks().fold(Counts::default(), |mut counts, task| {
        counts.total += 1;
        counts.active += usize::from(task.is_active());
        *counts.by_status.entry(task.status.clone()).or_default() += 1;
        counts
    })
}

fn jobs(picture: &Picture) -> Jobs {
    picture.jobs().fold(Jobs::default(), |mut counts, job| {
        counts.total += 1;
        counts.enabled += usize::from(job.enabled);
        counts.running += usize::from(job.running_at_ms.is_some());
        counts.failing += usize::from(job.last_run_status.as_deref() == Some("error"));
        counts
    })
}
