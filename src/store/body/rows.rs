//! Rows as clients put them.

use super::{given, message, name, object, text};
use crate::store::json::Json;
use crate::store::model::{Content, Expiry, Kind, NewMemory, NewSkill};
use crate::store::reply::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Node of a memory that does not say.
const UNKNOWN_NODE: &str = "unknown";

/// Longest time to live: a hundred years.
const LONGEST: i64 = 100 * 366 * 24 * 3600;

/// What a client puts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct New {
    pub(crate) content: Content,
    /// When it ends, if the client says.
    pub(crate) expiry: Option<Expiry>,
    /// When it was written, if the client says, in Unix milliseconds.
    pub(crate) sent_ms: Option<i64>,
    /// The signed message that it is, if it is one.
    pub(crate) proof: Option<Json>,
}

impl New {
    pub(super) fn unsigned(content: Content, expiry: Option<Expiry>) -> Self {
        Self { content, expiry, sent_ms: None, proof: None }
    }
}

/// What a body puts that is itself a signed message of the mesh, by its `type` and its `sig` or `signature`;
/// nothing when it is none.
fn signed(
    bytes: &[u8],
    kind: Kind,
    [r#type, sig, signature]: [Option<&RawValue>; 3],
    lacks: Refusal,
) -> Result<Option<New>, Refusal> {
    let is_signed = text(sig).or_else(|| text(signature)).is_some();
    if !is_signed || text(r#type).as_deref() != Some(kind.as_str()) {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::InvalidBody)?;
    message(text.trim()).map(Some).map_err(|_| lacks)
}

/// Reads the body of `PUT /mesh/memory`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn memory(bytes: &[u8]) -> Result<New, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        scope: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        key: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        value: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        node_id: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        ttl: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        expires_at: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        r#type: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        sig: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        signature: Option<&'a RawValue>,
    }
    let body: Body<'_> = object(bytes)?;
    let expiry = expiry(body.ttl, body.expires_at)?;
    let marks = [body.r#type, body.sig, body.signature];
    if let Some(new) = signed(bytes, Kind::Memory, marks, Refusal::MissingMemory)? {
        return Ok(New { expiry, ..new });
    }
    let node_id = match body.node_id.map(RawValue::get) {
        None | Some("null") => UNKNOWN_NODE.to_owned(),
        Some(raw) => match serde_json::from_str::<String>(raw).map_err(|_| Refusal::InvalidNode)? {
            empty if empty.is_empty() => UNKNOWN_NODE.to_owned(),
            node => node,
        },
    };
    let scope = name(body.scope).ok_or(Refusal::MissingMemory)?;
    let key = name(body.key).ok_or(Refusal::MissingMemory)?;
    // `null` is a value; only an absent one is missing.
    let value = body.value.and_then(|raw| Json::parse(raw.get())).ok_or(Refusal::MissingMemory)?;
    Ok(New::unsigned(Content::Memory(NewMemory { scope, key, value, node_id }), expiry))
}

/// Reads the body of `PUT /mesh/skills`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn skill(bytes: &[u8]) -> Result<New, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        name: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        source_node: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        content: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        path: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        ttl: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        expires_at: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        r#type: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        sig: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        signature: Option<&'a RawValue>,
    }
    let body: Body<'_> = object(bytes)?;
    let expiry = expiry(body.ttl, body.expires_at)?;
    let marks = [body.r#type, body.sig, body.signature];
    if let Some(new) = signed(bytes, Kind::Skill, marks, Refusal::MissingSkill)? {
        return Ok(New { expiry, ..new });
    }
    let skill = NewSkill {
        name: name(body.name).ok_or(Refusal::MissingSkill)?,
        source_node: name(body.source_node).ok_or(Refusal::MissingSkill)?,
        content: text(body.content),
        path: text(body.path),
    };
    // An empty skill is a skill; one of which neither text is there is none.
    if skill.content.is_none() && skill.path.is_none() {
        return Err(Refusal::MissingContent);
    }
    Ok(New::unsigned(Content::Skill(skill), expiry))
}

/// When a row ends: after `ttl` seconds, at `expires_at`, or never with a `null` for either.
pub(super) fn expiry(
    ttl: Option<&RawValue>,
    expires_at: Option<&RawValue>,
) -> Result<Option<Expiry>, Refusal> {
    let number = |raw: &RawValue| raw.get().parse::<i64>().map_err(|_| Refusal::InvalidTtl);
    match (ttl.map(|raw| (raw, raw.get())), expires_at.map(|raw| (raw, raw.get()))) {
        (None, None) => Ok(None),
        (Some((_, "null")), None) | (None, Some((_, "null"))) => Ok(Some(Expiry::Never)),
        (Some((raw, _)), None) => time_to_live(number(raw)?).map(Some),
        (None, Some((raw, _))) => match number(raw)? {
            second if second > 0 => Ok(Some(Expiry::At(second))),
            _ => Err(Refusal::InvalidTtl),
        },
        (Some(_), Some(_)) => Err(Refusal::InvalidTtl),
    }
}

/// A time to live of so many seconds.
///
/// # Errors
/// [`Refusal::InvalidTtl`] when it is none or longer than a hundred years.
pub(crate) fn time_to_live(seconds: i64) -> Result<Expiry, Refusal> {
    if (1..=LONGEST).contains(&seconds) { Ok(Expiry::After(seconds)) } else { Err(Refusal::InvalidTtl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: &[u8]) -> Result<NewMemory, Refusal> {
        match super::memory(bytes)?.content {
            Content::Memory(memory) => Ok(memory),
            other => panic!("{other:?}"),
        }
    }

    fn skill(bytes: &[u8]) -> Result<NewSkill, Refusal> {
        match super::skill(bytes)?.content {
            Content::Skill(skill) => Ok(skill),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_memory_needs_scope_key_and_value_and_null_is_a_value() {
        let read = |text: &str| memory(text.as_bytes());
        let row = read(r#" {"scope":"mesh","key":"k","value":null,"more":[1]}"#).unwrap();
        assert_eq!((row.value.as_str(), row.node_id.as_str()), ("null", "unknown"));
        for bad in [
            "{}",
            r#"{"scope":"mesh","key":"k"}"#,
            r#"{"scope":"","key":"k","value":1}"#,
            r#"{"scope":"mesh","key":"","value":1}"#,
            r#"{"scope":7,"key":"k","value":1}"#,
            r#"{"scope":"mesh","key":null,"value":1}"#,
            r#"{"scope":"mesh","key":"\ud800","value":1}"#,
        ] {
            assert_eq!(read(bad), Err(Refusal::MissingMemory), "{bad}");
        }
        for bad in [
            "",
            "null",
            "[]",
            r#"["mesh","k",1]"#,
            "{",
            "nonsense",
            r#"{"scope":"a","scope":"b","key":"k","value":1}"#,
        ] {
            assert_eq!(read(bad), Err(Refusal::InvalidBody), "{bad}");
        }
        assert_eq!(memory(b"{\"scope\":\"\xff\",\"key\":\"k\",\"value\":1}"), Err(Refusal::InvalidBody));
    }

    #[test]
    fn a_node_is_text_or_unknown() {
        let node = |text: &str| {
            memory(format!(r#"{{"scope":"m","key":"k","value":1,"node_id":{text}}}"#).as_bytes())
                .map(|row| row.node_id)
        };
        assert_eq!(node(r#""ceo""#).as_deref(), Ok("ceo"));
        assert_eq!(node("null").as_deref(), Ok("unknown"));
        assert_eq!(node(r#""""#).as_deref(), Ok("unknown"));
        assert_eq!(node("7"), Err(Refusal::InvalidNode));
    }

    #[test]
    fn a_value_is_kept_to_the_byte() {
        for value in [
            "12345678901234567890",
            "1.0",
            "1e400",
            "{\"z\":1, \"a\" : [ ]}",
            "\"42\"",
            "\"\\ud800\"",
            "{\"a\":1,\"a\":2}",
        ] {
            let row = memory(format!(r#"{{"value": {value} ,"scope":"m","key":"k"}}"#).as_bytes()).unwrap();
            assert_eq!(row.value.as_str(), value);
        }
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let row = memory(format!(r#"{{"scope":"m","key":"k","value":{deep}}}"#).as_bytes()).unwrap();
        assert_eq!(row.value.as_str(), deep);
    }

    #[test]
    fn a_skill_needs_a_name_a_node_and_content_or_path() {
        let read = |text: &str| skill(text.as_bytes());
        assert_eq!(
            read(r#"{"name":"n","source_node":"s","content":""}"#).unwrap().content.as_deref(),
            Some("")
        );
        assert_eq!(read(r#"{"name":"n","source_node":"s","path":"/p"}"#).unwrap().content, None);
        assert_eq!(read(r#"{"name":"n","source_node":"s"}"#), Err(Refusal::MissingContent));
        assert_eq!(read(r#"{"name":"n","source_node":"s","content":null}"#), Err(Refusal::MissingContent));
        assert_eq!(read(r#"{"name":"n","content":"c"}"#), Err(Refusal::MissingSkill));
        assert_eq!(read(r#"{"name":"","source_node":"s","content":"c"}"#), Err(Refusal::MissingSkill));
    }

    #[test]
    fn a_body_that_is_a_signed_message_is_kept_as_it_came() {
        let signed = r#" {"type":"memory","scope":"m","key":"k","value":1.0,"nodeId":"ceo","ts":7,"sig":"x","ttl":60} "#;
        let new = super::memory(signed.as_bytes()).unwrap();
        assert_eq!(new.proof.as_ref().map(Json::as_str), Some(signed.trim()));
        assert_eq!(
            (new.content.node(), new.expiry, new.sent_ms),
            ("ceo", Some(Expiry::After(60)), Some(7000))
        );
        let skill = r#"{"type":"skill","name":"n","sourceNode":"s","content":"c","signature":"x"}"#;
        assert!(super::skill(skill.as_bytes()).unwrap().proof.is_some());
        // Of another type, or without a node: not the message that it says.
        let other = signed.replace("\"memory\"", "\"note\"");
        assert_eq!(super::memory(other.as_bytes()).unwrap().proof, None);
        let nobodys = signed.replace("nodeId", "node_id");
        assert_eq!(super::memory(nobodys.as_bytes()), Err(Refusal::MissingMemory));
    }

    #[test]
    fn a_row_ends_after_a_time_at_a_time_or_never() {
        let read = |more: &str| {
            let text = format!(r#"{{"scope":"m","key":"k","value":1{more}}}"#);
            super::memory(text.as_bytes()).map(|new| new.expiry)
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(r#","ttl":60"#), Ok(Some(Expiry::After(60))));
        assert_eq!(read(r#","expires_at":1900000000"#), Ok(Some(Expiry::At(1_900_000_000))));
        assert_eq!(read(r#","ttl":null"#), Ok(Some(Expiry::Never)));
        for bad in ["0", "-1", "1.5", "\"60\"", "99999999999", "true"] {
            assert_eq!(read(&format!(r#","ttl":{bad}"#)), Err(Refusal::InvalidTtl), "{bad}");
        }
        assert_eq!(read(r#","ttl":1,"expires_at":1900000000"#), Err(Refusal::InvalidTtl));
    }
}
