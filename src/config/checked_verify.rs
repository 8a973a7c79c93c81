//! What the operator's words about signatures mean; see [`checked`](super::checked).

use super::raw::{
    Canonical, Envelope, HmacAlgorithm, HmacEncoding, Mode, OnFailure, ReplayAnswer, ReplaySync, SetupCalls,
};
use crate::secret::Secret;
use ed25519_dalek::VerifyingKey;
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// What must be signed, and what follows from it.
#[derive(Debug)]
pub struct Verify {
    /// As logs, metrics and upstreams are told.
    pub name: &'static str,
    /// Who signs, and how.
    pub scheme: Scheme,
    /// Scheme, host and port as senders know them.
    pub public_url: Option<String>,
    /// Calls at set-up.
    pub setup_calls: SetupCalls,
    /// What becomes of deliveries that were taken before; none where they go on again.
    pub replay: Option<Replay>,
    /// `Bearer …`, to be sent to the upstream; marked sensitive, so that it does not print itself.
    pub hook_token: Option<HeaderValue>,
}

/// What becomes of deliveries that were taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// What they are told; never `Off`.
    pub answer: ReplayAnswer,
    /// How long they are remembered.
    pub keep: Duration,
}

/// The replay cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayCache {
    /// Most deliveries a tenant.
    pub max_per_tenant: usize,
    /// What a mark must outlive before the sender is answered.
    pub sync: ReplaySync,
}

/// Who signs, and how.
#[derive(Debug)]
pub enum Scheme {
    /// Nodes, each message of a body.
    Mesh(MeshRules),
    /// Another service, the request as a whole.
    Sender(Box<Sender>),
}

/// What mesh messages must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeshRules {
    /// Whether unsigned messages pass.
    pub mode: Mode,
    /// What a bad message does.
    pub on_failure: OnFailure,
    /// Where messages sit.
    pub envelope: Envelope,
    /// How far `ts` may be from now.
    pub freshness: Option<Duration>,
    /// The text that is signed.
    pub canonical: Canonical,
}

/// A service that sends webhooks.
#[derive(Debug)]
pub struct Sender {
    /// Which, and what it signs with.
    pub kind: SenderKind,
    /// How far the signed time may be from now.
    pub tolerance: Duration,
}

/// Which service, and what it signs with: at least one secret or key.
#[derive(Debug)]
#[allow(missing_docs, reason = "a variant's fields are its secrets and keys")]
pub enum SenderKind {
    /// GitHub.
    Github { secrets: Vec<Secret> },
    /// Slack.
    Slack { secrets: Vec<Secret> },
    /// Stripe.
    Stripe { secrets: Vec<Secret> },
    /// Standard Webhooks: decoded secrets for `v1`, public keys for `v1a`.
    StandardWebhooks { secrets: Vec<Secret>, keys: Vec<VerifyingKey> },
    /// Discord.
    Discord { keys: Vec<VerifyingKey> },
    /// Telegram.
    Telegram { secrets: Vec<Secret> },
    /// Shopify.
    Shopify { secrets: Vec<Secret> },
    /// Twilio.
    Twilio { secrets: Vec<Secret> },
    /// HTTP message signatures.
    HttpSignatures(HttpSignatures),
    /// As the operator says.
    GenericHmac { secrets: Vec<Secret>, hmac: Hmac },
}

/// Where a signature is and what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// The signature's field.
    pub header: HeaderName,
    /// The hash.
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    pub encoding: HmacEncoding,
    /// Before the signature.
    pub prefix: String,
    /// Between signatures.
    pub separator: Option<String>,
    /// The signed text; holds the body.
    pub signed: Vec<HmacPart>,
    /// The time's field; then `signed` has the time.
    pub timestamp_header: Option<HeaderName>,
    /// The id's field; then `signed` has the id.
    pub id_header: Option<HeaderName>,
}

/// A piece of a signed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HmacPart {
    /// Text for itself.
    Literal(String),
    /// The body.
    Body,
    /// The signed time as it came.
    Timestamp,
    /// The delivery's id.
    Id,
    /// The method.
    Method,
    /// The path without the query.
    Path,
    /// The query without its question mark.
    Query,
    /// The whole URL as the sender saw it.
    Url,
    /// A field's value.
    Header(HeaderName),
}

impl Verify {
    /// What mesh messages must be, where the route takes mesh messages.
    #[must_use]
    pub fn mesh(&self) -> Option<&MeshRules> {
        match &self.scheme {
            Scheme::Mesh(rules) => Some(rules),
            Scheme::Sender(_) => None,
        }
    }
}

/// The tag of Web Bot Auth (draft-meunier-web-bot-auth-architecture).
pub const WEB_BOT_AUTH: &str = "web-bot-auth";

/// What an HTTP message signature must be.
#[derive(Debug)]
pub struct HttpSignatures {
    /// Who may sign; no two with one id.
    pub signers: Vec<Signer>,
    /// What must be covered; `content-digest` only where there is a body.
    pub components: Vec<String>,
    /// What the signature must be tagged with.
    pub tag: Option<String>,
}

impl HttpSignatures {
    /// Whether this is Web Bot Auth: its signatures say themselves until when they are good.
    #[must_use]
    pub fn is_bot(&self) -> bool {
        self.tag.as_deref() == Some(WEB_BOT_AUTH)
    }
}

/// Who may sign.
#[derive(Debug)]
pub struct Signer {
    /// As signatures name it in `keyid`.
    pub id: String,
    /// With what.
    pub key: SignerKey,
}

/// A key, and with it the algorithm.
#[derive(Debug)]
pub enum SignerKey {
    /// Ed25519.
    Ed25519(VerifyingKey),
    /// HMAC-SHA256.
    HmacSha256(Secret),
}
