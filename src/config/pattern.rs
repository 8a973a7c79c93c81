//! Patterns of paths and hosts, as routes write them.
//!
//! Pure: text in, pattern or error out. What a pattern matches is for the router to say.

use super::checked::{HostPattern, PathPattern, Segment};
use super::urls::is_host_name;

/// Most bytes of a pattern.
const LONGEST: usize = 1024;

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No slash at the front.
    #[error("does not begin with `/`")]
    NoSlash,
    /// `//`, or a slash at the end.
    #[error("has an empty segment; `/` stands once, and not at the end")]
    Empty,
    /// `.` or `..`.
    #[error("has a `.` or `..` segment")]
    Dots,
    /// `**` before the end.
    #[error("has `**` before its end")]
    RestInside,
    /// `*` within a segment.
    #[error("has a `*` that is no `/**` at its end; one segment is written `{{name}}`")]
    Star,
    /// `%`.
    #[error("has a `%`; write the character itself, or use `{{name}}`")]
    Percent,
    /// A character that no path has as it stands.
    #[error("has {found:?}, which no path has as it stands")]
    Character {
        /// The character.
        found: char,
    },
    /// A parameter whose name is not `[a-z_]+`.
    #[error("has a parameter whose name is not of a-z and '_', such as `{{gateway}}`")]
    Param,
    /// A parameter twice.
    #[error("has the same parameter twice")]
    Twice,
    /// Longer than any path that is meant.
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
    /// Not a host.
    #[error("is no host; write `api.example.com` or `*.example.com`, without a port")]
    Host,
}

/// `/exact`, `/with/{param}`, `/prefix/**`.
///
/// # Errors
/// [`PatternError`] says what is wrong.
pub fn path(text: &str) -> Result<PathPattern, PatternError> {
    if text.len() > LONGEST {
        return Err(PatternError::TooLong);
    }
    let inner = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
    let mut pattern = PathPattern { segments: Vec::new(), rest: false, text: text.to_owned() };
    if inner.is_empty() {
        return Ok(pattern);
    }
    for piece in inner.split('/') {
        if pattern.rest {
            return Err(PatternError::RestInside);
        }
        if piece == "**" {
            pattern.rest = true;
            continue;
        }
        let segment = segment(piece)?;
        if matches!(segment, Segment::Param(_)) && pattern.segments.contains(&segment) {
            return Err(PatternError::Twice);
        }
        pattern.segments.push(segment);
    }
    Ok(pattern)
}

fn segment(piece: &str) -> Result<Segment, PatternError> {
    match piece {
        "" => return Err(PatternError::Empty),
        "." | ".." => return Err(PatternError::Dots),
        _ => {}
    }
    if let Some(name) = piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        return if is_name { Ok(Segment::Param(name.to_owned())) } else { Err(PatternError::Param) };
    }
    // RFC 3986, section 3.3: pchar without pct-encoded. `*` is one, but reads like a pattern.
    let wrong = |c: char| !(c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@".contains(c));
    match piece.chars().find(|c| wrong(*c)) {
        None => Ok(Segment::Literal(piece.to_owned())),
        Some('*') => Err(PatternError::Star),
        Some('%') => Err(PatternError::Percent),
        Some('{' | '}') => Err(PatternError::Param),
        Some(found) => Err(PatternError::Character { found }),
    }
}

/// A path without parameters and without `/**`, as `strip_prefix` and `add_prefix` take it.
///
/// # Errors
/// [`PatternError`] says what is wrong.
pub fn prefix(text: &str) -> Result<Vec<String>, PatternError> {
    let pattern = path(text)?;
    if pattern.rest {
        return Err(PatternError::Star);
    }
    if pattern.segments.is_empty() {
        return Err(PatternError::Empty);
    }
    pattern
        .segments
        .into_iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Ok(text),
            Segment::Param(_) => Err(PatternError::Param),
        })
        .collect()
}

/// The literal segments with which a pattern begins.
#[must_use]
pub fn literal_prefix(pattern: &PathPattern) -> Vec<&str> {
    pattern
        .segments
        .iter()
        .map_while(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Param(_) => None,
        })
        .collect()
}

/// The names of a pattern's parameters, in order.
#[must_use]
pub fn params(pattern: &PathPattern) -> Vec<&str> {
    pattern
        .segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
        .collect()
}

/// `api.example.com` or `*.example.com`, in any case; an IPv6 address in brackets.
///
/// # Errors
/// [`PatternError::Host`].
pub fn host(text: &str) -> Result<HostPattern, PatternError> {
    let lower = text.to_ascii_lowercase();
    if let Some(below) = lower.strip_prefix("*.") {
        let is_name = is_host_name(below) && below.parse::<std::net::IpAddr>().is_err();
        return if is_name { Ok(HostPattern::Below(below.to_owned())) } else { Err(PatternError::Host) };
    }
    let inner = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_v6 = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if is_v6 || is_host_name(&lower) { Ok(HostPattern::Exact(lower)) } else { Err(PatternError::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_path_has_literals_parameters_and_perhaps_a_rest() {
        let pattern = path("/gateways/{gateway}/x:y/**").expect("good");
        assert_eq!(params(&pattern), ["gateway"]);
        assert_eq!(literal_prefix(&pattern), ["gateways"]);
        assert!(pattern.rest);
        assert_eq!(path("/").map(|p| (p.segments.len(), p.rest)), Ok((0, false)));
        assert_eq!(path("/**").map(|p| (p.segments.len(), p.rest)), Ok((0, true)));
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_refused() {
        let error = |text: &str| path(text).expect_err(text);
        assert_eq!(error("mesh"), PatternError::NoSlash);
        assert_eq!(error(""), PatternError::NoSlash);
        assert_eq!(error("/a//b"), PatternError::Empty);
        assert_eq!(error("/a/"), PatternError::Empty);
        assert_eq!(error("/a/../b"), PatternError::Dots);
        assert_eq!(error("/a/**/b"), PatternError::RestInside);
        assert_eq!(error("/a/*"), PatternError::Star);
        assert_eq!(error("/a/b**"), PatternError::Star);
        assert_eq!(error("/a%2Fb"), PatternError::Percent);
        assert_eq!(error("/{A}"), PatternError::Param);
        assert_eq!(error("/a{b}"), PatternError::Param);
        assert_eq!(error("/{a}/{a}"), PatternError::Twice);
        assert_eq!(error("/a b"), PatternError::Character { found: ' ' });
        assert_eq!(error("/a?b"), PatternError::Character { found: '?' });
        assert_eq!(error("/ü"), PatternError::Character { found: 'ü' });
    }

    #[test]
    fn a_host_is_exact_or_everything_below() {
        assert_eq!(host("API.example.com"), Ok(HostPattern::Exact("api.example.com".into())));
        assert_eq!(host("*.Example.com"), Ok(HostPattern::Below("example.com".into())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
        for bad in ["", "*", "*.", "a:80", "a..b", "*.*.a", "a/b", "*.1.2.3.4"] {
            assert_eq!(host(bad), Err(PatternError::Host), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = path(&format!("/{text}"));
            let _ = prefix(&text);
            let _ = host(&text);
        }
    }
}
