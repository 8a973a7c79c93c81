//! The guard over a request's path: routes match the bytes that came, and the same bytes go on, so a path
//! that another server could read as a different one is refused here (RFC 3986 sections 3.3 and 6.2).
//!
//! It changes nothing and decodes nothing; what it lets through has one reading.

use crate::config::checked::EncodedSlashes;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// A backslash, encoded or not: some servers take it for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// `.` or `..` between slashes, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`: some servers fold it.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// An encoded NUL.
    #[error("the path has an encoded NUL")]
    Nul,
    /// `%25` before two hex digits: it would decode to another path the second time.
    #[error("the path is percent-encoded twice")]
    DoubleEncoding,
    /// `%2F` on a route that does not keep it.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A letter, digit, `-`, `.` or `_` in percent-encoding: equal to the plain one, but not the same bytes.
    #[error("the path has percent-encoded characters that need no encoding")]
    NeedlessEncoding,
    /// `%` without two hex digits behind it, or bytes that are no UTF-8.
    #[error("the path has a malformed percent-encoding")]
    Malformed,
}

/// What a clean path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanPath {
    /// Whether it has `%2F`; whether that may stay is the route's word: see [`slashes`].
    pub encoded_slash: bool,
}

/// Looks at a path (without its query).
///
/// # Errors
/// [`PathFault`].
pub fn examine(path: &[u8]) -> Result<CleanPath, PathFault> {
    let mut clean = CleanPath { encoded_slash: false };
    if memchr::memchr(b'\\', path).is_some() {
        return Err(PathFault::Backslash);
    }
    if memchr::memchr(b'%', path).is_some() {
        clean.encoded_slash = escapes(path)?;
    }
    segments(path)?;
    Ok(clean)
}

/// Whether the route takes a path with (or without) encoded slashes.
///
/// # Errors
/// [`PathFault::EncodedSlash`].
pub fn slashes(clean: CleanPath, policy: EncodedSlashes) -> Result<(), PathFault> {
    match policy {
        EncodedSlashes::Refuse if clean.encoded_slash => Err(PathFault::EncodedSlash),
        EncodedSlashes::Refuse | EncodedSlashes::Keep => Ok(()),
    }
}

fn escapes(path: &[u8]) -> Result<bool, PathFault> {
    let mut slash = false;
    let mut at = 0;
    let mut high = false;
    while let Some(found) = memchr::memchr(b'%', &path[at..]) {
        at += found;
        let byte = escape(path, at).ok_or(PathFault::Malformed)?;
        match byte {
            0 => return Err(PathFault::Nul),
            b'\\' => return Err(PathFault::Backslash),
            b'/' => slash = true,
            b'%' if escape_digits(path, at + 3) => return Err(PathFault::DoubleEncoding),
            // A dot is told apart as part of a dot segment below, where there is one.
            b'.' => {}
            b'-' | b'_' => return Err(PathFault::NeedlessEncoding),
            b if b.is_ascii_alphanumeric() => return Err(PathFault::NeedlessEncoding),
            b => high |= b >= 0x80,
        }
        at += 3;
    }
    if high && percent_encoding::percent_decode(path).decode_utf8().is_err() {
        return Err(PathFault::Malformed);
    }
    Ok(slash)
}

fn escape(path: &[u8], at: usize) -> Option<u8> {
    let hex = |b: &u8| (*b as char).to_digit(16);
    let (high, low) = (path.get(at + 1).and_then(hex)?, path.get(at + 2).and_then(hex)?);
    u8::try_from(high * 16 + low).ok()
}

fn escape_digits(path: &[u8], at: usize) -> bool {
    path.get(at..at + 2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
}

/// Walks the segments, which end at `/` and at `%2F`, and refuses those that mean another path.
fn segments(path: &[u8]) -> Result<(), PathFault> {
    let mut at = 1; // the first byte is the slash
    let (mut dots, mut other, mut encoded_dot) = (0usize, false, false);
    let end = |dots: &mut usize, other: &mut bool| -> Result<(), PathFault> {
        let dot_segment = !*other && (*dots == 1 || *dots == 2);
        (*dots, *other) = (0, false);
        if dot_segment { Err(PathFault::DotSegment) } else { Ok(()) }
    };
    let mut start = 1;
    while at < path.len() {
        match path[at] {
            b'/' => {
                if at == start {
                    return Err(PathFault::EmptySegment);
                }
                end(&mut dots, &mut other)?;
                at += 1;
                start = at;
            }
            b'.' => {
                dots += 1;
                at += 1;
            }
            b'%' => {
                match escape(path, at) {
                    Some(b'/') => end(&mut dots, &mut other)?,
                    Some(b'.') => {
                        dots += 1;
                        encoded_dot = true;
                    }
                    _ => other = true,
                }
                at += 3;
            }
            // `;` starts a parameter that some servers cut off: what is before it decides.
            b';' if !other => {
                end(&mut dots, &mut other)?;
                other = true;
                at += 1;
            }
            _ => {
                other = true;
                at += 1;
            }
        }
    }
    end(&mut dots, &mut other)?;
    if encoded_dot { Err(PathFault::NeedlessEncoding) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str) -> Result<bool, PathFault> {
        examine(path.as_bytes()).map(|clean| clean.encoded_slash)
    }

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c/d..e/...",
            "/mesh/memory/user:42",
            "/a%20b",
            "/%C3%A9",
            "/a~b;c=d",
            "/.well-known/x",
            "/a%25",
        ] {
            assert_eq!(check(path), Ok(false), "{path}");
        }
        assert_eq!(check("/mesh/memory/mesh/a%2Fb"), Ok(true));
    }

    #[test]
    fn paths_with_a_second_reading_are_refused() {
        for (path, fault) in [
            ("/a\\b", PathFault::Backslash),
            ("/a%5Cb", PathFault::Backslash),
            ("/a%5cb", PathFault::Backslash),
            ("/../a", PathFault::DotSegment),
            ("/a/..", PathFault::DotSegment),
            ("/a/./b", PathFault::DotSegment),
            ("/a/.", PathFault::DotSegment),
            ("/%2e%2E/a", PathFault::DotSegment),
            ("/a/.%2e", PathFault::DotSegment),
            ("/a%2F..%2Fb", PathFault::DotSegment),
            ("/a/..;x=y/b", PathFault::DotSegment),
            ("/a/b%2ec", PathFault::NeedlessEncoding),
            ("/a%00", PathFault::Nul),
            ("/a%252e%252e", PathFault::DoubleEncoding),
            ("/a%252Fb", PathFault::DoubleEncoding),
            ("//a", PathFault::EmptySegment),
            ("/a//b", PathFault::EmptySegment),
            ("/%61dmin", PathFault::NeedlessEncoding),
            ("/a%2", PathFault::Malformed),
            ("/a%zz", PathFault::Malformed),
            ("/a%C0%AE", PathFault::Malformed),
            ("/a%FF", PathFault::Malformed),
        ] {
            assert_eq!(check(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn encoded_slashes_are_the_routes_word() {
        let clean = examine(b"/a%2Fb").unwrap();
        assert_eq!(slashes(clean, EncodedSlashes::Refuse), Err(PathFault::EncodedSlash));
        assert_eq!(slashes(clean, EncodedSlashes::Keep), Ok(()));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = examine(&[b"/", &path[..]].concat());
        }

        #[test]
        fn a_clean_path_has_no_dot_segment_however_often_it_is_decoded(path in "/[a./%25eF2;0-9]{0,20}") {
            if examine(path.as_bytes()).is_ok() {
                let mut text = path;
                for _ in 0..3 {
                    for segment in text.split('/') {
                        prop_assert!(segment != "." && segment != "..", "{text}");
                    }
                    text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
                }
            }
        }
    }
}
