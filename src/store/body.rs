//! What clients send in bodies: JSON objects, read member by member.
//!
//! The values of members are kept as text, because a memory's value goes to the database as it came.

use super::conditions;
use super::json::Json;
use super::model::{
    Act, Condition, Content, Expiry, Kind, MOST_HITS, NewMemory, NewSkill, Target, USUAL_HITS,
};
use super::ranking::Marks;
use super::reply::Refusal;
use super::search::{Mode, Query};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Node of a memory that does not say.
const UNKNOWN_NODE: &str = "unknown";

/// What a client puts, and when it ends if the client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct New {
    pub(crate) content: Content,
    pub(crate) expiry: Option<Expiry>,
}

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

/// Longest time to live: a hundred years.
const LONGEST: i64 = 100 * 366 * 24 * 3600;

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
    let expiry = expiry(body.ttl, body.expires_at)?;
    Ok(New { content: Content::Memory(NewMemory { scope, key, value, node_id }), expiry })
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
    let expiry = expiry(body.ttl, body.expires_at)?;
    Ok(New { content: Content::Skill(skill), expiry })
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
        Some("put") => Asked::Put(if body.name.is_some() { skill(bytes)? } else { memory(bytes)? }),
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

/// When a row ends: after `ttl` seconds, at `expires_at`, or never with a `null` for either.
fn expiry(ttl: Option<&RawValue>, expires_at: Option<&RawValue>) -> Result<Option<Expiry>, Refusal> {
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

/// Reads the body of `POST /mesh/query`.
///
/// # Errors
/// A [`Refusal`] that says what is missing.
pub(crate) fn query(bytes: &[u8]) -> Result<Query, Refusal> {
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
        #[serde(borrow, default, deserialize_with = "given")]
        prefix: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "given")]
        marks: Option<&'a RawValue>,
    }
    let body: Body<'_> = object(bytes)?;
    let words = name(body.query).or_else(|| name(body.q)).ok_or(Refusal::MissingWords)?;
    let mode = mode(name(body.mode).as_deref())?;
    let marks = marks(name(body.marks).as_deref())?;
    let limit = body.limit.map(|raw| raw.get().trim_matches('"'));
    let (scope, prefix) = (name(body.scope), name(body.prefix));
    Ok(Query { words, scope, prefix, limit: limit_of(limit), mode, marks })
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

/// Which search is meant.
///
/// # Errors
/// [`Refusal::UnknownMode`].
pub(crate) fn mode(text: Option<&str>) -> Result<Mode, Refusal> {
    match text {
        None | Some("fts") => Ok(Mode::FullText),
        Some("semantic") => Ok(Mode::Semantic),
        Some("hybrid") => Ok(Mode::Hybrid),
        Some(_) => Err(Refusal::UnknownMode),
    }
}

/// How snippets show what was found.
///
/// # Errors
/// [`Refusal::UnknownMarks`].
pub(crate) fn marks(text: Option<&str>) -> Result<Marks, Refusal> {
    match text {
        None => Ok(Marks::None),
        Some("html") => Ok(Marks::Html),
        Some(_) => Err(Refusal::UnknownMarks),
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

    fn memory(bytes: &[u8]) -> Result<NewMemory, Refusal> {
        match super::memory(bytes)?.content {
            Content::Memory(memory) => Ok(memory),
            Content::Skill(skill) => panic!("{skill:?}"),
        }
    }

    fn skill(bytes: &[u8]) -> Result<NewSkill, Refusal> {
        match super::skill(bytes)?.content {
            Content::Skill(skill) => Ok(skill),
            Content::Memory(memory) => panic!("{memory:?}"),
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
    fn a_query_may_be_called_query_or_q() {
        let read = |text: &str| query(text.as_bytes());
        let found = read(r#"{"q":"dawn","scope":"mesh","limit":3}"#).unwrap();
        let expected = Query {
            words: "dawn".into(),
            scope: Some("mesh".into()),
            prefix: None,
            limit: 3,
            mode: Mode::FullText,
            marks: Marks::None,
        };
        assert_eq!(found, expected);
        let found = read(r#"{"q":"a","mode":"hybrid","prefix":"p","marks":"html"}"#).unwrap();
        assert_eq!(
            (found.mode, found.prefix.as_deref(), found.marks),
            (Mode::Hybrid, Some("p"), Marks::Html)
        );
        assert_eq!(read(r#"{"q":"a","marks":"bold"}"#), Err(Refusal::UnknownMarks));
        assert_eq!(read(r#"{"query":"a","q":"b","limit":"7","mode":"fts","scope":null}"#).unwrap().limit, 7);
        assert_eq!(read(r#"{"query":"","scope":"mesh"}"#), Err(Refusal::MissingWords));
        assert_eq!(read(r#"{"query":"a","mode":"semantic"}"#).unwrap().mode, Mode::Semantic);
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
        for (text, why) in [
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
