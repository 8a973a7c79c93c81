//! Cuts a body into mesh messages and gives each one's canonical text: what a signature is made over.
//!
//! The text is the message without `sig` and `signature`, its top-level members sorted by UTF-16 code
//! unit (array indexes first), everything else as `JSON.stringify` writes what `JSON.parse` read; or, where
//! the route says `jcs`, the members of every object sorted by UTF-16 code unit alone (RFC 8785). On the
//! same walk the members that verification asks for are picked out. This file knows nothing of keys.

use super::malformed::Malformed;
use super::names::{Member, Piece};
use super::scan::{Buffers, Scan, join};
use super::strings::decode;
use crate::config::checked::Canonical;
use std::ops::Range;

/// Most messages in one body.
pub const MAX_MESSAGES: usize = 1024;

/// Buffers above this many bytes are given back before the next body.
const KEPT_BYTES: usize = 1 << 20;

/// Members above this many are given back before the next body.
const KEPT_MEMBERS: usize = 1 << 13;

/// Reads bodies. Keep one and use it again: once its buffers have grown it allocates no more.
#[derive(Debug, Default)]
pub struct Canonicaliser {
    buffers: Buffers,
    canonical: Vec<u8>,
    records: Vec<Record>,
}

/// What one element of a body is; offsets only, so that it can be kept beside the buffers.
#[derive(Debug)]
struct Record {
    raw: Range<usize>,
    content: Result<Found, Malformed>,
}

/// A message's parts.
#[derive(Debug)]
struct Found {
    canonical: Range<usize>,
    kind: Place,
    node: Place,
    source: Place,
    sig: Place,
    kid: Place,
    ts: Option<f64>,
}

/// Where a member's text is.
#[derive(Debug)]
enum Place {
    Absent,
    NotText,
    Text(Piece),
}

/// A member that should be text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// The message has no such member.
    Absent,
    /// It has one, but no string, or one with half a character in it.
    NotText,
    /// The decoded string.
    Text(&'a str),
}

impl<'a> Field<'a> {
    /// The text, if there is one.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::NotText => None,
        }
    }
}

/// One message, as verification sees it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The canonical text.
    pub canonical: &'a [u8],
    /// `type`.
    pub kind: Field<'a>,
    /// `nodeId`.
    pub node: Field<'a>,
    /// `sourceNode`.
    pub source: Field<'a>,
    /// `sig`, else `signature`.
    pub sig: Field<'a>,
    /// `kid`.
    pub kid: Field<'a>,
    /// `ts`, if it is a number.
    pub ts: Option<f64>,
}

/// Whether a body is one message or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Single,
    /// An array.
    Batch,
}

/// A body that was read.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    body: &'a str,
    shape: Shape,
    scratch: &'a Canonicaliser,
}

impl<'a> Document<'a> {
    /// One message or an array.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scratch.records.len()
    }

    /// Whether it is an empty array.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scratch.records.is_empty()
    }

    /// Each element in order: its text as it came, and what it is.
    pub fn elements(&self) -> impl Iterator<Item = (&'a str, Result<Message<'a>, Malformed>)> + use<'a> {
        let (body, scratch) = (self.body, self.scratch);
        scratch.records.iter().map(move |record| {
            let content = record.content.as_ref().map_err(|fault| *fault);
            (&body[record.raw.clone()], content.map(|found| scratch.message(found, body)))
        })
    }
}

impl Canonicaliser {
    /// Reads a body: one value, or an array of them.
    ///
    /// # Errors
    /// [`Malformed`] where no element can be told from the next. A fault inside one element, and an
    /// element that is no object, is told by [`Document::elements`].
    pub fn read<'a>(&'a mut self, body: &'a [u8]) -> Result<Document<'a>, Malformed> {
        self.read_as(body, Canonical::Mesh)
    }

    /// [`read`](Self::read), in one canonical form or the other.
    ///
    /// # Errors
    /// As for [`read`](Self::read); with [`Canonical::Jcs`] half a character in a string is a fault too.
    pub fn read_as<'a>(&'a mut self, body: &'a [u8], form: Canonical) -> Result<Document<'a>, Malformed> {
        self.give_back();
        let body = utf8(body)?;
        let Self { buffers, canonical, records } = &mut *self;
        let mut walk = Walk { scan: Scan::new(body, buffers, form), canonical, records };
        let shape = walk.document()?;
        Ok(Document { body, shape, scratch: self })
    }

    /// Reads one object, of which only the named members are asked for: where their values stand.
    /// Any fault anywhere in it is an error.
    pub(super) fn pick<const N: usize>(
        &mut self,
        text: &str,
        names: [&str; N],
    ) -> Result<[Option<Range<usize>>; N], Malformed> {
        let mut scan = Scan::new(text, &mut self.buffers, Canonical::Mesh);
        scan.space();
        let base = scan.members(1)?;
        finish(&mut scan)?;
        let members = &scan.buffers.members[base..];
        let decoded = &scan.buffers.decoded;
        let find = |name: &str| {
            let is_it = |member: &&Member| member.name.bytes(text, decoded) == name.as_bytes();
            members.iter().find(is_it).map(|member| member.value.clone())
        };
        if find("__proto__").is_some() {
            return Err(Malformed::Prototype);
        }
        scan.fault.map_or_else(|| Ok(names.map(find)), Err)
    }

    fn message<'a>(&'a self, found: &Found, body: &'a str) -> Message<'a> {
        let field = |place: &Place| match place {
            Place::Absent => Field::Absent,
            Place::NotText => Field::NotText,
            Place::Text(piece) => std::str::from_utf8(piece.bytes(body, &self.buffers.decoded))
                .map_or(Field::NotText, Field::Text),
        };
        Message {
            canonical: &self.canonical[found.canonical.clone()],
            kind: field(&found.kind),
            node: field(&found.node),
            source: field(&found.source),
            sig: field(&found.sig),
            kid: field(&found.kid),
            ts: found.ts,
        }
    }

    /// One huge body must not hold its memory for good.
    fn give_back(&mut self) {
        self.canonical.clear();
        self.records.clear();
        let Buffers { out, members, decoded, spare } = &mut self.buffers;
        for buffer in [&mut self.canonical, out, decoded, spare] {
            if buffer.capacity() > KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        if members.capacity() > KEPT_MEMBERS {
            *members = Vec::new();
        }
    }
}

pub(super) fn utf8(body: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(body).map_err(|error| Malformed::NotUtf8 { at: error.valid_up_to() })
}

fn finish(scan: &mut Scan<'_, '_>) -> Result<(), Malformed> {
    scan.space();
    if scan.at == scan.body.len() { Ok(()) } else { Err(scan.syntax()) }
}

/// A walk over a whole body.
struct Walk<'b, 's> {
    scan: Scan<'b, 's>,
    canonical: &'s mut Vec<u8>,
    records: &'s mut Vec<Record>,
}

impl Walk<'_, '_> {
    fn document(&mut self) -> Result<Shape, Malformed> {
        self.scan.space();
        let shape = if self.scan.peek() == Some(b'[') {
            self.batch()?;
            Shape::Batch
        } else {
            self.element()?;
            Shape::Single
        };
        finish(&mut self.scan)?;
        Ok(shape)
    }

    fn batch(&mut self) -> Result<(), Malformed> {
        self.scan.expect(b'[')?;
        self.scan.space();
        if self.scan.peek() == Some(b']') {
            return self.scan.expect(b']');
        }
        loop {
            if self.records.len() == MAX_MESSAGES {
                return Err(Malformed::TooMany { max: MAX_MESSAGES });
            }
            self.element()?;
            self.scan.space();
            if self.scan.peek() != Some(b',') {
                return self.scan.expect(b']');
            }
            self.scan.expect(b',')?;
            self.scan.space();
        }
    }

    fn element(&mut self) -> Result<(), Malformed> {
        let start = self.scan.at;
        self.scan.restart();
        self.scan.fault = None;
        let content = if self.scan.peek() == Some(b'{') {
            self.message()?
        } else {
            self.scan.value(0)?;
            Err(self.scan.fault.unwrap_or(Malformed::NotAnObject))
        };
        self.records.push(Record { raw: start..self.scan.at, content });
        Ok(())
    }

    fn message(&mut self) -> Result<Result<Found, Malformed>, Malformed> {
        let base = self.scan.members(1)?;
        self.scan.flush(self.scan.at);
        if let Some(fault) = self.scan.fault {
            self.scan.buffers.members.truncate(base);
            return Ok(Err(fault));
        }
        let (body, form) = (self.scan.body, self.scan.form);
        let start = self.canonical.len();
        let Buffers { out, members, decoded, .. } = &mut *self.scan.buffers;
        members[base..].sort_unstable_by(|a, b| a.order(b, form, body, decoded));
        let picked = Picked::from(&members[base..], body, decoded);
        let signed = members[base..].iter().enumerate().filter_map(|(place, member)| {
            let left_out = picked.sig == Some(place) || picked.signature == Some(place);
            (!left_out).then_some(member)
        });
        self.canonical.push(b'{');
        join(signed, out, self.canonical);
        self.canonical.push(b'}');
        let found = picked.found(&members[base..], body, decoded, start..self.canonical.len());
        members.truncate(base);
        Ok(if picked.prototype { Err(Malformed::Prototype) } else { Ok(found) })
    }
}

/// Which of a message's members are the ones that verification asks for.
#[derive(Default)]
struct Picked {
    kind: Option<usize>,
    node: Option<usize>,
    source: Option<usize>,
    ts: Option<usize>,
    sig: Option<usize>,
    signature: Option<usize>,
    kid: Option<usize>,
    prototype: bool,
}

impl Picked {
    fn from(members: &[Member], body: &str, decoded: &[u8]) -> Self {
        let mut picked = Self::default();
        for (place, member) in members.iter().enumerate() {
            match member.name.bytes(body, decoded) {
                b"type" => picked.kind = Some(place),
                b"nodeId" => picked.node = Some(place),
                b"sourceNode" => picked.source = Some(place),
                b"ts" => picked.ts = Some(place),
                b"sig" => picked.sig = Some(place),
                b"signature" => picked.signature = Some(place),
                b"kid" => picked.kid = Some(place),
                b"__proto__" => picked.prototype = true,
                _ => {}
            }
        }
        picked
    }

    fn found(&self, members: &[Member], body: &str, decoded: &mut Vec<u8>, canonical: Range<usize>) -> Found {
        let mut text = |place: Option<usize>| match place {
            None => Place::Absent,
            Some(place) => text(&members[place].value, body, decoded),
        };
        Found {
            canonical,
            kind: text(self.kind),
            node: text(self.node),
            source: text(self.source),
            sig: text(self.sig.or(self.signature)),
            kid: text(self.kid),
            ts: self.ts.and_then(|place| number(&body[members[place].value.clone()])),
        }
    }
}

fn text(value: &Range<usize>, body: &str, decoded: &mut Vec<u8>) -> Place {
    if body.as_bytes()[value.start] != b'"' {
        return Place::NotText;
    }
    let inside = value.start + 1..value.end - 1;
    if !body.as_bytes()[inside.clone()].contains(&b'\\') {
        return Place::Text(Piece::Body(inside));
    }
    let start = decoded.len();
    decode(&body[inside], decoded);
    Place::Text(Piece::Decoded(start..decoded.len()))
}

fn number(value: &str) -> Option<f64> {
    let begins = value.bytes().next()?;
    if begins == b'-' || begins.is_ascii_digit() { value.parse().ok() } else { None }
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
