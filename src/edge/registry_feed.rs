//! A mesh store's registry of keys, followed by its feed of changes: read whole, then again when it changes.
//!
//! The feed only says that something changed; what there is now is read anew. So a change that is told twice, or
//! a feed that starts over, costs a reading and nothing else.

use super::fetch::{Answer, Bounds, FetchError, Fetcher, Place};
use super::key_feeds::Told;
use crate::config::checked::{Canonical, NodeKey};
use crate::ids::{NodeId, TenantId};
use crate::secret::Secret;
use crate::signatures::registered;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// How long the store holds a question back while nothing changes.
const WAIT: u64 = 25;
/// How long an answer may take beyond that.
const TIME: Duration = Duration::from_secs(10);
/// Most bytes of a page: a node's keys may come to 16 times some 400.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Most nodes of a tenant.
const MOST_NODES: usize = 10_000;

const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const SECRET: HeaderName = HeaderName::from_static("x-edge-auth");
const NEXT: HeaderName = HeaderName::from_static("mesh-next-cursor");

/// One tenant's registry.
pub(super) struct RegistryFeed {
    tenant: TenantId,
    place: Place,
    canonical: Option<Canonical>,
    prefix: String,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The last change that was read; none before the first reading.
    seen: Option<i64>,
}

#[derive(Deserialize)]
struct Changes<'a> {
    #[serde(borrow, rename = "changes")]
    entries: Vec<&'a RawValue>,
    next: i64,
    reset: bool,
}

#[derive(Deserialize)]
struct Row<'a> {
    node: String,
    #[serde(borrow)]
    keys: &'a RawValue,
}

impl RegistryFeed {
    pub(super) fn new(
        tenant: TenantId,
        place: Place,
        secret: Option<&Secret>,
        canonical: Option<Canonical>,
    ) -> Self {
        let mut fields: Vec<_> =
            HeaderValue::from_str(tenant.as_str()).ok().map(|tenant| (TENANT, tenant)).into_iter().collect();
        // The config's check saw that it can be sent.
        if let Some(mut value) = secret.and_then(|secret| HeaderValue::from_bytes(secret.expose()).ok()) {
            value.set_sensitive(true);
            fields.push((SECRET, value));
        }
        let prefix = match &place {
            Place::Socket(_) => String::new(),
            Place::Url(address) => address.target.trim_end_matches('/').to_owned(),
        };
        Self { tenant, place, canonical, prefix, fields, seen: None }
    }

    /// Waits for a change and reads what there is then; the first time it only reads.
    pub(super) async fn step(&mut self, fetcher: &Fetcher) -> Result<(Told, Duration), FetchError> {
        let since = self.seen.map(|seen| format!("&since={seen}&wait={WAIT}")).unwrap_or_default();
        let time = if self.seen.is_some() { Duration::from_secs(WAIT) + TIME } else { TIME };
        let answer = self.get(fetcher, &format!("/mesh/changes?kind=key{since}"), time).await?;
        let Changes { entries, next, reset } =
            serde_json::from_slice(&answer.body).map_err(|_| FetchError::Malformed)?;
        if self.seen.is_some() && entries.is_empty() && !reset {
            self.seen = Some(next);
            return Ok((Told::Nothing, Duration::ZERO));
        }
        let keys = self.read(fetcher).await?;
        // After the reading: when that fails, the change comes again.
        self.seen = Some(next);
        Ok((Told::Keys(keys), Duration::ZERO))
    }

    async fn read(&self, fetcher: &Fetcher) -> Result<Vec<NodeKey>, FetchError> {
        let (mut keys, mut nodes, mut cursor) = (Vec::new(), 0, None::<String>);
        loop {
            let place = match &cursor {
                Some(cursor) => format!("/mesh/keys?limit=1000&cursor={cursor}"),
                None => "/mesh/keys?limit=1000&order=key".to_owned(),
            };
            let answer = self.get(fetcher, &place, TIME).await?;
            let rows: Vec<Row<'_>> =
                serde_json::from_slice(&answer.body).map_err(|_| FetchError::Malformed)?;
            nodes += rows.len();
            if nodes > MOST_NODES {
                return Err(FetchError::TooLong);
            }
            for row in rows {
                self.take(&row, &mut keys);
            }
            let next = answer.fields.get(NEXT).and_then(|cursor| cursor.to_str().ok());
            let Some(next) = next else { return Ok(keys) };
            cursor = Some(next.to_owned());
        }
    }

    /// A row that a store of another version may have written is left out, and the others count.
    fn take(&self, row: &Row<'_>, keys: &mut Vec<NodeKey>) {
        match (NodeId::parse(&row.node), registered::read(row.keys.get())) {
            (Ok(node), Ok(found)) => keys.extend(found.iter().map(|key| {
                let key = key.of(&self.tenant, &node);
                NodeKey { canonical: key.canonical.or(self.canonical), ..key }
            })),
            (Err(_), _) => {
                tracing::warn!(tenant = %self.tenant, "the registry has a node whose name is none")
            }
            (Ok(node), Err(error)) => {
                tracing::warn!(tenant = %self.tenant, %node, %error, "the registry has keys that cannot be used");
            }
        }
    }

    async fn get(&self, fetcher: &Fetcher, path: &str, time: Duration) -> Result<Answer, FetchError> {
        let target = format!("{}{path}", self.prefix);
        let bounds = Bounds { time, bytes: MOST_BYTES };
        let answer = fetcher.get(&self.place, &target, &self.fields, bounds).await?;
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(FetchError::Status(answer.status)) }
    }
}
