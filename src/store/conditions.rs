//! Entity tags, and what the conditions of RFC 9110 section 13 ask of a row.
//!
//! A tag is `"v<version>.<change>"`. The change alone decides: a tenant uses no number twice, so that a row
//! that was purged and made anew never has a tag that it had before.

use super::model::{Condition, Stamp};
use super::reply::Refusal;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The entity tag of a row.
pub(crate) fn tag(stamp: &Stamp) -> HeaderValue {
    let text = format!("\"v{}.{}\"", stamp.version, stamp.change);
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether a write must say what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// It may.
    May,
    /// It must.
    Must,
}

/// What a write's fields ask for.
///
/// # Errors
/// [`Refusal::InvalidCondition`], and [`Refusal::PreconditionRequired`] when they ask for nothing and must.
pub(crate) fn of_write(headers: &HeaderMap, demand: Demand) -> Result<Condition, Refusal> {
    match (field(headers, &IF_MATCH)?, field(headers, &IF_NONE_MATCH)?, demand) {
        (None, None, Demand::May) => Ok(Condition::Always),
        (None, None, Demand::Must) => Err(Refusal::PreconditionRequired),
        (Some(text), None, _) => if_match(&text),
        // Any other tag would say: write unless it is as I know it, which nobody means.
        (None, Some(text), _) if text == "*" => Ok(Condition::Absent),
        (None | Some(_), Some(_), _) => Err(Refusal::InvalidCondition),
    }
}

/// What an `If-Match` asks for.
///
/// # Errors
/// [`Refusal::InvalidCondition`].
pub(crate) fn if_match(text: &str) -> Result<Condition, Refusal> {
    if text == "*" {
        return Ok(Condition::Present);
    }
    // A weak tag never matches here (RFC 9110 section 13.1.1), nor does one that the store never gave.
    let known = tags(text)?.into_iter().filter_map(|(weak, tag)| (!weak).then(|| change(tag)).flatten());
    Ok(Condition::Unchanged(known.collect()))
}

/// Whether the caller of a read has this already, by its `If-None-Match`.
///
/// # Errors
/// [`Refusal::InvalidCondition`].
pub(crate) fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> Result<bool, Refusal> {
    let Some(text) = field(headers, &IF_NONE_MATCH)? else { return Ok(false) };
    if text == "*" {
        return Ok(true);
    }
    let own = tag.as_bytes();
    let own = own.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(own);
    Ok(tags(&text)?.iter().any(|(_, known)| known.as_bytes() == own))
}

/// All values of a field as one, as RFC 9110 section 5.3 joins them.
fn field(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| Refusal::InvalidCondition)?.trim();
        match &mut joined {
            None => joined = Some(value.to_owned()),
            Some(joined) => {
                joined.push(',');
                joined.push_str(value);
            }
        }
    }
    Ok(joined)
}

/// The tags of a list, without their quotes, and whether each is weak.
fn tags(text: &str) -> Result<Vec<(bool, &str)>, Refusal> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let quoted = quoted.strip_prefix('"').ok_or(Refusal::InvalidCondition)?;
        let (tag, after) = quoted.split_once('"').ok_or(Refusal::InvalidCondition)?;
        found.push((weak, tag));
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return Err(Refusal::InvalidCondition);
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    if found.is_empty() { Err(Refusal::InvalidCondition) } else { Ok(found) }
}

fn change(tag: &str) -> Option<i64> {
    let (version, change) = tag.strip_prefix('v')?.split_once('.')?;
    version.parse::<i64>().ok()?;
    change.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn write(fields: &[(HeaderName, &str)], demand: Demand) -> Result<Condition, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), value.parse().unwrap());
        }
        of_write(&headers, demand)
    }

    #[test]
    fn a_write_says_what_it_has_read_or_that_nothing_may_be_there() {
        let one = |name: &HeaderName, text: &str| write(&[(name.clone(), text)], Demand::May);
        assert_eq!(write(&[], Demand::May), Ok(Condition::Always));
        assert_eq!(write(&[], Demand::Must), Err(Refusal::PreconditionRequired));
        assert_eq!(one(&IF_MATCH, "*"), Ok(Condition::Present));
        assert_eq!(one(&IF_NONE_MATCH, "*"), Ok(Condition::Absent));
        assert_eq!(one(&IF_MATCH, "\"v3.17\""), Ok(Condition::Unchanged(vec![17])));
        assert_eq!(
            one(&IF_MATCH, "\"v1.2\" , W/\"v1.3\",\"theirs\", \"v4.5\""),
            Ok(Condition::Unchanged(vec![2, 5]))
        );
        let twice = [(IF_MATCH, "\"v1.2\""), (IF_MATCH, "\"v1.3\"")];
        assert_eq!(write(&twice, Demand::Must), Ok(Condition::Unchanged(vec![2, 3])));
        for bad in ["v3.17", "\"v3.17", "\"a\" \"b\"", "", ","] {
            assert_eq!(one(&IF_MATCH, bad), Err(Refusal::InvalidCondition), "{bad}");
        }
        assert_eq!(one(&IF_NONE_MATCH, "\"v3.17\""), Err(Refusal::InvalidCondition));
        let both = [(IF_MATCH, "*"), (IF_NONE_MATCH, "*")];
        assert_eq!(write(&both, Demand::May), Err(Refusal::InvalidCondition));
    }

    #[test]
    fn a_read_that_is_known_is_known_by_its_tag_weak_or_not() {
        let stamp = Stamp { version: 3, change: 17, updated_at: 0, expires_at: None };
        let known = |text: &str| {
            is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, text.parse().unwrap())]), &tag(&stamp))
        };
        for yes in ["*", "\"v3.17\"", "W/\"v3.17\"", "\"x\", \"v3.17\""] {
            assert_eq!(known(yes), Ok(true), "{yes}");
        }
        assert_eq!((known("\"v3.18\""), known("x")), (Ok(false), Err(Refusal::InvalidCondition)));
        assert_eq!(is_known(&HeaderMap::new(), &tag(&stamp)), Ok(false));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_answered(text in any::<String>()) {
            let _ = if_match(&text);
        }
    }
}
