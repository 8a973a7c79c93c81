//! Walks JSON text once and writes its ECMAScript form as it goes, without building a tree.
//!
//! What already stands as `JSON.stringify` would write it is copied in long runs; only what differs
//! (white space, other escapes, other spellings of a number) interrupts a run. Faults that leave the
//! grammar intact are noted and the walk goes on, so that one bad message does not hide where the next
//! begins. This file knows nothing of messages or signatures.

use super::malformed::Malformed;
use super::names::{COMPARED_ONE_BY_ONE, Member, NO_INDEX, Piece, any_repeated, array_index, hint};
use super::strings::{decode, escaped_point, plain, spell};
use crate::config::checked::Canonical;
use std::ops::Range;

/// Most objects and arrays inside each other, a message itself counted.
pub(super) const MAX_DEPTH: usize = 128;

/// Decimals of up to this many digits each have a double of their own, so the shortest spelling of that
/// double has the same digits: a number as short as this need not be parsed to be known as canonical.
const PLAIN_DIGITS: usize = 15;

/// What a walk writes to; kept between walks so that nothing is allocated once it has grown.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Canonical text.
    pub(super) out: Vec<u8>,
    /// Members of the objects that are open, outermost first.
    pub(super) members: Vec<Member>,
    /// Names and texts that had escapes, decoded.
    pub(super) decoded: Vec<u8>,
    /// Where an object's members are put in another order.
    pub(super) spare: Vec<u8>,
}

/// A walk over one text.
pub(super) struct Scan<'b, 's> {
    /// The text.
    pub(super) body: &'b str,
    /// What is written.
    pub(super) form: Canonical,
    /// Offset of the next byte to look at.
    pub(super) at: usize,
    /// Where the run begins that stands canonical in the body and is not yet written.
    run: usize,
    /// Whether the string that was read last has an escape in it.
    escaped: bool,
    /// What is written to.
    pub(super) buffers: &'s mut Buffers,
    /// The first fault that did not stop the walk.
    pub(super) fault: Option<Malformed>,
}

impl<'b, 's> Scan<'b, 's> {
    /// Begins before the first byte.
    pub(super) fn new(body: &'b str, buffers: &'s mut Buffers, form: Canonical) -> Self {
        buffers.out.clear();
        buffers.members.clear();
        buffers.decoded.clear();
        Self { body, form, at: 0, run: 0, escaped: false, buffers, fault: None }
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    /// Steps over one structural byte.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    /// "This is not JSON, here."
    pub(super) fn syntax(&self) -> Malformed {
        Malformed::Syntax { at: self.at }
    }

    /// Steps over white space.
    #[inline]
    pub(super) fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.leave_space_out();
        }
    }

    fn leave_space_out(&mut self) {
        self.flush(self.at);
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.run = self.at;
    }

    /// Drops the output and the open run: a new text begins.
    pub(super) fn restart(&mut self) {
        self.buffers.out.clear();
        self.run = self.at;
    }

    /// Writes the open run up to `end`.
    pub(super) fn flush(&mut self, end: usize) {
        self.buffers.out.extend_from_slice(&self.body.as_bytes()[self.run..end]);
        self.run = end;
    }

    /// Where the next byte will stand in the output.
    fn written(&self) -> usize {
        self.buffers.out.len() + (self.at - self.run)
    }

    /// Writes `text` for the body's bytes from `from` to `to`, and goes on behind them.
    fn replace(&mut self, from: usize, to: usize, text: &[u8]) {
        self.flush(from);
        self.buffers.out.extend_from_slice(text);
        self.at = to;
        self.run = to;
    }

    /// Notes a fault; the first one stands.
    fn note(&mut self, fault: Malformed) {
        self.fault.get_or_insert(fault);
    }

    /// Any value. `depth` is how many containers it stands in.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.syntax()),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.body.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    fn enter(&self, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::TooDeep { at: self.at });
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Malformed> {
        self.enter(depth)?;
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.peek() != Some(b',') {
                return self.expect(b']');
            }
            self.at += 1;
            self.space();
        }
    }

    /// An object below the top level: in the mesh's form its members keep their order, but for array indexes.
    fn object(&mut self, depth: usize) -> Result<(), Malformed> {
        let decoded = self.buffers.decoded.len();
        let base = self.members(depth)?;
        let is_reordered = match self.form {
            Canonical::Mesh => self.buffers.members[base..].iter().any(|member| member.index != NO_INDEX),
            Canonical::Jcs => self.buffers.members.len() > base + 1,
        };
        if is_reordered {
            self.reorder(base);
        }
        self.buffers.members.truncate(base);
        self.buffers.decoded.truncate(decoded);
        Ok(())
    }

    /// Reads an object and leaves its members on the stack, from the offset that it answers.
    pub(super) fn members(&mut self, depth: usize) -> Result<usize, Malformed> {
        self.enter(depth)?;
        self.expect(b'{')?;
        let base = self.buffers.members.len();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(base);
        }
        loop {
            self.member(depth, base)?;
            self.space();
            if self.peek() != Some(b',') {
                break;
            }
            self.at += 1;
            self.space();
        }
        self.expect(b'}')?;
        let Buffers { members, decoded, .. } = &mut *self.buffers;
        let members = &mut members[base..];
        if members.len() > COMPARED_ONE_BY_ONE && any_repeated(members, self.body, decoded) {
            self.note(Malformed::RepeatedName { at: self.at });
        }
        Ok(base)
    }

    #[inline]
    fn member(&mut self, depth: usize, base: usize) -> Result<(), Malformed> {
        let start = self.written();
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        let quote = self.at;
        self.string()?;
        let name = self.piece(quote + 1..self.at - 1);
        let bytes = name.bytes(self.body, &self.buffers.decoded);
        let (hint, index) = (hint(bytes), array_index(bytes));
        self.space();
        self.expect(b':')?;
        self.space();
        let value = self.at;
        self.value(depth)?;
        let (value, written) = (value..self.at, start..self.written());
        let member = Member { name, hint, index, written, value };
        let Buffers { members, decoded, .. } = &mut *self.buffers;
        let before = &members[base..];
        let repeated = before.len() < COMPARED_ONE_BY_ONE
            && before.iter().any(|other| other.same_name(&member, self.body, decoded));
        members.push(member);
        if repeated {
            self.note(Malformed::RepeatedName { at: self.at });
        }
        Ok(())
    }

    fn reorder(&mut self, base: usize) {
        self.flush(self.at);
        let (body, form) = (self.body, self.form);
        let Buffers { out, members, spare, decoded } = &mut *self.buffers;
        let members = &mut members[base..];
        let start = members.iter().map(|member| member.written.start).min().unwrap_or_default();
        match form {
            Canonical::Mesh => members.sort_unstable_by_key(|member| (member.index, member.written.start)),
            Canonical::Jcs => members.sort_unstable_by(|a, b| a.order(b, form, body, decoded)),
        }
        spare.clear();
        join(members.iter(), out, spare);
        spare.push(b'}');
        // The same pieces and as many commas: offsets that enclosing objects hold stay right.
        out.truncate(start);
        out.extend_from_slice(spare);
    }

    /// The inside of the string that was just read, as bytes that can be compared.
    #[inline]
    fn piece(&mut self, inside: Range<usize>) -> Piece {
        if !self.escaped {
            return Piece::Body(inside);
        }
        let start = self.buffers.decoded.len();
        decode(&self.body[inside], &mut self.buffers.decoded);
        Piece::Decoded(start..self.buffers.decoded.len())
    }

    #[inline]
    fn string(&mut self) -> Result<(), Malformed> {
        let bytes = self.body.as_bytes();
        self.at += 1;
        self.escaped = false;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        match self.body.as_bytes().get(from + 1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'/') => {
                self.replace(from, from + 2, b"/");
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            _ => Err(self.syntax()),
        }
    }

    fn unicode_escape(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        let raw = &self.body.as_bytes()[from..];
        let (point, length) = escaped_point(raw).ok_or_else(|| self.syntax())?;
        if self.form == Canonical::Jcs && (0xD800..0xE000).contains(&point) {
            self.note(Malformed::HalfCharacter { at: from });
        }
        let mut space = [0; 6];
        let text = spell(point, &mut space);
        if text == &raw[..length] {
            self.at += length;
        } else {
            self.replace(from, from + length, text);
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<usize, Malformed> {
        let rest = &self.body.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.syntax());
        }
        self.at += count;
        Ok(count)
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let zero = self.peek() == Some(b'0');
        let mut digits = self.digits()?;
        if zero && digits > 1 {
            return Err(Malformed::Syntax { at: from });
        }
        let mut plain = !(zero && negative);
        if self.peek() == Some(b'.') {
            self.at += 1;
            let fraction = self.at;
            digits += self.digits()?;
            plain = is_plain_fraction(&self.body.as_bytes()[fraction..self.at], zero);
        }
        if let Some(b'e' | b'E') = self.peek() {
            plain = false;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if !plain || digits > PLAIN_DIGITS {
            self.respell_number(from);
        }
        Ok(())
    }

    fn respell_number(&mut self, from: usize) {
        let raw = &self.body[from..self.at];
        let value = raw.parse::<f64>().unwrap_or(f64::INFINITY);
        if value.is_infinite() {
            self.note(Malformed::NumberRange { at: from });
            return;
        }
        let mut space = ryu_js::Buffer::new();
        let text = space.format_finite(value);
        if text != raw {
            self.replace(from, self.at, text.as_bytes());
        }
    }
}

/// Writes members one behind the other, commas between.
pub(super) fn join<'m>(members: impl Iterator<Item = &'m Member>, from: &[u8], into: &mut Vec<u8>) {
    let mut first = true;
    for member in members {
        if !first {
            into.push(b',');
        }
        first = false;
        into.extend_from_slice(&from[member.written.clone()]);
    }
}

/// Whether ECMAScript writes these digits behind the point: none to spare at the end, and behind a zero
/// not so many zeros that it would write an exponent.
fn is_plain_fraction(digits: &[u8], behind_zero: bool) -> bool {
    digits.last() != Some(&b'0') && !(behind_zero && digits.starts_with(b"000000"))
}
