//! Rows as the mesh's own messages say them: whole messages of kind memory or skill.

use super::{New, object};
use crate::store::json::Json;
use crate::store::model::{Content, NewMemory, NewSkill};
use crate::store::reply::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Reads a message. With a signature it is kept with the row, as it came: so what the row holds is what was
/// signed, and nothing else can be put beside it.
///
/// # Errors
/// [`Refusal::InvalidMessage`].
pub(crate) fn message(text: &str) -> Result<New, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        r#type: String,
        scope: Option<String>,
        key: Option<String>,
        #[serde(borrow)]
        value: Option<&'a RawValue>,
        node_id: Option<String>,
        name: Option<String>,
        source_node: Option<String>,
        content: Option<String>,
        path: Option<String>,
        ts: Option<f64>,
        #[serde(borrow)]
        sig: Option<&'a RawValue>,
        #[serde(borrow)]
        signature: Option<&'a RawValue>,
    }
    let invalid = || Refusal::InvalidMessage;
    let body: Body<'_> = object(text.as_bytes()).map_err(|_| invalid())?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty()).ok_or_else(invalid);
    // `null` is a value, and reads as none here.
    let value = |value: Option<&RawValue>| Json::parse(value.map_or("null", RawValue::get));
    let content = match body.r#type.as_str() {
        "memory" => Content::Memory(NewMemory {
            scope: given(body.scope)?,
            key: given(body.key)?,
            value: value(body.value).ok_or_else(invalid)?,
            node_id: given(body.node_id)?,
        }),
        "skill" if body.content.is_some() || body.path.is_some() => Content::Skill(NewSkill {
            name: given(body.name)?,
            source_node: given(body.source_node)?,
            content: body.content,
            path: body.path,
        }),
        _ => return Err(invalid()),
    };
    let is_signed = body.sig.is_some() || body.signature.is_some();
    let proof = is_signed.then(|| Json::parse(text)).flatten();
    let sent_ms = body.ts.map(milliseconds).transpose()?;
    Ok(New { content, expiry: None, sent_ms, proof })
}

/// Unix seconds, perhaps with a fraction, as milliseconds.
///
/// # Errors
/// [`Refusal::InvalidMessage`].
pub(crate) fn milliseconds(seconds: f64) -> Result<i64, Refusal> {
    let milliseconds = (seconds * 1000.0).round();
    if !(0.0..=1e15).contains(&milliseconds) {
        return Err(Refusal::InvalidMessage);
    }
    #[allow(clippy::cast_possible_truncation, reason = "a whole number within bounds")]
    let whole = milliseconds as i64;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_whole_where_it_was_signed() {
        let signed = r#"{"type":"memory","scope":"m","key":"k","value":[1.0],"nodeId":"ceo","ts":1.5,"sig":"x","more":0}"#;
        let new = message(signed).unwrap();
        assert_eq!((new.sent_ms, new.proof.as_ref().map(Json::as_str)), (Some(1500), Some(signed)));
        let Content::Memory(memory) = new.content else { panic!("a memory") };
        assert_eq!((memory.value.as_str(), memory.node_id.as_str()), ("[1.0]", "ceo"));
        let skill = r#"{"type":"skill","name":"s","sourceNode":"n","content":"c","signature":7}"#;
        assert!(message(skill).unwrap().proof.is_some());
        let bare = message(r#"{"type":"skill","name":"s","sourceNode":"n","path":"/p"}"#).unwrap();
        assert_eq!((bare.sent_ms, bare.proof), (None, None));
    }

    #[test]
    fn what_is_no_whole_message_is_refused() {
        for bad in [
            "[]",
            "7",
            "{}",
            r#"{"type":"memory","scope":"m","key":"k","value":1}"#,
            r#"{"type":"memory","scope":"m","key":"","value":1,"nodeId":"n"}"#,
            r#"{"type":"memory","scope":"m","key":"k","value":1,"nodeId":"n","ts":-1}"#,
            r#"{"type":"memory","scope":"m","key":"k","key":"l","value":1,"nodeId":"n"}"#,
            r#"{"type":"skill","name":"s","sourceNode":"n"}"#,
            r#"{"type":"mesh_request","nodeId":"n"}"#,
        ] {
            assert_eq!(message(bad).err(), Some(Refusal::InvalidMessage), "{bad}");
        }
    }
}
