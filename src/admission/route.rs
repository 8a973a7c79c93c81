//! Which route takes a request: host, then path, then method, the most specific first.
//!
//! Paths are matched on the bytes that came, segment by segment, in a tree that is built once per config.

use crate::config::checked::{HostPattern, PathPattern, Route, Segment};
use http::Method;
use std::collections::HashMap;

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// This route (its place in the config), with the segments that its parameters stand for.
    Route {
        /// Index into the config's routes.
        index: usize,
        /// One entry a parameter, in the pattern's order.
        params: Params<'p>,
    },
    /// Routes take the path, but not with this method; these they take.
    OtherMethods(Vec<Method>),
    /// Nothing.
    Nothing,
}

/// Most parameters in one pattern.
pub const MAX_PARAMS: usize = 8;

/// The segments that parameters stand for, as they came (still percent-encoded).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'p> {
    values: [&'p str; MAX_PARAMS],
    count: usize,
}

impl<'p> Params<'p> {
    /// The segment at a parameter's place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&'p str> {
        self.values[..self.count].get(place).copied()
    }

    fn with(mut self, value: &'p str) -> Self {
        if self.count < MAX_PARAMS {
            self.values[self.count] = value;
            self.count += 1;
        }
        self
    }
}

/// All routes, ready to be searched.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact_hosts: HashMap<String, Node>,
    /// Longest first.
    below_hosts: Vec<(String, Node)>,
    any_host: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// In order: comparing a few bytes a few times costs less than hashing them.
    literals: Vec<(String, Node)>,
    param: Option<Box<Node>>,
    /// Routes that end here.
    exact: Vec<Entry>,
    /// Routes that take everything from here on.
    rest: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    index: usize,
    /// Empty for all; entries with methods stand before those without.
    methods: Vec<Method>,
}

impl RouteTable {
    /// Builds the tree. Two routes that are equally specific were refused by the config's check.
    #[must_use]
    pub fn new(routes: &[Route]) -> Self {
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let root = match &route.host {
                Some(HostPattern::Exact(host)) => table.exact_hosts.entry(host.clone()).or_default(),
                Some(HostPattern::Below(host)) => table.below(host),
                None => &mut table.any_host,
            };
            root.insert(&route.path, Entry { index, methods: route.methods.clone() });
        }
        table.below_hosts.sort_by_key(|(host, _)| std::cmp::Reverse(host.len()));
        table
    }

    fn below(&mut self, host: &str) -> &mut Node {
        let place = self.below_hosts.iter().position(|(known, _)| known == host).unwrap_or_else(|| {
            self.below_hosts.push((host.to_owned(), Node::default()));
            self.below_hosts.len() - 1
        });
        &mut self.below_hosts[place].1
    }

    /// Finds the route. `host` is the Host field as it came; `path` begins with a slash.
    #[must_use]
    pub fn find<'p>(&self, host: &str, method: &Method, path: &'p str) -> Found<'p> {
        let mut search = Search { method, others: Vec::new() };
        let rest = path.strip_prefix('/').unwrap_or(path);
        let further = (!rest.is_empty()).then_some(rest);
        let found = self
            .named_hosts(host)
            .chain([&self.any_host])
            .find_map(|root| root.step(further, Params::default(), &mut search));
        match found {
            Some((index, params)) => Found::Route { index, params },
            None if search.others.is_empty() => Found::Nothing,
            None => Found::OtherMethods(search.others),
        }
    }

    /// The trees that are for this host by name. Most configs have none: then nothing is even lower-cased.
    fn named_hosts<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t Node> + use<'t> {
        let named = !(self.exact_hosts.is_empty() && self.below_hosts.is_empty());
        let host = named.then(|| without_port(host).to_ascii_lowercase());
        let exact = host.as_deref().and_then(|host| self.exact_hosts.get(host));
        let below = host.into_iter().flat_map(|host| {
            self.below_hosts.iter().filter(move |(suffix, _)| {
                host.strip_suffix(suffix.as_str())
                    .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            })
        });
        exact.into_iter().chain(below.map(|(_, node)| node))
    }
}

fn without_port(host: &str) -> &str {
    let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { host.find(':') };
    host[..end.unwrap_or(host.len())].trim_end_matches('.')
}

struct Search<'m> {
    method: &'m Method,
    others: Vec<Method>,
}

impl Search<'_> {
    fn pick(&mut self, entries: &[Entry]) -> Option<usize> {
        for entry in entries {
            if entry.methods.is_empty() || entry.methods.contains(self.method) {
                return Some(entry.index);
            }
        }
        for method in entries.iter().flat_map(|entry| &entry.methods) {
            if !self.others.contains(method) {
                self.others.push(method.clone());
            }
        }
        None
    }
}

impl Node {
    fn insert(&mut self, path: &PathPattern, entry: Entry) {
        let mut node = self;
        for segment in &path.segments {
            node = match segment {
                Segment::Literal(text) => node.literal(text),
                Segment::Param(_) => node.param.get_or_insert_default(),
            };
        }
        let entries = if path.rest { &mut node.rest } else { &mut node.exact };
        entries.push(entry);
        entries.sort_by_key(|entry| entry.methods.is_empty());
    }

    fn literal(&mut self, text: &str) -> &mut Self {
        let place = self.place(text).unwrap_or_else(|free| {
            self.literals.insert(free, (text.to_owned(), Self::default()));
            free
        });
        &mut self.literals[place].1
    }

    /// Where a literal is, or would be.
    fn place(&self, text: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(known, _)| known.as_str().cmp(text))
    }

    /// `rest` is what is left of the path behind the last slash; the depth is the longest pattern's.
    fn find<'p>(
        &self,
        rest: &'p str,
        params: Params<'p>,
        search: &mut Search<'_>,
    ) -> Option<(usize, Params<'p>)> {
        let (segment, further) = match memchr::memchr(b'/', rest.as_bytes()) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        if let Ok(place) = self.place(segment)
            && let Some(found) = self.literals[place].1.step(further, params, search)
        {
            return Some(found);
        }
        if let Some(child) = &self.param
            && !segment.is_empty()
            && let Some(found) = child.step(further, params.with(segment), search)
        {
            return Some(found);
        }
        search.pick(&self.rest).map(|index| (index, params))
    }

    fn step<'p>(
        &self,
        further: Option<&'p str>,
        params: Params<'p>,
        search: &mut Search<'_>,
    ) -> Option<(usize, Params<'p>)> {
        match further {
            Some(rest) => self.find(rest, params, search),
            None => search.pick(&self.exact).or_else(|| search.pick(&self.rest)).map(|index| (index, params)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::checked::{Access, EncodedSlashes, Target};
    use crate::ids::Name;
    use std::time::Duration;

    fn route(host: &str, path: &str, methods: &[&str]) -> Route {
        let rest = path.ends_with("/**");
        let segments = path.trim_end_matches("/**").split('/').skip(1).filter(|text| !text.is_empty());
        let segment = |text: &str| match text.strip_prefix('{') {
            Some(name) => Segment::Param(name.trim_end_matches('}').to_owned()),
            None => Segment::Literal(text.to_owned()),
        };
        Route {
            name: Name::parse("r").unwrap(),
            path: PathPattern { segments: segments.map(segment).collect(), rest, text: path.to_owned() },
            host: match host.strip_prefix("*.") {
                Some(below) => Some(HostPattern::Below(below.to_owned())),
                None if host.is_empty() => None,
                None => Some(HostPattern::Exact(host.to_owned())),
            },
            methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
            access: Access::Public,
            limits: vec![],
            call_limits: vec![],
            encoded_slashes: EncodedSlashes::Refuse,
            body_max: 0,
            body_timeout: Duration::ZERO,
            verify: None,
            sign: None,
            federation: None,
            forward_credential: false,
            target: Target::MissionControl,
        }
    }

    /// The routes' places, as `find` names them.
    fn check(routes: &[(&str, &str, &[&str])], host: &str, method: &str, path: &str) -> Option<usize> {
        let routes: Vec<Route> = routes.iter().map(|(h, p, m)| route(h, p, m)).collect();
        match RouteTable::new(&routes).find(host, &method.parse().unwrap(), path) {
            Found::Route { index, .. } => Some(index),
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn the_most_specific_path_wins() {
        let routes: &[(&str, &str, &[&str])] = &[
            ("", "/**", &[]),
            ("", "/a/**", &[]),
            ("", "/a/b", &[]),
            ("", "/a/{x}", &[]),
            ("", "/a/{x}/c", &[]),
            ("", "/a/b/**", &[]),
        ];
        for (path, want) in [
            ("/", 0),
            ("/z", 0),
            ("/a", 1),
            ("/a/", 1),
            ("/a/b", 2),
            ("/a/z", 3),
            ("/a/z/c", 4),
            ("/a/b/c", 5),
            ("/a/z/d", 1),
            ("/ab", 0),
        ] {
            assert_eq!(check(routes, "h", "GET", path), Some(want), "{path}");
        }
    }

    #[test]
    fn a_prefix_takes_the_path_itself_and_what_is_below() {
        let routes: &[(&str, &str, &[&str])] = &[("", "/gateways/{g}/**", &[])];
        assert_eq!(check(routes, "h", "GET", "/gateways/ceo"), Some(0));
        assert_eq!(check(routes, "h", "GET", "/gateways/ceo/"), Some(0));
        assert_eq!(check(routes, "h", "GET", "/gateways/ceo/a/b"), Some(0));
        assert_eq!(check(routes, "h", "GET", "/gateways"), None);
        assert_eq!(check(routes, "h", "GET", "/gateways/"), None);
        let exact: &[(&str, &str, &[&str])] = &[("", "/", &[])];
        assert_eq!(check(exact, "h", "GET", "/"), Some(0));
        assert_eq!(check(exact, "h", "GET", "/x"), None);
    }

    #[test]
    fn hosts_by_name_come_before_hosts_by_suffix_before_any() {
        let routes: &[(&str, &str, &[&str])] = &[
            ("", "/**", &[]),
            ("*.example.com", "/**", &[]),
            ("a.example.com", "/x/**", &[]),
            ("*.b.example.com", "/**", &[]),
        ];
        assert_eq!(check(routes, "a.example.com:8080", "GET", "/x/y"), Some(2));
        assert_eq!(check(routes, "A.EXAMPLE.com.", "GET", "/x"), Some(2));
        assert_eq!(check(routes, "a.example.com", "GET", "/y"), Some(1));
        assert_eq!(check(routes, "z.b.example.com", "GET", "/y"), Some(3));
        assert_eq!(check(routes, "example.com", "GET", "/y"), Some(0));
        assert_eq!(check(routes, "evilexample.com", "GET", "/y"), Some(0));
        assert_eq!(check(routes, "[::1]:80", "GET", "/y"), Some(0));
    }

    #[test]
    fn a_route_with_the_method_comes_before_one_for_all() {
        let routes: &[(&str, &str, &[&str])] =
            &[("", "/a", &[]), ("", "/a", &["POST"]), ("", "/b", &["GET", "HEAD"])];
        assert_eq!(check(routes, "h", "POST", "/a"), Some(1));
        assert_eq!(check(routes, "h", "GET", "/a"), Some(0));
        let routes: Vec<Route> = routes.iter().map(|(h, p, m)| route(h, p, m)).collect();
        let found = RouteTable::new(&routes).find("h", &Method::PUT, "/b");
        assert_eq!(found, Found::OtherMethods(vec![Method::GET, Method::HEAD]));
    }

    #[test]
    fn parameters_are_given_as_they_came() {
        let routes = [route("", "/a/{x}/{y}/**", &[])];
        let Found::Route { params, .. } = RouteTable::new(&routes).find("h", &Method::GET, "/a/1%2F2/b/c")
        else {
            panic!("no route")
        };
        assert_eq!((params.get(0), params.get(1), params.get(2)), (Some("1%2F2"), Some("b"), None));
    }
}
