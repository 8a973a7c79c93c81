//! `GET /api/events`: what happens at the caller's gateways, as server-sent events, for those who speak no
//! WebSocket. A listener who reads too slowly is told how much it missed and goes on from there; one that comes
//! back with the id of the last event it saw gets what happened in between.

use super::api::Hub;
use super::feed::{Listening, Place, Told};
use super::fleet::Gateway;
use super::reply::Refusal;
use super::standing::Standing;
use crate::ids::TenantId;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

/// Most listeners of one tenant.
const LISTENERS: usize = 500;
/// How often a quiet stream says that it lives: half of what proxies wait.
const ALIVE: Duration = Duration::from_secs(15);
/// How soon a browser comes back.
const COME_BACK: Duration = Duration::from_secs(3);

/// How a gateway stands, when a stream begins.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct First {
    gateway_id: String,
    #[serde(flatten)]
    standing: Standing,
}

struct Listener {
    /// What is told before anything happens.
    first: VecDeque<Event>,
    told: broadcast::Receiver<Told>,
    only: Vec<String>,
    draining: watch::Receiver<bool>,
}

/// What happens at these gateways from now on: after how they stand now, or after what was missed since `last`,
/// the id of an event.
pub(super) fn stream(
    hub: &Hub,
    tenant: &TenantId,
    gateways: &[Arc<Gateway>],
    only: Vec<String>,
    last: Option<&str>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Refusal> {
    // Listened to before it is said how they stand, so that nothing falls between.
    let Listening { told, count, now, missed } = hub.fleet.listen(tenant, last.and_then(Place::parse));
    if count > LISTENERS {
        return Err(Refusal::TooManyListeners);
    }
    let mut first = VecDeque::from([Event::default().retry(COME_BACK).comment("openclaw-edge")]);
    let is_its = |told: &&Told| is_for(&only, told);
    if let Some(missed) = &missed {
        first.extend(missed.iter().filter(is_its).map(of));
    } else {
        if last.is_some() {
            // How much it was, nobody knows.
            first.push_back(event("missed", "{\"events\":null}"));
        }
        first.extend(gateways.iter().map(|gateway| {
            let first = First { gateway_id: gateway.id.to_string(), standing: Standing::of(gateway) };
            event("gateway", &serde_json::to_string(&first).unwrap_or_default())
        }));
        // Who has heard them all comes back here.
        let last = first.pop_back().map(|event| event.id(now.to_string()));
        first.extend(last);
    }
    let listener = Listener { first, told, only, draining: hub.draining.clone() };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE).text("alive")))
}

impl Listener {
    /// The next event; none when the edge goes down or the tenant is gone.
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.pop_front() {
            return Some(first);
        }
        loop {
            let told = tokio::select! {
                told = self.told.recv() => told,
                _ = self.draining.wait_for(|draining| *draining) => return None,
            };
            match told {
                Ok(told) if is_for(&self.only, &told) => return Some(of(&told)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    return Some(event("missed", &format!("{{\"events\":{missed}}}")));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn is_for(only: &[String], told: &Told) -> bool {
    only.is_empty() || only.iter().any(|id| id == told.gateway.as_str())
}

fn of(told: &Told) -> Event {
    event(told.event, &told.data).id(told.place.to_string())
}

fn event(name: &str, data: &str) -> Event {
    Event::default().event(name).data(data)
}
