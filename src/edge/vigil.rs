//! Watches over an open socket: it ends when the edge goes down, when what it was opened with counts no more, be it
//! that a reload took it back or that its time is over, and when its gateway is gone or reached in another way.

use super::exchange::Exchange;
use super::live::Site;
use super::relay::closing;
use super::tls::Secured;
use crate::admission::GatewayEntry;
use crate::identity::caller::{Credential, Ticket};
use http::HeaderMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The clock may be set meanwhile, so nobody sleeps longer.
const LONGEST: Duration = Duration::from_mins(5);

/// Becomes what a socket is to be closed with.
pub(super) type Watch = Pin<Box<dyn Future<Output = CloseFrame> + Send>>;

/// What a socket was opened with.
struct Held {
    credential: Arc<Credential>,
    ticket: Ticket,
    secured: Option<Arc<Secured>>,
}

/// Watches over the socket that a request opens. `fields` are the request's as they came, `gateway` the one that it leads to, where
/// that is one.
pub(super) fn over(
    site: &Arc<Site>,
    exchange: &Exchange,
    fields: &HeaderMap,
    gateway: Option<&GatewayEntry>,
) -> Watch {
    let held = exchange.trail.credential.clone().map(|credential| Held {
        credential,
        ticket: match &exchange.trail.session {
            Some(session) => Ticket::Session(session.clone()),
            None => Ticket::of(fields),
        },
        secured: exchange.secured.clone(),
    });
    Box::pin(watch(site.clone(), held, gateway.cloned()))
}

async fn watch(site: Arc<Site>, held: Option<Held>, gateway: Option<GatewayEntry>) -> CloseFrame {
    let mut draining = site.draining();
    let mut reloads = site.reloads();
    loop {
        reloads.mark_unchanged();
        let longest = match held.as_ref().map(|held| held.lasts(&site)) {
            Some(None) => {
                site.metrics.websockets_revoked.inc();
                return closing(CloseCode::Policy, "the credential is no longer in force");
            }
            Some(Some(longest)) => longest.min(LONGEST),
            // Nothing that could be taken back.
            None => LONGEST,
        };
        if let Some(frame) = gateway.as_ref().and_then(|gateway| moved(&site, gateway)) {
            return frame;
        }
        tokio::select! {
            _ = draining.wait_for(|&draining| draining) => return closing(CloseCode::Restart, "service restart"),
            _ = reloads.changed() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }
}

/// What a socket is closed with whose gateway is gone, or is reached in another way; other gateways' sockets stay.
fn moved(site: &Site, gateway: &GatewayEntry) -> Option<CloseFrame> {
    let live = site.live.load();
    let live = live.as_ref().as_ref()?;
    let now = live.policy.gateways.iter().find(|now| now.id == gateway.id && now.tenant == gateway.tenant);
    match now {
        Some(now) if now.is_reached_as(gateway) => None,
        Some(_) => Some(closing(CloseCode::Restart, "gateway changed")),
        None => Some(closing(CloseCode::Policy, "gateway removed")),
    }
}

impl Held {
    /// How much longer it counts, as things are now; nothing where it does not.
    fn lasts(&self, site: &Site) -> Option<Duration> {
        let live = site.live.load();
        let live = live.as_ref().as_ref()?;
        let now = site.unix(Instant::now()).as_secs();
        let certificate = self.secured.as_ref().and_then(|secured| secured.certificate(&live.entries));
        let held = live.policy.still(&self.ticket, certificate, now)?;
        let ends = certificate.filter(|_| matches!(self.ticket, Ticket::Certificate)).map(|shown| shown.ends);
        let session = match &self.ticket {
            Ticket::Session(session) => Some(session.ends),
            Ticket::Key(_) | Ticket::Token(_) | Ticket::Certificate => None,
        };
        let ends = ends.into_iter().chain(held.expires).chain(session).min().unwrap_or(u64::MAX);
        held.grants_the_same(&self.credential).then(|| Duration::from_secs(ends.saturating_sub(now)))
    }
}
