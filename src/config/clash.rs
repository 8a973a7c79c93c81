//! Finds routes of which a router could not say which is meant.
//!
//! Two routes clash when a request fits both and nothing makes one the narrower: the same host pattern,
//! the same path but for the names of parameters, and a method in common. A route with methods is
//! narrower than one without.

use super::checked::{HostPattern, PathPattern, Segment};
use std::collections::HashMap;

/// What decides between routes.
pub(super) struct Claim<'a> {
    pub(super) host: Option<&'a HostPattern>,
    pub(super) path: &'a PathPattern,
    pub(super) methods: &'a [http::Method],
}

/// Host, segments (`None` for a parameter), and whether a rest follows.
type Shape<'a> = (String, Vec<Option<&'a str>>, bool);

/// Pairs of positions, the later one first.
pub(super) fn find(claims: &[Claim<'_>]) -> Vec<(usize, usize)> {
    let mut seen: HashMap<Shape<'_>, Vec<usize>> = HashMap::new();
    let mut clashes = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let alike = seen.entry((host(claim.host), shape(claim.path), claim.path.rest)).or_default();
        let first = alike.iter().find(|other| overlap(claim.methods, claims[**other].methods));
        clashes.extend(first.map(|first| (index, *first)));
        alike.push(index);
    }
    clashes
}

fn host(host: Option<&HostPattern>) -> String {
    match host {
        None => String::new(),
        Some(HostPattern::Exact(name)) => name.clone(),
        Some(HostPattern::Below(name)) => format!("*.{name}"),
    }
}

fn shape(path: &PathPattern) -> Vec<Option<&str>> {
    path.segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Param(_) => None,
        })
        .collect()
}

fn overlap(one: &[http::Method], other: &[http::Method]) -> bool {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => true,
        (true, false) | (false, true) => false,
        (false, false) => one.iter().any(|method| other.contains(method)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::pattern;

    fn clash(one: (&str, &str, &[&str]), other: (&str, &str, &[&str])) -> bool {
        let parts = [one, other].map(|(host, path, methods)| {
            let host = (!host.is_empty()).then(|| pattern::host(host).expect("host"));
            let method = |m: &&str| http::Method::from_bytes(m.as_bytes()).expect("method");
            let methods: Vec<_> = methods.iter().map(method).collect();
            (host, pattern::path(path).expect("path"), methods)
        });
        let claims: Vec<_> =
            parts.iter().map(|(host, path, methods)| Claim { host: host.as_ref(), path, methods }).collect();
        !find(&claims).is_empty()
    }

    #[test]
    fn two_routes_clash_when_neither_is_the_narrower() {
        assert!(clash(("", "/a/{x}", &[]), ("", "/a/{y}", &[])));
        assert!(clash(("", "/a/**", &["GET", "PUT"]), ("", "/a/**", &["PUT"])));
        assert!(clash(("H.x", "/a", &[]), ("h.x", "/a", &[])));
        assert!(!clash(("", "/a/**", &["GET"]), ("", "/a/**", &["PUT"])));
        assert!(!clash(("", "/a/**", &["GET"]), ("", "/a/**", &[])));
        assert!(!clash(("", "/a/{x}", &[]), ("", "/a/b", &[])));
        assert!(!clash(("", "/a/**", &[]), ("", "/a", &[])));
        assert!(!clash(("h.x", "/a", &[]), ("*.x", "/a", &[])));
        assert!(!clash(("h.x", "/a", &[]), ("", "/a", &[])));
    }
}
