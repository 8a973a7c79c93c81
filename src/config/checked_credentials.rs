//! What callers are known by.

use crate::ids::{CredentialId, NodeId, Scope, TenantId};
use std::path::PathBuf;

/// A caller's standing.
#[derive(Debug)]
pub struct Credential {
    /// Its name in logs.
    pub id: CredentialId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The node that calls with it.
    pub node: Option<NodeId>,
    /// What it is known by.
    pub proof: Proof,
    /// A key that is taken as well, for a while.
    pub previous: Option<PreviousKey>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// First second (Unix) at which it is taken.
    pub begins: Option<u64>,
    /// First second (Unix) at which it is no longer taken.
    pub expires: Option<u64>,
    /// The file that was made for it, for `generated` keys.
    pub generated: Option<PathBuf>,
}

/// What a credential is known by; no two have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// SHA-256 of the key text.
    Key([u8; 32]),
    /// SHA-256 of a certificate.
    Fingerprint([u8; 32]),
    /// A URI in a certificate.
    Uri(Box<str>),
    /// A DNS name in a certificate, in lower case.
    Dns(Box<str>),
}

/// A key that is on its way out.
#[derive(Debug)]
pub struct PreviousKey {
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// First second (Unix) at which it is no longer taken.
    pub expires: u64,
}
