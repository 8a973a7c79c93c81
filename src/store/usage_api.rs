//! `GET /mesh/usage`: what a tenant keeps, and what it may keep.

use super::access::Access;
use super::http::App;
use super::model::Usage;
use super::observe::Op;
use super::reply::{self, Refusal};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use std::time::Duration;

/// `GET /mesh/usage`.
pub(super) async fn usage(State(app): State<App>, access: Access) -> Result<Response, Refusal> {
    let look = async {
        let kept = app.store.usage(&access).await?;
        let mut response = reply::json(StatusCode::OK, app.told(&access, &kept).into_bytes());
        reply::shared(response.headers_mut());
        Ok(response)
    };
    app.observed(Op::Usage, look).await
}

impl App {
    fn told(&self, access: &Access, kept: &Usage) -> String {
        let policy = self.policy();
        let (all, own) = (&policy.rules, policy.of(access.tenant()));
        let seconds = |span: Option<Duration>| span.map(|span| span.as_secs());
        json!({
            "rows": kept.rows(),
            "bytes": kept.bytes,
            "memory": { "rows": kept.memories, "bytes": kept.bytes - kept.skill_bytes - kept.key_bytes },
            "skill": { "rows": kept.skills, "bytes": kept.skill_bytes },
            "key": { "rows": kept.keys, "bytes": kept.key_bytes },
            "history": { "versions": kept.versions },
            "changes": { "last": kept.last_change, "trimmed_up_to": kept.feed_start },
            "limits": {
                "rows": own.max_rows,
                "bytes": own.max_bytes,
                "key_bytes": own.max_key,
                "value_bytes": own.max_value,
                "history_versions": all.history,
                "history_seconds": seconds(all.history_for),
                "tombstone_seconds": seconds(all.tombstones_for),
                "tombstones": all.tombstones,
                "feed_entries": all.feed_entries,
                "feed_seconds": all.feed_for.as_secs(),
            },
        })
        .to_string()
    }
}
