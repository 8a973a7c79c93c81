//! The callers of the common site: their keys, and what each may do.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// A caller of the common site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// What logs call it.
    pub(crate) id: &'static str,
    /// Whose it is.
    pub(crate) tenant: &'static str,
    /// The node that calls with it.
    pub(crate) node: Option<&'static str>,
    /// The key.
    pub(crate) text: &'static str,
    /// What it may do.
    pub(crate) scopes: &'static str,
    /// When it ends.
    pub(crate) expires: Option<&'static str>,
}

const ALL: &str =
    "mesh:read, mesh:write, mesh:ingest, federation, army, gateways:read, gateways:connect, operator.write";

/// May do everything in its tenant.
pub(crate) const ACME: Key = Key {
    id: "acme-ceo",
    tenant: "acme",
    node: Some("ceo"),
    text: "oce_acme-ceo_3fJq0bV9sKx2",
    scopes: ALL,
    expires: None,
};

/// Another key of the same tenant.
pub(crate) const ACME_TWO: Key = Key {
    id: "acme-sec",
    tenant: "acme",
    node: Some("sec"),
    text: "oce_acme-sec_Zp8Wn4yTq1Lm",
    scopes: ALL,
    expires: None,
};

/// May only read.
pub(crate) const READER: Key = Key {
    id: "acme-reader",
    tenant: "acme",
    node: None,
    text: "oce_acme-reader_h6GdR0uVxE7c",
    scopes: "mesh:read",
    expires: None,
};

/// May only look at gateways.
pub(crate) const VIEWER: Key = Key {
    id: "acme-viewer",
    tenant: "acme",
    node: None,
    text: "oce_acme-viewer_Lb3Xr7Wq0NdZ",
    scopes: "gateways:read, gateways:connect, operator.read",
    expires: None,
};

/// Its day is over.
pub(crate) const EXPIRED: Key = Key {
    id: "acme-old",
    tenant: "acme",
    node: None,
    text: "oce_acme-old_Yk2MbC5nJ9aS",
    scopes: ALL,
    expires: Some("2020-01-01"),
};

/// May do everything in another tenant.
pub(crate) const GLOBEX: Key = Key {
    id: "globex-ops",
    tenant: "globex",
    node: Some("ops"),
    text: "oce_globex-ops_Qw7Tz1Xv8RdP",
    scopes: ALL,
    expires: None,
};

/// May change its tenant as a whole.
pub(crate) const ADMIN: Key = Key {
    id: "acme-admin",
    tenant: "acme",
    node: None,
    text: "oce_acme-admin_Tn5Vb2Kx9QwE",
    scopes: "mesh:read, mesh:write, \"mesh:admin\"",
    expires: None,
};

/// All of them.
pub(crate) const KEYS: &[Key] = &[ACME, ACME_TWO, READER, VIEWER, EXPIRED, GLOBEX, ADMIN];

impl Key {
    /// Its entry in the config.
    pub(crate) fn entry(&self) -> String {
        let Self { id, tenant, scopes, .. } = self;
        let mut out = format!("id: {id}, tenant: {tenant}, hash: \"{}\", scopes: [{scopes}]", self.hash());
        if let Some(node) = self.node {
            write!(out, ", node: {node}").expect("a text can be written to");
        }
        if let Some(expires) = self.expires {
            write!(out, ", expires: {expires}").expect("a text can be written to");
        }
        out
    }

    /// What the config holds instead of the key.
    pub(crate) fn hash(&self) -> String {
        format!("sha256:{}", hex(self.text))
    }
}

/// The hex of a text's SHA-256.
pub(crate) fn hex(text: &str) -> String {
    hex_of(text.as_bytes())
}

/// The hex of the SHA-256 of some bytes.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in Sha256::digest(bytes) {
        write!(out, "{byte:02x}").expect("a text can be written to");
    }
    out
}
