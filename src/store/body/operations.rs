//! What a batch asks for, and which version of the past a restoration means.

use super::rows::{New, expiry, memory, skill};
use super::{given, message, name, object, text};
use crate::store::conditions;
use crate::store::model::{Act, Condition, Kind, Target};
use crate::store::reply::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One operation of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) asked: Asked,
    /// What it says must hold; none when it says nothing.
    pub(crate) condition: Option<Condition>,
}

/// What an operation of a batch asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// That something is written.
    Put(New),
    /// Anything else.
    Do(Act),
}

/// Reads the body of `POST …/restore`: the version to bring back, where it says one.
///
/// # Errors
/// [`Refusal::InvalidBody`], [`Refusal::InvalidNumber`].
pub(crate) fn version(bytes: &[u8]) -> Result<Option<i64>, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        version: Option<&'a RawValue>,
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let body: Body<'_> = object(bytes)?;
    body.version.map(|raw| raw.get().parse().map_err(|_| Refusal::InvalidNumber)).transpose()
}

/// Reads the body of `POST /mesh/batch`: an array of operations, or an object with them as `operations`.
/// Each is read by itself, so that the answer can say which one is wrong.
///
/// # Errors
/// [`Refusal::InvalidBody`].
pub(crate) fn operations(bytes: &[u8]) -> Result<Vec<Result<Operation, Refusal>>, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        operations: Vec<&'a RawValue>,
    }
    let raw: Vec<&RawValue> = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(bytes).map_err(|_| Refusal::InvalidBody)?,
        Some(_) | None => object::<Body<'_>>(bytes)?.operations,
    };
    Ok(raw.into_iter().map(|raw| operation(raw.get().as_bytes())).collect())
}

/// An operation names its row as the bodies of single writes do: with `name` a skill, else a memory.
fn operation(bytes: &[u8]) -> Result<Operation, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        op: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        scope: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        key: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        name: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        version: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        message: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        ttl: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        expires_at: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        if_match: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        if_none_match: Option<&'a RawValue>,
    }
    let body: Body<'_> = object(bytes)?;
    let condition = match (text(body.if_match), text(body.if_none_match)) {
        (None, None) if body.if_match.is_none() && body.if_none_match.is_none() => None,
        (Some(tags), None) => Some(conditions::if_match(&tags)?),
        (None, Some(star)) if star == "*" => Some(Condition::Absent),
        (None | Some(_), None | Some(_)) => return Err(Refusal::InvalidCondition),
    };
    let target = match (name(body.name), name(body.scope), name(body.key)) {
        (Some(skill), None, None) => Ok(Target::skill(&skill)),
        (None, Some(scope), Some(key)) => Ok(Target { kind: Kind::Memory, scope, name: key }),
        (None | Some(_), None | Some(_), None | Some(_)) => Err(Refusal::MissingTarget),
    };
    let asked = match name(body.op).as_deref() {
        Some("put") => Asked::Put(match (body.message, body.name) {
            (Some(raw), _) => New { expiry: expiry(body.ttl, body.expires_at)?, ..message(raw.get())? },
            (None, Some(_)) => skill(bytes)?,
            (None, None) => memory(bytes)?,
        }),
        Some("delete") => Asked::Do(Act::Delete(target?)),
        Some("purge") => Asked::Do(Act::Purge(target?)),
        Some("restore") => {
            let version =
                body.version.and_then(|raw| raw.get().parse().ok()).ok_or(Refusal::InvalidNumber)?;
            Asked::Do(Act::Restore(target?, version))
        }
        Some(_) | None => return Err(Refusal::UnknownOperation),
    };
    Ok(Operation { asked, condition })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::{Content, Expiry};

    #[test]
    fn an_operation_names_its_row_and_what_must_hold() {
        let read = |text: &str| operation(text.as_bytes());
        let delete = read(r#"{"op":"delete","scope":"m","key":"k","if_match":"\"v1.7\""}"#).unwrap();
        let expected = Operation {
            asked: Asked::Do(Act::Delete(Target::memory("m", "k"))),
            condition: Some(Condition::Unchanged(vec![7])),
        };
        assert_eq!(delete, expected);
        let put =
            read(r#"{"op":"put","name":"s","source_node":"n","content":"c","if_none_match":"*"}"#).unwrap();
        assert!(matches!(put.asked, Asked::Put(New { content: Content::Skill(_), .. })));
        assert_eq!(put.condition, Some(Condition::Absent));
        assert_eq!(
            read(r#"{"op":"restore","name":"s","version":3}"#).unwrap().asked,
            Asked::Do(Act::Restore(Target::skill("s"), 3))
        );
        let signed = r#"{"op":"put","message":{"type":"memory","scope":"m","key":"k","value":1,"nodeId":"n","sig":"x"},"ttl":9}"#;
        let Asked::Put(new) = read(signed).unwrap().asked else { panic!("a put") };
        assert_eq!((new.content.target(), new.expiry), (Target::memory("m", "k"), Some(Expiry::After(9))));
        assert!(new.proof.is_some_and(|proof| proof.as_str().starts_with(r#"{"type":"memory""#)));
        for (text, why) in [
            (r#"{"op":"put","message":{"type":"memory"}}"#, Refusal::InvalidMessage),
            (r#"{"scope":"m","key":"k","value":1}"#, Refusal::UnknownOperation),
            (r#"{"op":"drop","scope":"m","key":"k"}"#, Refusal::UnknownOperation),
            (r#"{"op":"delete","scope":"m"}"#, Refusal::MissingTarget),
            (r#"{"op":"delete","scope":"m","key":"k","name":"s"}"#, Refusal::MissingTarget),
            (r#"{"op":"restore","scope":"m","key":"k"}"#, Refusal::InvalidNumber),
            (
                r#"{"op":"delete","scope":"m","key":"k","if_none_match":"\"v1.7\""}"#,
                Refusal::InvalidCondition,
            ),
            (r#"{"op":"delete","scope":"m","key":"k","if_match":7}"#, Refusal::InvalidCondition),
            (r#"{"op":"put","scope":"m","key":"k"}"#, Refusal::MissingMemory),
            ("[]", Refusal::InvalidBody),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_batch_is_an_array_or_an_object_with_one() {
        let count = |text: &str| operations(text.as_bytes()).map(|all| all.len());
        assert_eq!(count("[]"), Ok(0));
        assert_eq!(count(r#" {"operations":[{},7]}"#), Ok(2));
        for bad in ["", "7", "{}", r#"{"operations":7}"#, "[", "null"] {
            assert_eq!(count(bad), Err(Refusal::InvalidBody), "{bad}");
        }
    }
}
