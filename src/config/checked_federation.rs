//! What the operator's words about signing on the way out and about other meshes mean; see
//! [`checked`](super::checked).

use super::raw::Canonical;
use crate::ids::{CredentialId, MeshId, Name, TenantId};
use crate::secret::Secret;
use ed25519_dalek::VerifyingKey;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One of the edge's own keys.
#[derive(Debug)]
pub struct SigningKey {
    /// For whose messages and requests it is.
    pub tenant: TenantId,
    /// What `sign` calls it.
    pub name: Name,
    /// What receivers call it; can stand in a quoted string as it is.
    pub id: String,
    /// The key.
    pub key: SigningSecret,
}

/// A key that signs. Does not print itself; wiped when dropped.
pub enum SigningSecret {
    /// Ed25519.
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// HMAC-SHA256.
    Hmac(Secret),
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519(…)",
            Self::Hmac(_) => "Hmac(…)",
        })
    }
}

/// What goes on is signed.
#[derive(Debug)]
pub struct Sign {
    /// As metrics are told.
    pub name: &'static str,
    /// What is signed, and how.
    pub scheme: SignScheme,
    /// The key of each tenant that can call, in the form in which the scheme uses it.
    pub keys: HashMap<TenantId, Arc<SigningKey>>,
    /// Scheme, host and port of the receiver.
    pub public_url: Option<String>,
}

/// What is signed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignScheme {
    /// Each mesh message.
    Mesh(Canonical),
    /// The request, by RFC 9421.
    HttpSignatures {
        /// What is covered where it is there.
        components: Vec<String>,
        /// The signature's tag.
        tag: Option<String>,
        /// How long it is good.
        expires: Option<Duration>,
    },
    /// The request, by Standard Webhooks.
    StandardWebhooks,
}

/// Another mesh.
#[derive(Debug)]
pub struct Mesh {
    /// Whose neighbour.
    pub tenant: TenantId,
    /// Its id.
    pub id: MeshId,
    /// This side's id there.
    pub own_id: Option<MeshId>,
    /// With which it calls in.
    pub credentials: Vec<CredentialId>,
    /// With which it signs; none where it need not.
    pub keys: Vec<VerifyingKey>,
    /// What may come in.
    pub accept: Vec<Grant>,
    /// What goes out, and where to.
    pub peer: Option<Peer>,
}

/// Where what is shared goes.
#[derive(Debug)]
pub struct Peer {
    /// `http` or `https`.
    pub url: String,
    /// What this side calls with.
    pub token: Option<Secret>,
    /// What may go out.
    pub share: Vec<Grant>,
    /// With which messages are signed: an Ed25519 key.
    pub sign: Option<Arc<SigningKey>>,
    /// Time for one call.
    pub timeout: Duration,
}

/// What may cross the border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Every memory of a scope.
    Scope(String),
    /// One memory.
    Key {
        /// Its scope.
        scope: String,
        /// Its key.
        key: String,
    },
    /// A skill.
    Skill(String),
    /// Every skill.
    AnySkill,
}

/// What may wait for other meshes, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// Most bytes for one mesh.
    pub max_per_mesh: usize,
    /// Most bytes of a tenant.
    pub max_per_tenant: usize,
    /// First pause.
    pub retry_first: Duration,
    /// Longest pause.
    pub retry_most: Duration,
    /// When a delivery is laid aside.
    pub give_up: Duration,
}
