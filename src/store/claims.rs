//! What must hold of whatever bytes a client sends the store: the fuzzer looks for some of which it does not, and
//! a test holds it for those that it found interesting (`tests/fuzz`). Not in any build that serves.

use super::body;
use super::conditions;
use super::cursor::Cursors;
use super::guard::Guard;
use super::json::Json;
use super::model::{Content, Filter, Kind};
use super::ranking::{self, Candidate, Marks};
use super::search::Looked;
use super::uri::{self, Parameters};
use super::words::words;
use crate::config::checked_store::SecretGuard;
use crate::ids::TenantId;

/// The claims, for these bytes.
#[allow(clippy::missing_panics_doc, reason = "it is what it is for")]
pub fn hold(bytes: &[u8]) {
    bodies(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    address(text);
    search(text);
    guarded(text);
}

/// Bodies are read or refused, and a value comes back as it was put.
fn bodies(bytes: &[u8]) {
    let whole = |content: &Content| {
        let Content::Memory(memory) = content else { return };
        assert!(!memory.scope.is_empty() && !memory.key.is_empty());
        // The value is a piece of the body, byte for byte.
        let value = memory.value.as_str().as_bytes();
        assert!(value == b"null" || bytes.windows(value.len()).any(|piece| piece == value));
    };
    for new in [body::memory(bytes), body::skill(bytes)].into_iter().flatten() {
        whole(&new.content);
    }
    if let Ok(query) = body::query(bytes) {
        assert!((1..=100).contains(&query.limit) && !query.words.is_empty());
    }
    if let Ok(keys) = body::keys(bytes) {
        assert!(!keys.is_empty() && keys.iter().all(|key| !key.key.is_weak()));
    }
    let _ = body::version(bytes);
    for operation in body::operations(bytes).into_iter().flatten().flatten() {
        if let body::Asked::Put(new) = operation.asked {
            whole(&new.content);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(new) = body::message(text)
    {
        whole(&new.content);
        assert!(new.proof.is_none_or(|proof| proof.as_str() == text));
    }
}

/// A page's query leads to a query that asks the same; no cursor is good that the store did not make.
fn address(text: &str) {
    let _ = uri::scope_and_key(text);
    let _ = conditions::if_match(text);
    let tenant = TenantId::parse("acme").expect("a tenant's name");
    let cursors = Cursors::new([7; 32]);
    assert!(cursors.read(&tenant, &Filter::all(Kind::Memory), text).is_err(), "nobody has the key");
    let Ok(asked) = Parameters::parse(Some(text)) else { return };
    let _ = asked.page_limit();
    let again = Parameters::parse(Some(&uri::write_query(&asked, "next"))).expect("what the store wrote");
    assert_eq!((&again.scope, &again.limit, again.meta), (&asked.scope, &asked.limit, asked.meta));
    for name in ["prefix", "node_id", "updated_since", "kind"] {
        assert_eq!(again.text(name), asked.text(name));
    }
}

/// No query is an error, words lie within their text, and what is marked for HTML is nothing but marks.
fn search(text: &str) {
    let mut last = 0;
    for word in words(text) {
        assert!(last <= word.start && word.start < word.end && text.get(word.start..word.end).is_some());
        last = word.end;
    }
    let looked = Looked { words: text.to_owned(), scope: None, prefix: None };
    assert!(looked.pieces().all(|piece| !piece.contains(['"', '\0'])));
    let _ = looked.phrases();
    let (query, found) = text.split_at(text.floor_char_boundary(text.len() / 3));
    for marks in [Marks::None, Marks::Html] {
        let candidate = Candidate::new("mesh".into(), "key".into(), found.to_owned());
        for hit in ranking::rank(query, vec![candidate], 10, marks) {
            let (super::model::Found::Words { snippet } | super::model::Found::Both { snippet, .. }) =
                hit.found
            else {
                continue;
            };
            let bare = snippet.unwrap_or_default().replace("<mark>", "").replace("</mark>", "");
            assert!(marks == Marks::None || !bare.contains(['<', '>']));
        }
    }
}

/// The guard looks at any text; JSON's strings are found in it without a panic.
fn guarded(text: &str) {
    let guard = Guard::default();
    for on in [SecretGuard::On, SecretGuard::WithJwt] {
        let _ = guard.look_at(on, text);
    }
    if let Some(json) = Json::parse(text) {
        let _ = json.strings();
        assert!(Json::parse(json.with_double_numbers().as_str()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_claims_hold_for_what_the_fuzzer_kept() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/store");
        let mut kept = 0;
        for entry in std::fs::read_dir(&folder).expect("a corpus") {
            super::hold(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
            kept += 1;
        }
        assert!(kept > 5, "only {kept} in {}", folder.display());
    }
}
