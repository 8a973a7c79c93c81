//! What a token's claims say, once its signature is good: whether it is for us and in time, whose it is and what it may do.
//!
//! A token is looked at once; what came of it is kept until it ends, and at the latest until its issuer's keys change. Whose
//! names stand for what was compiled before: nothing a token says becomes a name here.

use super::caller::Credential;
use crate::jose::{JwsError, Token, TokenKeys};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most tokens that are kept of one issuer. Beyond them all are looked at anew, once.
const MOST_KEPT: usize = 20_000;

/// Why a token is not taken. All are one and the same 401 to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Its form or its signature.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// Its claims are no object of the right kinds.
    #[error("the token's claims are malformed")]
    Claims,
    /// Nobody here believes its issuer.
    #[error("the token's issuer is not known")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It lacks `exp` or `iat`, or there is too much time between them.
    #[error("the token has no end, or one that is too far from its beginning")]
    Lifetime,
    /// It is not yet in force.
    #[error("the token is not in force yet")]
    TooEarly,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It says nothing of whose it is that is known here.
    #[error("the token is of no tenant that is known here")]
    Tenant,
    /// It names a node that is not known here.
    #[error("the token names a node that is not known here")]
    Node,
}

/// Claims that the standard names, and all others.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: Option<u64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, wanted: &[String]) -> bool {
        match self {
            Self::One(one) => wanted.contains(one),
            Self::Many(many) => many.iter().any(|one| wanted.contains(one)),
        }
    }
}

/// What is believed of an issuer's tokens.
#[derive(Debug)]
pub struct Terms {
    /// One of these must be among `aud`.
    pub audience: Vec<String>,
    /// Seconds by which its clock may be off.
    pub skew: u64,
    /// Most seconds from `iat` to `exp`.
    pub longest: u64,
}

/// Makes a caller's standing of claims and the first second (Unix) at which the token counts no more. Compiled by whoever
/// knows tenants, scopes and limits.
pub type Grant = Box<dyn Fn(&Map<String, Value>, u64) -> Result<Credential, TokenFault> + Send + Sync>;

/// An issuer's keys, as they are now, and what was found with them. Policies that believe the issuer share them.
#[derive(Debug, Default)]
pub struct IssuerKeys {
    now: ArcSwap<TokenKeys>,
    /// Somebody came with a token whose key is not known.
    missed: AtomicBool,
}

impl IssuerKeys {
    /// Takes others.
    pub fn learn(&self, keys: TokenKeys) {
        self.now.store(Arc::new(keys));
    }

    /// Whether somebody came with a key that is not known, since this was last asked.
    pub fn were_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

/// Someone who issues tokens.
pub struct Issuer {
    terms: Terms,
    keys: Arc<IssuerKeys>,
    grant: Grant,
    /// What came of tokens, with the keys that were looked at.
    found: ArcSwap<Found>,
}

#[derive(Debug)]
struct Found {
    keys: Arc<TokenKeys>,
    credentials: DashMap<[u8; 32], Arc<Credential>>,
}

impl Issuer {
    /// Believes what is signed with these keys, on these terms.
    #[must_use]
    pub fn new(terms: Terms, keys: Arc<IssuerKeys>, grant: Grant) -> Self {
        let found = Found { keys: keys.now.load_full(), credentials: DashMap::new() };
        Self { terms, keys, grant, found: ArcSwap::from_pointee(found) }
    }

    fn credential(
        &self,
        text: &[u8],
        token: &Token<'_>,
        claims: &Claims,
        now: u64,
    ) -> Result<Arc<Credential>, TokenFault> {
        let keys = self.keys.now.load_full();
        let mut found = self.found.load_full();
        if !Arc::ptr_eq(&found.keys, &keys) || found.credentials.len() >= MOST_KEPT {
            found = Arc::new(Found { keys: keys.clone(), credentials: DashMap::new() });
            self.found.store(found.clone());
        }
        keys.verify(token).inspect_err(|fault| {
            if *fault == JwsError::UnknownKey {
                self.keys.missed.store(true, Ordering::Relaxed);
            }
        })?;
        let ends = self.terms.weigh(claims, now)?;
        let credential = Arc::new((self.grant)(&claims.others, ends)?);
        found.credentials.insert(Sha256::digest(text).into(), credential.clone());
        Ok(credential)
    }

    /// What came of a token before, with the keys that count now.
    fn known(&self, hash: &[u8; 32]) -> Option<Arc<Credential>> {
        let found = self.found.load();
        let is_current = Arc::ptr_eq(&found.keys, &self.keys.now.load());
        is_current.then(|| found.credentials.get(hash).map(|one| one.value().clone())).flatten()
    }
}

impl Terms {
    /// The first second at which a token counts no more.
    fn weigh(&self, claims: &Claims, now: u64) -> Result<u64, TokenFault> {
        if !claims.aud.as_ref().is_some_and(|aud| aud.has(&self.audience)) {
            return Err(TokenFault::Audience);
        }
        let (Some(begin), Some(end)) = (claims.iat, claims.exp) else { return Err(TokenFault::Lifetime) };
        if end.checked_sub(begin).is_none_or(|time| time > self.longest) {
            return Err(TokenFault::Lifetime);
        }
        if claims.nbf.unwrap_or(0).max(begin) > now.saturating_add(self.skew) {
            return Err(TokenFault::TooEarly);
        }
        let end = end.saturating_add(self.skew);
        if now >= end { Err(TokenFault::Expired) } else { Ok(end) }
    }
}

/// All who issue tokens, by the `iss` of those.
#[derive(Default)]
pub struct Issuers(HashMap<Box<str>, Issuer>);

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Issuers {
    /// Takes them over.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = (Box<str>, Issuer)>) -> Self {
        Self(all.into_iter().collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose a token is. That it is still in time, the caller asks of every credential.
    ///
    /// # Errors
    /// [`TokenFault`].
    pub fn caller(&self, text: &[u8], now: u64) -> Result<Arc<Credential>, TokenFault> {
        let hash: [u8; 32] = Sha256::digest(text).into();
        if let Some(known) = self.0.values().find_map(|issuer| issuer.known(&hash)) {
            return Ok(known);
        }
        let token = Token::read(text)?;
        let claims: Claims = serde_json::from_slice(&token.claims).map_err(|_| TokenFault::Claims)?;
        let issuer = claims.iss.as_deref().and_then(|iss| self.0.get(iss)).ok_or(TokenFault::Issuer)?;
        issuer.credential(text, &token, &claims, now)
    }
}
