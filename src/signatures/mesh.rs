//! One answer for a whole body: forward it, forward less of it, or refuse it and why.
//!
//! Verification is strict: keys of small order, signatures with S outside its range or R of small order
//! do not hold. What is told outside is a code; it never says which nodes have keys. Time comes in as an
//! argument.

use super::canonical::{Canonicaliser, Document, Field, Message, Shape};
use super::delivery::Identity;
use super::envelope::{Wrapping, messages, wrapping};
use super::keys::{Key, KeyRegistry};
use super::malformed::Malformed;
use super::multiples::{Expected, are_they};
use super::sig_text;
use crate::config::checked::{Canonical, MeshRules, Mode, OnFailure};
use crate::ids::{NodeId, TenantId};
use ed25519_dalek::Signature;
use std::sync::Arc;
use std::time::Duration;

/// Most keys that an answer names.
const MAX_KEY_IDS: usize = 8;
/// Arrays shorter than this are verified one by one.
const FEW: usize = 4;
/// Most messages that are verified together: what is refused early costs no more than so many.
const TOGETHER: usize = 64;

/// What a body is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What the route asks for.
    pub policy: &'a MeshRules,
    /// Whose nodes may sign.
    pub tenant: &'a TenantId,
    /// Their keys.
    pub keys: &'a KeyRegistry,
    /// The request's query, without its question mark.
    pub query: Option<&'a str>,
    /// Unix seconds.
    pub now_unix: f64,
    /// Whether a message was taken before; none where that does not matter.
    pub taken: Option<Taken<'a>>,
}

/// Says whether a message was taken before.
#[derive(Clone, Copy)]
pub struct Taken<'a>(pub &'a dyn Fn(&Identity) -> bool);

impl std::fmt::Debug for Taken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Taken")
    }
}

/// Buffers for [`verify`]; keep and use again.
#[derive(Debug, Default)]
pub struct Scratch {
    reader: Canonicaliser,
    inner: Vec<u8>,
}

/// What goes on to the service behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// The body, byte for byte.
    AsIs,
    /// An array of the messages that were good, each as it came.
    Rewritten(Vec<u8>),
}

/// A body that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What goes on.
    pub forward: Forward,
    /// Messages whose signature held.
    pub verified: usize,
    /// Messages that passed without one.
    pub unsigned: usize,
    /// Messages that were taken out.
    pub dropped: Dropped,
    /// The node that signed the first good message.
    pub signer: Option<NodeId>,
    /// The keys that held, each once; of very many only the first.
    pub key_ids: Vec<Arc<str>>,
    /// What names the signed messages, where it matters whether they were taken before.
    pub identities: Vec<Identity>,
}

/// How many messages were taken out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped([usize; Reason::ALL.len()]);

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }

    /// The reasons that occurred, and how often.
    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, usize)> + '_ {
        Reason::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }

    fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

/// Why a message is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No `sig` and no `signature`, where one is required.
    SignatureMissing,
    /// One that is no signature, or does not hold.
    SignatureInvalid,
    /// The message names no node, or one without a key in this tenant.
    KeyUnknown,
    /// `ts` is too far from now, or not there.
    Stale,
    /// It was taken before, or stands twice in one body.
    Replayed,
    /// No JSON, no object, or readable in more than one way.
    Malformed,
    /// More messages than are looked at; told outside as malformed.
    TooMany,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::SignatureMissing,
        Self::SignatureInvalid,
        Self::KeyUnknown,
        Self::Stale,
        Self::Replayed,
        Self::Malformed,
        Self::TooMany,
    ];

    /// The stable word for answers, logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureInvalid => "signature_invalid",
            Self::KeyUnknown => "key_unknown",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Malformed | Self::TooMany => "malformed",
        }
    }
}

/// A body that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is refused: {}", reason.code())]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// Which message of a batch; none where it is the body as a whole.
    pub index: Option<usize>,
    /// What is wrong with the text, for the operator's log.
    #[source]
    pub detail: Option<Malformed>,
}

impl From<Malformed> for Failure {
    fn from(detail: Malformed) -> Self {
        let reason = match detail {
            Malformed::TooMany { .. } => Reason::TooMany,
            _ => Reason::Malformed,
        };
        Self { reason, index: None, detail: Some(detail) }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, index: None, detail: None }
    }
}

/// Checks every message in a body.
///
/// Inside envelopes nothing can be taken out, so there a bad message refuses the whole in any case.
///
/// # Errors
/// [`Failure`] when the body must not go on.
pub fn verify(body: &[u8], context: &Context<'_>, scratch: &mut Scratch) -> Result<Verified, Failure> {
    let wrapping = wrapping(context.policy.envelope, context.query)?;
    let Scratch { reader, inner } = scratch;
    let text = messages(body, wrapping, context.policy.mode, inner, reader)?;
    let document = reader.read_as(text, context.policy.canonical)?;
    match (context.policy.on_failure, wrapping) {
        (OnFailure::Drop, Wrapping::None) => Ok(sieve(&document, context)),
        (OnFailure::Drop | OnFailure::Reject, _) => all_or_nothing(&document, context),
    }
}

/// What one good message was.
#[derive(Clone, Copy)]
enum Standing<'a> {
    Signed { node: &'a NodeId, key_id: &'a Arc<str>, identity: Option<Identity> },
    Unsigned,
}

fn all_or_nothing(document: &Document<'_>, context: &Context<'_>) -> Result<Verified, Failure> {
    let mut answer = Verified::none();
    let mut replayed = None;
    let mut ahead = Ahead::default();
    for (index, (raw, content)) in document.elements().enumerate() {
        let at = |failure| Failure { index: (document.shape() == Shape::Batch).then_some(index), ..failure };
        let held = ahead.of(document, index, context);
        let standing = judge(raw, content, held, context).map_err(at)?;
        if answer.count(standing, context) == Count::Replayed {
            replayed.get_or_insert(at(Reason::Replayed.into()));
        }
    }
    match replayed {
        // Nothing in it is new: it is the whole body that came again.
        Some(failure) if answer.verified + answer.unsigned == 0 => Err(Failure { index: None, ..failure }),
        Some(failure) => Err(failure),
        None => Ok(answer),
    }
}

fn sieve(document: &Document<'_>, context: &Context<'_>) -> Verified {
    let mut answer = Verified::none();
    // Written from the first message that is taken out; before that the body may yet go on as it is.
    let mut kept: Option<Vec<u8>> = None;
    let mut ahead = Ahead::default();
    for (index, (raw, content)) in document.elements().enumerate() {
        let held = ahead.of(document, index, context);
        let counted =
            judge(raw, content, held, context).map_err(|failure| failure.reason).and_then(|standing| {
                match answer.count(standing, context) {
                    Count::New => Ok(()),
                    Count::Replayed => Err(Reason::Replayed),
                }
            });
        match counted {
            Ok(()) => {
                if let Some(kept) = &mut kept {
                    append(kept, raw);
                }
            }
            Err(reason) => {
                answer.dropped.count(reason);
                kept.get_or_insert_with(|| {
                    let mut before = vec![b'['];
                    document.elements().take(index).for_each(|(raw, _)| append(&mut before, raw));
                    before
                });
            }
        }
    }
    if let Some(mut kept) = kept {
        kept.push(b']');
        answer.forward = Forward::Rewritten(kept);
    }
    answer
}

fn append(array: &mut Vec<u8>, element: &str) {
    if array.len() > 1 {
        array.push(b',');
    }
    array.extend_from_slice(element.as_bytes());
}

/// Verdicts over the next messages of an array, found together. Each is the one that its message has alone.
#[derive(Default)]
struct Ahead {
    verdicts: Vec<Option<bool>>,
}

impl Ahead {
    /// Whether the signature of this message holds, where that was found together with others.
    fn of(&mut self, document: &Document<'_>, index: usize, context: &Context<'_>) -> Option<bool> {
        if document.len() < FEW {
            return None;
        }
        if index.is_multiple_of(TOGETHER) {
            self.look(document, index, context);
        }
        self.verdicts.get(index % TOGETHER).copied().flatten()
    }

    fn look(&mut self, document: &Document<'_>, index: usize, context: &Context<'_>) {
        self.verdicts.clear();
        let (mut places, mut points, mut sigs) = (Vec::new(), Vec::new(), Vec::new());
        for (_, content) in document.elements().skip(index).take(TOGETHER) {
            let place = self.verdicts.len();
            self.verdicts.push(None);
            let Some((key, text, sig)) = content.ok().and_then(|message| single(&message, context)) else {
                continue;
            };
            match key.expected(text, &sig) {
                Expected::Unknown => {}
                Expected::Nothing => self.verdicts[place] = Some(false),
                Expected::Point(point) => {
                    places.push(place);
                    points.push(point);
                    sigs.push(sig);
                }
            }
        }
        for (place, held) in places.into_iter().zip(are_they(&points, &sigs)) {
            self.verdicts[place] = Some(held);
        }
    }
}

/// The one key that counts for a message, the text and the signature; nothing where it is not one.
fn single<'a, 'm>(message: &Message<'m>, context: &Context<'a>) -> Option<(&'a Key, &'m [u8], Signature)> {
    let sig = sig_text::parse(message.sig.text()?)?;
    let node = if message.kind == Field::Text("skill") { message.source } else { message.node };
    let (_, keys) = context.keys.find(context.tenant, node.text()?)?;
    let kid = match message.kid {
        Field::Absent => None,
        Field::Text(kid) => Some(kid),
        Field::NotText => return None,
    };
    let mut counting = keys.iter().filter(|key| key.counts(kid, context.now_unix));
    let key = counting.next().filter(|_| counting.next().is_none())?;
    // One that signs another text than the route's is looked at by itself.
    let form = context.policy.canonical;
    (key.canonical.unwrap_or(form) == form).then_some((key, message.canonical, sig))
}

fn judge<'a>(
    raw: &str,
    element: Result<Message<'_>, Malformed>,
    held: Option<bool>,
    context: &Context<'a>,
) -> Result<Standing<'a>, Failure> {
    match (element, context.policy.mode) {
        (Ok(message), mode) => Ok(judge_message((raw, &message), held, mode, context)?),
        // What is no object cannot be a message; nobody behind reads it as one.
        (Err(Malformed::NotAnObject), Mode::Optional) => Ok(Standing::Unsigned),
        (Err(detail), _) => Err(detail.into()),
    }
}

fn judge_message<'a>(
    (raw, message): (&str, &Message<'_>),
    held: Option<bool>,
    mode: Mode,
    context: &Context<'a>,
) -> Result<Standing<'a>, Reason> {
    let sig = match (message.sig, mode) {
        (Field::Absent, Mode::Required) => return Err(Reason::SignatureMissing),
        (Field::Absent, Mode::Optional) => return Ok(Standing::Unsigned),
        (Field::NotText, _) => return Err(Reason::SignatureInvalid),
        (Field::Text(text), _) => sig_text::parse(text).ok_or(Reason::SignatureInvalid)?,
    };
    let node = if message.kind == Field::Text("skill") { message.source } else { message.node };
    let node = node.text().ok_or(Reason::KeyUnknown)?;
    let (node, keys) = context.keys.find(context.tenant, node).ok_or(Reason::KeyUnknown)?;
    let kid = match message.kid {
        Field::Absent => None,
        Field::Text(kid) => Some(kid),
        Field::NotText => return Err(Reason::KeyUnknown),
    };
    let asked = (kid, context.now_unix);
    let found = match held {
        // Found together with others; then one key counts.
        Some(held) => keys.iter().find(|key| key.counts(kid, context.now_unix)).filter(|_| held),
        None => {
            holding(keys, asked, Texts { raw, form: context.policy.canonical, text: message.canonical }, &sig)
        }
    };
    let Some(key) = found else {
        let is_known = keys.iter().any(|key| key.counts(kid, context.now_unix));
        return Err(if is_known { Reason::SignatureInvalid } else { Reason::KeyUnknown });
    };
    // After the signature: an unsigned `ts` proves nothing, and "stale" should mean that it was good once.
    match context.policy.freshness {
        Some(window) if !is_fresh(message.ts, window, context.now_unix) => Err(Reason::Stale),
        Some(_) | None => {
            let identity = context.taken.map(|_| Identity::of([b"mesh".as_slice(), message.canonical]));
            Ok(Standing::Signed { node, key_id: &key.id, identity })
        }
    }
}

/// The one of a node's keys for which a signature holds, by the strict rules, of those that count.
pub(super) fn holding<'k>(
    keys: &'k [Key],
    (kid, now_unix): (Option<&str>, f64),
    texts: Texts<'_>,
    sig: &Signature,
) -> Option<&'k Key> {
    let mut counting = keys.iter().filter(|key| key.counts(kid, now_unix));
    counting.find(|key| texts.hold(key, sig))
}

/// What may be signed of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a> {
    /// The message as it came.
    pub(super) raw: &'a str,
    /// The route's form.
    pub(super) form: Canonical,
    /// The message in that form.
    pub(super) text: &'a [u8],
}

impl Texts<'_> {
    fn hold(&self, key: &Key, sig: &Signature) -> bool {
        match key.canonical {
            Some(form) if form != self.form => self.in_form(form).is_some_and(|text| key.holds(&text, sig)),
            Some(_) | None => key.holds(self.text, sig),
        }
    }

    /// The message in the form of a key that signs another than the route's; none where it has none.
    fn in_form(&self, form: Canonical) -> Option<Vec<u8>> {
        let mut reader = Canonicaliser::default();
        let document = reader.read_as(self.raw.as_bytes(), form).ok()?;
        let message = document.elements().next()?.1.ok()?;
        Some(message.canonical.to_vec())
    }
}

fn is_fresh(ts: Option<f64>, window: Duration, now_unix: f64) -> bool {
    ts.is_some_and(|ts| (now_unix - ts).abs() <= window.as_secs_f64())
}

/// Whether a good message is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    New,
    Replayed,
}

impl Verified {
    /// A body that one signature covers as a whole.
    #[must_use]
    pub fn whole() -> Self {
        Self { verified: 1, ..Self::none() }
    }

    fn none() -> Self {
        Self {
            forward: Forward::AsIs,
            verified: 0,
            unsigned: 0,
            dropped: Dropped::default(),
            signer: None,
            key_ids: Vec::new(),
            identities: Vec::new(),
        }
    }

    fn count(&mut self, standing: Standing<'_>, context: &Context<'_>) -> Count {
        match standing {
            Standing::Unsigned => self.unsigned += 1,
            Standing::Signed { node, key_id, identity } => {
                if let (Some(identity), Some(Taken(taken))) = (identity, context.taken) {
                    if taken(&identity) || self.identities.contains(&identity) {
                        return Count::Replayed;
                    }
                    self.identities.push(identity);
                }
                self.verified += 1;
                self.signer.get_or_insert_with(|| node.clone());
                if self.key_ids.len() < MAX_KEY_IDS && !self.key_ids.contains(key_id) {
                    self.key_ids.push(key_id.clone());
                }
            }
        }
        Count::New
    }
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;
