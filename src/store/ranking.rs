//! Which of the memories that have all words of a query come first, and which of their words to show.
//!
//! An engine finds candidates; what is told of them is worked out here, so that it is the same for every
//! engine, and from the candidate's own text, so that no other tenant's rows weigh in it: how rare a word
//! is would be counted over everybody's. Between equals the newest comes first.

use super::model::{Found, Hit};
use super::words::{Word, words};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// The newest so many candidates are ranked; those beyond are not looked at.
pub(crate) const MOST_CANDIDATES: u32 = 200;

/// So many bytes of a memory's text are looked at.
pub(crate) const MOST_TEXT: u32 = 64 * 1024;

/// Words of a snippet.
const SNIPPET_WORDS: usize = 40;

/// How fast more of the same word stops counting, and how much a text's length counts (BM25's k1 and b,
/// and a usual length in words).
const SATURATION: f32 = 1.2;
const LENGTH_WEIGHT: f32 = 0.75;
const USUAL_LENGTH: f32 = 60.0;

/// A word in the key says more of what a memory is about than one in its value.
const KEY_WEIGHT: f32 = 2.0;

/// Words that stand side by side as in the query.
const NEIGHBOURS_WEIGHT: f32 = 0.5;

/// A memory that has all words of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) scope: String,
    pub(crate) key: String,
    /// Its key and the strings of its value, as they are searched; perhaps only the beginning.
    pub(crate) text: String,
}

impl Candidate {
    /// Of a longer text the beginning is kept.
    pub(crate) fn new(scope: String, key: String, mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(MOST_TEXT as usize));
        Self { scope, key, text }
    }
}

/// How what was found is shown in snippets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Marks {
    /// Plain text.
    #[default]
    None,
    /// HTML: found words within `<mark>`, everything else escaped.
    Html,
}

/// The best `limit` of the candidates, which come newest first.
pub(crate) fn rank(query: &str, candidates: Vec<Candidate>, limit: u32, marks: Marks) -> Vec<Hit> {
    let query: Vec<String> = words(query).map(|word| word.text.into_owned()).collect();
    let wanted: HashSet<&str> = query.iter().map(String::as_str).collect();
    let mut ranked: Vec<(f32, Candidate)> =
        candidates.into_iter().map(|candidate| (score(&query, &wanted, &candidate), candidate)).collect();
    // Stable, so that equals stay newest first.
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    ranked.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    ranked
        .into_iter()
        .map(|(_, candidate)| {
            let snippet = snippet(&wanted, &candidate.text, marks);
            let snippet = Some(snippet).filter(|text| !text.is_empty());
            Hit { scope: candidate.scope, key: candidate.key, found: Found::Words { snippet } }
        })
        .collect()
}

fn score(query: &[String], wanted: &HashSet<&str>, candidate: &Candidate) -> f32 {
    let text: Vec<Word<'_>> = words(&candidate.text).collect();
    #[allow(clippy::cast_precision_loss, reason = "a word count; its size matters, not its last digit")]
    let length = text.len() as f32;
    let shortness = SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length / USUAL_LENGTH);
    let mut total = 0.0;
    for word in wanted {
        let found = text.iter().filter(|other| other.text == *word).count();
        #[allow(clippy::cast_precision_loss, reason = "a word count")]
        let found = found as f32;
        total += found * (SATURATION + 1.0) / (found + shortness);
    }
    let in_key: HashSet<Cow<'_, str>> = words(&candidate.key).map(|word| word.text).collect();
    for word in wanted {
        if in_key.contains(*word) {
            total += KEY_WEIGHT;
        }
    }
    for pair in query.windows(2) {
        if text.windows(2).any(|two| two[0].text == pair[0] && two[1].text == pair[1]) {
            total += NEIGHBOURS_WEIGHT;
        }
    }
    total
}

/// The stretch of the text with the most of the wanted words.
fn snippet(wanted: &HashSet<&str>, text: &str, marks: Marks) -> String {
    let all: Vec<Word<'_>> = words(text).collect();
    let is_wanted: Vec<bool> = all.iter().map(|word| wanted.contains(word.text.as_ref())).collect();
    let Some(stretch) = best_stretch(&all, &is_wanted) else {
        return shown(text.trim(), &[], marks);
    };
    let start = if stretch.start == 0 { 0 } else { all[stretch.start].start };
    let end = if stretch.end == all.len() { text.len() } else { all[stretch.end - 1].end };
    let found: Vec<Range<usize>> = stretch
        .clone()
        .filter(|&index| is_wanted[index])
        .map(|index| all[index].start - start..all[index].end - start)
        .collect();
    let mut out = String::new();
    if start > 0 {
        out.push('…');
    }
    out.push_str(&shown(&text[start..end], &found, marks));
    if end < text.len() {
        out.push('…');
    }
    out
}

/// The first stretch with the most different wanted words, then the most of them.
fn best_stretch(all: &[Word<'_>], is_wanted: &[bool]) -> Option<Range<usize>> {
    if all.len() <= SNIPPET_WORDS {
        return (!all.is_empty()).then_some(0..all.len());
    }
    let mut best: Option<((usize, usize), usize)> = None;
    for at in (0..all.len()).filter(|&at| is_wanted[at]) {
        let stretch = at..(at + SNIPPET_WORDS).min(all.len());
        let found = stretch.filter(|&index| is_wanted[index]);
        let found: Vec<&str> = found.map(|index| all[index].text.as_ref()).collect();
        let different: HashSet<&&str> = found.iter().collect();
        let worth = (different.len(), found.len());
        if best.is_none_or(|(most, _)| worth > most) {
            best = Some((worth, at));
        }
    }
    // A few words before the first one found, so that it can be understood.
    let start = best.map_or(0, |(_, at)| at.saturating_sub(SNIPPET_WORDS / 8));
    let start = start.min(all.len() - SNIPPET_WORDS);
    Some(start..start + SNIPPET_WORDS)
}

fn shown(text: &str, found: &[Range<usize>], marks: Marks) -> String {
    match marks {
        Marks::None => text.to_owned(),
        Marks::Html => {
            let (mut out, mut at) = (String::with_capacity(text.len() + 13 * found.len()), 0);
            for word in found {
                escape(&mut out, &text[at..word.start]);
                out.push_str("<mark>");
                escape(&mut out, &text[word.clone()]);
                out.push_str("</mark>");
                at = word.end;
            }
            escape(&mut out, &text[at..]);
            out
        }
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    fn candidate(key: &str, text: &str) -> Candidate {
        Candidate { scope: "mesh".into(), key: key.into(), text: format!("{key} {text}") }
    }

    fn text_of(hit: &Hit) -> String {
        match &hit.found {
            Found::Words { snippet } => snippet.clone().unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    fn keys(query: &str, candidates: &[Candidate]) -> Vec<String> {
        rank(query, candidates.to_vec(), 25, Marks::None).into_iter().map(|hit| hit.key).collect()
    }

    #[test]
    fn a_word_in_the_key_leads_then_more_of_it_then_neighbours_and_equals_stay_newest_first() {
        let long = "filler ".repeat(300);
        let candidates = [
            candidate("newest", "dawn"),
            candidate("newer", "dawn"),
            candidate("long", &format!("dawn {long}")),
            candidate("often", "dawn dawn dawn"),
            candidate("dawn", "is in the key"),
        ];
        assert_eq!(keys("Dawn", &candidates), ["dawn", "often", "newest", "newer", "long"]);
        let candidates =
            [candidate("apart", "attack the hill at dawn"), candidate("close", "to attack at dawn")];
        assert_eq!(keys("attack at", &candidates), ["close", "apart"]);
    }

    #[test]
    fn a_snippet_is_the_stretch_with_the_most_of_what_was_found() {
        let text = format!("start dawn {} attack at dawn, {}", "filler ".repeat(100), "more ".repeat(100));
        let hits = rank("dawn attack", vec![candidate("k", &text)], 1, Marks::None);
        let snippet = text_of(&hits[0]);
        assert!(snippet.starts_with("…filler") && snippet.contains("attack at dawn,"), "{snippet}");
        assert!(snippet.ends_with("more…"), "{snippet}");
        assert_eq!(words(&snippet).count(), SNIPPET_WORDS);
    }

    #[test]
    fn marks_are_html_that_can_be_shown_as_it_stands() {
        let text = "<script>Dawn</script> & \"dawn's\"";
        let hits = rank("dawn", vec![candidate("k", text)], 1, Marks::Html);
        assert_eq!(
            text_of(&hits[0]),
            "k &lt;script&gt;<mark>Dawn</mark>&lt;/script&gt; &amp; &quot;<mark>dawn</mark>&#39;s&quot;"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_snippet(query in any::<String>(), text in any::<String>(), many in "[a-c ]{0,400}") {
            for text in [text, many] {
                let hits = rank(&query, vec![candidate("k", &text)], 1, Marks::Html);
                let snippet = text_of(&hits[0]);
                prop_assert!(snippet.matches("<mark>").count() == snippet.matches("</mark>").count());
                let hits = rank(&query, vec![candidate("k", &text)], 1, Marks::None);
                let snippet = text_of(&hits[0]);
                let whole = format!("k {text}");
                prop_assert!(whole.contains(snippet.trim_matches('…')));
            }
        }
    }
}
