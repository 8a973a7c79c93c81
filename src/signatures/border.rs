//! The border between meshes: which messages may cross it, and how they are named on the other side.
//!
//! Memories and skills cross, by what the operator granted; all else stays. What comes in is named anew:
//! `nodeId` (or `sourceNode`) `ceo` of the mesh `hq` becomes `external:hq:ceo`, whatever the node had called
//! itself, and its signature, which no longer fits, goes. What goes out is signed with the edge's own key where
//! the operator says so. This file knows no routes, no peers' addresses and no clock.

use super::canonical::{Canonicaliser, Field, Message, Shape, utf8};
use super::keys::Key;
use super::malformed::Malformed;
use super::mesh::{Texts, holding};
use super::{sig_text, sign};
use crate::config::checked::{Canonical, Grant};
use crate::ids::{MeshId, NodeId};
use ed25519_dalek::SigningKey;
use std::ops::Range;
use std::sync::Arc;

/// How nodes of other meshes are called.
const EXTERNAL: &str = "external:";

/// What messages of a mesh must be to come in.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// The mesh.
    pub mesh: &'a MeshId,
    /// This side's id there.
    pub own: Option<&'a MeshId>,
    /// What may come in.
    pub accept: &'a [Grant],
    /// The mesh's keys; none where messages need no signature.
    pub keys: Option<&'a [Key]>,
    /// Unix seconds.
    pub now_unix: f64,
}

/// What messages must be to go out to a mesh.
#[derive(Debug, Clone, Copy)]
pub struct Outbound<'a> {
    /// The mesh.
    pub mesh: &'a MeshId,
    /// What may go out.
    pub share: &'a [Grant],
    /// What they are signed with.
    pub sign: Option<&'a SigningKey>,
}

/// Why a message stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// No signature, where one is required.
    SignatureMissing,
    /// One that is none, or does not hold.
    SignatureInvalid,
    /// It names a key that the mesh does not have.
    KeyUnknown,
    /// It can be read in more than one way, or lacks what a message has.
    Malformed,
    /// Neither a memory nor a skill.
    Kind,
    /// Nothing that was granted.
    NotGranted,
    /// It came from there.
    Echo,
}

impl Bar {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::SignatureMissing,
        Self::SignatureInvalid,
        Self::KeyUnknown,
        Self::Malformed,
        Self::Kind,
        Self::NotGranted,
        Self::Echo,
    ];

    /// The stable word for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureInvalid => "signature_invalid",
            Self::KeyUnknown => "key_unknown",
            Self::Malformed => "malformed",
            Self::Kind => "kind",
            Self::NotGranted => "not_granted",
            Self::Echo => "echo",
        }
    }
}

/// What is on the other side of the border.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crossing {
    /// One message or an array, as the body was.
    pub body: Vec<u8>,
    /// Messages that crossed.
    pub passed: usize,
    /// Of those, the ones whose signature was held against the mesh's keys.
    pub verified: usize,
    /// The keys that held, each once.
    pub key_ids: Vec<Arc<str>>,
    barred: [usize; Bar::ALL.len()],
}

impl Crossing {
    /// Messages that stayed.
    #[must_use]
    pub fn barred(&self) -> usize {
        self.barred.iter().sum()
    }

    /// The reasons that occurred, and how often.
    pub fn by_reason(&self) -> impl Iterator<Item = (Bar, usize)> + '_ {
        Bar::ALL.into_iter().zip(self.barred).filter(|&(_, count)| count > 0)
    }

    fn put(&mut self, shape: Shape, message: Result<Vec<u8>, Bar>) {
        match message {
            Err(bar) => self.barred[bar as usize] += 1,
            Ok(message) => {
                if self.passed > 0 {
                    self.body.push(b',');
                } else if shape == Shape::Batch {
                    self.body.push(b'[');
                }
                self.body.extend_from_slice(&message);
                self.passed += 1;
            }
        }
    }

    fn finish(&mut self, shape: Shape) {
        if self.passed > 0 && shape == Shape::Batch {
            self.body.push(b']');
        }
    }
}

/// Takes in what a mesh sent: one message or an array.
///
/// # Errors
/// [`Malformed`] where no message can be told from the next.
pub fn inbound(body: &[u8], border: &Inbound<'_>) -> Result<Crossing, Malformed> {
    let (mut reader, mut picker) = (Canonicaliser::default(), Canonicaliser::default());
    let document = reader.read(body)?;
    let mut crossing = Crossing::default();
    for (_, content) in document.elements() {
        let come = content.map_err(|_| Bar::Malformed).and_then(|message| {
            let about = About::of(&message, &mut picker)?;
            let named = enter(&message, &about, border, &mut crossing)?;
            Ok(named.into_bytes())
        });
        crossing.put(document.shape(), come);
    }
    crossing.finish(document.shape());
    Ok(crossing)
}

/// The message's text on this side.
fn enter(
    message: &Message<'_>,
    about: &About<'_>,
    border: &Inbound<'_>,
    crossing: &mut Crossing,
) -> Result<String, Bar> {
    if let Some(keys) = border.keys {
        let key = signed((about.text, message), keys, border.now_unix)?;
        crossing.verified += 1;
        if !crossing.key_ids.contains(&key.id) {
            crossing.key_ids.push(key.id.clone());
        }
    }
    if !about.is_granted(border.accept) {
        return Err(Bar::NotGranted);
    }
    if border.own.is_some_and(|own| about.is_of(own)) {
        return Err(Bar::Echo);
    }
    let named = format!("{EXTERNAL}{}:{}", border.mesh, about.author);
    NodeId::parse(&named).map_err(|_| Bar::Malformed)?;
    let Range { start, end } = about.author_at.clone();
    Ok(format!("{}{}{}", &about.text[..start], serde_json::Value::from(named), &about.text[end..]))
}

fn signed<'k>((raw, message): (&str, &Message<'_>), keys: &'k [Key], now_unix: f64) -> Result<&'k Key, Bar> {
    let sig = match message.sig {
        Field::Absent => return Err(Bar::SignatureMissing),
        Field::NotText => return Err(Bar::SignatureInvalid),
        Field::Text(text) => sig_text::parse(text).ok_or(Bar::SignatureInvalid)?,
    };
    let kid = match message.kid {
        Field::Absent => None,
        Field::Text(kid) => Some(kid),
        Field::NotText => return Err(Bar::KeyUnknown),
    };
    if !keys.iter().any(|key| key.counts(kid, now_unix)) {
        return Err(Bar::KeyUnknown);
    }
    let texts = Texts { raw, form: Canonical::Mesh, text: message.canonical };
    holding(keys, (kid, now_unix), texts, &sig).ok_or(Bar::SignatureInvalid)
}

/// Picks out what may go to a mesh: of one message or an array.
///
/// # Errors
/// [`Malformed`] where no message can be told from the next.
pub fn outbound(messages: &[u8], border: &Outbound<'_>) -> Result<Crossing, Malformed> {
    let (mut reader, mut picker) = (Canonicaliser::default(), Canonicaliser::default());
    let document = reader.read(messages)?;
    let mut crossing = Crossing::default();
    for (raw, content) in document.elements() {
        let gone = content.map_err(|_| Bar::Malformed).and_then(|message| {
            let about = About::of(&message, &mut picker)?;
            if !about.is_granted(border.share) {
                return Err(Bar::NotGranted);
            }
            if about.is_of(border.mesh) {
                return Err(Bar::Echo);
            }
            let sign = |key| sign::signed(&message, key);
            Ok(border.sign.map_or_else(|| raw.as_bytes().to_vec(), sign))
        });
        crossing.put(document.shape(), gone);
    }
    crossing.finish(document.shape());
    Ok(crossing)
}

/// What decides whether a message crosses.
struct About<'t> {
    /// Its canonical text, where its author stands at `author_at`.
    text: &'t str,
    author: String,
    author_at: Range<usize>,
    what: What,
}

enum What {
    Memory { scope: String, key: String },
    Skill { name: String },
}

impl<'t> About<'t> {
    fn of(message: &Message<'t>, picker: &mut Canonicaliser) -> Result<Self, Bar> {
        let text = utf8(message.canonical).map_err(|_| Bar::Malformed)?;
        let names = ["scope", "key", "name", "nodeId", "sourceNode"];
        let [scope, key, name, node, source] = picker.pick(text, names).map_err(|_| Bar::Malformed)?;
        // A string with half a character in it is nobody's name.
        let string = |at: Option<Range<usize>>| {
            at.and_then(|at| serde_json::from_str::<String>(&text[at]).ok()).ok_or(Bar::Malformed)
        };
        let (author_at, what) = match message.kind {
            Field::Text("memory") => (node, What::Memory { scope: string(scope)?, key: string(key)? }),
            Field::Text("skill") => (source, What::Skill { name: string(name)? }),
            Field::Text(_) | Field::NotText | Field::Absent => return Err(Bar::Kind),
        };
        let author = string(author_at.clone())?;
        Ok(Self { text, author, author_at: author_at.ok_or(Bar::Malformed)?, what })
    }

    fn is_granted(&self, grants: &[Grant]) -> bool {
        grants.iter().any(|grant| match (grant, &self.what) {
            (Grant::Scope(granted), What::Memory { scope, .. }) => granted == scope,
            (Grant::Key { scope: in_scope, key: granted }, What::Memory { scope, key }) => {
                in_scope == scope && granted == key
            }
            (Grant::Skill(granted), What::Skill { name }) => granted == name,
            (Grant::AnySkill, What::Skill { .. }) => true,
            (Grant::Scope(_) | Grant::Key { .. }, What::Skill { .. })
            | (Grant::Skill(_) | Grant::AnySkill, What::Memory { .. }) => false,
        })
    }

    /// Whether its author is a node of this mesh.
    fn is_of(&self, mesh: &MeshId) -> bool {
        let rest = self.author.strip_prefix(EXTERNAL).and_then(|rest| rest.strip_prefix(mesh.as_str()));
        rest.is_some_and(|rest| rest.starts_with(':'))
    }
}

/// For whom something is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every mesh.
    All,
    /// These.
    Meshes(Vec<String>),
}

/// Why a body is nothing that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LetterFault {
    /// It cannot be read.
    #[error("cannot be read")]
    Malformed(#[from] Malformed),
    /// The audience is neither `all` nor a mesh nor a list of meshes.
    #[error("names no audience")]
    Audience,
    /// It asks for a unit or a theater, which the edge knows nothing of.
    #[error("asks for a unit or a theater")]
    Target,
}

/// What is shared, and for whom: a message, an array, or `{ messages, audience }`.
///
/// # Errors
/// [`LetterFault`].
pub fn letter(body: &[u8]) -> Result<(&[u8], Audience), LetterFault> {
    let text = utf8(body)?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Ok((body, Audience::All));
    }
    let names = ["type", "messages", "audience", "targetUnit", "targetTheater"];
    let [kind, messages, audience, unit, theater] = Canonicaliser::default().pick(text, names)?;
    let Some(messages) = messages.filter(|_| kind.is_none()) else { return Ok((body, Audience::All)) };
    let is_set = |at: &Option<Range<usize>>| at.clone().is_some_and(|at| &text[at] != "null");
    if is_set(&unit) || is_set(&theater) {
        return Err(LetterFault::Target);
    }
    let read = |at: Range<usize>| serde_json::from_str(&text[at]).map_err(|_| LetterFault::Audience);
    let audience = match audience.map(read).transpose()? {
        None | Some(Named::Nobody) => Audience::All,
        Some(Named::One(one)) if one == "all" => Audience::All,
        Some(Named::One(one)) => Audience::Meshes(vec![one]),
        Some(Named::Many(many)) => Audience::Meshes(many),
    };
    Ok((&body[messages], audience))
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Named {
    One(String),
    Many(Vec<String>),
    Nobody,
}

/// Each message of a body, one or an array, signed; see [`sign::sign`].
///
/// # Errors
/// [`Malformed`] where there is a message without a canonical text.
pub fn sign_all(body: &[u8], key: &SigningKey, form: Canonical) -> Result<Vec<u8>, Malformed> {
    match sign::sign_as(body, key, form) {
        Ok(signed) => Ok(signed),
        Err(sign::SignError::Message(fault)) => Err(fault),
        Err(_) => Err(Malformed::NotAnObject),
    }
}

#[cfg(test)]
#[path = "border_tests.rs"]
mod tests;
