//! `GET /api/events`: what happens at the caller's gateways, as server-sent events, for those who speak no
//! WebSocket. A listener who reads too slowly is told how much it missed and goes on from there.

use super::api::Hub;
use super::feed::Told;
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

/// What happens at these gateways from now on, after how they stand now.
pub(super) fn stream(
    hub: &Hub,
    tenant: &TenantId,
    gateways: &[Arc<Gateway>],
    only: Vec<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Refusal> {
    // Listened to before it is said how they stand, so that nothing falls between.
    let (told, listeners) = hub.fleet.listen(tenant);
    if listeners > LISTENERS {
        return Err(Refusal::TooManyListeners);
    }
    let mut first = VecDeque::from([Event::default().retry(COME_BACK).comment("openclaw-edge")]);
    first.extend(gateways.iter().map(|gateway| {
        let first = First { gateway_id: gateway.id.to_string(), standing: Standing::of(gateway) };
        event("gateway", &serde_json::to_string(&first).unwrap_or_default())
    }));
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
                Ok(told) if self.is_for_it(&told) => return Some(event(told.event, &told.data)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    return Some(event("missed", &format!("{{\"events\":{missed}}}")));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn is_for_it(&self, told: &Told) -> bool {
        self.only.is_empty() || self.only.iter().any(|id| id == told.gateway.as_str())
    }
}

fn event(name: &str, data: &str) -> Event {
    Event::default().event(name).data(data)
}
