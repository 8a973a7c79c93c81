//! Sessions of browsers: where they begin and end, who one is (`/session` behind the route's path), cookies that are
//! written anew while they are used, and the file of those that ended before their time.
//!
//! What a session is and how it is sealed, [`identity`](crate::identity::sessions) knows.

use super::exchange::Exchange;
use super::headers;
use super::limits;
use super::live::{Live, Site};
use crate::admission::Rejection;
use crate::config::checked::Target;
use crate::identity::caller::Carrier;
use crate::identity::sessions::{NoSession, Session, SessionId, Sessions, SignedOut};
use crate::ids::NodeId;
use crate::openclaw::surface;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::proxy::Session as Connection;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where it is, behind the route's path.
const PATH: &str = "/session";
/// What can be done there.
const ALLOW: &str = "GET, HEAD, POST, DELETE";
/// Lines that are appended before the file is written anew without those whose time has passed.
const LINES: usize = 4096;

/// Whether an admitted request is for it.
pub(super) fn is_asked(live: &Live, exchange: &Exchange) -> bool {
    let route = exchange.admitted.as_ref().map(|admitted| &live.policy.routes[admitted.route]);
    route.is_some_and(|route| route.target == Target::Sessions)
}

/// Answers it.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn answer(
    site: &Arc<Site>,
    live: &Live,
    connection: &mut Connection,
    exchange: &Exchange,
) -> pingora::Result<Result<(), Rejection>> {
    let head = connection.req_header();
    let depth = exchange.trail.route.map_or(0, |route| live.policy.routes[route].depth);
    if surface::below(head.uri.path(), depth) != PATH {
        return Ok(Err(Rejection::NotFound));
    }
    // The config's check lets no such route be without sessions.
    let Some(sessions) = live.policy.sessions() else { return Ok(Err(Rejection::NotFound)) };
    let (method, now) = (head.method.clone(), exchange.arrived.as_secs());
    let answer = match method {
        Method::GET | Method::HEAD => Ok(who(sessions, exchange, now)),
        Method::POST => begin(site, sessions, &head.headers, exchange, now),
        Method::DELETE => end(site, sessions, exchange, now).await,
        _ => Err(Rejection::Method { allow: ALLOW.into() }),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let body = answer.body.map(|body| Bytes::from(format!("{body}\n")));
    let mut head = http::Response::new(()).into_parts().0;
    head.status = answer.status;
    if let Some(body) = &body {
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.headers.extend(answer.cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    headers::name_answer(&mut head.headers, exchange);
    limits::tell(live, exchange, head.status, &mut head.headers);
    let body = body.filter(|_| method != Method::HEAD);
    connection.write_response_header(Box::new(ResponseHeader::from(head)), body.is_none()).await?;
    connection.write_response_body(body, true).await?;
    Ok(Ok(()))
}

struct Answer {
    status: StatusCode,
    body: Option<Value>,
    cookie: Option<HeaderValue>,
}

/// Who one is, and until when.
fn who(sessions: &Sessions, exchange: &Exchange, now: u64) -> Answer {
    let session = exchange.trail.session.as_deref();
    let renewed = session.and_then(|session| sessions.renew(session, now));
    let seen = session.map_or(0, |session| if renewed.is_some() { now } else { session.seen });
    let cookie =
        renewed.and_then(|value| cookie(sessions, exchange, &value, session.map_or(0, |one| one.ends - now)));
    Answer { status: StatusCode::OK, body: Some(told(sessions, exchange, session, seen)), cookie }
}

fn begin(
    site: &Site,
    sessions: &Sessions,
    fields: &HeaderMap,
    exchange: &Exchange,
    now: u64,
) -> Result<Answer, Rejection> {
    if sessions.cookie(exchange.wire).is_none() {
        return Err(Rejection::HttpsRequired);
    }
    if !matches!(
        exchange.admitted.as_ref().and_then(|one| one.carrier),
        Some(Carrier::ApiKey | Carrier::Authorization)
    ) {
        return Err(Rejection::SessionSource(NoSession::Source));
    }
    let ends = exchange.trail.credential.as_ref().and_then(|credential| credential.expires);
    let (session, value) = sessions.begin(fields, ends, now).map_err(|why| match why {
        NoSession::Source | NoSession::TooLong => Rejection::SessionSource(why),
        NoSession::Random => Rejection::Internal,
    })?;
    site.metrics.sessions.with_label_values(&["begun"]).inc();
    let cookie = cookie(sessions, exchange, &value, session.ends.saturating_sub(now));
    let body = told(sessions, exchange, Some(&session), now);
    Ok(Answer { status: StatusCode::CREATED, body: Some(body), cookie })
}

/// Whoever comes with a key has none to end, and is answered the same.
async fn end(
    site: &Arc<Site>,
    sessions: &Sessions,
    exchange: &Exchange,
    now: u64,
) -> Result<Answer, Rejection> {
    if let Some(session) = exchange.trail.session.clone() {
        let departures = site.departures.clone();
        let (id, ends) = (session.id, session.ends);
        departures.signed_out.add(id, ends, now);
        site.look_again();
        let written = tokio::task::spawn_blocking(move || departures.write(id, ends, now)).await;
        match written {
            Ok(Ok(())) => site.metrics.sessions.with_label_values(&["signed_out"]).inc(),
            Ok(Err(error)) => {
                tracing::error!(%error, "that a session has ended is not written down");
                return Err(Rejection::SessionsUnavailable);
            }
            Err(_) => return Err(Rejection::Internal),
        }
    }
    Ok(Answer { status: StatusCode::NO_CONTENT, body: None, cookie: cookie(sessions, exchange, "", 0) })
}

/// Writes the cookie of a session anew that is used, so that it does not become idle. Not beside what others may keep.
pub(super) fn renew(site: &Site, live: &Live, exchange: &Exchange, fields: &mut HeaderMap) {
    let Some((session, sessions)) = exchange.trail.session.as_deref().zip(live.policy.sessions()) else {
        return;
    };
    let now = exchange.arrived.as_secs();
    let says = |word: &[u8]| {
        let mut told = fields.get_all(header::CACHE_CONTROL).iter();
        told.any(|told| memchr::memmem::find(told.as_bytes(), word).is_some())
    };
    if says(b"public") || says(b"s-maxage") {
        return;
    }
    let is_kept_apart = says(b"private") || says(b"no-store");
    let Some(value) = sessions.renew(session, now) else { return };
    let Some(cookie) = cookie(sessions, exchange, &value, session.ends.saturating_sub(now)) else { return };
    if !is_kept_apart {
        fields.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    fields.append(header::SET_COOKIE, cookie);
    site.metrics.sessions.with_label_values(&["renewed"]).inc();
}

/// `Strict`: no other site's page, and no link on one, makes a browser send it.
fn cookie(sessions: &Sessions, exchange: &Exchange, value: &str, seconds: u64) -> Option<HeaderValue> {
    let name = sessions.cookie(exchange.wire)?;
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

fn told(sessions: &Sessions, exchange: &Exchange, session: Option<&Session>, seen: u64) -> Value {
    let credential = exchange.trail.credential.as_deref();
    let scopes =
        credential.and_then(|credential| std::str::from_utf8(credential.scopes_field.as_bytes()).ok());
    let scopes: Vec<&str> = scopes.unwrap_or_default().split_ascii_whitespace().collect();
    json!({
        "tenant": credential.map(|credential| credential.tenant.id.as_str()),
        "credential": credential.map(|credential| credential.id.as_str()),
        "node": credential.and_then(|credential| credential.node.as_ref()).map(NodeId::as_str),
        "scopes": scopes,
        "expires": credential.and_then(|credential| credential.expires).map(moment),
        "session": session.map(|session| json!({
            "began": moment(session.begun),
            "expires": moment(sessions.ends(session)),
            "idle_expires": moment(sessions.idle_ends(session, seen)),
        })),
    })
}

fn moment(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|moment| moment.to_string())
}

/// Sessions that were signed out, in memory and in a file that the next start reads.
#[derive(Debug)]
pub struct Departures {
    signed_out: Arc<SignedOut>,
    path: PathBuf,
    file: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    file: File,
    /// Appended since the file was written anew.
    appended: usize,
}

impl Departures {
    /// Reads the file, makes it where it is not there, and leaves out whose time has passed. A line that a crash cut
    /// short was never answered for.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn open(path: &Path, now: u64) -> io::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let signed_out = Arc::new(SignedOut::default());
        for (id, ends) in text.lines().filter_map(read) {
            signed_out.add(id, ends, now);
        }
        let file = Mutex::new(Lines { file: anew(path, &signed_out.lasting(now))?, appended: 0 });
        Ok(Self { signed_out, path: path.to_owned(), file })
    }

    /// Who was signed out.
    #[must_use]
    pub fn signed_out(&self) -> Arc<SignedOut> {
        self.signed_out.clone()
    }

    /// Has the disk keep one.
    fn write(&self, id: SessionId, ends: u64, now: u64) -> io::Result<()> {
        let mut lines = self.file.lock();
        if lines.appended >= LINES {
            *lines = Lines { file: anew(&self.path, &self.signed_out.lasting(now))?, appended: 0 };
        }
        lines.file.write_all(line(&id, ends).as_bytes())?;
        lines.appended += 1;
        lines.file.sync_data()
    }
}

/// The file with these lines alone, open for more.
fn anew(path: &Path, all: &[(SessionId, u64)]) -> io::Result<File> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    let text: String = all.iter().map(|(id, ends)| line(id, *ends)).collect();
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&beside, path)?;
    Ok(file)
}

fn line(id: &SessionId, ends: u64) -> String {
    let mut line = hex::encode(id);
    // Writing to a String cannot fail. The dot says that the line is whole.
    let _ = writeln!(line, " {ends} .");
    line
}

fn read(line: &str) -> Option<(SessionId, u64)> {
    let mut words = line.split(' ');
    let mut id = SessionId::default();
    hex::decode_to_slice(words.next()?, &mut id).ok()?;
    let ends = words.next()?.parse().ok()?;
    (words.next() == Some(".") && words.next().is_none()).then_some((id, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_signed_out_are_known_at_the_next_start() {
        let path = std::env::temp_dir().join(format!("sessions-{}.log", std::process::id()));
        let first = Departures::open(&path, 0).unwrap();
        for (id, ends) in [([1; 16], 100), ([2; 16], 10)] {
            first.signed_out.add(id, ends, 0);
            first.write(id, ends, 0).unwrap();
        }
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"030303030303030303030303030303").unwrap();
        let second = Departures::open(&path, 50).unwrap();
        let known = [1, 2, 3].map(|id| second.signed_out.has(&[id; 16]));
        assert_eq!((known[0], known[2]), (true, false));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line(&[1; 16], 100));
        std::fs::remove_file(&path).unwrap();
    }
}
