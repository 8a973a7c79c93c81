//! A key set at a URL: fetched again when its time is over, or when a message names a key that it may have by now.

use super::fetch::{Bounds, FetchError, Fetcher, Place};
use super::key_feeds::{FLOOR, Told};
use crate::config::checked::{Canonical, KeySetAt};
use crate::config::key_set;
use crate::ids::TenantId;
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;

/// One set of one tenant.
pub(super) struct KeySetFeed {
    tenant: TenantId,
    at: KeySetAt,
    canonical: Option<Canonical>,
    place: Place,
    tag: Option<HeaderValue>,
}

impl KeySetFeed {
    pub(super) fn new(tenant: TenantId, at: KeySetAt, canonical: Option<Canonical>) -> Self {
        let place = Place::Url(at.address.clone());
        Self { tenant, at, canonical, place, tag: None }
    }

    /// What it is now, and how long that is good for.
    pub(super) async fn step(&mut self, fetcher: &Fetcher) -> Result<(Told, Duration), FetchError> {
        let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
        let mut fields = vec![(ACCEPT, accepted)];
        fields.extend(self.tag.clone().map(|tag| (IF_NONE_MATCH, tag)));
        let bounds = Bounds { time: self.at.timeout, bytes: self.at.max };
        let answer = fetcher.get(&self.place, &self.at.address.target, &fields, bounds).await?;
        let pause = pause(&answer.fields, self.at.refresh);
        if answer.status == StatusCode::NOT_MODIFIED && self.tag.is_some() {
            return Ok((Told::Nothing, pause));
        }
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(answer.status));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|_| FetchError::Malformed)?;
        let set = key_set::read(&self.tenant, text, self.canonical).map_err(|error| {
            tracing::warn!(tenant = %self.tenant, %error, "a key set cannot be used");
            FetchError::Malformed
        })?;
        self.tag = answer.fields.get(ETAG).cloned();
        Ok((Told::Keys(set.keys), pause))
    }
}

/// Until the next fetch: `refresh`, or less where the server says so, but never so little that it is a burden.
pub(super) fn pause(fields: &HeaderMap, refresh: Duration) -> Duration {
    let told = fields.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut parts = told.flat_map(|text| text.split(','));
    let age = parts.find_map(|part| part.trim().to_ascii_lowercase().strip_prefix("max-age=")?.parse().ok());
    age.map_or(refresh, |seconds| refresh.min(Duration::from_secs(seconds).max(FLOOR)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_shorten_the_pause_and_never_lengthen_it() {
        let refresh = Duration::from_mins(10);
        let told = |text: &'static str| {
            pause(&HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(text))]), refresh)
        };
        assert_eq!(pause(&HeaderMap::new(), refresh), refresh);
        assert_eq!(told("public, Max-Age=60"), Duration::from_mins(1));
        assert_eq!(told("max-age=0"), FLOOR);
        for longer in ["max-age=86400", "no-store", "max-age=soon", "max-age=-1"] {
            assert_eq!(told(longer), refresh, "{longer}");
        }
    }
}
