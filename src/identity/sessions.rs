//! Sessions of browsers: a key's hash or a token, sealed into a cookie that nobody but this site can read or make.
//!
//! What a session stands for is asked anew with each request, as if the key or the token had come: so whatever takes
//! those back takes the session back. The site keeps nothing of a session but the names of those that ended before
//! their time. Fields of answers, files and clocks are for others.

use super::caller::Ticket;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use dashmap::DashMap;
use http::{HeaderMap, header};
use ring::{aead, hkdf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The cookie's name: browsers take one of this name over TLS alone, for this host alone, from this host alone.
pub const COOKIE: &str = "__Host-openclaw-session";
/// Its name where the site is served without TLS, which the config has to allow.
pub const CLEAR_COOKIE: &str = "openclaw-session";
/// What both names have in them.
pub const MARK: &[u8] = b"openclaw-session";

/// What keys are derived for. Another form of what is sealed gets another number.
const PURPOSE: &[u8] = b"openclaw-edge session 1";
const SALT: usize = 16;
/// Id, three moments, kind.
const FIXED: usize = 16 + 3 * 8 + 1;
/// Browsers take cookies up to 4096 bytes, name included.
const LONGEST_TOKEN: usize = 2900;
const LONGEST_VALUE: usize = 4096;
/// Names of ended sessions are gone through when there are so many, and again with each doubling.
const SWEEP: usize = 1024;

/// Whether others on the way could read and write what came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// No: it came over TLS, to the edge or to a proxy that it trusts.
    Sealed,
    /// They could.
    #[default]
    Clear,
}

/// Why a session is not taken. All are one and the same 401 to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// It was not made here, or with a secret that counts no more.
    #[error("the session cannot be opened")]
    Sealed,
    /// Its time is over.
    #[error("the session has ended")]
    Ended,
    /// It was not used for too long.
    #[error("the session was idle for too long")]
    Idle,
    /// Its user signed out.
    #[error("the session was signed out")]
    SignedOut,
    /// What it began with.
    #[error("what the session began with is no longer in force")]
    TakenBack,
}

/// Why none can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// Certificates come with every request by themselves, and a session does not prolong itself.
    #[error("a session begins with a key or a token")]
    Source,
    /// A token that fits into no cookie.
    #[error("the token is too long for a cookie")]
    TooLong,
    /// No random numbers.
    #[error("this machine gives no random numbers")]
    Random,
}

/// Names a session.
pub type SessionId = [u8; 16];

/// A session, opened.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// When it began (Unix seconds).
    pub begun: u64,
    /// When its cookie was written last.
    pub seen: u64,
    /// First second at which it no longer counts.
    pub ends: u64,
    /// What it began with.
    pub(super) behind: Ticket,
}

/// Sessions that ended before their time, each until that has passed. Outlives reloads.
#[derive(Debug, Default)]
pub struct SignedOut(DashMap<SessionId, u64>);

impl SignedOut {
    /// Ends one, whose own end is given.
    pub fn add(&self, id: SessionId, ends: u64, now: u64) {
        self.0.insert(id, ends);
        if self.0.len().is_power_of_two() && self.0.len() >= SWEEP {
            self.0.retain(|_, ends| *ends > now);
        }
    }

    /// Whether one was ended.
    #[must_use]
    pub fn has(&self, id: &SessionId) -> bool {
        !self.0.is_empty() && self.0.contains_key(id)
    }

    /// All whose own end has not come.
    #[must_use]
    pub fn lasting(&self, now: u64) -> Vec<(SessionId, u64)> {
        self.0.iter().map(|one| (*one.key(), *one.value())).filter(|(_, ends)| *ends > now).collect()
    }
}

/// Makes and opens sessions.
#[derive(Debug)]
pub struct Sessions {
    /// The first seals; all open.
    secrets: Vec<Secret>,
    lifetime: u64,
    idle: u64,
    clear: bool,
    signed_out: Arc<SignedOut>,
}

impl Sessions {
    /// With these secrets, of which the first seals and all open. `clear` is the wire over which they may go besides TLS.
    #[must_use]
    pub fn new(secrets: Vec<Secret>, (lifetime, idle): (Duration, Duration), clear: Option<Wire>) -> Self {
        Self {
            secrets,
            lifetime: lifetime.as_secs(),
            idle: idle.as_secs(),
            clear: clear == Some(Wire::Clear),
            signed_out: Arc::default(),
        }
    }

    /// The same, with the list of those who signed out.
    #[must_use]
    pub fn without(self, signed_out: Arc<SignedOut>) -> Self {
        Self { signed_out, ..self }
    }

    /// The cookie's name over this wire, if one may go over it.
    #[must_use]
    pub fn cookie(&self, wire: Wire) -> Option<&'static str> {
        match wire {
            Wire::Sealed => Some(COOKIE),
            Wire::Clear => self.clear.then_some(CLEAR_COOKIE),
        }
    }

    /// A session for what these fields carry, which ends at the latest when that does, and its cookie's value.
    ///
    /// # Errors
    /// [`NoSession`].
    pub fn begin(
        &self,
        fields: &HeaderMap,
        ends: Option<u64>,
        now: u64,
    ) -> Result<(Session, String), NoSession> {
        let behind = Ticket::of(fields);
        match &behind {
            Ticket::Key(_) => {}
            Ticket::Token(token) if token.expose().len() <= LONGEST_TOKEN => {}
            Ticket::Token(_) => return Err(NoSession::TooLong),
            Ticket::Certificate | Ticket::Session(_) => return Err(NoSession::Source),
        }
        let mut id = SessionId::default();
        getrandom::fill(&mut id).map_err(|_| NoSession::Random)?;
        let ends = ends.unwrap_or(u64::MAX).min(now.saturating_add(self.lifetime));
        let session = Session { id, begun: now, seen: now, ends, behind };
        let value = self.seal(&session, now).ok_or(NoSession::Random)?;
        Ok((session, value))
    }

    /// A cookie's new value, where it is time for one: a session that is used does not become idle.
    #[must_use]
    pub fn renew(&self, session: &Session, now: u64) -> Option<String> {
        let due = session.seen.saturating_add((self.idle / 8).clamp(1, 300));
        (now >= due && now < session.ends).then(|| self.seal(session, now)).flatten()
    }

    /// First second at which a session that is not used any more no longer counts.
    #[must_use]
    pub fn idle_ends(&self, session: &Session, seen: u64) -> u64 {
        seen.saturating_add(self.idle).min(self.ends(session))
    }

    /// First second at which a session no longer counts: a shorter life in the config is one for those that have begun.
    #[must_use]
    pub fn ends(&self, session: &Session) -> u64 {
        session.ends.min(session.begun.saturating_add(self.lifetime))
    }

    /// The session whose cookie stands in these fields, if one does.
    #[must_use]
    pub fn find(&self, fields: &HeaderMap, wire: Wire, now: u64) -> Option<Result<Session, SessionFault>> {
        let mut values = values(fields, self.cookie(wire)?);
        let first = values.next()?;
        // Two of one name: somebody else has put one in.
        let is_only = values.next().is_none();
        Some(if is_only { self.open(first, now) } else { Err(SessionFault::Sealed) })
    }

    fn open(&self, value: &[u8], now: u64) -> Result<Session, SessionFault> {
        let session = self.unseal(value).ok_or(SessionFault::Sealed)?;
        self.lasts(&session, now)?;
        if now >= session.seen.saturating_add(self.idle) {
            return Err(SessionFault::Idle);
        }
        Ok(session)
    }

    /// Whether a session that was opened still counts. An open socket keeps it from being idle.
    ///
    /// # Errors
    /// [`SessionFault`].
    pub fn lasts(&self, session: &Session, now: u64) -> Result<(), SessionFault> {
        if self.signed_out.has(&session.id) {
            return Err(SessionFault::SignedOut);
        }
        if now >= self.ends(session) {
            return Err(SessionFault::Ended);
        }
        Ok(())
    }

    fn seal(&self, session: &Session, seen: u64) -> Option<String> {
        let (kind, behind) = match &session.behind {
            Ticket::Key(hash) => (0, hash.as_slice()),
            Ticket::Token(token) => (1, token.expose()),
            Ticket::Certificate | Ticket::Session(_) => return None,
        };
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).ok()?;
        let mut text = Zeroizing::new(Vec::with_capacity(FIXED + behind.len() + aead::MAX_TAG_LEN));
        text.extend_from_slice(&session.id);
        for moment in [session.begun, seen, session.ends] {
            text.extend_from_slice(&moment.to_le_bytes());
        }
        text.push(kind);
        text.extend_from_slice(behind);
        key(self.secrets.first()?, &salt)?
            .seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut *text)
            .ok()?;
        Some(BASE64.encode([&salt, text.as_slice()].concat()))
    }

    fn unseal(&self, value: &[u8]) -> Option<Session> {
        if value.len() > LONGEST_VALUE {
            return None;
        }
        let bytes = BASE64.decode(value).ok()?;
        let (salt, sealed) = bytes.split_first_chunk::<SALT>()?;
        self.secrets.iter().find_map(|secret| {
            let mut text = Zeroizing::new(sealed.to_vec());
            let text = key(secret, salt)?.open_in_place(nonce(), aead::Aad::empty(), &mut text).ok()?;
            read(text)
        })
    }
}

/// What was sealed.
fn read(text: &[u8]) -> Option<Session> {
    let (id, rest) = text.split_first_chunk::<16>()?;
    let (begun, rest) = rest.split_first_chunk()?;
    let (seen, rest) = rest.split_first_chunk()?;
    let (ends, rest) = rest.split_first_chunk()?;
    let behind = match rest.split_first()? {
        (0, hash) => Ticket::Key(hash.try_into().ok()?),
        (1, token) => Ticket::Token(Secret::new(token.to_vec())),
        _ => return None,
    };
    let [begun, seen, ends] = [begun, seen, ends].map(|moment| u64::from_le_bytes(*moment));
    Some(Session { id: *id, begun, seen, ends, behind })
}

/// Each value has a key of its own, so that none is ever used twice.
fn key(secret: &Secret, salt: &[u8; SALT]) -> Option<aead::LessSafeKey> {
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret.expose());
    let key = aead::UnboundKey::from(derived.expand(&[PURPOSE], &aead::CHACHA20_POLY1305).ok()?);
    Some(aead::LessSafeKey::new(key))
}

fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// Values of all cookies of this name.
fn values<'a>(fields: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let cookies =
        fields.get_all(header::COOKIE).into_iter().flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    cookies.filter_map(move |cookie| cookie.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn sessions(secrets: &[&str]) -> Sessions {
        let secrets = secrets.iter().map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
        Sessions::new(secrets, (12 * HOUR, HOUR), Some(Wire::Clear))
    }

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    fn found(sessions: &Sessions, cookie: &str, now: u64) -> Option<Result<SessionId, SessionFault>> {
        let found = sessions.find(&fields("cookie", cookie), Wire::Sealed, now);
        found.map(|found| found.map(|session| session.id))
    }

    #[test]
    fn a_session_is_found_until_it_is_idle_over_or_signed_out() {
        let sessions = sessions(&["secret"]);
        let (session, value) = sessions.begin(&fields("x-api-key", "key"), Some(5000), 100).unwrap();
        let cookie = format!("a=b; {COOKIE}={value}; c=d");
        assert_eq!(found(&sessions, &cookie, 3699), Some(Ok(session.id)));
        assert_eq!(found(&sessions, &cookie, 3700), Some(Err(SessionFault::Idle)));
        assert_eq!(sessions.renew(&session, 101), None);
        let renewed = sessions.renew(&session, 3600).unwrap();
        let cookie = format!("{COOKIE}={renewed}");
        assert_eq!(found(&sessions, &cookie, 4999), Some(Ok(session.id)));
        assert_eq!(found(&sessions, &cookie, 5000), Some(Err(SessionFault::Ended)));
        assert_eq!(sessions.renew(&session, 5000), None);
        sessions.signed_out.add(session.id, session.ends, 4000);
        assert_eq!(found(&sessions, &cookie, 4999), Some(Err(SessionFault::SignedOut)));
        assert_eq!(sessions.signed_out.lasting(4999), [(session.id, 5000)]);
        assert_eq!(sessions.signed_out.lasting(5000), []);
    }

    #[test]
    fn a_cookie_counts_under_its_own_name_once() {
        let sessions = sessions(&["secret"]);
        let (session, value) = sessions.begin(&fields("authorization", "Bearer key"), None, 0).unwrap();
        for (cookie, expected) in [
            (format!("{COOKIE}={value}"), Some(Ok(session.id))),
            (format!("{CLEAR_COOKIE}={value}"), None),
            (format!("x{COOKIE}={value}"), None),
            (format!("{COOKIE}x={value}"), None),
            (format!("{COOKIE}={value}; {COOKIE}={value}"), Some(Err(SessionFault::Sealed))),
            (format!("{COOKIE}="), Some(Err(SessionFault::Sealed))),
            (format!("{COOKIE}=\"{value}\""), Some(Err(SessionFault::Sealed))),
        ] {
            assert_eq!(found(&sessions, &cookie, 1), expected, "{cookie}");
        }
    }

    #[test]
    fn a_secret_opens_what_it_sealed_while_it_is_kept() {
        let (old, both, new) = (sessions(&["old"]), sessions(&["new", "old"]), sessions(&["new"]));
        let (session, value) = old.begin(&fields("x-api-key", "key"), None, 0).unwrap();
        assert_eq!(both.open(value.as_bytes(), 1).map(|one| one.id), Ok(session.id));
        assert_eq!(new.open(value.as_bytes(), 1).map(|one| one.id), Err(SessionFault::Sealed));
        let renewed = both.renew(&session, 3000).unwrap();
        assert_eq!(new.open(renewed.as_bytes(), 3001).map(|one| one.id), Ok(session.id));
    }

    #[test]
    fn a_session_begins_with_a_key_or_a_token_that_fits() {
        let sessions = sessions(&["secret"]);
        let token = |length: usize| format!("Bearer eyJh.{}.e30", "a".repeat(length));
        let begin =
            |fields: &HeaderMap| sessions.begin(fields, None, 0).map(|(_, value)| value.len() + COOKIE.len());
        assert_eq!(begin(&HeaderMap::new()), Err(NoSession::Source));
        assert!(begin(&fields("authorization", &token(LONGEST_TOKEN - 9))).unwrap() < 4096);
        assert_eq!(begin(&fields("authorization", &token(LONGEST_TOKEN))), Err(NoSession::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_was_not_sealed_here_is_not_opened(at in 0_usize..200, bit in 0_u8..8, noise in ".*") {
            let sessions = sessions(&["secret"]);
            let (_, value) = sessions.begin(&fields("x-api-key", "key"), None, 0).unwrap();
            prop_assert!(sessions.unseal(noise.as_bytes()).is_none());
            let mut bytes = BASE64.decode(value).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(sessions.unseal(BASE64.encode(bytes).as_bytes()).is_none());
        }
    }
}
