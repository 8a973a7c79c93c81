//! The feed of changes over HTTP: as Server-Sent Events, and as a long poll.
//!
//! Both read stretches of the log at the pace at which their client takes them, so a slow one costs one
//! stretch of memory. An entry's number is its event's id: who comes back with the last one it saw gets what
//! came after, once each and in order, over reconnects and restarts.

use super::access::Access;
use super::http::App;
use super::json::write_string;
use super::model::{Action, Change, Interest, Kind, Row, Stamp, Stretch, ToJson};
use super::observe::Op;
use super::reply::{self, Refusal};
use super::uri::Parameters;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

/// Entries read at once.
const STRETCH: u32 = 100;

/// Longest silence of a stream, and longest time that a change made by another process goes unseen.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Longest wait of a long poll.
const LONGEST_WAIT: i64 = 60;

/// Carries the last number that a client saw, where it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// `GET /mesh/changes`.
pub(super) async fn changes(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let begin = async {
        let parameters = Parameters::parse(query.as_deref())?;
        let follower = app.follower(access, &headers, &parameters).await?;
        if wants_events(&headers) {
            return Ok(follower.stream());
        }
        let wait = parameters.number("wait")?.unwrap_or(0).clamp(0, LONGEST_WAIT);
        let limit = parameters.page_limit()?.unwrap_or(STRETCH);
        follower.poll(Duration::from_secs(wait.unsigned_abs()), limit).await
    };
    app.observed(Op::Changes, begin).await
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| one.trim().starts_with("text/event-stream"))
}

/// One client that follows one tenant's feed.
struct Follower {
    app: App,
    access: Access,
    interest: Interest,
    /// The last change that it has seen.
    seen: i64,
    bell: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
}

impl App {
    async fn follower(
        &self,
        access: Access,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> Result<Follower, Refusal> {
        let kind =
            parameters.text("kind").map(|text| Kind::parse(text).ok_or(Refusal::UnknownKind)).transpose()?;
        let prefix = parameters.text("prefix").cloned();
        let interest = Interest { kind, scope: parameters.scope.clone(), prefix };
        let told = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok()?.trim().parse::<i64>().ok());
        // Listening begins before looking, so that no change falls between the two.
        let bell = self.store.listen(&access).ok_or(Refusal::Busy)?;
        let seen = match (told, parameters.number("since")?) {
            (Some(Some(number)), _) | (None, Some(number)) if number >= 0 => number,
            (None, None) => self.store.changes(&access, interest.clone(), i64::MAX, 1).await?.last,
            (Some(_), _) | (None, Some(_)) => return Err(Refusal::InvalidNumber),
        };
        Ok(Follower { app: self.clone(), access, interest, seen, bell, closing: self.closing.clone() })
    }
}

/// What a look at the log brought.
enum Found {
    /// These, in order.
    Entries(Stretch),
    /// The log does not have what came after `seen`: the client must read everything anew, and the feed
    /// goes on from `last`.
    Lost(Stretch),
}

impl Follower {
    async fn look(&mut self, limit: u32) -> Result<Found, Refusal> {
        self.bell.borrow_and_update();
        let stretch = self.app.store.changes(&self.access, self.interest.clone(), self.seen, limit).await?;
        if self.seen < stretch.start || self.seen > stretch.last {
            self.seen = stretch.last;
            return Ok(Found::Lost(stretch));
        }
        self.seen = stretch.seen;
        Ok(Found::Entries(stretch))
    }

    /// Waits for a change, for the store's end, or for so long.
    async fn wait(&mut self, longest: Duration) {
        tokio::select! {
            _ = self.bell.changed() => {}
            _ = self.closing.wait_for(|closing| *closing) => {}
            () = tokio::time::sleep(longest) => {}
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// What there is, or what comes within `wait`.
    async fn poll(mut self, wait: Duration, limit: u32) -> Result<Response, Refusal> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let found = self.look(limit).await?;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let (Found::Entries(stretch) | Found::Lost(stretch)) = &found;
            let nothing = matches!(found, Found::Entries(_)) && stretch.changes.is_empty();
            if !nothing || left.is_zero() || self.is_closing() {
                return Ok(self.polled(&found));
            }
            self.wait(left.min(HEARTBEAT)).await;
        }
    }

    fn polled(&self, found: &Found) -> Response {
        let mut out = b"{\"changes\":[".to_vec();
        let reset = match found {
            Found::Entries(stretch) => {
                for (index, change) in stretch.changes.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_change(&mut out, change);
                }
                false
            }
            Found::Lost(_) => true,
        };
        out.extend_from_slice(format!("],\"next\":{},\"reset\":{reset}}}", self.seen).as_bytes());
        let mut response = reply::json(StatusCode::OK, out);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn stream(self) -> Response {
        let opening = format!("retry: 1000\nid: {}\n\n", self.seen);
        let pieces =
            futures_util::stream::unfold((self, Some(opening)), |(mut follower, opening)| async move {
                if let Some(opening) = opening {
                    return Some((Ok::<_, Infallible>(Bytes::from(opening)), (follower, None)));
                }
                let piece = follower.piece().await?;
                Some((Ok(piece), (follower, None)))
            });
        let mut response = Response::new(Body::from_stream(pieces));
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Proxies that would rather collect an answer first are told not to.
        fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// The stream's next bytes; none when it ends. A client that hears nothing more comes back.
    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            if self.is_closing() {
                return None;
            }
            let before = self.seen;
            match self.look(STRETCH).await {
                Ok(Found::Lost(stretch)) => return Some(lost(&stretch)),
                Ok(Found::Entries(stretch)) if !stretch.changes.is_empty() => return Some(events(&stretch)),
                Ok(Found::Entries(_)) => {}
                Err(_) => return None,
            }
            // What was of no interest was seen all the same, and need not be looked at again.
            if self.seen > before {
                return Some(Bytes::from(format!("id: {}\n\n", self.seen)));
            }
            let started = tokio::time::Instant::now();
            self.wait(HEARTBEAT).await;
            if started.elapsed() >= HEARTBEAT {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }
}

fn events(stretch: &Stretch) -> Bytes {
    let mut out = Vec::with_capacity(256 * stretch.changes.len());
    for change in &stretch.changes {
        out.extend_from_slice(format!("id: {}\nevent: change\ndata: ", change.change).as_bytes());
        let start = out.len();
        write_change(&mut out, change);
        // A value may hold line ends between its members, which would end the event's line.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.extend_from_slice(b"\n\n");
    }
    Bytes::from(out)
}

fn lost(stretch: &Stretch) -> Bytes {
    let text = format!("id: {}\nevent: reset\ndata: {{\"next\":{}}}\n\n", stretch.last, stretch.last);
    Bytes::from(text)
}

/// An entry as JSON, with the row as it was after it where that is still kept.
fn write_change(out: &mut Vec<u8>, change: &Change) {
    let Change { change: number, action, target, version, at, content } = change;
    out.extend_from_slice(format!("{{\"change\":{number},\"action\":\"{}\"", action.as_str()).as_bytes());
    match (action, target.kind) {
        (Action::Erase, _) => {}
        (_, Kind::Memory) => {
            out.extend_from_slice(b",\"kind\":\"memory\",\"scope\":");
            write_string(out, &target.scope);
            out.extend_from_slice(b",\"key\":");
            write_string(out, &target.name);
        }
        (_, Kind::Skill) => {
            out.extend_from_slice(b",\"kind\":\"skill\",\"name\":");
            write_string(out, &target.name);
        }
        (_, Kind::Key) => {
            out.extend_from_slice(b",\"kind\":\"key\",\"node\":");
            write_string(out, &target.name);
        }
    }
    out.extend_from_slice(format!(",\"version\":{version},\"at\":{at}").as_bytes());
    if let Some(content) = content {
        out.extend_from_slice(b",\"row\":");
        let stamp = Stamp { version: *version, change: *number, updated_at: *at, expires_at: None };
        Row { content: content.clone(), stamp, sent_ms: None, proof: None }.write_json(out);
    }
    out.push(b'}');
}
