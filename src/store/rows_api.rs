//! One row over HTTP, of any kind: read, written, deleted, its past read and brought back.
//!
//! A key may hold slashes that are not encoded, so `…/history` may be a key's own end: where such a row is
//! there it is read, as it always was; else its past is meant. `?history=1` leaves no doubt.

use super::access::Access;
use super::body;
use super::conditions::{self, Demand};
use super::http::{App, MEMORY, SKILLS, below};
use super::model::{Act, Condition, Done, Kind, Row, Target, Write};
use super::observe::Op;
use super::policy::Unfit;
use super::reply::{self, Refusal};
use super::uri::{self, Parameters};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};

/// Versions of a row in one answer, when the request does not say.
const USUAL_VERSIONS: u32 = 50;

/// What is after the name of the row whose past is meant.
const HISTORY: &str = "/history";
const RESTORE: &str = "/restore";

/// `GET /mesh/memory/:scope/:key`, and with `/history` behind it.
pub(super) async fn memory(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    read(&app, &access, &headers, query.as_deref(), Op::MemoryGet, below(&uri, MEMORY)?, memory_target).await
}

/// `GET /mesh/skills/:name`, and with `/history` behind it.
pub(super) async fn skill(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    read(&app, &access, &headers, query.as_deref(), Op::SkillGet, below(&uri, SKILLS)?, skill_target).await
}

pub(super) async fn read(
    app: &App,
    access: &Access,
    headers: &HeaderMap,
    query: Option<&str>,
    op: Op,
    rest: &str,
    target: fn(&str) -> Result<Target, Refusal>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::parse(query)?;
    if parameters.history {
        return history(app, access, &parameters, target(rest)).await;
    }
    let past = rest.strip_suffix(HISTORY).and_then(|rest| target(rest).ok());
    let look = async {
        let found = match target(rest) {
            Ok(target) => app.store.row(access, target).await?,
            // What is no row's name may still be the past of one: a skill's name has no bare slash.
            Err(refusal) if past.is_none() => return Err(refusal),
            Err(_) => None,
        };
        match (found, &past) {
            (Some(row), _) => reply::known_row(&row, headers, &parameters).map(Some),
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

/// `PUT /mesh/memory`.
pub(super) async fn put_memory(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let put = async {
        let parameters = Parameters::parse(query.as_deref())?;
        let held = app.hold(&headers, body).await?;
        let new = body::memory(&held.bytes)?;
        app.put(&access, &headers, &parameters, new).await
    };
    app.observed(Op::MemoryPut, put).await
}

/// `PUT /mesh/skills`.
pub(super) async fn put_skill(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let put = async {
        let parameters = Parameters::parse(query.as_deref())?;
        let held = app.hold(&headers, body).await?;
        let new = body::skill(&held.bytes)?;
        app.put(&access, &headers, &parameters, new).await
    };
    app.observed(Op::SkillPut, put).await
}

/// `DELETE /mesh/memory/:scope/:key`.
pub(super) async fn delete_memory(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let delete = async {
        let target = memory_target(below(&uri, MEMORY)?)?;
        app.delete(&access, &headers, query.as_deref(), target).await
    };
    app.observed(Op::MemoryDelete, delete).await
}

/// `DELETE /mesh/skills/:name`.
pub(super) async fn delete_skill(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let delete = async {
        let target = skill_target(below(&uri, SKILLS)?)?;
        app.delete(&access, &headers, query.as_deref(), target).await
    };
    app.observed(Op::SkillDelete, delete).await
}

/// `POST /mesh/memory/:scope/:key/restore`.
pub(super) async fn restore_memory(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let target = below(&uri, MEMORY)?.strip_suffix(RESTORE).ok_or(Refusal::NotFound).and_then(memory_target);
    app.observed(Op::Restore, app.restore(&access, &headers, query.as_deref(), body, target)).await
}

/// `POST /mesh/skills/:name/restore`.
pub(super) async fn restore_skill(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let target = below(&uri, SKILLS)?.strip_suffix(RESTORE).ok_or(Refusal::NotFound).and_then(skill_target);
    app.observed(Op::Restore, app.restore(&access, &headers, query.as_deref(), body, target)).await
}

/// The memory of what is behind `/mesh/memory/`.
pub(super) fn memory_target(rest: &str) -> Result<Target, Refusal> {
    let (scope, name) = uri::scope_and_key(rest)?;
    Ok(Target { kind: Kind::Memory, scope, name })
}

/// The skill of what is behind `/mesh/skills/`.
pub(super) fn skill_target(rest: &str) -> Result<Target, Refusal> {
    if rest.contains('/') {
        return Err(Refusal::NotFound);
    }
    Ok(Target::skill(&uri::segment(rest)?))
}

/// Whether the caller may write to this row, told in the log when it may not.
pub(super) fn may_write(access: &Access, target: &Target) -> Result<(), Refusal> {
    let may = match target.kind {
        Kind::Memory => access.may_write(&target.scope),
        Kind::Skill => access.may_write_skills(),
        // Who may say whose signature holds may speak for every node of the tenant.
        Kind::Key if access.may_administer() => true,
        Kind::Key => return Err(Refusal::NotAdmin),
    };
    if may {
        return Ok(());
    }
    tracing::warn!(
        tenant = %access.tenant(),
        node = ?access.node(),
        "a write to a scope that is not the caller's was refused"
    );
    Err(Refusal::Forbidden)
}

impl App {
    /// What is written, as it will be kept: within the bounds, with the end that it or its scope says.
    pub(super) fn prepared(&self, access: &Access, new: body::New) -> Result<Act, Refusal> {
        let body::New { content, expiry } = new;
        may_write(access, &content.target())?;
        self.policy.check(access.tenant(), &content).map_err(|unfit| self.unfit(access, unfit))?;
        let expiry = expiry.unwrap_or_else(|| self.policy.expiry(access.tenant(), &content));
        Ok(Act::Put { content, expiry, sent_ms: None, proof: None })
    }

    fn unfit(&self, access: &Access, unfit: Unfit) -> Refusal {
        match unfit {
            Unfit::TooLong => Refusal::TooLong,
            Unfit::Secret(pattern) => {
                self.store.observe().secret_refused(pattern);
                let (tenant, node) = (access.tenant(), access.node());
                tracing::warn!(%tenant, ?node, pattern, "a write that looks like a secret was refused");
                Refusal::Secret(pattern)
            }
        }
    }

    async fn put(
        &self,
        access: &Access,
        headers: &HeaderMap,
        parameters: &Parameters,
        mut new: body::New,
    ) -> Result<Response, Refusal> {
        if let Some(seconds) = parameters.number("ttl")? {
            new.expiry = Some(body::time_to_live(seconds)?);
        }
        let act = self.prepared(access, new)?;
        let condition = conditions::of_write(headers, self.demand(access, parameters))?;
        let row = self.written(access, Write { act, condition }).await?;
        Ok(reply::row(&row, parameters))
    }

    pub(super) fn demand(&self, access: &Access, parameters: &Parameters) -> Demand {
        if parameters.require_match || self.policy.of(access.tenant()).require_match {
            Demand::Must
        } else {
            Demand::May
        }
    }

    pub(super) async fn written(&self, access: &Access, write: Write) -> Result<Row, Refusal> {
        match self.one(access, write).await? {
            Done::Written(row) => Ok(*row),
            // A write that is no sync is done or refused.
            Done::Deleted(_) | Done::Purged | Done::Passed => Err(Refusal::Unavailable),
        }
    }

    async fn one(&self, access: &Access, write: Write) -> Result<Done, Refusal> {
        let bounds = self.policy.bounds(access.tenant());
        let mut done = self.store.commit(access, vec![write], bounds).await?;
        done.pop().ok_or(Refusal::Unavailable)
    }

    pub(super) async fn delete(
        &self,
        access: &Access,
        headers: &HeaderMap,
        query: Option<&str>,
        target: Target,
    ) -> Result<Response, Refusal> {
        let parameters = Parameters::parse(query)?;
        may_write(access, &target)?;
        let condition = conditions::of_write(headers, self.demand(access, &parameters))?;
        let act = if parameters.purge { Act::Purge(target) } else { Act::Delete(target) };
        match self.one(access, Write { act, condition }).await? {
            Done::Deleted(stamp) => Ok(reply::deleted(&stamp)),
            Done::Purged => Ok(reply::json(StatusCode::OK, b"{\"purged\":true}".to_vec())),
            Done::Written(_) | Done::Passed => Err(Refusal::Unavailable),
        }
    }

    pub(super) async fn restore(
        &self,
        access: &Access,
        headers: &HeaderMap,
        query: Option<&str>,
        body: Body,
        target: Result<Target, Refusal>,
    ) -> Result<Response, Refusal> {
        let (target, parameters) = (target?, Parameters::parse(query)?);
        may_write(access, &target)?;
        let condition = conditions::of_write(headers, self.demand(access, &parameters))?;
        let held = self.hold(headers, body).await?;
        let version = match body::version(&held.bytes)? {
            Some(version) => version,
            None => self.last_content(access, &target).await?,
        };
        let row = self.written(access, Write { act: Act::Restore(target, version), condition }).await?;
        Ok(reply::row(&row, &parameters))
    }

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

/// A batch's answers are rows and stamps; here because they are the same words.
impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self.index {
            Some(index) => self.why.at(index),
            None => self.why.into_response(),
        }
    }
}

/// Why a batch was refused, and which of its operations was the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// From 0; none when it was none of them.
    pub(super) index: Option<usize>,
    /// Why.
    pub(super) why: Refusal,
}

/// Reads what a batch asks for.
pub(super) fn write_of(app: &App, access: &Access, operation: body::Operation) -> Result<Write, Refusal> {
    let demand = if app.policy.of(access.tenant()).require_match { Demand::Must } else { Demand::May };
    let condition = match (operation.condition, demand) {
        (Some(condition), _) => condition,
        (None, Demand::May) => Condition::Always,
        (None, Demand::Must) => return Err(Refusal::PreconditionRequired),
    };
    let act = match operation.asked {
        body::Asked::Put(new) => app.prepared(access, new)?,
        body::Asked::Do(act) => {
            may_write(access, &act.target())?;
            act
        }
    };
    Ok(Write { act, condition })
}
