//! One file a sender: what it signs and where it puts the signature. Here: which of them is asked, and the
//! one place where a secret is used.
//!
//! Each file turns a request into a [`Statement`] without looking at a secret; [`verify`] then decides, in
//! time that does not depend on which secret or signature is right. The sender's first call at set-up is told
//! apart here too.

mod digest;
mod discord;
mod generic;
mod github;
pub(super) mod http_signatures;
mod sample;
mod shopify;
mod slack;
mod standard;
mod stripe;
mod telegram;
mod twilio;
#[cfg(test)]
mod vectors;

pub use sample::{Sample, SampleError, sample};

use super::delivery::{Claim, Delivery, Identity, Proof, Statement, Text, is_fresh};
use super::mac;
use super::mesh::{Failure, Reason};
use super::sig_text::ed25519;
use crate::config::checked::{Sender, SenderKind};
use crate::secret::Secret;
use ed25519_dalek::VerifyingKey;
use subtle::Choice;

/// The one field in which a sender puts its secret itself; it never goes on to the upstream.
pub const SECRET_FIELD: &str = telegram::FIELD;

/// A delivery whose sender is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Which delivery it is.
    pub identity: Identity,
    /// The signed time, where the scheme has one.
    pub moment: Option<u64>,
    /// The key's public name, where the scheme has one.
    pub key_id: Option<String>,
    /// What the sender wants to hear at set-up, in place of the upstream's answer.
    pub setup: Option<Setup>,
}

/// A sender's call at set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setup {
    /// Slack's `url_verification`: the challenge goes back.
    Challenge(String),
    /// Discord's `PING`.
    Ping,
}

impl Setup {
    /// The JSON that the sender waits for.
    #[must_use]
    pub fn answer(&self) -> String {
        match self {
            Self::Challenge(challenge) => serde_json::json!({ "challenge": challenge }).to_string(),
            Self::Ping => r#"{"type":1}"#.to_owned(),
        }
    }
}

/// What a request says it proves.
///
/// # Errors
/// [`Failure`] where it says nothing that could be checked.
pub fn read<'a>(sender: &Sender, delivery: &Delivery<'a>) -> Result<Statement<'a>, Failure> {
    match &sender.kind {
        SenderKind::Github { .. } => github::read(delivery),
        SenderKind::Slack { .. } => slack::read(delivery),
        SenderKind::Stripe { .. } => stripe::read(delivery),
        SenderKind::StandardWebhooks { .. } => standard::read(delivery),
        SenderKind::Discord { .. } => discord::read(delivery),
        SenderKind::Telegram { .. } => telegram::read(delivery),
        SenderKind::Shopify { .. } => shopify::read(delivery),
        SenderKind::Twilio { .. } => twilio::read(delivery),
        SenderKind::GenericHmac { hmac, .. } => generic::read(hmac, delivery),
        SenderKind::HttpSignatures(rules) => http_signatures::statement(rules, delivery),
    }
}

/// Who may sign.
#[derive(Debug, Clone, Copy)]
struct Keys<'a> {
    secrets: &'a [Secret],
    public: &'a [VerifyingKey],
}

fn keys(sender: &Sender) -> Keys<'_> {
    match &sender.kind {
        SenderKind::Github { secrets }
        | SenderKind::Slack { secrets }
        | SenderKind::Stripe { secrets }
        | SenderKind::Telegram { secrets }
        | SenderKind::Shopify { secrets }
        | SenderKind::Twilio { secrets }
        | SenderKind::GenericHmac { secrets, .. } => Keys { secrets, public: &[] },
        // Which of its keys counts, the signature says.
        SenderKind::HttpSignatures(_) => Keys { secrets: &[], public: &[] },
        SenderKind::Discord { keys } => Keys { secrets: &[], public: keys },
        SenderKind::StandardWebhooks { secrets, keys } => Keys { secrets, public: keys },
    }
}

/// Decides over a delivery.
///
/// The time comes first: what is too old is said to be stale whether or not it ever was genuine, which tells
/// a stranger nothing.
///
/// # Errors
/// [`Failure`] when it must not go on.
pub fn verify(sender: &Sender, delivery: &Delivery<'_>) -> Result<Proved, Failure> {
    if let SenderKind::HttpSignatures(rules) = &sender.kind {
        return http_signatures::verify(rules, sender.tolerance, delivery);
    }
    let statement = read(sender, delivery)?;
    if let Some(moment) = statement.moment
        && !is_fresh(moment, delivery.now_unix, sender.tolerance)
    {
        return Err(Reason::Stale.into());
    }
    if !holds(&statement, keys(sender)) {
        return Err(Reason::SignatureInvalid.into());
    }
    let setup = match &sender.kind {
        SenderKind::Slack { .. } => slack::setup(delivery.body),
        SenderKind::Discord { .. } => discord::setup(delivery.body),
        SenderKind::Github { .. }
        | SenderKind::Stripe { .. }
        | SenderKind::StandardWebhooks { .. }
        | SenderKind::Telegram { .. }
        | SenderKind::Shopify { .. }
        | SenderKind::Twilio { .. }
        | SenderKind::GenericHmac { .. }
        | SenderKind::HttpSignatures(_) => None,
    };
    Ok(Proved { identity: statement.identity, moment: statement.moment, key_id: None, setup })
}

fn holds(statement: &Statement<'_>, keys: Keys<'_>) -> bool {
    let mut held = Choice::from(0);
    for text in &statement.texts {
        for claim in &statement.claims {
            held |= claim_holds(claim, text, keys);
        }
    }
    held.into()
}

fn claim_holds(claim: &Claim, text: &Text<'_>, keys: Keys<'_>) -> Choice {
    let pieces = || text.iter().map(AsRef::as_ref);
    let none = Choice::from(0);
    match claim.proof {
        Proof::Mac(algorithm) => keys.secrets.iter().fold(none, |held, secret| {
            held | mac::same(&mac::tag(algorithm, secret, pieces()), &claim.bytes)
        }),
        // Hashed first, so that the time does not tell the secret's length.
        Proof::Token => keys.secrets.iter().fold(none, |held, secret| {
            held | mac::same(&Identity::of([secret.expose()]).0, &Identity::of([&*claim.bytes]).0)
        }),
        Proof::Ed25519 => {
            let Some(sig) = ed25519(&claim.bytes) else { return none };
            let whole: Vec<u8> = pieces().collect::<Vec<_>>().concat();
            let good = keys.public.iter().any(|key| key.verify_strict(&whole, &sig).is_ok());
            Choice::from(u8::from(good))
        }
    }
}

/// Lower-case hex, which is what all of these senders write: one signature has one spelling.
fn hex(text: &str) -> Option<Vec<u8>> {
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_lower { ::hex::decode(text).ok() } else { None }
}

/// Base64 in the standard alphabet with its padding, in its one spelling; nothing else.
fn base64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A statement over one text with one signature. One that cannot be decoded is no signature at all and so
/// holds for nothing.
fn one(
    proof: Proof,
    sig: Option<Vec<u8>>,
    text: Text<'_>,
    moment: Option<u64>,
    identity: Identity,
) -> Statement<'_> {
    let claims = sig.map(|bytes| Claim { proof, bytes }).into_iter().collect();
    Statement { texts: vec![text], claims, moment, identity }
}
