//! What browsers do by themselves: they ask their user for a key on a page that wants one, keep it, and send it along with
//! every later request to the same place, whichever site has caused it. So a key that came that way counts for the
//! edge's own pages alone.
//!
//! The same goes for certificates and for sessions, of which more is asked: what changes something, and a socket, must
//! say that it comes from here. Keys in `X-API-Key` or as `Bearer` are put in by a program that knows them; of those
//! nothing is asked here.

use crate::identity::caller::{Carrier, X_API_KEY};
use crate::identity::sessions::Sessions;
use http::{HeaderMap, Method, header};

/// Whether a browser may be asked for its user's key, or has it and sends it when it is asked: on pages, and for what
/// the edge's own pages fetch and connect to. Who has shown a key of another kind is answered as it is. Where there are
/// sessions, pages ask for themselves what they fetch with.
pub(super) fn may_be_asked(method: &Method, fields: &HeaderMap, sessions: Option<&Sessions>) -> bool {
    if fields.contains_key(X_API_KEY)
        || (fields.contains_key(header::AUTHORIZATION) && !is_kept_by_browsers(fields))
    {
        return false;
    }
    let has = |name: &str, value: &[u8]| {
        fields.get(name).is_some_and(|found| memchr::memmem::find(found.as_bytes(), value).is_some())
    };
    let is_page = *method == Method::GET && has("accept", b"text/html");
    let is_socket = has("upgrade", b"websocket") && fields.contains_key(header::ORIGIN);
    is_page || (sessions.is_none() && (is_socket || has("sec-fetch-site", b"same-origin")))
}

/// Whether a browser sends what it keeps for its user for another site.
pub(super) fn is_forged(carrier: Carrier, method: &Method, fields: &HeaderMap) -> bool {
    match carrier {
        Carrier::ApiKey => false,
        Carrier::Authorization => is_kept_by_browsers(fields) && is_from_elsewhere(method, fields),
        Carrier::Certificate => is_from_elsewhere(method, fields),
        Carrier::Session => {
            is_from_elsewhere(method, fields) || (does_something(method, fields) && !says_from_here(fields))
        }
    }
}

/// Whether it changes something, or opens a socket, in which everything can be done.
fn does_something(method: &Method, fields: &HeaderMap) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || fields.contains_key(header::UPGRADE)
}

/// Whether it names where it comes from. What it names, [`is_from_elsewhere`] has looked at.
fn says_from_here(fields: &HeaderMap) -> bool {
    fields.get("sec-fetch-site").is_some_and(|site| site == "same-origin")
        || fields.contains_key(header::ORIGIN)
}

fn is_kept_by_browsers(fields: &HeaderMap) -> bool {
    let value = fields.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

/// By `Sec-Fetch-Site`, where the browser says so, else by `Origin`. Who sends neither is no browser of these days, or
/// follows a link.
fn is_from_elsewhere(method: &Method, fields: &HeaderMap) -> bool {
    let text = |name: &str| fields.get(name).map(|value| value.to_str().unwrap_or("?"));
    // A link on another page may lead here: what comes of it that page does not see.
    let is_link = text("sec-fetch-mode") == Some("navigate") && matches!(*method, Method::GET | Method::HEAD);
    match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => !is_link,
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none()
                || !host.zip(text("host")).is_some_and(|(own, host)| own.eq_ignore_ascii_case(host))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in [("host", "edge.example.com"), ("authorization", "Basic a2V5OmtleQ==")] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in given {
            fields.insert(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn a_kept_key_counts_for_own_pages_alone() {
        for (method, given, forged) in [
            (Method::GET, &[][..], false),
            (Method::POST, &[("sec-fetch-site", "same-origin")], false),
            (Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], false),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], false),
            (Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], true),
            (Method::GET, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "websocket")], true),
            (Method::GET, &[("origin", "https://edge.example.com")], false),
            (Method::GET, &[("origin", "https://evil.example.com")], true),
            (Method::GET, &[("origin", "https://edge.example.com.evil.example")], true),
            (Method::POST, &[("origin", "null")], true),
            (Method::POST, &[("origin", "https://evil.example.com"), ("authorization", "Bearer key")], false),
        ] {
            assert_eq!(
                is_forged(Carrier::Authorization, &method, &fields(given)),
                forged,
                "{method} {given:?}"
            );
        }
    }

    #[test]
    fn a_session_changes_something_from_own_pages_alone() {
        let here = ("origin", "https://edge.example.com");
        let socket = ("upgrade", "websocket");
        for (method, given, forged) in [
            (Method::GET, &[][..], false),
            (Method::POST, &[], true),
            (Method::DELETE, &[here], false),
            (Method::POST, &[("sec-fetch-site", "same-origin")], false),
            (Method::POST, &[("sec-fetch-site", "none")], true),
            (Method::POST, &[("sec-fetch-site", "same-site"), here], true),
            (Method::POST, &[("origin", "null")], true),
            (Method::GET, &[socket], true),
            (Method::GET, &[socket, here], false),
            (Method::GET, &[socket, ("origin", "https://evil.example.com")], true),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], false),
        ] {
            let with = |carrier| is_forged(carrier, &method, &fields(given));
            assert_eq!(with(Carrier::Session), forged, "{method} {given:?}");
            assert!(!with(Carrier::ApiKey));
        }
        // Programs with certificates say nothing of where they come from.
        assert!(!is_forged(Carrier::Certificate, &Method::POST, &fields(&[])));
        assert!(is_forged(
            Carrier::Certificate,
            &Method::POST,
            &fields(&[("origin", "https://evil.example.com")])
        ));
    }

    #[test]
    fn browsers_are_asked_on_pages_and_by_what_is_on_them() {
        let page = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let key = ("x-api-key", "wrong");
        for (method, given, asked) in [
            (Method::GET, &[page][..], true),
            (Method::POST, &[page], false),
            (Method::GET, &[], false),
            (Method::GET, &[("accept", "*/*")], false),
            (Method::GET, &[("accept", "*/*"), ("sec-fetch-site", "same-origin")], true),
            (Method::GET, &[("accept", "*/*"), ("sec-fetch-site", "cross-site")], false),
            (Method::GET, &[("upgrade", "websocket"), ("origin", "https://edge.example.com")], true),
            (Method::GET, &[("upgrade", "websocket")], false),
            (Method::GET, &[page, key], false),
            (Method::GET, &[page, ("authorization", "Bearer wrong")], false),
        ] {
            assert_eq!(may_be_asked(&method, &fields(given), None), asked, "{method} {given:?}");
        }
    }
}
