//! The list to which every check adds, and the few checks that all concerns share.
//!
//! A failed check gives `None` and has told why, so callers go on and collect more. Values that came
//! from the environment are never shown: a variable that was put in the wrong place may be a secret.

use super::problems::{Location, Problem, Problems, did_you_mean, printable, sort};
use super::tree::Spot;
use super::{raw, units};
use crate::ids::{IdError, Name, TenantId};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Whether secrets may stand in the file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literals {
    /// No.
    Refused,
    /// `allow_literal_secrets: true`.
    Allowed,
}

impl Literals {
    /// What the key says.
    #[must_use]
    pub fn from_key(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Refused }
    }
}

/// Takes problems, warnings and the files that were read.
#[derive(Debug)]
pub struct Checker {
    file: Arc<str>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    files: Vec<PathBuf>,
    /// Whether secrets may stand in the file itself.
    pub literals: Literals,
}

impl Checker {
    /// For the file of that name.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            problems: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
            literals: Literals::Refused,
        }
    }

    fn make(&self, at: Location, message: impl Into<String>, hint: Option<String>) -> Problem {
        let Location { line, column } = at;
        Problem { file: Arc::clone(&self.file), line, column, message: message.into(), hint }
    }

    /// A problem that is not taken yet: whether it is one, others know.
    #[must_use]
    pub fn made(&self, at: Location, message: impl Into<String>, hint: &str) -> Problem {
        self.make(at, message, Some(hint.into()))
    }

    /// Takes a problem.
    pub fn problem(&mut self, at: Location, message: impl Into<String>) {
        self.told(at, message, None);
    }

    /// Takes a problem with what would be right.
    pub fn hinted(&mut self, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.told(at, message, Some(hint.into()));
    }

    /// Takes a problem, perhaps with what would be right.
    pub fn told(&mut self, at: Location, message: impl Into<String>, hint: Option<String>) {
        let problem = self.make(at, message, hint);
        self.problems.push(problem);
    }

    /// Takes the problem that a mapping lacks something, unless what it lacks may be a key of it of
    /// which a mistake has been told already.
    pub fn lacks(&mut self, spot: Spot<'_>, message: &str, hint: &str) {
        if !spot.is_partial() {
            self.hinted(spot.at, message, hint);
        }
    }

    /// Takes what is odd, but no mistake.
    pub fn warn(&mut self, at: Location, message: impl Into<String>) {
        let problem = self.make(at, message, None);
        self.warnings.push(problem);
    }

    /// Remembers a file that was read, for those who watch.
    pub fn read_file(&mut self, path: PathBuf) {
        if !self.files.contains(&path) {
            self.files.push(path);
        }
    }

    /// Whether there are no problems so far.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Gives the result, its warnings and the files that were read.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<(T, Vec<Problem>, Vec<PathBuf>), Problems> {
        match value {
            Some(value) if self.is_clean() => {
                sort(&mut self.warnings);
                Ok((value, self.warnings, self.files))
            }
            _ => Err(self.into_problems()),
        }
    }

    /// The problems, in the file's order.
    #[must_use]
    pub fn into_problems(self) -> Problems {
        Problems::new(self.problems)
    }

    /// The value, or its error as a problem.
    pub fn take<T, E: Display>(&mut self, at: Location, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.problem(at, error.to_string())).ok()
    }

    /// A name of some kind; `what` says which, with an article.
    pub fn id<T>(
        &mut self,
        spot: Spot<'_>,
        what: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, IdError>,
    ) -> Option<T> {
        match parse(text) {
            Ok(id) => Some(id),
            Err(error) => {
                self.problem(spot.at, format!("{} {error}", shown(spot, what, text)));
                None
            }
        }
    }

    /// The tenant of that name, which must be among `known`.
    pub fn tenant(&mut self, spot: Spot<'_>, text: &str, known: &Known<'_>) -> Option<TenantId> {
        self.known(spot, "tenant", text, known).and_then(|()| TenantId::parse(text).ok())
    }

    /// Says that a name exists, or that it does not and which may have been meant.
    pub fn known(&mut self, spot: Spot<'_>, what: &str, text: &str, known: &Known<'_>) -> Option<()> {
        if known.names.contains(&text) {
            return Some(());
        }
        // Its own mistakes have been told where it stands; that it has some is no second mistake.
        if !known.broken.contains(&text) {
            let hint = did_you_mean(text, known.names.iter().chain(&known.broken).copied());
            let shown = shown(spot, &format!("there is no {what}"), text);
            self.told(spot.at, shown, hint);
        }
        None
    }

    /// A span of time within bounds.
    pub fn duration(
        &mut self,
        spot: Spot<'_>,
        text: Option<&str>,
        default: Duration,
        bounds: (Duration, Duration),
    ) -> Option<Duration> {
        let Some(text) = text else { return Some(default) };
        match units::duration(text) {
            Ok(span) if span >= bounds.0 && span <= bounds.1 => Some(span),
            Ok(_) => {
                let (least, most) = (units::write_duration(bounds.0), units::write_duration(bounds.1));
                let message = shown(spot, "the time", text);
                self.problem(spot.at, format!("{message} is not between {least} and {most}"));
                None
            }
            Err(error) => {
                let message = format!("{} {error}", shown(spot, "the time", text));
                self.hinted(spot.at, message, units::DURATION_HINT);
                None
            }
        }
    }

    /// A number of bytes within bounds.
    pub fn size(
        &mut self,
        spot: Spot<'_>,
        size: Option<&raw::Size>,
        default: usize,
        bounds: (usize, usize),
    ) -> Option<usize> {
        let Some(size) = size else { return Some(default) };
        match units::size(size) {
            Ok(bytes) => {
                self.number(spot, Some(usize::try_from(bytes).unwrap_or(usize::MAX)), default, bounds)
            }
            Err(error) => {
                self.hinted(spot.at, format!("this size {error}"), units::SIZE_HINT);
                None
            }
        }
    }

    /// A number within bounds.
    pub fn number(
        &mut self,
        spot: Spot<'_>,
        number: Option<usize>,
        default: usize,
        bounds: (usize, usize),
    ) -> Option<usize> {
        let number = number.unwrap_or(default);
        if (bounds.0..=bounds.1).contains(&number) {
            return Some(number);
        }
        self.problem(spot.at, format!("this is not between {} and {}", bounds.0, bounds.1));
        None
    }

    /// An operator's name for a route, limit or upstream.
    pub fn name(&mut self, spot: Spot<'_>, what: &str, text: &str) -> Option<Name> {
        self.id(spot, what, text, Name::parse)
    }
}

/// Names that others may refer to: those that were read, and those whose own entry is broken.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// Good ones.
    pub names: Vec<&'a str>,
    /// Those that stand in the file, but could not be read.
    pub broken: Vec<&'a str>,
}

/// `` what `text` ``, or just `what` where the text came from the environment or is long.
#[must_use]
pub fn shown(spot: Spot<'_>, what: &str, text: &str) -> String {
    if spot.is_interpolated() || text.len() > 200 {
        return what.into();
    }
    format!("{what} `{}`", printable(text))
}
