//! The console: a page for operators that is part of the program. Which of its files a path means, in which of its
//! forms, and what is said of it.
//!
//! The page is made by Node (`npm run build` in `page/`) and embedded by `build.rs`; a program that was built without
//! says so. All of the page is public: what it shows it asks the API for, as any client. This room knows no socket
//! and no caller.

use crate::folder::{Coding, Codings, Conditions, Verdict, Version, kind};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// What the page may do: load from where it came from and talk to that, and nothing else. No inline script, no style
/// in the document, no frame around it, no form that is sent away.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);
/// Names of assets change with what is in them.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK: HeaderValue = HeaderValue::from_static("no-cache");

const WITHOUT: &str = "This edge was built without its console. Build it where Node 20.19 or later is:\n\
    (cd src/console/page && npm ci && npm run build) && cargo build --release\n\
    What the console shows is in the API too: docs/api.md.\n";

/// One file of the built page.
#[derive(Debug)]
struct File {
    path: &'static str,
    /// Another whenever the bytes are.
    tag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

/// What `build.rs` found.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the console has for a path.
#[derive(Debug)]
pub enum Found {
    /// This.
    Answer(Answer),
    /// The page is below the same path with a slash at its end.
    Folder,
    /// Nothing.
    Nothing,
    /// The client has asked for another version than there is.
    OtherVersion,
}

/// A file, or that the client has it already.
#[derive(Debug)]
pub struct Answer {
    /// 200, 304, or 501 where the program was built without the page.
    pub status: StatusCode,
    /// All that is said of it.
    pub fields: HeaderMap,
    /// Its bytes; none with 304.
    pub body: Option<&'static [u8]>,
}

/// Looks for what a path means. `below` is what is behind the route's own.
#[must_use]
pub fn find(below: &str, fields: &HeaderMap) -> Found {
    find_in(FILES, below, fields)
}

fn find_in(files: &'static [File], below: &str, asked: &HeaderMap) -> Found {
    let name = match below {
        "" => return Found::Folder,
        "/" => "index.html",
        path => path.trim_start_matches('/'),
    };
    if files.is_empty() && name == "index.html" {
        return Found::Answer(without());
    }
    let Some(file) = files.iter().find(|file| file.path == name) else { return Found::Nothing };
    let (bytes, coding) = smallest(file, Codings::of(asked));
    let ending = coding.map_or("", Coding::ending);
    let version = Version { tag: format!("\"{}{ending}\"", file.tag), modified: None };
    let mut fields = HeaderMap::with_capacity(16);
    version.write(&mut fields);
    let is_named_by_content = name.starts_with("assets/");
    fields.insert(header::CACHE_CONTROL, if is_named_by_content { FOREVER } else { ASK });
    fields.insert(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
    guard(&mut fields);
    match Conditions::of(asked).judge(&version) {
        Verdict::Send => {}
        Verdict::NotModified => {
            return Found::Answer(Answer { status: StatusCode::NOT_MODIFIED, fields, body: None });
        }
        Verdict::OtherVersion => return Found::OtherVersion,
    }
    fields.insert(header::CONTENT_TYPE, kind(name));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if let Some(coding) = coding {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.word()));
    }
    Found::Answer(Answer { status: StatusCode::OK, fields, body: Some(bytes) })
}

fn smallest(file: &File, codings: Codings) -> (&'static [u8], Option<Coding>) {
    for coding in codings.wanted() {
        let packed = match coding {
            Coding::Brotli => file.brotli,
            Coding::Gzip => file.gzip,
        };
        if let Some(packed) = packed {
            return (packed, Some(coding));
        }
    }
    (file.plain, None)
}

fn guard(fields: &mut HeaderMap) {
    fields.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn without() -> Answer {
    let mut fields = HeaderMap::new();
    guard(&mut fields);
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(WITHOUT.len()));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer { status: StatusCode::NOT_IMPLEMENTED, fields, body: Some(WITHOUT.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &[File] = &[
        File { path: "assets/a-1.js", tag: "00", plain: b"plain", brotli: Some(b"br"), gzip: Some(b"gz") },
        File { path: "index.html", tag: "01", plain: b"page", brotli: None, gzip: None },
    ];

    fn asked(given: &[(&'static str, &'static str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn check(below: &str, given: &[(&'static str, &'static str)]) -> Answer {
        match find_in(PAGE, below, &asked(given)) {
            Found::Answer(answer) => answer,
            other => panic!("{below}: {other:?}"),
        }
    }

    #[test]
    fn the_page_is_asked_for_each_time_and_its_assets_once() {
        let page = check("/", &[]);
        assert_eq!((page.status, page.body), (StatusCode::OK, Some(&b"page"[..])));
        assert_eq!(page.fields[header::CACHE_CONTROL], "no-cache");
        assert_eq!(page.fields[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let script = check("/assets/a-1.js", &[("accept-encoding", "gzip, br")]);
        assert_eq!(script.body, Some(&b"br"[..]));
        assert_eq!(script.fields[header::CONTENT_ENCODING], "br");
        assert_eq!(script.fields[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(script.fields[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        for answer in [page, script] {
            let policy = answer.fields[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
    }

    #[test]
    fn a_form_has_a_tag_of_its_own_and_who_has_it_gets_no_bytes() {
        let (packed, plain) =
            (check("/assets/a-1.js", &[("accept-encoding", "gzip")]), check("/assets/a-1.js", &[]));
        assert_ne!(packed.fields[header::ETAG], plain.fields[header::ETAG]);
        let again = check("/assets/a-1.js", &[("if-none-match", "\"00\"")]);
        assert_eq!((again.status, again.body), (StatusCode::NOT_MODIFIED, None));
    }

    #[test]
    fn nothing_else_is_there() {
        assert!(matches!(find_in(PAGE, "", &asked(&[])), Found::Folder));
        for below in ["/other.js", "/assets/", "/assets/a-1.js.br"] {
            assert!(matches!(find_in(PAGE, below, &asked(&[])), Found::Nothing), "{below}");
        }
        assert!(matches!(find_in(PAGE, "/", &asked(&[("if-match", "\"x\"")])), Found::OtherVersion));
    }

    #[test]
    fn a_program_without_the_page_says_so() {
        let Found::Answer(answer) = find_in(&[], "/", &asked(&[])) else { panic!("no answer") };
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED);
        assert!(String::from_utf8_lossy(answer.body.unwrap()).contains("built without its console"));
    }
}
