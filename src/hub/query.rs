//! What a caller may ask of a list: filters, a page. What is not known is refused and not passed over.

use super::reply::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashSet;

/// Rows a page, where the caller does not say.
pub(super) const PAGE: usize = 100;
/// Most.
pub(super) const LARGEST_PAGE: usize = 500;
/// Most runs with each job.
const LARGEST_RUNS: usize = 50;
/// Runs with each job, where the caller does not say.
const RUNS: usize = 5;
/// Longest word of a filter, and most of them.
const WORD: usize = 128;
const WORDS: usize = 32;

/// Which rows, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Of these gateways; all where there is none.
    pub(super) gateways: Vec<String>,
    /// In one of these states.
    pub(super) status: Vec<String>,
    /// Of one of these agents.
    pub(super) agent: Vec<String>,
    /// That changed at this time or later, Unix milliseconds.
    pub(super) since: Option<u64>,
    /// Rows of this page.
    pub(super) limit: usize,
    /// Runs with each job.
    pub(super) runs: usize,
    /// Behind this place.
    pub(super) after: Option<Place>,
}

/// Where a page ends: the row's order, its gateway, its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// What the list is ordered by: smaller comes first.
    pub(super) order: u64,
    pub(super) gateway: String,
    pub(super) id: String,
}

impl Place {
    /// As a cursor. It names a place in an order and gives access to nothing.
    pub(super) fn write(&self) -> String {
        let Self { order, gateway, id } = self;
        URL_SAFE_NO_PAD.encode(format!("{order} {gateway} {id}"))
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut parts = text.splitn(3, ' ');
        let order = parts.next()?.parse().ok()?;
        Some(Self { order, gateway: parts.next()?.to_owned(), id: parts.next()?.to_owned() })
    }
}

/// Which parameters a list knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Those of tasks.
    Tasks,
    /// Those of jobs.
    Jobs,
    /// Those of events.
    Events,
    /// None.
    Nothing,
}

impl Takes {
    fn knows(self, name: &str) -> bool {
        match self {
            Self::Tasks => matches!(name, "gateway" | "status" | "agent" | "since" | "limit" | "cursor"),
            Self::Jobs => {
                matches!(name, "gateway" | "status" | "agent" | "since" | "limit" | "cursor" | "runs")
            }
            Self::Events => name == "gateway",
            Self::Nothing => false,
        }
    }
}

impl Query {
    /// Reads a query string.
    pub(super) fn read(text: Option<&str>, takes: Takes) -> Result<Self, Refusal> {
        let mut query = Self {
            gateways: Vec::new(),
            status: Vec::new(),
            agent: Vec::new(),
            since: None,
            limit: PAGE,
            runs: RUNS,
            after: None,
        };
        let mut seen = HashSet::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !takes.knows(&name) {
                return Err(Refusal::UnknownParameter);
            }
            if !seen.insert(name.clone()) {
                return Err(Refusal::RepeatedParameter);
            }
            match &*name {
                "gateway" => query.gateways = words(&value)?,
                "status" => query.status = words(&value)?,
                "agent" => query.agent = words(&value)?,
                "since" => query.since = Some(moment(&value).ok_or(Refusal::Since)?),
                "limit" => query.limit = number(&value, 1, LARGEST_PAGE).ok_or(Refusal::Limit)?,
                "runs" => query.runs = number(&value, 0, LARGEST_RUNS).ok_or(Refusal::Runs)?,
                _ => query.after = Some(Place::read(&value).ok_or(Refusal::Cursor)?),
            }
        }
        Ok(query)
    }
}

fn words(text: &str) -> Result<Vec<String>, Refusal> {
    let words: Vec<String> = text.split(',').map(str::to_owned).collect();
    let is_word = |word: &String| !word.is_empty() && word.len() <= WORD && !word.contains(char::is_control);
    if words.len() <= WORDS && words.iter().all(is_word) { Ok(words) } else { Err(Refusal::Words) }
}

fn number(text: &str, least: usize, most: usize) -> Option<usize> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && (least..=most).contains(number))
}

/// Unix milliseconds, or a time as RFC 3339 has it.
fn moment(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let stamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(stamp.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let check = |text: &str| Query::read(Some(text), Takes::Tasks);
        let query = check("gateway=ceo,lab&status=running&limit=7&since=2026-11-24T00%3A00%3A00Z").unwrap();
        assert_eq!((query.gateways.len(), query.limit, query.since), (2, 7, Some(1_795_478_400_000)));
        assert_eq!(check("since=1795478400000").unwrap().since, Some(1_795_478_400_000));
        for (text, refusal) in [
            ("x=1", Refusal::UnknownParameter),
            ("runs=1", Refusal::UnknownParameter),
            ("limit=1&limit=1", Refusal::RepeatedParameter),
            ("limit=0", Refusal::Limit),
            ("limit=501", Refusal::Limit),
            ("limit=%2B5", Refusal::Limit),
            ("since=yesterday", Refusal::Since),
            ("since=1969-12-31T00:00:00Z", Refusal::Since),
            ("cursor=x", Refusal::Cursor),
            ("status=", Refusal::Words),
            ("agent=a,,b", Refusal::Words),
        ] {
            assert_eq!(check(text), Err(refusal), "{text}");
        }
        assert_eq!(Query::read(Some("runs=51"), Takes::Jobs), Err(Refusal::Runs));
        assert_eq!(Query::read(None, Takes::Nothing).unwrap().limit, PAGE);
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_its_place(order: u64, gateway in "[a-z0-9.-]{1,20}", id in "\\PC{0,40}") {
            let place = Place { order, gateway, id };
            prop_assert_eq!(Place::read(&place.write()), Some(place));
        }

        #[test]
        fn any_query_is_read_without_panic(text in "\\PC{0,80}") {
            let _ = Query::read(Some(&text), Takes::Jobs);
        }
    }
}
