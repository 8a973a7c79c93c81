//! What clients send in bodies: JSON objects, read member by member.
//!
//! The values of members are kept as text, because a memory's value goes to the database as it came.

use super::json::Json;
use super::model::{MOST_HITS, NewMemory, NewSkill, USUAL_HITS};
use super::reply::Refusal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Node of a memory that does not say.
const UNKNOWN_NODE: &str = "unknown";

/// A search, asked either way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) words: String,
    pub(crate) scope: Option<String>,
    pub(crate) limit: u32,
}

/// Reads the body of `PUT /mesh/memory`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn memory(bytes: &[u8]) -> Result<NewMemory, Refusal> {
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
    }
    let body: Body<'_> = object(bytes)?;
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
    Ok(NewMemory { scope, key, value, node_id })
}

/// Reads the body of `PUT /mesh/skills`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn skill(bytes: &[u8]) -> Result<NewSkill, Refusal> {
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
    }
    let body: Body<'_> = object(bytes)?;
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
    Ok(skill)
}

/// Reads the body of `POST /mesh/query`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn query(bytes: &[u8]) -> Result<Search, Refusal> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default, deserialize_with = "given")]
        query: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        q: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        scope: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        limit: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        mode: Option<&'a RawValue>,
    }
    let body: Body<'_> = object(bytes)?;
    let words = name(body.query).or_else(|| name(body.q)).ok_or(Refusal::MissingWords)?;
    full_text(name(body.mode).as_deref())?;
    let limit = body.limit.map(|raw| raw.get().trim_matches('"'));
    Ok(Search { words, scope: name(body.scope), limit: limit_of(limit) })
}

/// How many results are meant: the usual number when none is given or it is none, else the nearest
/// that is allowed.
pub(crate) fn limit_of(text: Option<&str>) -> u32 {
    match text.and_then(|text| text.trim().parse::<f64>().ok()) {
        Some(number) if number >= f64::from(MOST_HITS) => MOST_HITS,
        Some(number) if number >= 1.0 => {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and the most"
            )]
            let whole = number as u32;
            whole
        }
        Some(number) if number < 0.0 => 1,
        Some(_) | None => USUAL_HITS,
    }
}

/// Full-text search is the only one that there is.
///
/// # Errors
/// [`Refusal::NoSemanticSearch`], [`Refusal::UnknownMode`].
pub(crate) fn full_text(mode: Option<&str>) -> Result<(), Refusal> {
    match mode {
        None | Some("fts") => Ok(()),
        Some("semantic") => Err(Refusal::NoSemanticSearch),
        Some(_) => Err(Refusal::UnknownMode),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_query_may_be_called_query_or_q() {
        let read = |text: &str| query(text.as_bytes());
        let found = read(r#"{"q":"dawn","scope":"mesh","limit":3}"#).unwrap();
        assert_eq!(found, Search { words: "dawn".into(), scope: Some("mesh".into()), limit: 3 });
        assert_eq!(read(r#"{"query":"a","q":"b","limit":"7","mode":"fts","scope":null}"#).unwrap().limit, 7);
        assert_eq!(read(r#"{"query":"","scope":"mesh"}"#), Err(Refusal::MissingWords));
        assert_eq!(read(r#"{"query":"a","mode":"semantic"}"#), Err(Refusal::NoSemanticSearch));
        assert_eq!(read(r#"{"query":"a","mode":"magic"}"#), Err(Refusal::UnknownMode));
    }

    #[test]
    fn a_limit_out_of_bounds_is_the_nearest_one() {
        for (text, limit) in [
            ("1", 1),
            ("100", 100),
            ("101", 100),
            ("-5", 1),
            ("0", 25),
            ("many", 25),
            ("7.9", 7),
            ("1e9", 100),
            ("NaN", 25),
        ] {
            assert_eq!(limit_of(Some(text)), limit, "{text}");
        }
        assert_eq!(limit_of(None), 25);
    }
}
