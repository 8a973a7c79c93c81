//! Conditions and ranges: what a client has already, and which part it asks for (RFC 9110 sections 13 and 14).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::{Duration, SystemTime};

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// A strong tag, with its quotes.
    pub tag: String,
    /// When it was written, where that may be told.
    pub modified: Option<SystemTime>,
}

impl Version {
    /// Says it in an answer's fields.
    pub fn write(&self, fields: &mut HeaderMap) {
        if let Ok(tag) = HeaderValue::try_from(self.tag.as_str()) {
            fields.insert(header::ETAG, tag);
        }
        let modified = self.modified.map(|time| HeaderValue::try_from(httpdate::fmt_http_date(time)));
        if let Some(Ok(modified)) = modified {
            fields.insert(header::LAST_MODIFIED, modified);
        }
    }

    /// Whether it was written after the second that a date names.
    fn is_since(&self, date: SystemTime) -> bool {
        self.modified.is_some_and(|modified| modified >= date + Duration::from_secs(1))
    }
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// The client has it.
    NotModified,
    /// The client wants another one.
    OtherVersion,
}

/// What part is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranged {
    /// All of it.
    Whole,
    /// From this byte to that one.
    Part(u64, u64),
    /// None that there is.
    BeyondEnd,
}

/// The fields of a request that say so.
#[derive(Debug, Default)]
pub struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<String>,
    range: Option<String>,
}

impl Conditions {
    /// What a request's fields say.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        let one = |name: &HeaderName| -> Option<&str> {
            let mut values = fields.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        let date = |name: &HeaderName| httpdate::parse_http_date(one(name)?).ok();
        let list = |name: &HeaderName| -> Option<String> {
            let values = fields.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
            fields.contains_key(name).then(|| values.collect::<Vec<_>>().join(","))
        };
        Self {
            if_match: list(&header::IF_MATCH),
            if_none_match: list(&header::IF_NONE_MATCH),
            if_modified_since: date(&header::IF_MODIFIED_SINCE),
            if_unmodified_since: date(&header::IF_UNMODIFIED_SINCE),
            if_range: one(&header::IF_RANGE).map(str::to_owned),
            range: one(&header::RANGE).map(str::to_owned),
        }
    }

    /// What comes of them for this version, in the order of RFC 9110 section 13.2.2.
    #[must_use]
    pub fn judge(&self, version: &Version) -> Verdict {
        let is_other = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => !names(tags, |tag| tag == version.tag),
            (None, Some(date)) => version.is_since(date),
            (None, None) => false,
        };
        if is_other {
            return Verdict::OtherVersion;
        }
        let is_known = match (&self.if_none_match, self.if_modified_since) {
            // A proxy that packs answers makes tags weak.
            (Some(tags), _) => names(tags, |tag| tag.strip_prefix("W/").unwrap_or(tag) == version.tag),
            (None, Some(date)) => version.modified.is_some() && !version.is_since(date),
            (None, None) => false,
        };
        if is_known { Verdict::NotModified } else { Verdict::Send }
    }

    /// One range; of several none, as a server may (RFC 9110 section 14.2).
    pub(super) fn range(&self, version: &Version, length: u64) -> Ranged {
        let Some(range) = self.range.as_deref().filter(|_| self.has_the_rest(version)) else {
            return Ranged::Whole;
        };
        parse(range, length)
    }

    /// Whether a part would fit to what the client has.
    fn has_the_rest(&self, version: &Version) -> bool {
        match self.if_range.as_deref().map(str::trim) {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == version.tag,
            Some(date) => {
                let told = version.modified.map(httpdate::fmt_http_date);
                told.is_some_and(|told| told == date)
            }
        }
    }
}

fn names(tags: &str, is_ours: impl Fn(&str) -> bool) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || is_ours(tag))
}

/// What cannot be read is not there (RFC 9110 section 14.2).
fn parse(text: &str, length: u64) -> Ranged {
    let read = || -> Option<(Option<u64>, Option<u64>)> {
        let (unit, range) = text.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        let number = |text: &str| -> Option<Option<u64>> {
            match text {
                "" => Some(None),
                // A number beyond all files is one all the same.
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Some(Some(digits.parse().unwrap_or(u64::MAX)))
                }
                _ => None,
            }
        };
        unit.trim().eq_ignore_ascii_case("bytes").then_some((number(first.trim())?, number(last.trim())?))
    };
    match read() {
        None | Some((None, None)) => Ranged::Whole,
        Some((Some(first), Some(last))) if last < first => Ranged::Whole,
        Some((Some(first), _)) if first >= length => Ranged::BeyondEnd,
        Some((Some(first), last)) => Ranged::Part(first, last.unwrap_or(u64::MAX).min(length - 1)),
        Some((None, Some(0))) => Ranged::BeyondEnd,
        Some((None, Some(_))) if length == 0 => Ranged::BeyondEnd,
        Some((None, Some(count))) => Ranged::Part(length.saturating_sub(count), length - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version() -> Version {
        let modified = httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").ok();
        // Files have finer times than dates.
        Version { tag: "\"a-1\"".into(), modified: modified.map(|time| time + Duration::from_millis(300)) }
    }

    fn conditions(fields: &[(&'static str, &'static str)]) -> Conditions {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        Conditions::of(&map)
    }

    #[test]
    fn conditions_are_asked_in_their_order() {
        let (same, before, after) = (
            "Tue, 24 Nov 2026 10:00:00 GMT",
            "Tue, 24 Nov 2026 09:59:59 GMT",
            "Tue, 24 Nov 2026 10:00:01 GMT",
        );
        for (fields, want) in [
            (&[][..], Verdict::Send),
            (&[("if-none-match", "\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "W/\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "\"b\", \"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "\"b\""), ("if-none-match", "\"a-1\"")], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"b\"")], Verdict::Send),
            (&[("if-none-match", "\"b\""), ("if-modified-since", same)], Verdict::Send),
            (&[("if-modified-since", same)], Verdict::NotModified),
            (&[("if-modified-since", after)], Verdict::NotModified),
            (&[("if-modified-since", before)], Verdict::Send),
            (&[("if-modified-since", "yesterday")], Verdict::Send),
            (&[("if-match", "\"a-1\"")], Verdict::Send),
            (&[("if-match", "W/\"a-1\"")], Verdict::OtherVersion),
            (&[("if-match", "\"b\"")], Verdict::OtherVersion),
            (&[("if-match", "*")], Verdict::Send),
            (&[("if-unmodified-since", before)], Verdict::OtherVersion),
            (&[("if-unmodified-since", same)], Verdict::Send),
            (&[("if-match", "\"b\""), ("if-none-match", "\"a-1\"")], Verdict::OtherVersion),
        ] {
            assert_eq!(conditions(fields).judge(&version()), want, "{fields:?}");
        }
    }

    #[test]
    fn without_a_time_nothing_is_said_of_it() {
        let unknown = Version { modified: None, ..version() };
        let since = conditions(&[("if-modified-since", "Tue, 24 Nov 2026 10:00:00 GMT")]);
        assert_eq!(since.judge(&unknown), Verdict::Send);
        let mut fields = HeaderMap::new();
        unknown.write(&mut fields);
        assert!(!fields.contains_key(header::LAST_MODIFIED) && fields.contains_key(header::ETAG));
    }

    #[test]
    fn one_range_is_read() {
        for (text, want) in [
            ("bytes=0-0", Ranged::Part(0, 0)),
            ("bytes=2-", Ranged::Part(2, 9)),
            ("bytes=2-99", Ranged::Part(2, 9)),
            ("bytes=-3", Ranged::Part(7, 9)),
            ("bytes=-99", Ranged::Part(0, 9)),
            ("Bytes = 1 - 2", Ranged::Part(1, 2)),
            ("bytes=10-", Ranged::BeyondEnd),
            ("bytes=-0", Ranged::BeyondEnd),
            ("bytes=99999999999999999999999-", Ranged::BeyondEnd),
            ("bytes=3-2", Ranged::Whole),
            ("bytes=-", Ranged::Whole),
            ("bytes=a-b", Ranged::Whole),
            ("bytes=+1-2", Ranged::Whole),
            ("bytes=0-1,3-4", Ranged::Whole),
            ("lines=0-1", Ranged::Whole),
            ("bytes", Ranged::Whole),
        ] {
            assert_eq!(parse(text, 10), want, "{text}");
        }
        assert_eq!((parse("bytes=0-", 0), parse("bytes=-1", 0)), (Ranged::BeyondEnd, Ranged::BeyondEnd));
    }

    #[test]
    fn a_part_goes_only_to_who_has_the_rest_of_this_version() {
        for (if_range, want) in [
            ("\"a-1\"", Ranged::Part(1, 2)),
            ("W/\"a-1\"", Ranged::Whole),
            ("\"b\"", Ranged::Whole),
            ("Tue, 24 Nov 2026 10:00:00 GMT", Ranged::Part(1, 2)),
            ("Tue, 24 Nov 2026 10:00:01 GMT", Ranged::Whole),
        ] {
            let asked = conditions(&[("range", "bytes=1-2"), ("if-range", if_range)]);
            assert_eq!(asked.range(&version(), 10), want, "{if_range}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_file(text in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..300) {
            if let Ranged::Part(first, last) = parse(&text, length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
