//! The HTTP side of a gateway: which scope each path and method needs, where it lives, and whether the
//! gateway wants its secret for it.
//!
//! A gateway takes whoever shows its shared secret for its owner, so what a caller may do there is
//! decided before. What is not known needs the widest scope.

use super::scopes::Scope;
use http::Method;

/// What one path and method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The scope that it needs; none where the gateway shows it to anyone or has other proof of its own.
    pub need: Option<Scope>,
    /// Whether a gateway with a base path serves it without that.
    pub at_root: bool,
    /// Whether the gateway wants its secret as bearer.
    pub takes_secret: bool,
}

const fn api(need: Scope) -> Place {
    Place { need: Some(need), at_root: true, takes_secret: true }
}

const PROBE: Place = Place { need: None, at_root: true, takes_secret: false };
/// Hooks and callbacks have tokens or tickets of their own.
const TICKETED: Place = Place { need: None, at_root: true, takes_secret: false };
const UI: Place = Place { need: None, at_root: false, takes_secret: false };
/// What the Control UI fetches for whoever is signed in.
const UI_DATA: Place = Place { need: Some(Scope::Read), at_root: false, takes_secret: true };
const UNKNOWN: Place = Place { need: Some(Scope::Admin), at_root: true, takes_secret: true };
/// What the gateway answers 405 to, or 404: whoever asks may know.
const NOTHING: Place = Place { need: None, at_root: true, takes_secret: false };

/// What a path (behind the edge's own prefix, as it came) and method is on a gateway.
#[must_use]
pub fn place(path: &str, method: &Method) -> Place {
    let is_look = matches!(*method, Method::GET | Method::HEAD);
    let rest = path.strip_prefix('/').unwrap_or(path);
    let first = rest.split('/').next().unwrap_or_default();
    match first {
        "health" | "healthz" | "ready" | "readyz" | "startupz" if rest == first && is_look => PROBE,
        "v1" => openai(rest, method),
        "tools" if rest == "tools/invoke" => api(Scope::Write),
        "sessions" if rest.ends_with("/history") && is_look => api(Scope::Read),
        "sessions" if rest.contains('/') && rest.ends_with("/kill") => api(Scope::Admin),
        "hooks" => TICKETED,
        "api" => interface(rest, method),
        "oauth" if is_look => TICKETED,
        "control-ui-config.json" | "avatar" | "avatars" if is_look => UI_DATA,
        // Their sockets and tickets are other than those of clients; what they show is the owner's.
        "__openclaw__" if rest.starts_with("__openclaw__/cap/") && is_look => TICKETED,
        "__openclaw__" | "desktop" | "node-desktop" | "node-portal" | "plugins" if rest != first => UNKNOWN,
        _ if is_look => UI,
        _ => UNKNOWN,
    }
}

/// What is left of a path behind its first segments.
#[must_use]
pub fn below(path: &str, segments: usize) -> &str {
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    slashes.nth(segments).map_or("", |at| &path[at..])
}

fn openai(rest: &str, method: &Method) -> Place {
    if *method == Method::OPTIONS {
        return NOTHING;
    }
    match rest {
        "v1/models" => api(Scope::Read),
        _ if rest.starts_with("v1/models/") => api(Scope::Read),
        "v1/chat/completions" | "v1/responses" | "v1/embeddings" => api(Scope::Write),
        _ => api(Scope::Admin),
    }
}

fn interface(rest: &str, method: &Method) -> Place {
    let is_look = matches!(*method, Method::GET | Method::HEAD);
    let data = |need| Place { need: Some(need), at_root: true, takes_secret: true };
    match rest {
        _ if rest.starts_with("api/artifacts/download/") && is_look => TICKETED,
        _ if rest.starts_with("api/chat/media/outgoing/") && is_look => data(Scope::Read),
        _ => data(Scope::Admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(method: &Method, path: &str) -> Option<Scope> {
        place(path, method).need
    }

    #[test]
    fn what_is_below_a_gateways_prefix_keeps_its_bytes() {
        assert_eq!(below("/gateways/ceo", 2), "");
        assert_eq!(below("/gateways/ceo/", 2), "/");
        assert_eq!(below("/gateways/ceo/a%20b/c", 2), "/a%20b/c");
        assert_eq!(below("/a", 0), "/a");
    }

    #[test]
    fn each_door_needs_its_scope() {
        let (get, post) = (&Method::GET, &Method::POST);
        assert_eq!(need(get, "/v1/models"), Some(Scope::Read));
        assert_eq!(need(post, "/v1/chat/completions"), Some(Scope::Write));
        assert_eq!(need(post, "/v1/responses"), Some(Scope::Write));
        assert_eq!(need(post, "/v1/strange"), Some(Scope::Admin));
        assert_eq!(need(post, "/tools/invoke"), Some(Scope::Write));
        assert_eq!(need(get, "/sessions/main/history"), Some(Scope::Read));
        assert_eq!(need(post, "/sessions/main/kill"), Some(Scope::Admin));
        assert_eq!(need(post, "/sessions/main/strange"), Some(Scope::Admin));
        assert_eq!(need(post, "/api/v1/admin/rpc"), Some(Scope::Admin));
        assert_eq!(need(get, "/control-ui-config.json"), Some(Scope::Read));
        assert_eq!(need(post, "/anything"), Some(Scope::Admin));
        assert_eq!(need(get, "/__openclaw__/worker"), Some(Scope::Admin));
        for free in ["/", "/healthz", "/readyz", "/chat", "/assets/a.js", ""] {
            assert_eq!(need(get, free), None, "{free}");
        }
        assert_eq!(need(post, "/hooks/wake"), None);
        assert_eq!(need(post, "/healthz"), Some(Scope::Admin));
    }

    #[test]
    fn the_interfaces_of_a_gateway_with_a_base_path_stay_at_its_root() {
        let at_root = |path: &str| place(path, &Method::GET).at_root;
        for path in
            ["/v1/models", "/healthz", "/hooks/wake", "/sessions/a/history", "/api/x", "/tools/invoke"]
        {
            assert!(at_root(path), "{path}");
        }
        for path in ["/", "/chat", "/assets/a.js", "/control-ui-config.json", "/ws"] {
            assert!(!at_root(path), "{path}");
        }
    }

    #[test]
    fn the_secret_goes_only_where_it_is_asked_for() {
        let takes = |path: &str| place(path, &Method::POST).takes_secret;
        assert!(takes("/v1/chat/completions") && takes("/tools/invoke"));
        assert!(!takes("/hooks/wake"));
        assert!(!place("/", &Method::GET).takes_secret && !place("/healthz", &Method::GET).takes_secret);
    }
}
