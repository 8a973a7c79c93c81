//! What clients send in bodies: JSON objects, read member by member.
//!
//! The values of members are kept as text, because a memory's value goes to the database as it came.

mod keys;
mod message;
mod operations;
mod query;
mod rows;

pub(crate) use keys::keys;
pub(crate) use message::{message, milliseconds};
pub(crate) use operations::{Asked, Operation, operations, version};
pub(crate) use query::{limit_of, marks, mode, query};
pub(crate) use rows::{New, memory, skill, time_to_live};

use super::reply::Refusal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON object. An array is JSON too, and serde would take one for a struct, by position.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    let starts = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if starts != Some(&b'{') {
        return Err(Refusal::InvalidBody);
    }
    serde_json::from_slice(bytes).map_err(|_| Refusal::InvalidBody)
}

/// Tells a `null` that is there from a member that is not.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A text that is not empty.
fn name(raw: Option<&RawValue>) -> Option<String> {
    text(raw).filter(|text| !text.is_empty())
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}
