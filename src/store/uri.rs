//! Paths and query strings, decoded exactly once. What does not decode is refused, not guessed at.

use super::reply::Refusal;
use percent_encoding::percent_decode;

/// Scope and key of `/mesh/memory/<scope>/<key>`: the scope ends at the first slash that is not encoded,
/// the key is everything after it, slashes included.
///
/// # Errors
/// [`Refusal::NotFound`] when one is missing, [`Refusal::InvalidPath`] when one does not decode.
pub(crate) fn scope_and_key(rest: &str) -> Result<(String, String), Refusal> {
    match rest.split_once('/') {
        Some((scope, key)) if !scope.is_empty() && !key.is_empty() => Ok((segment(scope)?, segment(key)?)),
        Some(_) | None => Err(Refusal::NotFound),
    }
}

/// One decoded piece of a path.
///
/// # Errors
/// [`Refusal::InvalidPath`].
pub(crate) fn segment(raw: &str) -> Result<String, Refusal> {
    decode(raw.as_bytes()).ok_or(Refusal::InvalidPath)
}

/// The parameters of a query string that the store knows; of several with one name the first counts,
/// and an empty one counts as none.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a yes or no of its own in the query")]
pub(crate) struct Parameters {
    pub(crate) scope: Option<String>,
    pub(crate) q: Option<String>,
    pub(crate) limit: Option<String>,
    pub(crate) mode: Option<String>,
    /// Whether rows say what the store says of them.
    pub(crate) meta: bool,
    /// Whether rows come with the message that they came with.
    pub(crate) proof: bool,
    /// Whether a row's past is meant.
    pub(crate) history: bool,
    /// Whether a deletion takes the past along.
    pub(crate) purge: bool,
    /// Whether a write must say what it has read.
    pub(crate) require_match: bool,
    /// What is asked for here and there only.
    rest: Vec<(&'static str, String)>,
}

/// Names that [`Parameters::text`] knows.
const TEXTS: &[&str] = &[
    "prefix",
    "marks",
    "node_id",
    "updated_since",
    "order",
    "cursor",
    "before",
    "ttl",
    "confirm",
    "since",
    "wait",
    "kind",
    "key_id",
];

/// Most rows that one page may ask for.
const MOST_ROWS: u32 = 1000;

impl Parameters {
    /// Reads the query string.
    ///
    /// # Errors
    /// [`Refusal::InvalidQuery`].
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = form(name)?;
            let value = form(value)?;
            let place = match name.as_str() {
                "scope" => &mut found.scope,
                "q" => &mut found.q,
                "limit" => &mut found.limit,
                "mode" => &mut found.mode,
                "meta" => {
                    found.meta |= is_yes(&value);
                    continue;
                }
                "proof" => {
                    found.proof |= is_yes(&value);
                    continue;
                }
                "history" => {
                    found.history |= is_yes(&value);
                    continue;
                }
                "purge" => {
                    found.purge |= is_yes(&value);
                    continue;
                }
                "require_match" => {
                    found.require_match |= is_yes(&value);
                    continue;
                }
                // What the store does not know was never an error, so that links may carry more.
                _ => {
                    found.keep(&name, value);
                    continue;
                }
            };
            if place.is_none() && !value.is_empty() {
                *place = Some(value);
            }
        }
        Ok(found)
    }

    fn keep(&mut self, name: &str, value: String) {
        let Some(name) = TEXTS.iter().find(|known| **known == name) else { return };
        if !value.is_empty() && self.text(name).is_none() {
            self.rest.push((name, value));
        }
    }

    /// One of the texts that are asked for here and there only.
    pub(crate) fn text(&self, name: &str) -> Option<&String> {
        self.rest.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The same as a whole number.
    ///
    /// # Errors
    /// [`Refusal::InvalidNumber`].
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        self.text(name).map(|text| text.parse().map_err(|_| Refusal::InvalidNumber)).transpose()
    }

    /// How many rows a page may have, where the request says; numbers out of bounds become the nearest.
    ///
    /// # Errors
    /// [`Refusal::InvalidNumber`].
    pub(crate) fn page_limit(&self) -> Result<Option<u32>, Refusal> {
        let Some(text) = &self.limit else { return Ok(None) };
        let number: i64 = text.parse().map_err(|_| Refusal::InvalidNumber)?;
        let number = u32::try_from(number.clamp(1, i64::from(MOST_ROWS))).unwrap_or(MOST_ROWS);
        Ok(Some(number))
    }
}

/// The query of a list's next page: what was asked for, and the cursor.
pub(crate) fn write_query(parameters: &Parameters, cursor: &str) -> String {
    let flags = [("meta", parameters.meta), ("proof", parameters.proof)];
    let flags = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "1"));
    let named = [("scope", parameters.scope.as_deref()), ("limit", parameters.limit.as_deref())];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let texts = parameters.rest.iter().map(|(name, value)| (*name, value.as_str()));
    let asked = flags.chain(named).chain(texts.filter(|(name, _)| *name != "cursor" && *name != "order"));
    let mut out = String::new();
    for (name, value) in asked.chain([("cursor", cursor)]) {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.extend(percent_encoding::utf8_percent_encode(value, IN_QUERY));
    }
    out
}

/// What stands for itself in a query's value (RFC 3986 section 2.3).
const IN_QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn is_yes(value: &str) -> bool {
    matches!(value, "1" | "true" | "yes")
}

fn form(raw: &str) -> Result<String, Refusal> {
    decode(raw.replace('+', " ").as_bytes()).ok_or(Refusal::InvalidQuery)
}

fn decode(raw: &[u8]) -> Option<String> {
    let mut at = 0;
    while let Some(offset) = raw[at..].iter().position(|&byte| byte == b'%') {
        let digits = raw.get(at + offset + 1..at + offset + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        at += offset + 3;
    }
    percent_decode(raw).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_key_may_hold_slashes_encoded_or_not() {
        let pair = |scope: &str, key: &str| Ok((scope.to_owned(), key.to_owned()));
        assert_eq!(scope_and_key("mesh/plan"), pair("mesh", "plan"));
        assert_eq!(scope_and_key("mesh/a/b%2Fc"), pair("mesh", "a/b/c"));
        assert_eq!(scope_and_key("user%3Abob%2Fx/k"), pair("user:bob/x", "k"));
        assert_eq!(scope_and_key("mesh/a%252Fb"), pair("mesh", "a%2Fb"), "once and no more");
        assert_eq!(scope_and_key("mesh/a+b"), pair("mesh", "a+b"));
        assert_eq!(scope_and_key("mesh//"), pair("mesh", "/"));
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for bad in ["mesh/%", "mesh/%2", "mesh/%zz", "mesh/%ff", "%80/a", "mesh/%ED%A0%80"] {
            assert_eq!(scope_and_key(bad), Err(Refusal::InvalidPath), "{bad}");
        }
        for missing in ["mesh", "mesh/", "/key", "/"] {
            assert_eq!(scope_and_key(missing), Err(Refusal::NotFound), "{missing}");
        }
    }

    #[test]
    fn of_a_repeated_parameter_the_first_counts_and_unknown_ones_are_passed_over() {
        let found = Parameters::parse(Some("q=a+b%20c&scope=user%3Abob&x=1&q=second&limit=&mode")).unwrap();
        let expected =
            Parameters { scope: Some("user:bob".into()), q: Some("a b c".into()), ..Parameters::default() };
        assert_eq!(found, expected);
        assert_eq!(Parameters::parse(None), Ok(Parameters::default()));
        assert_eq!(Parameters::parse(Some("q=%f")), Err(Refusal::InvalidQuery));
        assert_eq!(Parameters::parse(Some("q=%ff")), Err(Refusal::InvalidQuery));
    }

    #[test]
    fn the_next_page_is_asked_for_as_this_one_was() {
        let asked = "scope=user:b%26b&prefix=a%2F+x&limit=5&meta=1&order=key&cursor=old&q=&confirm=no";
        let parameters = Parameters::parse(Some(asked)).unwrap();
        let next = write_query(&parameters, "NEW_1-");
        assert_eq!(next, "meta=1&scope=user%3Ab%26b&limit=5&prefix=a%2F%20x&confirm=no&cursor=NEW_1-");
        let again = Parameters::parse(Some(&next)).unwrap();
        assert_eq!(
            (again.scope.as_deref(), again.text("prefix").map(String::as_str)),
            (Some("user:b&b"), Some("a/ x"))
        );
        assert_eq!(again.text("cursor").map(String::as_str), Some("NEW_1-"));
    }

    #[test]
    fn a_page_has_from_1_to_1000_rows() {
        let limit = |text: &str| Parameters::parse(Some(&format!("limit={text}"))).unwrap().page_limit();
        for (text, number) in [("1", 1), ("1000", 1000), ("1001", 1000), ("0", 1), ("-5", 1)] {
            assert_eq!(limit(text), Ok(Some(number)), "{text}");
        }
        assert_eq!(
            (limit("x"), limit("1.5"), limit("")),
            (Err(Refusal::InvalidNumber), Err(Refusal::InvalidNumber), Ok(None))
        );
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_comes_back(scope in ".+", key in ".+") {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path = format!("{}/{}", encode(&scope), encode(&key));
            assert_eq!(scope_and_key(&path), Ok((scope, key)));
        }

        #[test]
        fn no_text_is_too_odd_to_be_answered(raw in any::<String>()) {
            let _ = scope_and_key(&raw);
            let _ = Parameters::parse(Some(&raw));
        }
    }
}
