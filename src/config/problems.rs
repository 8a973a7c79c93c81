//! What is wrong with a file: where, what was expected, and what may have been meant.
//!
//! A problem's text is made for an operator's terminal and may end in a log, so nothing that may be a
//! secret is ever put into one; the places that make problems see to that, this file only orders and
//! prints them.

use std::fmt;
use std::sync::Arc;

/// A place in a file; both count from one. Zero stands for the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: Arc<str>,
    /// Line, from one; zero where the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from one; zero where the file as a whole is meant.
    pub column: usize,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a file, in its order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Puts the problems in the order of the file and drops repetitions.
    #[must_use]
    pub fn new(mut list: Vec<Problem>) -> Self {
        sort(&mut list);
        Self(list)
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, which no error of this room is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Orders by place; the sort is stable, so that one place keeps the order of the checks.
pub(super) fn sort(list: &mut Vec<Problem>) {
    list.sort_by_key(|problem| (problem.line, problem.column));
    list.dedup();
}

/// ` did you mean `x`?` for the nearest of `known`, if any is near enough to be meant.
#[must_use]
pub fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(found, known).map(|name| format!("did you mean `{}`?", printable(name)))
}

/// The nearest of `known`, if any is near enough to be meant.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Very long text is no slip of the finger, and the comparison is quadratic.
    if found.len() > 128 {
        return None;
    }
    let folded = found.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.len() <= 128)
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), name))
        .filter(|&(distance, name)| {
            let reach = (name.chars().count().max(folded.chars().count()) / 3).max(1);
            // Where every character differs, nothing was meant.
            let is_alike = distance < name.chars().count().max(folded.chars().count());
            (is_alike && distance <= reach) || (folded.len() >= 3 && name.starts_with(&folded))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Text from a file for a terminal: short, and without control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && c != '`';
    text.chars().take(80).map(|c| if is_plain(c) { c } else { '?' }).collect()
}

/// `` `a`, `b` or `c` ``.
#[must_use]
pub fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    join_or(&words)
}

/// `a, b or c`.
#[must_use]
pub fn join_or(words: &[String]) -> String {
    match words {
        [] => "nothing".into(),
        [one] => one.clone(),
        [front @ .., last] => format!("{} or {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_stranger_is_not() {
        assert_eq!(nearest("lissten", ["limits", "listen"]), Some("listen"));
        assert_eq!(nearest("Listen", ["limits", "listen"]), Some("listen"));
        assert_eq!(nearest("cred", ["credentials", "data"]), Some("credentials"));
        assert_eq!(nearest("zebra", ["limits", "listen"]), None);
        assert_eq!(nearest("", ["limits"]), None);
    }

    #[test]
    fn problems_print_in_the_order_of_the_file() {
        let problem = |line, message: &str, hint: Option<&str>| Problem {
            file: "a.yaml".into(),
            line,
            column: 3,
            message: message.into(),
            hint: hint.map(Into::into),
        };
        let all = Problems::new(vec![problem(9, "late", None), problem(2, "early", Some("so"))]);
        assert_eq!(all.to_string(), "a.yaml:2:3: early\n  hint: so\na.yaml:9:3: late");
    }
}
