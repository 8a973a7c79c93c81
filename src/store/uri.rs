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
pub(crate) struct Parameters {
    pub(crate) scope: Option<String>,
    pub(crate) q: Option<String>,
    pub(crate) limit: Option<String>,
    pub(crate) mode: Option<String>,
}

impl Parameters {
    /// Reads the query string.
    ///
    /// # Errors
    /// [`Refusal::InvalidQuery`].
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let mut found = Self::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match form(name)?.as_str() {
                "scope" => &mut found.scope,
                "q" => &mut found.q,
                "limit" => &mut found.limit,
                "mode" => &mut found.mode,
                // What the store does not know was never an error, so that links may carry more.
                _ => continue,
            };
            let value = form(value)?;
            if place.is_none() && !value.is_empty() {
                *place = Some(value);
            }
        }
        Ok(found)
    }
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
