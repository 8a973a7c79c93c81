//! One row over HTTP, of any kind: read, written, deleted, its past read and brought back.
//!
//! A key may hold slashes that are not encoded, so `…/history` may be a key's own end: where such a row is
//! there it is read, as it always was; else its past is meant. `?history=1` leaves no doubt.

use super::access::Access;
use super::body;
use super::conditions;
use super::http::{App, Call};
use super::model::{Act, Done, Kind, Target, Write};
use super::observe::Op;
use super::proof::Prover;
use super::reply::{self, Refusal};
use super::uri::{self, Parameters};
use super::writes::may_write;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

/// Versions of a row in one answer, when the request does not say.
const USUAL_VERSIONS: u32 = 50;

/// What is after the name of the row whose past is meant.
const HISTORY: &str = "/history";
const RESTORE: &str = "/restore";

/// Where the rows of one kind are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// What is before their names.
    pub(super) prefix: &'static str,
    /// How a name is read.
    pub(super) target: fn(&str) -> Result<Target, Refusal>,
}

const MEMORY: Rows = Rows { prefix: "/mesh/memory/", target: memory_target };
const SKILLS: Rows = Rows { prefix: "/mesh/skills/", target: skill_target };

impl Rows {
    /// The row that a path names.
    pub(super) fn named(self, call: &Call) -> Result<Target, Refusal> {
        (self.target)(call.below(self.prefix)?)
    }
}

/// `GET /mesh/memory/:scope/:key`, and with `/history` behind it.
pub(super) async fn memory(call: Call) -> Result<Response, Refusal> {
    read(&call, Op::MemoryGet, MEMORY).await
}

/// `GET /mesh/skills/:name`, and with `/history` behind it.
pub(super) async fn skill(call: Call) -> Result<Response, Refusal> {
    read(&call, Op::SkillGet, SKILLS).await
}

/// `PUT /mesh/memory`.
pub(super) async fn put_memory(call: Call, body: Body) -> Result<Response, Refusal> {
    put(&call, body, Op::MemoryPut, body::memory).await
}

/// `PUT /mesh/skills`.
pub(super) async fn put_skill(call: Call, body: Body) -> Result<Response, Refusal> {
    put(&call, body, Op::SkillPut, body::skill).await
}

/// `DELETE /mesh/memory/:scope/:key`.
pub(super) async fn delete_memory(call: Call) -> Result<Response, Refusal> {
    delete(&call, Op::MemoryDelete, MEMORY).await
}

/// `DELETE /mesh/skills/:name`.
pub(super) async fn delete_skill(call: Call) -> Result<Response, Refusal> {
    delete(&call, Op::SkillDelete, SKILLS).await
}

/// `POST /mesh/memory/:scope/:key/restore`.
pub(super) async fn restore_memory(call: Call, body: Body) -> Result<Response, Refusal> {
    restore(&call, body, MEMORY).await
}

/// `POST /mesh/skills/:name/restore`.
pub(super) async fn restore_skill(call: Call, body: Body) -> Result<Response, Refusal> {
    restore(&call, body, SKILLS).await
}

/// The memory of what is behind `/mesh/memory/`.
fn memory_target(rest: &str) -> Result<Target, Refusal> {
    let (scope, name) = uri::scope_and_key(rest)?;
    Ok(Target { kind: Kind::Memory, scope, name })
}

/// The skill of what is behind `/mesh/skills/`.
fn skill_target(rest: &str) -> Result<Target, Refusal> {
    if rest.contains('/') {
        return Err(Refusal::NotFound);
    }
    Ok(Target::skill(&uri::segment(rest)?))
}

/// Reads a row, or its past.
pub(super) async fn read(call: &Call, op: Op, rows: Rows) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = call;
    let (parameters, rest) = (call.parameters()?, call.below(rows.prefix)?);
    if parameters.history {
        return history(app, access, &parameters, (rows.target)(rest)).await;
    }
    let past = rest.strip_suffix(HISTORY).and_then(|rest| (rows.target)(rest).ok());
    let look = async {
        let found = match (rows.target)(rest) {
            Ok(target) => app.store.row(access, target).await?,
            // What is no row's name may still be the past of one: a skill's name has no bare slash.
            Err(refusal) if past.is_none() => return Err(refusal),
            Err(_) => None,
        };
        match (found, &past) {
            (Some(row), _) => {
                let proof =
                    if parameters.proof { Some(Prover::new(app, access).tell(&row).await?) } else { None };
                reply::known_row(&row, headers, &parameters, proof.as_deref()).map(Some)
            }
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Refusal::NotFound),
        }
    };
    let looked = app.observed_as(op, look, |_| None).await?;
    match (looked, past) {
        (Some(response), _) => Ok(response),
        (None, Some(target)) => history(app, access, &parameters, Ok(target)).await,
        (None, None) => Err(Refusal::NotFound),
    }
}

async fn history(
    app: &App,
    access: &Access,
    parameters: &Parameters,
    target: Result<Target, Refusal>,
) -> Result<Response, Refusal> {
    let look = async {
        let limit = parameters.page_limit()?.unwrap_or(USUAL_VERSIONS);
        let before = parameters.number("before")?;
        // One more than asked for tells whether there are older ones.
        let mut versions = app.store.history(access, target?, before, limit + 1).await?;
        if versions.is_empty() && before.is_none() {
            return Err(Refusal::NotFound);
        }
        let more = versions.len() > limit as usize;
        versions.truncate(limit as usize);
        Ok(reply::versions(&versions, more))
    };
    app.observed(Op::History, look).await
}

async fn put(
    call: &Call,
    body: Body,
    op: Op,
    new: fn(&[u8]) -> Result<body::New, Refusal>,
) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = call;
    let put = async {
        let parameters = call.parameters()?;
        let held = app.hold(headers, body).await?;
        let mut new = new(&held.bytes)?;
        if let Some(seconds) = parameters.number("ttl")? {
            new.expiry = Some(body::time_to_live(seconds)?);
        }
        let act = app.prepared(access, new)?;
        let condition = conditions::of_write(headers, app.demand(access, &parameters))?;
        let row = app.written(access, Write { act, condition }).await?;
        Ok(reply::row(&row, &parameters))
    };
    app.observed(op, put).await
}

/// Deletes or purges a row.
pub(super) async fn delete(call: &Call, op: Op, rows: Rows) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = call;
    let delete = async {
        let (target, parameters) = (rows.named(call)?, call.parameters()?);
        may_write(access, &target)?;
        let condition = conditions::of_write(headers, app.demand(access, &parameters))?;
        let act = if parameters.purge { Act::Purge(target) } else { Act::Delete(target) };
        match app.one(access, Write { act, condition }).await? {
            Done::Deleted(stamp) => Ok(reply::deleted(&stamp)),
            Done::Purged => Ok(reply::json(StatusCode::OK, b"{\"purged\":true}".to_vec())),
            Done::Written(_) | Done::Passed => Err(Refusal::Unavailable),
        }
    };
    app.observed(op, delete).await
}

/// Brings a row's past back.
pub(super) async fn restore(call: &Call, body: Body, rows: Rows) -> Result<Response, Refusal> {
    let Call { app, access, headers, .. } = call;
    let restore = async {
        let rest = call.below(rows.prefix)?.strip_suffix(RESTORE).ok_or(Refusal::NotFound)?;
        let (target, parameters) = ((rows.target)(rest)?, call.parameters()?);
        may_write(access, &target)?;
        let condition = conditions::of_write(headers, app.demand(access, &parameters))?;
        let held = app.hold(headers, body).await?;
        let version = match body::version(&held.bytes)? {
            Some(version) => version,
            None => app.last_content(access, &target).await?,
        };
        app.may_return(access, &target, version).await?;
        let row = app.written(access, Write { act: Act::Restore(target, version), condition }).await?;
        Ok(reply::row(&row, &parameters))
    };
    app.observed(Op::Restore, restore).await
}

impl App {
    /// The newest version of the past that still holds something.
    async fn last_content(&self, access: &Access, target: &Target) -> Result<i64, Refusal> {
        let live = self.store.row(access, target.clone()).await?.map(|row| row.stamp.version);
        let mut before = live;
        loop {
            let past = self.store.history(access, target.clone(), before, USUAL_VERSIONS).await?;
            let Some(oldest) = past.last() else { return Err(Refusal::NotFound) };
            if let Some(version) = past.iter().find(|version| version.content.is_some()) {
                return Ok(version.stamp.version);
            }
            before = Some(oldest.stamp.version);
        }
    }
}
