//! What an operator writes about signatures; see [`raw`](super::raw).

use super::raw::{Envelope, Mode, OnFailure, PublicKey, SecretSource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What must be signed. Which keys go with which scheme is told in docs/webhooks.md.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Who signs, and how.
    pub scheme: Scheme,
    /// The secret that the sender shares with this route.
    pub secret: Option<SecretSource>,
    /// Several of them, while they rotate: any one is enough.
    #[serde(default)]
    pub secrets: Vec<SecretSource>,
    /// The sender's public keys (`discord`, and `standard-webhooks` with `v1a`); any one is enough.
    #[serde(default)]
    pub public_keys: Vec<PublicKey>,
    /// How far the signed time may be from now, both ways. Default `5m`; for `mesh` off.
    pub freshness: Option<String>,
    /// Scheme, host and port under which senders know this route, such as `https://hooks.example.com`, where
    /// the URL is signed. Without it a trusted proxy's `X-Forwarded-Proto` and `-Host` count, else `Host`.
    pub public_url: Option<String>,
    /// What becomes of the calls by which Slack and Discord try an address. Default `answer`.
    pub setup_calls: Option<SetupCalls>,
    /// For `generic-hmac`: where the signature is and what is signed.
    pub hmac: Option<Hmac>,
    /// For `http-signatures`: who may sign.
    #[serde(default)]
    pub signers: Vec<Signer>,
    /// For `http-signatures`: what must be covered. Default `@method`, `@authority`, `@path`, `@query` and, where
    /// there is a body, `content-digest`; with `tag: web-bot-auth` `@authority` alone.
    #[serde(default)]
    pub components: Vec<String>,
    /// For `http-signatures`: the tag that the signature must have, such as `web-bot-auth`.
    pub tag: Option<String>,
    /// Sent to the upstream as `Authorization: Bearer …`, in place of whatever the sender has there: the token
    /// of an OpenClaw gateway's hooks.
    pub hook_token: Option<SecretSource>,
    /// What a delivery is told that the upstream took before. Default `duplicate`; for `mesh` `off`.
    pub replay: Option<ReplayAnswer>,
    /// How long a delivery is remembered. Default `72h`.
    pub replay_keep: Option<String>,
    /// For `mesh`: whether unsigned messages pass. Default `required`.
    #[serde(default)]
    pub mode: Mode,
    /// For `mesh`: the text that is signed. Default `mesh`.
    #[serde(default)]
    pub canonical: Canonical,
    /// For `mesh`: what a bad message in a batch does. Default `reject`.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// For `mesh`: where the messages sit in the body. Default `none`: the body is the message or an array.
    #[serde(default)]
    pub envelope: Envelope,
}

/// A way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Ed25519 on each mesh message.
    Mesh,
    /// Standard Webhooks, Svix included: HMAC (`v1`) or Ed25519 (`v1a`).
    StandardWebhooks,
    /// GitHub.
    Github,
    /// Slack.
    Slack,
    /// Stripe.
    Stripe,
    /// Discord interactions.
    Discord,
    /// Telegram's secret token.
    Telegram,
    /// Shopify.
    Shopify,
    /// Twilio.
    Twilio,
    /// HTTP message signatures (RFC 9421) with content digests (RFC 9530), Web Bot Auth included.
    HttpSignatures,
    /// Any HMAC over parts of the request, as `hmac` says.
    GenericHmac,
}

impl Scheme {
    /// As the config writes it, and as logs, metrics and upstreams are told.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::StandardWebhooks => "standard-webhooks",
            Self::Github => "github",
            Self::Slack => "slack",
            Self::Stripe => "stripe",
            Self::Discord => "discord",
            Self::Telegram => "telegram",
            Self::Shopify => "shopify",
            Self::Twilio => "twilio",
            Self::HttpSignatures => "http-signatures",
            Self::GenericHmac => "generic-hmac",
        }
    }
}

/// Who may sign: one of `public_key` (Ed25519) and `secret` (HMAC-SHA256).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// As signatures name the key in `keyid`. Default for a public key: its thumbprint (RFC 7638).
    pub id: Option<String>,
    /// Ed25519 public key: PEM (SPKI) or base64 of its 32 bytes.
    pub public_key: Option<PublicKey>,
    /// A secret that is shared with the signer.
    pub secret: Option<SecretSource>,
}

/// What becomes of the calls by which a sender tries an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SetupCalls {
    /// The edge answers Slack's `url_verification` and Discord's `PING`, when they are well signed.
    #[default]
    Answer,
    /// They go on to the upstream like any other.
    Forward,
}

/// Where a signature is and what is signed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    /// The field with the signature, such as `X-Signature`.
    pub header: String,
    /// The hash. Default `sha256`.
    #[serde(default)]
    pub algorithm: HmacAlgorithm,
    /// How the signature is written. Default `hex`.
    #[serde(default)]
    pub encoding: HmacEncoding,
    /// What stands before the signature, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// What stands between several signatures in the field; one alone without it.
    pub separator: Option<String>,
    /// The signed text: `{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}`, `{query}`, `{url}`, `{header:NAME}`
    /// and any other text for itself. Default `{body}`.
    pub signed: Option<String>,
    /// The field with the signed time, in Unix seconds; `signed` must have `{timestamp}`.
    pub timestamp_header: Option<String>,
    /// The field with the delivery's id, the same on each retry; `signed` must have `{id}`.
    pub id_header: Option<String>,
}

/// A hash for HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HmacAlgorithm {
    /// SHA-1, for senders that have nothing better.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HmacEncoding {
    /// Hexadecimal.
    #[default]
    Hex,
    /// Base64 with its padding.
    Base64,
    /// Base64 in the URL-safe alphabet, padded or not.
    Base64url,
}

/// What a delivery is told that the upstream took before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayAnswer {
    /// 200 with `X-Replay: duplicate`, so that the sender stops.
    Duplicate,
    /// 409 `replayed`.
    Conflict,
    /// Nothing: it goes on again.
    Off,
}

/// The cache of deliveries that were taken (`replay.log` in the `data` folder).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplayCache {
    /// Most deliveries remembered for each tenant; beyond it the oldest go first. Default 200000.
    pub max_per_tenant: Option<usize>,
    /// What a mark must outlive before the sender is answered. Default `system`.
    pub sync: ReplaySync,
}

/// What a mark must outlive before the sender is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplaySync {
    /// This process, however it ends; the disk has it a fifth of a second later.
    #[default]
    System,
    /// A power cut: the answer waits for the disk, several at once.
    Disk,
}

/// The text of a mesh message that is signed: the message without `sig` and `signature`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Canonical {
    /// As the mesh's own signers write it: the top level sorted, what is below in its order.
    #[default]
    Mesh,
    /// RFC 8785: every level sorted.
    Jcs,
}
