//! Which key a caller holds, or which certificate, and what that says of them.
//!
//! A key is asked first: who sends one means it, and who sends a wrong one is refused whatever session or certificate
//! stands beside it: those are sent by browsers on their own. The work is the same whether or not the key exists: one SHA-256, one look-up, one comparison in
//! constant time. Nothing here says which part failed.

use super::certificate::Presented;
use super::sessions::{Session, SessionFault, Sessions, Wire};
use super::tokens::{Issuers, TokenFault};
use crate::ids::{CredentialId, NodeId, TenantId};
use crate::jose::looks_like_one;
use crate::openclaw::Scopes;
use crate::secret::Secret;
use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use subtle::ConstantTimeEq as _;

/// Longest key text that is looked at.
const MAX_KEY: usize = 512;

/// The field for API keys.
pub const X_API_KEY: http::HeaderName = http::HeaderName::from_static("x-api-key");

/// A set of scopes; the policy numbers them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeSet(pub u128);

impl ScopeSet {
    /// Whether all of `needed` are here.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }
}

/// What a key stands for.
#[derive(Debug)]
pub struct Credential {
    /// Its name in logs.
    pub id: CredentialId,
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// The node that calls with it.
    pub node: Option<NodeId>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// What it may do on a gateway.
    pub gateway: Scopes,
    /// First second (Unix) at which it is taken.
    pub begins: Option<u64>,
    /// First second (Unix) at which it is no longer taken.
    pub expires: Option<u64>,
    /// When it was last taken, to the second; 0 for never since the config was loaded.
    pub last_used: Arc<AtomicU64>,
    /// Whether it is known by its key or by the one before.
    pub age: KeyAge,
    /// The limiter's number for it.
    pub number: u32,
    /// The limiter's number for its node.
    pub node_number: Option<u32>,
    /// Which numbers its limits have; none for the limits' own.
    pub tariff: Option<usize>,
    /// `X-Credential-Id`, ready made.
    pub id_field: HeaderValue,
    /// `X-Node-Id`, ready made.
    pub node_field: Option<HeaderValue>,
    /// Tenant and credential as log lines tell them, ready made.
    pub told: Box<str>,
    /// `X-Credential-Scopes`, ready made: the scopes as words.
    pub scopes_field: HeaderValue,
}

/// Which of a credential's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAge {
    /// Its own, or its certificate.
    Current,
    /// The one that it had before, which is on its way out.
    Previous,
}

impl KeyAge {
    /// The word for it in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

impl Credential {
    /// Notes that it is taken now. One store a second, however many requests there are.
    #[inline]
    pub fn used(&self, now: u64) {
        if self.last_used.load(Ordering::Relaxed) != now {
            self.last_used.store(now, Ordering::Relaxed);
        }
    }

    /// Whether it says the same of its holder as another: what an open socket was opened with still holds.
    #[must_use]
    pub fn grants_the_same(&self, other: &Self) -> bool {
        (&self.id, &self.tenant.id, &self.node, self.gateway, &self.scopes_field)
            == (&other.id, &other.tenant.id, &other.node, other.gateway, &other.scopes_field)
    }
}

/// A tenant, with what every request needs of it ready made.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// The limiter's number for it.
    pub number: u32,
    /// Which numbers its limits have; none for the limits' own.
    pub tariff: Option<usize>,
    /// `X-Tenant-Id`, ready made.
    pub field: HeaderValue,
    /// The tenant as log lines tell it, ready made.
    pub told: Box<str>,
}

/// What a credential came in: a field does not go on to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// `X-API-Key`.
    ApiKey,
    /// `Authorization` (Bearer or Basic).
    Authorization,
    /// A session's cookie, which never goes on.
    Session,
    /// The certificate that was shown when hands were shaken.
    Certificate,
}

/// A caller who is known.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// What it holds.
    pub credential: Arc<Credential>,
    /// What that came in.
    pub carrier: Carrier,
    /// The session, where it came with one.
    pub session: Option<Arc<Session>>,
}

/// Why a caller is not known. Told to clients as one and the same 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallerFault {
    /// No credential at all.
    #[error("no credential was presented")]
    Missing,
    /// One that is malformed or that nobody holds.
    #[error("the credential is not known")]
    Unknown,
    /// One whose time has not come.
    #[error("the credential is not in force yet")]
    TooEarly,
    /// One whose time is over.
    #[error("the credential has expired")]
    Expired,
    /// A certificate whose names are those of several credentials.
    #[error("the certificate belongs to several credentials")]
    Ambiguous,
    /// A token that is not taken.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// A session that is not taken.
    #[error(transparent)]
    Session(#[from] SessionFault),
}

/// What a certificate is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// SHA-256 of its DER.
    Fingerprint([u8; 32]),
    /// A URI among its alternative names.
    Uri(Box<str>),
    /// A DNS name among them, in lower case.
    Dns(Box<str>),
}

/// What a caller came with, kept by those who have to ask again whether it still counts.
#[derive(Debug)]
pub enum Ticket {
    /// A key, by its hash.
    Key([u8; 32]),
    /// A token.
    Token(Secret),
    /// The certificate of its connection.
    Certificate,
    /// A session.
    Session(Arc<Session>),
}

impl Ticket {
    /// What these fields carry.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        if let Some(token) = token(fields) {
            return Self::Token(Secret::new(token.to_vec()));
        }
        match presented(fields) {
            Some((hash, _)) => Self::Key(hash.unwrap_or_default()),
            None => Self::Certificate,
        }
    }
}

/// All keys, by their hash, and all certificates, by what they are known by.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: HashMap<[u8; 32], Arc<Credential>, BuildHasherDefault<FirstBytes>>,
    certificates: Certificates,
    issuers: Issuers,
    sessions: Option<Sessions>,
}

#[derive(Debug, Default)]
struct Certificates {
    prints: HashMap<[u8; 32], Arc<Credential>>,
    uris: HashMap<Box<str>, Arc<Credential>>,
    names: HashMap<Box<str>, Arc<Credential>>,
}

impl Certificates {
    /// The one credential that a certificate is for.
    fn holder(&self, shown: &Presented) -> Result<&Arc<Credential>, CallerFault> {
        let prints = self.prints.get(&shown.fingerprint).into_iter();
        let uris = shown.uris.iter().filter_map(|uri| self.uris.get(uri));
        let names = shown.names.iter().filter_map(|name| self.names.get(name));
        let mut all = prints.chain(uris).chain(names);
        let first = all.next().ok_or(CallerFault::Unknown)?;
        if all.all(|other| Arc::ptr_eq(first, other)) { Ok(first) } else { Err(CallerFault::Ambiguous) }
    }
}

/// SHA-256 output is already evenly spread: its first bytes are the hash. An attacker who wanted to make
/// keys collide here would have to find partial preimages among hashes that only the operator chooses.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    // The length prefix of an array's hash says nothing.
    fn write_usize(&mut self, _: usize) {}
}

impl KeyRing {
    /// Takes the keys over.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = ([u8; 32], Arc<Credential>)>) -> Self {
        Self { by_hash: keys.into_iter().collect(), ..Self::default() }
    }

    /// The same with those who issue tokens.
    #[must_use]
    pub fn with_issuers(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }

    /// The same with sessions.
    #[must_use]
    pub fn with_sessions(self, sessions: Option<Sessions>) -> Self {
        Self { sessions, ..self }
    }

    /// What makes and opens sessions, where there are some.
    #[must_use]
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// The same with certificates.
    #[must_use]
    pub fn with_certificates(
        mut self,
        all: impl IntoIterator<Item = (CertificateName, Arc<Credential>)>,
    ) -> Self {
        for (name, credential) in all {
            let of = &mut self.certificates;
            match name {
                CertificateName::Fingerprint(print) => of.prints.insert(print, credential),
                CertificateName::Uri(uri) => of.uris.insert(uri, credential),
                CertificateName::Dns(name) => of.names.insert(name, credential),
            };
        }
        self
    }

    /// Who holds the key that these fields carry: `X-API-Key`, else `Authorization: Bearer`, else
    /// `Authorization: Basic` with the key as password (for clients that can only be given a URL). Where they carry
    /// none, whose session it is, and without one that counts whose certificate.
    ///
    /// # Errors
    /// [`CallerFault`]: for the log; a client must not learn which.
    pub fn caller(
        &self,
        fields: &HeaderMap,
        certificate: Option<&Presented>,
        (wire, now): (Wire, u64),
    ) -> Result<Recognised, CallerFault> {
        let (credential, carrier) = match presented(fields) {
            Some((hash, carrier)) => match self.held(hash) {
                Some(credential) => (credential.clone(), carrier),
                None => (self.issued(fields, now)?, Carrier::Authorization),
            },
            None => match self.signed_in(fields, wire, now) {
                Some(Ok(recognised)) => return Ok(recognised),
                Some(Err(fault)) if certificate.is_none() => return Err(fault.into()),
                Some(Err(_)) | None => (self.shown(certificate, now)?.clone(), Carrier::Certificate),
            },
        };
        in_time(&credential, now)?;
        Ok(Recognised { credential, carrier, session: None })
    }

    /// Whose the session is whose cookie stands in these fields.
    fn signed_in(
        &self,
        fields: &HeaderMap,
        wire: Wire,
        now: u64,
    ) -> Option<Result<Recognised, SessionFault>> {
        let found = self.sessions.as_ref()?.find(fields, wire, now)?;
        Some(found.and_then(|session| {
            let held = self.still(&session.behind, None, now);
            let credential = held.map_err(|_| SessionFault::TakenBack)?;
            Ok(Recognised { credential, carrier: Carrier::Session, session: Some(Arc::new(session)) })
        }))
    }

    /// Whose the token is that stands where a key would.
    #[cold]
    fn issued(&self, fields: &HeaderMap, now: u64) -> Result<Arc<Credential>, CallerFault> {
        match token(fields).filter(|_| !self.issuers.is_empty()) {
            Some(token) => Ok(self.issuers.caller(token, now)?),
            None => Err(CallerFault::Unknown),
        }
    }

    /// Whose a ticket is now.
    ///
    /// # Errors
    /// [`CallerFault`]: it is nobody's any more.
    pub fn still(
        &self,
        ticket: &Ticket,
        certificate: Option<&Presented>,
        now: u64,
    ) -> Result<Arc<Credential>, CallerFault> {
        let credential = match ticket {
            Ticket::Key(hash) => self.held(Some(*hash)).ok_or(CallerFault::Unknown)?.clone(),
            Ticket::Token(text) => match self.held(hash(text.expose())) {
                // A key that looks like a token.
                Some(credential) => credential.clone(),
                None => self.issuers.caller(text.expose(), now)?,
            },
            Ticket::Certificate => self.shown(certificate, now)?.clone(),
            Ticket::Session(session) => {
                let sessions = self.sessions.as_ref().ok_or(SessionFault::Sealed)?;
                sessions.lasts(session, now)?;
                self.still(&session.behind, None, now).map_err(|_| SessionFault::TakenBack)?
            }
        };
        in_time(&credential, now)?;
        Ok(credential)
    }

    fn shown(&self, certificate: Option<&Presented>, now: u64) -> Result<&Arc<Credential>, CallerFault> {
        let certificate = certificate.ok_or(CallerFault::Missing)?;
        if now >= certificate.ends {
            return Err(CallerFault::Expired);
        }
        self.certificates.holder(certificate)
    }

    /// All credentials.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Credential>> {
        let Certificates { prints, uris, names } = &self.certificates;
        let certificates = prints.values().chain(uris.values()).chain(names.values());
        self.by_hash.values().chain(certificates)
    }

    /// Who holds this key, in time or not.
    #[must_use]
    pub fn holder(&self, key: &str) -> Option<&Arc<Credential>> {
        self.held(hash(key.as_bytes()))
    }

    fn held(&self, hash: Option<[u8; 32]>) -> Option<&Arc<Credential>> {
        let found = self.by_hash.get_key_value(&hash.unwrap_or_default());
        let held = found.map_or(&[0xff; 32], |(held, _)| held);
        let same = bool::from(held.ct_eq(&hash.unwrap_or_default()));
        let ((_, credential), true, Some(_)) = (found?, same, hash) else { return None };
        Some(credential)
    }
}

fn in_time(credential: &Credential, now: u64) -> Result<(), CallerFault> {
    if credential.begins.is_some_and(|begin| now < begin) {
        return Err(CallerFault::TooEarly);
    }
    if credential.expires.is_some_and(|end| now >= end) {
        return Err(CallerFault::Expired);
    }
    Ok(())
}

/// The hash of the presented key; `Some((None, _))` for one that is malformed.
fn presented(fields: &HeaderMap) -> Option<(Option<[u8; 32]>, Carrier)> {
    if let Some(key) = only(fields, &X_API_KEY) {
        return Some((hash(key), Carrier::ApiKey));
    }
    Some((authorization(only(fields, &header::AUTHORIZATION)?), Carrier::Authorization))
}

/// What stands behind `Authorization: Bearer` and has the look of a token, where no field for API keys stands beside it.
fn token(fields: &HeaderMap) -> Option<&[u8]> {
    if fields.contains_key(&X_API_KEY) {
        return None;
    }
    let value = only(fields, &header::AUTHORIZATION)?;
    let space = memchr::memchr(b' ', value)?;
    let text = value[space + 1..].trim_ascii();
    (value[..space].eq_ignore_ascii_case(b"bearer") && looks_like_one(text)).then_some(text)
}

fn authorization(value: &[u8]) -> Option<[u8; 32]> {
    let space = memchr::memchr(b' ', value)?;
    let (scheme, rest) = (&value[..space], value[space + 1..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return hash(rest);
    }
    scheme.eq_ignore_ascii_case(b"basic").then(|| basic(rest)).flatten()
}

/// The value of a field, if it is there; an empty one, which is no key, when it stands more than once.
fn only<'a>(fields: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a [u8]> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_none() { first.as_bytes() } else { &[] })
}

fn hash(key: &[u8]) -> Option<[u8; 32]> {
    (!key.is_empty() && key.len() <= MAX_KEY).then(|| Sha256::digest(key).into())
}

fn basic(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() > 2 * MAX_KEY {
        return None;
    }
    let pair = zeroize::Zeroizing::new(base64::engine::general_purpose::STANDARD.decode(text).ok()?);
    let colon = memchr::memchr(b':', &pair)?;
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    // `ws://KEY@host` puts the key where the user's name goes.
    hash(if password.is_empty() { user } else { password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        let tenant = Arc::new(Tenant {
            id: TenantId::parse("acme").unwrap(),
            number: 0,
            tariff: None,
            field: HeaderValue::from_static("acme"),
            told: Box::default(),
        });
        let credential = |id: &str, expires| {
            Arc::new(Credential {
                id: CredentialId::parse(id).unwrap(),
                tenant: tenant.clone(),
                node: None,
                scopes: ScopeSet(1),
                gateway: Scopes::default(),
                begins: None,
                expires,
                last_used: Arc::default(),
                age: KeyAge::Current,
                node_number: None,
                tariff: None,
                number: 0,
                id_field: HeaderValue::from_static("x"),
                node_field: None,
                told: Box::default(),
                scopes_field: HeaderValue::from_static("mesh:read"),
            })
        };
        KeyRing::new([
            (Sha256::digest("the-key").into(), credential("lasting", None)),
            (Sha256::digest("old-key").into(), credential("old", Some(100))),
        ])
    }

    fn check(fields: &[(&'static str, &str)], now: u64) -> Result<(String, Carrier), CallerFault> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        ring().caller(&map, None, (Wire::Clear, now)).map(|one| (one.credential.id.to_string(), one.carrier))
    }

    #[test]
    fn a_key_is_known_in_each_of_its_fields() {
        let known = |carrier| Ok(("lasting".to_owned(), carrier));
        assert_eq!(check(&[("x-api-key", "the-key")], 0), known(Carrier::ApiKey));
        assert_eq!(check(&[("authorization", "Bearer the-key")], 0), known(Carrier::Authorization));
        assert_eq!(check(&[("authorization", "bearer  the-key ")], 0), known(Carrier::Authorization));
        // base64 of "any:the-key"
        assert_eq!(check(&[("authorization", "Basic YW55OnRoZS1rZXk=")], 0), known(Carrier::Authorization));
        // base64 of "the-key:"
        assert_eq!(check(&[("authorization", "Basic dGhlLWtleTo=")], 0), known(Carrier::Authorization));
    }

    #[test]
    fn the_api_key_field_is_asked_first_and_alone() {
        let both = [("x-api-key", "the-key"), ("authorization", "Bearer other")];
        assert_eq!(check(&both, 0).unwrap().1, Carrier::ApiKey);
        let wrong = [("x-api-key", "wrong"), ("authorization", "Bearer the-key")];
        assert_eq!(check(&wrong, 0), Err(CallerFault::Unknown));
    }

    #[test]
    fn strangers_are_not_known() {
        assert_eq!(check(&[], 0), Err(CallerFault::Missing));
        for (name, value) in [
            ("x-api-key", ""),
            ("x-api-key", "the-ke"),
            ("authorization", "the-key"),
            ("authorization", "Digest the-key"),
            ("authorization", "Basic !!!"),
            ("authorization", "Basic bm8tY29sb24="),
        ] {
            assert_eq!(check(&[(name, value)], 0), Err(CallerFault::Unknown), "{value}");
        }
        assert_eq!(
            check(&[("x-api-key", "the-key"), ("x-api-key", "the-key")], 0),
            Err(CallerFault::Unknown)
        );
        assert_eq!(check(&[("x-api-key", &"k".repeat(600))], 0), Err(CallerFault::Unknown));
    }

    #[test]
    fn a_key_ends_on_the_second() {
        assert!(check(&[("x-api-key", "old-key")], 99).is_ok());
        assert_eq!(check(&[("x-api-key", "old-key")], 100), Err(CallerFault::Expired));
    }
}
