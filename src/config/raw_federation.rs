//! What an operator writes about signing on the way out and about other meshes; see [`raw`](super::raw).

use super::raw::{Canonical, PublicKey, SecretSource, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// One of the edge's own keys, for what it signs on the way out: one of `private_key` and `secret`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// For whose messages and requests it is.
    pub tenant: String,
    /// What `sign` calls it; each tenant may have one of the same name. Default `edge`.
    #[serde(default = "edge")]
    pub name: String,
    /// What receivers call it (`keyid`). Default: the thumbprint (RFC 7638) of a private key, the name of a secret.
    pub id: Option<String>,
    /// Ed25519 private key as PKCS#8 PEM (`openclaw-edge keygen`, `openssl genpkey -algorithm ed25519`).
    pub private_key: Option<SecretSource>,
    /// A secret that is shared with the receiver, for HMAC-SHA256; for Standard Webhooks as `whsec_…`.
    pub secret: Option<SecretSource>,
}

fn edge() -> String {
    "edge".into()
}

/// What goes on to the upstream is signed with the key of the caller's tenant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// What is signed, and how.
    pub scheme: SignScheme,
    /// Name of the signing key. Default `edge`.
    #[serde(default = "edge")]
    pub key: String,
    /// For `mesh`: the text that is signed, and sent. Default `mesh`.
    #[serde(default)]
    pub canonical: Canonical,
    /// For `http-signatures`: what is covered. Default `@method`, `@authority`, `@path`, `@query` and, where there
    /// is a body, `content-digest`. Fields that a request does not have are left out.
    #[serde(default)]
    pub components: Vec<String>,
    /// For `http-signatures`: the signature's tag.
    pub tag: Option<String>,
    /// For `http-signatures`: how long the signature says that it is good. Without it, it does not say.
    pub expires: Option<String>,
    /// Scheme, host and port by which the receiver knows itself: sent as `Host`, and signed as `@authority`.
    /// Without it both are the client's own.
    pub public_url: Option<String>,
}

/// What is signed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignScheme {
    /// Each mesh message of the body, one or an array, with Ed25519.
    Mesh,
    /// The request, by RFC 9421 with a Content-Digest (RFC 9530): Ed25519 or HMAC-SHA256.
    HttpSignatures,
    /// The request, by Standard Webhooks: `v1` with a secret, `v1a` with a private key.
    StandardWebhooks,
}

/// Another mesh, with which a tenant shares messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Whose neighbour it is.
    pub tenant: String,
    /// Its id: in `X-Mesh-Id`, and in the names of its nodes (`external:<id>:<node>`).
    pub id: String,
    /// This side's id there, sent as `X-Mesh-Id`; messages that come back with it are left out.
    pub own_id: Option<String>,
    /// The credentials (by `id`) with which it calls in; several while they are changed.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// Its public keys: then each message that comes in must be signed with one of them. Others are left out.
    #[serde(default)]
    pub public_keys: Vec<PublicKey>,
    /// What may come in. Default `[federation]`.
    pub accept: Option<Vec<Grant>>,
    /// Where it takes what is shared, such as `https://mesh.example.com/federation/in`. Without it nothing goes out.
    pub url: Option<String>,
    /// What this side calls with, sent as `Authorization: Bearer`.
    pub token: Option<SecretSource>,
    /// What may go out. Default `[federation]`.
    pub share: Option<Vec<Grant>>,
    /// Name of the signing key with which each message that goes out is signed.
    pub sign: Option<String>,
    /// Time for one call. Default `30s`.
    pub timeout: Option<String>,
}

/// What may cross the border: a scope, one key of a scope, or a skill.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Grant {
    /// Every memory of this scope.
    Scope(String),
    /// One key, or one skill.
    Entry(GrantEntry),
}

/// `{ scope: mesh, key: roadmap }` or `{ skill: deploy }`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantEntry {
    /// A scope; goes with `key`.
    pub scope: Option<String>,
    /// A key of that scope.
    pub key: Option<String>,
    /// A skill's name; `*` for all.
    pub skill: Option<String>,
}

/// Which side of the border a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Border {
    /// Messages of other meshes come in, and go on to the upstream with their nodes named `external:<mesh>:<node>`.
    In,
    /// Messages of the caller's tenant go out to its meshes. Answered by the edge once they are on disk; no `upstream`.
    Share,
}

/// What waits for other meshes (`outbox/<tenant>.log` in the `data` folder).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outbox {
    /// Most bytes that wait for one mesh; beyond it sharing is answered 503. Default `64MiB`.
    pub max_per_mesh: Option<Size>,
    /// Most bytes that wait for all meshes of a tenant. Default `256MiB`.
    pub max_per_tenant: Option<Size>,
    /// First pause after a failure; each further one is twice as long, with some chance in it. Default `1s`.
    pub retry_first: Option<String>,
    /// Longest pause. Default `5m`.
    pub retry_most: Option<String>,
    /// After how long a delivery that was not taken is laid aside. Default `48h`.
    pub give_up: Option<String>,
}
