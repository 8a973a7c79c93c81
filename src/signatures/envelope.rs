//! Finds the mesh messages inside what a chat platform or a generic webhook wraps round them.
//!
//! The service behind reads the same body with `JSON.parse` and picks with `??` or `||`. Where those two,
//! or a check of types in between, could end at different messages, the body is refused: what was
//! verified here must be what is used there. This file knows nothing of signatures.

use super::canonical::{Canonicaliser, Shape, utf8};
use super::malformed::Malformed;
use super::strings::decode;
use crate::config::checked::{Envelope, Mode};
use std::ops::Range;

/// Where the messages of one request sit: the policy with the query taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// The body is the message or an array of them.
    None,
    /// A Telegram update.
    Telegram,
    /// A Discord message.
    Discord,
    /// `body`, `message` or `data`.
    Generic,
}

/// What the policy and the query's `unwrap` make together.
///
/// The service behind goes by its own reading of the query, so a query that says something else than
/// the policy is refused, and so is one that says it twice or in a word that nobody knows. Names and
/// values are decoded first: `unwr%61p` is `unwrap` there too.
///
/// # Errors
/// [`Malformed::Ambiguous`].
pub fn wrapping(envelope: Envelope, query: Option<&str>) -> Result<Wrapping, Malformed> {
    let stated = stated(query.unwrap_or_default())?;
    let fixed = match envelope {
        Envelope::Query => return Ok(stated.unwrap_or(Wrapping::None)),
        Envelope::None => Wrapping::None,
        Envelope::Telegram => Wrapping::Telegram,
        Envelope::Discord => Wrapping::Discord,
        Envelope::Generic => Wrapping::Generic,
    };
    match stated {
        Some(other) if other != fixed => Err(Malformed::Ambiguous),
        Some(_) | None => Ok(fixed),
    }
}

fn stated(query: &str) -> Result<Option<Wrapping>, Malformed> {
    let mut stated = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !form_decoded(name).eq(*b"unwrap") {
            continue;
        }
        let word = [
            (b"telegram".as_slice(), Wrapping::Telegram),
            (b"discord", Wrapping::Discord),
            (b"generic", Wrapping::Generic),
        ];
        let found = word.into_iter().find(|(word, _)| form_decoded(value).eq(word.iter().copied()));
        let (_, wrapping) = found.ok_or(Malformed::Ambiguous)?;
        if stated.replace(wrapping).is_some() {
            return Err(Malformed::Ambiguous);
        }
    }
    Ok(stated)
}

/// The bytes of one part of a query, as form decoding gives them.
fn form_decoded(part: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = part.as_bytes();
    std::iter::from_fn(move || {
        let (byte, tail) = match *rest {
            [] => return None,
            [b'+', ref tail @ ..] => (b' ', tail),
            [b'%', high, low, ref tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(high) << 4 | hex(low), tail)
            }
            [byte, ref tail @ ..] => (byte, tail),
        };
        rest = tail;
        Some(byte)
    })
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a' - 10),
    }
}

/// The text that holds the message or messages: the whole body, a part of it, or `inner`, into which a
/// part that was a string with escapes is decoded.
///
/// # Errors
/// [`Malformed`] where the body is no JSON or can be read in more than one way.
pub fn messages<'a>(
    body: &'a [u8],
    wrapping: Wrapping,
    mode: Mode,
    inner: &'a mut Vec<u8>,
    reader: &mut Canonicaliser,
) -> Result<&'a [u8], Malformed> {
    if wrapping == Wrapping::None {
        return Ok(body);
    }
    let text = utf8(body)?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Ok(body);
    }
    let found = match wrapping {
        Wrapping::None => Found::Nothing,
        Wrapping::Telegram => telegram(text, reader)?,
        Wrapping::Discord => discord(text, reader)?,
        Wrapping::Generic => generic(text, reader)?,
    };
    match found {
        Found::Nothing => Ok(body),
        Found::Container(part) => Ok(part.as_bytes()),
        Found::Text(inside) => inner_text(inside, inner).and_then(|text| match mode {
            Mode::Required => Ok(text),
            // What is no message inside makes the service behind take the whole.
            Mode::Optional => Ok(if holds_messages(text, reader)? { text } else { body }),
        }),
    }
}

/// Whether a text is an object or an array.
fn holds_messages(text: &[u8], reader: &mut Canonicaliser) -> Result<bool, Malformed> {
    match reader.read(text) {
        Ok(document) => Ok(document.shape() == Shape::Batch
            || !document.elements().any(|(_, content)| matches!(content, Err(Malformed::NotAnObject)))),
        Err(Malformed::Syntax { .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

fn inner_text<'a>(inside: &'a str, inner: &'a mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    if !inside.contains('\\') {
        return Ok(inside.as_bytes());
    }
    inner.clear();
    decode(inside, inner);
    // Half a character has no UTF-8, so there would be no text to sign.
    utf8(inner).map(str::as_bytes).map_err(|_| Malformed::InnerText)
}

/// What the unwrapping ended at.
enum Found<'a> {
    /// Nothing: the whole body is used.
    Nothing,
    /// An object or array in the body.
    Container(&'a str),
    /// A string's inside, not empty.
    Text(&'a str),
}

/// A member's value, told apart as far as picking goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    /// Absent or `null`: every reading goes past it.
    Missing,
    /// `""`, `0`, `false`: some readings go past it and some stop.
    Falsy,
    /// `true` and other numbers.
    Odd,
    /// A string's inside.
    Text(&'a str),
    /// With its braces.
    Object(&'a str),
    /// With its brackets.
    Array(&'a str),
}

impl<'a> Value<'a> {
    fn of(text: &'a str, range: Option<Range<usize>>) -> Self {
        let Some(raw) = range.and_then(|range| text.get(range)) else { return Self::Missing };
        match raw.as_bytes() {
            [b'n', ..] => Self::Missing,
            [b'{', ..] => Self::Object(raw),
            [b'[', ..] => Self::Array(raw),
            [b'"', b'"'] | [b'f', ..] => Self::Falsy,
            [b'"', ..] => Self::Text(&raw[1..raw.len() - 1]),
            [b't', ..] => Self::Odd,
            _ if raw.parse::<f64>().is_ok_and(|number| number == 0.0) => Self::Falsy,
            _ => Self::Odd,
        }
    }
}

fn pick<'a, const N: usize>(
    reader: &mut Canonicaliser,
    text: &'a str,
    names: [&str; N],
) -> Result<[Value<'a>; N], Malformed> {
    Ok(reader.pick(text, names)?.map(|range| Value::of(text, range)))
}

/// Nothing was found in the first candidate: fine if it was the only one.
fn nothing<'a>(others: &[Value<'_>]) -> Result<Found<'a>, Malformed> {
    if others.iter().all(|value| *value == Value::Missing) {
        Ok(Found::Nothing)
    } else {
        Err(Malformed::Ambiguous)
    }
}

/// The first candidate that is there, and those behind it.
fn first<'v, 'a>(values: &'v [Value<'a>]) -> Option<(Value<'a>, &'v [Value<'a>])> {
    let place = values.iter().position(|value| *value != Value::Missing)?;
    Some((values[place], &values[place + 1..]))
}

fn telegram<'a>(text: &'a str, reader: &mut Canonicaliser) -> Result<Found<'a>, Malformed> {
    let posts = pick(reader, text, ["message", "channel_post", "edited_message"])?;
    let Some((post, others)) = first(&posts) else { return Ok(Found::Nothing) };
    let Value::Object(post) = post else { return nothing(others) };
    match pick(reader, post, ["text", "caption"])? {
        [Value::Text(inside), _] | [Value::Missing, Value::Text(inside)] => Ok(Found::Text(inside)),
        [Value::Missing | Value::Falsy, Value::Missing | Value::Falsy] => nothing(others),
        _ => Err(Malformed::Ambiguous),
    }
}

fn discord<'a>(text: &'a str, reader: &mut Canonicaliser) -> Result<Found<'a>, Malformed> {
    let [content, body] = pick(reader, text, ["content", "body"])?;
    match content {
        Value::Missing => discord_body(body, reader),
        Value::Text(inside) => Ok(Found::Text(inside)),
        Value::Object(object) if is_message(object, reader)? => Ok(Found::Container(object)),
        Value::Object(_) | Value::Array(_) | Value::Falsy | Value::Odd => nothing(&[body]),
    }
}

fn discord_body<'a>(body: Value<'a>, reader: &mut Canonicaliser) -> Result<Found<'a>, Malformed> {
    let object = match body {
        Value::Object(object) => object,
        Value::Text(inside) => return Ok(Found::Text(inside)),
        Value::Missing | Value::Falsy | Value::Odd | Value::Array(_) => return Ok(Found::Nothing),
    };
    let [content] = pick(reader, object, ["content"])?;
    let itself = is_message(object, reader)?;
    match content {
        Value::Text(inside) => Ok(Found::Text(inside)),
        Value::Object(inner) if is_message(inner, reader)? => Ok(Found::Container(inner)),
        Value::Missing if itself => Ok(Found::Container(object)),
        _ if itself => Err(Malformed::Ambiguous),
        _ => Ok(Found::Nothing),
    }
}

fn is_message(object: &str, reader: &mut Canonicaliser) -> Result<bool, Malformed> {
    let [kind] = pick(reader, object, ["type"])?;
    let Value::Text(inside) = kind else { return Ok(false) };
    let mut kind = Vec::new();
    decode(inside, &mut kind);
    Ok(matches!(kind.as_slice(), b"memory" | b"skill"))
}

fn generic<'a>(text: &'a str, reader: &mut Canonicaliser) -> Result<Found<'a>, Malformed> {
    let candidates = pick(reader, text, ["body", "message", "data"])?;
    match first(&candidates) {
        None => Ok(Found::Nothing),
        Some((Value::Text(inside), _)) => Ok(Found::Text(inside)),
        Some((Value::Object(part) | Value::Array(part), _)) => Ok(Found::Container(part)),
        Some((Value::Missing | Value::Falsy | Value::Odd, others)) => nothing(others),
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
