//! What an operator writes about tenants, credentials, secrets and the keys of nodes.

use super::raw::{Canonical, Number, Size};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One customer or team.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// A name for people; in no header and no log.
    pub name: Option<String>,
    /// Whose numbers its limits have; without one, the limits' own.
    pub plan: Option<String>,
}

/// Where a secret comes from.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretSource {
    /// An environment variable.
    Env(EnvSource),
    /// A file; one line end after the secret is not part of it.
    File(FileSource),
    /// A file that the edge makes with a fresh key (mode 0600) when it is not there.
    Generated(GeneratedSource),
    /// The secret itself; refused unless `allow_literal_secrets: true`.
    Literal(String),
}

// By hand: a literal must not print itself.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(source) => source.fmt(f),
            Self::File(source) => source.fmt(f),
            Self::Generated(source) => source.fmt(f),
            Self::Literal(_) => f.write_str("Literal(…)"),
        }
    }
}

/// `{ env: NAME }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvSource {
    /// Name of the environment variable.
    pub env: String,
}

/// `{ file: path }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Path of the file.
    pub file: String,
}

/// `{ generated: path }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedSource {
    /// Path of the file.
    pub generated: String,
}

/// An API key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What logs and metrics call it; never the key.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The mesh node that calls with it; told to upstreams as `X-Node-Id`.
    pub node: Option<String>,
    /// `sha256:` and the hex of the whole key text (`openclaw-edge keys hash`). One of this, `secret` and `certificate`.
    pub hash: Option<String>,
    /// The key itself, from elsewhere. One of this, `hash` and `certificate`.
    pub secret: Option<SecretSource>,
    /// The certificate that its holder shows (`listen[].tls.client_certificates`). One of this, `hash` and `secret`.
    pub certificate: Option<CertificateOf>,
    /// The key that it had before, taken beside the new one for a while.
    pub previous: Option<PreviousKey>,
    /// What it may do; routes name the scopes that they need.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// First day (UTC, `2027-06-01`) or moment on which it is taken.
    pub not_before: Option<String>,
    /// Last day (UTC, `2027-06-30`) or moment (`2027-06-30T12:00:00Z`) on which it is taken.
    pub expires: Option<String>,
    /// Numbers of limits for this credential alone, before those of its tenant's plan.
    #[serde(default)]
    pub limits: BTreeMap<String, Number>,
}

/// What a client's certificate is known by: one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateOf {
    /// A URI among its alternative names, whole: `spiffe://example.org/ceo`.
    pub uri: Option<String>,
    /// A DNS name among its alternative names, whole.
    pub dns: Option<String>,
    /// `sha256:` and the hex of its fingerprint (`openssl x509 -noout -fingerprint -sha256`; colons may stay).
    pub fingerprint: Option<String>,
}

/// A key that is on its way out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviousKey {
    /// As a credential's own. Either this or `secret`.
    pub hash: Option<String>,
    /// As a credential's own. Either this or `hash`.
    pub secret: Option<SecretSource>,
    /// Last day or moment on which it is taken.
    pub expires: String,
}

/// A mesh node's public key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Whose node it is. A node may have several keys: while they are changed each counts.
    pub tenant: String,
    /// The node's name, as its messages carry it in `nodeId` or `sourceNode`.
    pub node: String,
    /// Ed25519 public key: PEM (SPKI) or base64 of its 32 bytes.
    pub public_key: PublicKey,
    /// The key's name, for messages that name it in `kid`. Default: its thumbprint (RFC 7638).
    pub id: Option<String>,
    /// First day (UTC, `2027-06-01`) or moment on which it counts.
    pub not_before: Option<String>,
    /// Last day or moment on which it counts.
    pub not_after: Option<String>,
    /// The text that this key signs, where it is not the route's.
    pub canonical: Option<Canonical>,
}

/// Where public keys of a tenant's nodes come from: one of `directory`, `jwks` and `registry`. Changes are seen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySource {
    /// Whose nodes they are. A `registry` without it is for all tenants.
    pub tenant: Option<String>,
    /// A folder with one key a file: `<node>.pem` or `<node>@<id>.pem`.
    pub directory: Option<String>,
    /// A key set (RFC 7517): `kid` is the key's id and, up to an `@`, its node, unless `node` says that; `nbf` and
    /// `exp` are its time, `canonical` is what it signs.
    pub jwks: Option<Jwks>,
    /// The registry of a mesh store; `{}` is the one inside this process. Followed while the edge runs.
    pub registry: Option<Registry>,
    /// The text that these keys sign, where it is not the route's and they do not say themselves.
    pub canonical: Option<Canonical>,
}

/// A key set: one of `file` and `url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// Path of the file.
    pub file: Option<String>,
    /// `https://host/path`; `http://` on this machine alone, unless `allow_http`.
    pub url: Option<String>,
    /// Longest time until it is fetched again, `5s` to `1d`; a shorter `Cache-Control: max-age` counts. Default `10m`.
    pub refresh: Option<String>,
    /// Time for one fetch, `100ms` to `1m`. Default `5s`.
    pub timeout: Option<String>,
    /// Most bytes of the set. Default `1MiB`.
    pub max: Option<Size>,
    /// Fetch over `http://` from another machine: whoever is on the way can put keys of their own in. Off by default.
    #[serde(default)]
    pub allow_http: bool,
}

/// The registry of a mesh store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Where the store is, `https://host/path`; `http://` on this machine alone, unless `allow_http`. Without it, the
    /// store inside this process.
    pub url: Option<String>,
    /// The secret that the edge shares with the store at `url`.
    pub secret: Option<SecretSource>,
    /// Ask over `http://` on another machine: whoever is on the way sees the secret. Off by default.
    #[serde(default)]
    pub allow_http: bool,
}

/// A public key, here or in a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PublicKey {
    /// In a file.
    File(FileSource),
    /// PEM or base64, here.
    Inline(String),
}
