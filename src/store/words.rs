//! The words of a text, folded: letters and digits, lower case, without accents.
//!
//! Cuts as SQLite's `unicode61` does, so that what full-text search finds and what is marked in its
//! snippets are the same words. Knows nothing of rows.

use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A word and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// Folded; the text's own where that is folded already, as most words are.
    pub(crate) text: Cow<'a, str>,
    /// Byte offset of its first character.
    pub(crate) start: usize,
    /// Byte offset past its last character.
    pub(crate) end: usize,
}

/// All words, in order.
pub(crate) fn words(text: &str) -> Words<'_> {
    Words { text, at: 0 }
}

/// The words of a text; see [`words`].
#[derive(Debug, Clone)]
pub(crate) struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = &self.text[self.at..];
        let start = self.at + rest.find(char::is_alphanumeric)?;
        // A mark belongs to the letter before it; it begins no word.
        let within = |c: char| c.is_alphanumeric() || is_combining_mark(c);
        let length = self.text[start..].find(|c| !within(c)).unwrap_or(self.text.len() - start);
        self.at = start + length;
        Some(Word { text: fold(&self.text[start..self.at]), start, end: self.at })
    }
}

/// Lower case, accents taken off.
fn fold(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(word.to_ascii_lowercase());
        }
        return Cow::Borrowed(word);
    }
    let folded: String = word.nfd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase).collect();
    Cow::Owned(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    fn texts(text: &str) -> Vec<String> {
        words(text).map(|word| word.text.into_owned()).collect()
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case_without_accents() {
        assert_eq!(texts("Dawn is FOGGY, Zürich-7!"), ["dawn", "is", "foggy", "zurich", "7"]);
        assert_eq!(texts("e\u{301}te\u{301}"), ["ete"]);
        assert_eq!(texts("ΣΊΣΥΦΟΣ"), ["σισυφοσ"]);
        assert_eq!(texts("日本語 text"), ["日本語", "text"]);
        assert!(texts(" --- 🚀 \u{301}").is_empty());
    }

    proptest! {
        #[test]
        fn places_are_those_of_the_words_and_grow(text in any::<String>()) {
            let mut last = 0;
            for word in words(&text) {
                prop_assert!(last <= word.start && word.start < word.end);
                prop_assert!(text.is_char_boundary(word.start) && text.is_char_boundary(word.end));
                last = word.end;
            }
        }
    }
}
