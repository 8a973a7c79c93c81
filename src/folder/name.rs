//! From the path of a request to the name of a file below a folder.

use percent_encoding::percent_decode_str;

/// What begins with a dot is hidden, but for this (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The name that a path behind the route's own stands for, each part decoded once; a slash at its end stays.
/// Nothing where no file that is served could have it.
pub(super) fn in_folder(below: &str) -> Option<String> {
    let mut name = String::with_capacity(below.len());
    let below = below.strip_prefix('/').unwrap_or(below);
    let (parts, end) = match below.strip_suffix('/') {
        Some(parts) => (parts, "/"),
        None => (below, ""),
    };
    if below.is_empty() {
        return Some(name);
    }
    for (at, part) in parts.split('/').enumerate() {
        let part = percent_decode_str(part).decode_utf8().ok()?;
        let is_hidden = part.starts_with('.') && !(at == 0 && part == WELL_KNOWN);
        if part.is_empty() || is_hidden || part.contains(['/', '\\']) || part.contains(char::is_control) {
            return None;
        }
        if at > 0 {
            name.push('/');
        }
        name.push_str(&part);
    }
    name.push_str(end);
    Some(name)
}

/// Whether a name may be an application's own page rather than a file that is missing.
pub(super) fn is_page(name: &str) -> bool {
    let name = name.trim_end_matches('/');
    !name.rsplit('/').next().unwrap_or_default().contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(below: &str, want: Option<&str>) {
        assert_eq!(in_folder(below).as_deref(), want, "{below}");
    }

    #[test]
    fn parts_are_decoded_once() {
        check("", Some(""));
        check("/", Some(""));
        check("/a", Some("a"));
        check("/a/", Some("a/"));
        check("/a/b.js", Some("a/b.js"));
        check("/gr%C3%BC%C3%9Fe%20x", Some("grüße x"));
        check("/a%2525", Some("a%25"));
        check("/.well-known/security.txt", Some(".well-known/security.txt"));
    }

    #[test]
    fn nothing_hidden_and_nothing_else_than_parts() {
        for below in [
            "/.env",
            "/.git/config",
            "/a/.b",
            "/a/.well-known/x",
            "/.well-known/.x",
            "/..",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "/a%2F..%2Fb",
            "/a%2Fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0A",
            "//etc/passwd",
            "//",
            "/a//b",
            "/%FF",
        ] {
            check(below, None);
        }
    }

    #[test]
    fn what_has_a_dot_is_a_file() {
        assert!(is_page("") && is_page("chat") && is_page("a.b/chat/"));
        assert!(!is_page("app.js") && !is_page("a/b.c"));
    }

    proptest! {
        #[test]
        fn a_name_never_leads_up_or_to_the_root(below in "[/.%2eEfF5cC0a~;\\\\-]{0,24}") {
            if let Some(name) = in_folder(&below) {
                prop_assert!(!name.starts_with('/'), "{name}");
                let is_below = |part: &str| !part.starts_with('.') && !part.contains('\\');
                prop_assert!(name.trim_end_matches('/').split('/').all(is_below), "{name}");
            }
        }
    }
}
