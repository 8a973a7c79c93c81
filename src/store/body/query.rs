//! Searches as clients ask for them.

use super::{given, name, object};
use crate::store::model::{MOST_HITS, USUAL_HITS};
use crate::store::ranking::Marks;
use crate::store::reply::Refusal;
use crate::store::search::{Mode, Query};
use serde::Deserialize;
use serde_json::value::RawValue;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
