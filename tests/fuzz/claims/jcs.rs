//! Any bytes: RFC 8785's text is its own canonical text, and the mesh's form has the same members.

use openclaw_edge::config::checked::Canonical;
use openclaw_edge::signatures::Canonicaliser;

/// The claim, for these bytes.
pub(super) fn hold(body: &[u8]) {
    let mut reader = Canonicaliser::default();
    let Ok(document) = reader.read_as(body, Canonical::Jcs) else { return };
    let texts: Vec<Vec<u8>> = document
        .elements()
        .filter_map(|(_, content)| content.ok().map(|message| message.canonical.to_vec()))
        .collect();
    for text in texts {
        let document = reader.read_as(&text, Canonical::Jcs).expect("canonical text is JSON");
        let (_, again) = document.elements().next().expect("of one message");
        assert_eq!(again.expect("a message").canonical, text);
    }
}
