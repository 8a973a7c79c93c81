//! Texts as PostgreSQL can keep them.
//!
//! It cannot keep U+0000, which is a character like any other in a scope, a key or a skill. So it is
//! written as two characters, in a way that keeps the order of texts and which is a prefix of which.

use std::borrow::Cow;

const ESCAPE: char = '\u{1}';

/// As it is kept.
pub(super) fn kept(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => out.extend([ESCAPE, '\u{1}']),
            ESCAPE => out.extend([ESCAPE, '\u{2}']),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// As it was put.
pub(super) fn put(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ESCAPE => out.push(if chars.next() == Some('\u{1}') { '\0' } else { ESCAPE }),
            other => out.push(other),
        }
    }
    out
}

/// As a literal of SQL, for the few statements that take no parameters.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn whatever_is_kept_comes_back_in_its_order_and_without_nul(a in "[\\x00-\\x03a]{0,8}", b in "[\\x00-\\x03a]{0,8}") {
            prop_assert_eq!(&put(kept(&a).into_owned()), &a);
            prop_assert!(!kept(&a).contains('\0'));
            prop_assert_eq!(a.cmp(&b), kept(&a).cmp(&kept(&b)));
            prop_assert_eq!(a.starts_with(&b), kept(&a).starts_with(&*kept(&b)));
        }
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"a'b\'c"), r"E'a\'b\\\'c'");
    }
}
