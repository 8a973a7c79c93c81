//! One connection to one gateway with one set of scopes, and the clients that share it: each event goes to
//! those who get it, and all hear when the gateway comes and goes.
//!
//! Which calls a client may make was decided before; what a connection may do at all, its scopes bound.

use super::super::calls::{CallError, Json, Outcome};
use super::super::dial::Dial;
use super::super::link::{Event, Hello, Link, LinkState, Signal};
use super::frame;
use super::queue::Queue;
use super::wants::{Asked, Audience, Change, Followed, MOST_SESSIONS, Wants, session_of};
use crate::ids::GatewayId;
use crate::metrics::Metrics;
use crate::openclaw::Scopes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Time for a subscription that is made anew.
const ANEW: Duration = Duration::from_secs(30);

/// See the file's head. It ends when the last client has left.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) dial: Arc<Dial>,
    pub(super) link: Arc<Link>,
    room: Arc<Room>,
    /// Subscriptions change one at a time: what a gateway has must be what its clients want together.
    turns: tokio::sync::Mutex<()>,
    pump: AbortHandle,
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Who is in it, and what they were told of the gateway last.
#[derive(Debug)]
struct Room {
    gateway: GatewayId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seats: HashMap<u64, Arc<Seat>>,
    last: u64,
    told: Told,
}

#[derive(Debug, Clone, Default)]
enum Told {
    /// Nothing: the first attempt is under way.
    #[default]
    Nothing,
    Here(Arc<Hello>),
    Away(super::super::away::Why),
}

impl Told {
    /// Whether everyone who was told the other knows this.
    fn is_known(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Here(one), Self::Here(other)) => Arc::ptr_eq(one, other),
            (Self::Away(_), Self::Away(_)) | (Self::Nothing, Self::Nothing) => true,
            (Self::Here(_) | Self::Away(_) | Self::Nothing, _) => false,
        }
    }
}

/// One client's place.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    queue: Arc<Queue>,
    wants: Mutex<Wants>,
}

/// A seat that is given back when dropped.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) trunk: Arc<Trunk>,
    seat: Arc<Seat>,
}

impl Trunk {
    /// Begins to keep the connection up.
    pub(super) fn open(dial: &Arc<Dial>, scopes: Scopes, metrics: &Arc<Metrics>) -> Arc<Self> {
        let link = Arc::new(Link::open(dial.clone(), scopes, metrics.clone()));
        let room = Arc::new(Room { gateway: dial.id.clone(), state: Mutex::default() });
        let pump = tokio::spawn(pump(link.clone(), room.clone())).abort_handle();
        Arc::new(Self { dial: dial.clone(), link, room, turns: tokio::sync::Mutex::default(), pump })
    }

    /// Lets a client in, and tells it how the gateway stands.
    pub(super) fn sit(self: &Arc<Self>, queue: Arc<Queue>) -> Seated {
        let mut state = self.room.state.lock();
        state.last += 1;
        let seat = Arc::new(Seat { number: state.last, queue, wants: Mutex::default() });
        state.seats.insert(seat.number, seat.clone());
        for text in standing(&self.room.gateway, &state.told) {
            seat.queue.event(&text);
        }
        drop(state);
        Seated { trunk: self.clone(), seat }
    }

    /// Makes a call that changes what a client gets.
    pub(super) async fn change(
        &self,
        seat: &Seat,
        change: Change,
        (method, params): (&str, &RawValue),
    ) -> Outcome {
        if change == Change::Sessions {
            // Nothing ends it, so it needs no turn.
            let answer = self.link.call(method, params, ANEW).await?;
            seat.wants.lock().all = true;
            return Ok(answer);
        }
        let _turn = self.turns.lock().await;
        let asked = Asked::read(params.get());
        if change == Change::NoMessages
            && let Some(name) = self.left_to_others(seat, &asked.key)
        {
            return Ok(unsubscribed(&name));
        }
        if change == Change::Messages && seat.wants.lock().sessions.len() >= MOST_SESSIONS {
            return Err(CallError::Busy);
        }
        let answer = self.link.call(method, params, ANEW).await?;
        let Some(name) = name_in(&answer) else { return Ok(answer) };
        if change == Change::Messages {
            let params = params.get().to_owned();
            let followed = Followed { asked: asked.key, params, approvals: asked.approvals };
            seat.wants.lock().sessions.insert(name.clone(), followed);
            // A plain subscription takes the approvals from a connection that had them.
            if !asked.approvals {
                self.again(&name, |followed| followed.approvals).await;
            }
        } else {
            seat.wants.lock().sessions.remove(&name);
            // It was named in a way that was not seen before, and others follow it.
            self.again(&name, |_| true).await;
        }
        Ok(answer)
    }

    /// Ends what a client follows where the gateway need not know, because others follow it or nobody does
    /// who asks. Its name at the gateway then.
    fn left_to_others(&self, seat: &Seat, asked: &str) -> Option<String> {
        let own = seat.wants.lock().name_of(asked).map(str::to_owned);
        let name = own.or_else(|| {
            self.room.seats().iter().find_map(|other| other.wants.lock().name_of(asked).map(str::to_owned))
        })?;
        seat.wants.lock().sessions.remove(&name);
        self.room.follows(&name).then_some(name)
    }

    /// Subscribes anew to a session that someone follows in this way.
    async fn again(&self, name: &str, how: impl Fn(&Followed) -> bool) {
        let found = self.room.seats().into_iter().filter_map(|seat| {
            seat.wants.lock().sessions.get(name).filter(|followed| how(followed)).cloned()
        });
        // One with approvals gets the others what they want too.
        if let Some(followed) = found.max_by_key(|followed| followed.approvals) {
            subscribe(&self.link, &followed.params).await;
        }
    }
}

impl Seated {
    /// The client's place.
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.trunk.room.state.lock().seats.remove(&self.seat.number);
        let left: Vec<String> = self.seat.wants.lock().sessions.drain().map(|(name, _)| name).collect();
        if left.is_empty() {
            return;
        }
        let trunk = self.trunk.clone();
        // There is none while the process ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // What nobody follows any longer need not be sent.
        runtime.spawn(async move {
            let _turn = trunk.turns.lock().await;
            for name in left.iter().filter(|name| !trunk.room.follows(name)) {
                let params = serde_json::json!({"key": name}).to_string();
                call_quietly(&trunk.link, "sessions.messages.unsubscribe", &params).await;
            }
        });
    }
}

impl Room {
    fn seats(&self) -> Vec<Arc<Seat>> {
        self.state.lock().seats.values().cloned().collect()
    }

    fn follows(&self, session: &str) -> bool {
        self.state.lock().seats.values().any(|seat| seat.wants.lock().sessions.contains_key(session))
    }

    /// Hands an event to those who get it.
    fn hand(&self, event: &Event) {
        let audience = Audience::of(&event.name);
        let session = match audience {
            Audience::All => None,
            Audience::Followers | Audience::OfSession | Audience::OfApprovals => {
                session_of(event.payload.get())
            }
        };
        let text = frame::event(&self.gateway, event);
        let state = self.state.lock();
        for seat in state.seats.values() {
            let takes = audience == Audience::All || seat.wants.lock().takes(audience, session.as_deref());
            if takes {
                // One without room ends itself.
                seat.queue.event(&text);
            }
        }
    }

    /// Tells everyone how the gateway stands, if that is news.
    fn tell(&self, told: Told) {
        let mut state = self.state.lock();
        if !told.is_known(&state.told) {
            let texts = standing(&self.gateway, &told);
            state.told = told;
            for seat in state.seats.values() {
                for text in &texts {
                    seat.queue.event(text);
                }
            }
        }
    }

    fn everyone(&self, text: &Utf8Bytes) {
        for seat in self.state.lock().seats.values() {
            seat.queue.event(text);
        }
    }
}

/// What a client is told of a gateway that stands so.
fn standing(gateway: &GatewayId, told: &Told) -> Vec<Utf8Bytes> {
    match told {
        Told::Nothing => Vec::new(),
        Told::Here(hello) => vec![frame::connected(gateway, hello)],
        Told::Away(why) => vec![frame::away(gateway, why), frame::disconnected(gateway, why.code())],
    }
}

/// Moves what the gateway tells to the clients, in its order.
async fn pump(link: Arc<Link>, room: Arc<Room>) {
    let mut signals = link.subscribe();
    let mut states = link.state();
    if let LinkState::Here(hello) = states.borrow_and_update().clone() {
        room.tell(Told::Here(hello));
    }
    loop {
        tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Ok(Signal::Event(event)) => room.hand(&event),
                Ok(Signal::Connected(hello)) => {
                    room.tell(Told::Here(hello));
                    tokio::spawn(restore(link.clone(), room.clone()));
                }
                Ok(Signal::Disconnected(why)) => room.tell(Told::Away(why)),
                Ok(Signal::Gap) => missed(&room),
                Err(RecvError::Lagged(_)) => {
                    // The marks among them are lost too: how it stands now is looked up.
                    missed(&room);
                    match states.borrow().clone() {
                        LinkState::Here(hello) => room.tell(Told::Here(hello)),
                        LinkState::Away(away) => room.tell(Told::Away(away.why)),
                        LinkState::Connecting => {}
                    }
                }
                Err(RecvError::Closed) => return,
            },
            changed = states.changed() => {
                if changed.is_err() {
                    return;
                }
                // That it is gone after it was here is told among its events.
                let state = states.borrow_and_update().clone();
                let is_first = matches!(room.state.lock().told, Told::Nothing);
                if let (LinkState::Away(away), true) = (state, is_first) {
                    room.tell(Told::Away(away.why));
                }
            }
        }
    }
}

fn missed(room: &Room) {
    room.everyone(&frame::fault(&room.gateway, "gap", "events of the gateway were lost: list anew"));
}

/// Makes the subscriptions of a connection that is new.
async fn restore(link: Arc<Link>, room: Arc<Room>) {
    let mut all = false;
    let mut sessions: HashMap<String, Followed> = HashMap::new();
    for seat in room.seats() {
        let wants = seat.wants.lock();
        all |= wants.all;
        for (name, followed) in &wants.sessions {
            let known = sessions.get(name).is_some_and(|known| known.approvals || !followed.approvals);
            if !known {
                sessions.insert(name.clone(), followed.clone());
            }
        }
    }
    if all {
        call_quietly(&link, "sessions.subscribe", "{}").await;
    }
    for followed in sessions.values() {
        subscribe(&link, &followed.params).await;
    }
}

async fn subscribe(link: &Link, params: &str) {
    call_quietly(link, "sessions.messages.subscribe", params).await;
}

/// A call whose answer nobody waits for.
async fn call_quietly(link: &Link, method: &str, params: &str) {
    let Ok(params) = serde_json::from_str::<&RawValue>(params) else { return };
    if let Err(error) = link.call(method, params, ANEW).await {
        let gateway = &link.gateway().id;
        tracing::debug!(%gateway, method, %error, "a subscription was not made anew");
    }
}

/// What a gateway says to an unsubscription.
fn unsubscribed(session: &str) -> Json {
    let session = serde_json::Value::from(session);
    let frame = Utf8Bytes::from(format!("{{\"subscribed\":false,\"key\":{session}}}"));
    Json::of(&frame, serde_json::from_str(&frame).ok())
}

/// The session's name as the gateway has it.
fn name_in(payload: &Json) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        key: String,
    }
    payload.read::<Answer>().ok().map(|answer| answer.key)
}
