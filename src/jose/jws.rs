//! A signed token (RFC 7515, compact form), taken apart and checked against a key. What it claims is for others to weigh.
//!
//! The key says which algorithm counts, never the token: one that names another is refused before any signature is
//! looked at. Nothing here knows issuers, clocks or tenants.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

/// Longest token that is looked at.
pub const MAX_TOKEN: usize = 8 * 1024;

/// Algorithms that are taken (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Rs256].into_iter().find(|one| one.name() == name)
    }

    /// Its name in the standards.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Why a text is no token that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// It does not have the form of one.
    #[error("the token is malformed")]
    Malformed,
    /// It is signed in a way that is not taken, or not with the key's.
    #[error("the token's algorithm is not taken")]
    Algorithm,
    /// No key has its name.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    Signature,
}

/// What stands before a token's claims.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515 section 4.1.11): none are.
    crit: Option<serde_json::Value>,
}

/// A token, taken apart.
#[derive(Debug)]
pub struct Token<'a> {
    /// The key's name.
    pub kid: Option<String>,
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// The claims, as JSON. Nobody has vouched for them yet.
    pub claims: Vec<u8>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Whether a text has the look of a token: what is no API key of anybody is then read as one.
#[must_use]
pub fn looks_like_one(text: &[u8]) -> bool {
    text.len() <= MAX_TOKEN && text.starts_with(b"eyJ") && memchr::memchr_iter(b'.', text).count() == 2
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`JwsError::Malformed`] or [`JwsError::Algorithm`].
    pub fn read(text: &'a [u8]) -> Result<Self, JwsError> {
        if text.len() > MAX_TOKEN {
            return Err(JwsError::Malformed);
        }
        let mut dots = memchr::memchr_iter(b'.', text);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(JwsError::Malformed);
        };
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let raw = decode(&text[..first])?;
        let header: Header = serde_json::from_slice(&raw).map_err(|_| JwsError::Malformed)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(JwsError::Algorithm)?;
        let is_jwt = |typ: &str| typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt");
        if header.crit.is_some() || !header.typ.as_deref().is_none_or(is_jwt) {
            return Err(JwsError::Malformed);
        }
        Ok(Self {
            kid: header.kid,
            algorithm,
            claims: decode(&text[first + 1..second])?,
            signed: &text[..second],
            signature: decode(&text[second + 1..])?,
        })
    }

    /// Checks the signature against a key.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`] where the key is for another one, [`JwsError::Signature`].
    pub fn verify(&self, key: &TokenKey) -> Result<(), JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::Algorithm);
        }
        let is_good = match key {
            TokenKey::EdDsa(key) => ed25519_dalek::Signature::from_slice(&self.signature)
                .is_ok_and(|signature| key.verify_strict(self.signed, &signature).is_ok()),
            TokenKey::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(self.signed, &self.signature)
                .is_ok(),
            TokenKey::Rs256 { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, self.signed, &self.signature)
                .is_ok(),
        };
        if is_good { Ok(()) } else { Err(JwsError::Signature) }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKey {
    /// Ed25519.
    EdDsa(VerifyingKey),
    /// A point on P-256, uncompressed.
    Es256(Vec<u8>),
    /// RSA, both numbers big-endian and without zeros in front.
    Rs256 {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
}

impl TokenKey {
    /// What it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::EdDsa(_) => Algorithm::EdDsa,
            Self::Es256(_) => Algorithm::Es256,
            Self::Rs256 { .. } => Algorithm::Rs256,
        }
    }
}
