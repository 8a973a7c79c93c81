//! From what a request asks to have written to what the store is handed: whether the caller may, whether it may
//! be kept, and what must hold before. The same for single writes, batches and synchronisation.

use super::access::Access;
use super::body;
use super::conditions::Demand;
use super::error::CommitError;
use super::http::App;
use super::model::{Act, Condition, Done, Kind, Row, Target, Write};
use super::observe::Op;
use super::policy::Unfit;
use super::reply::Refusal;
use super::uri::Parameters;
use crate::config::checked_store::SecretGuard;
use axum::response::{IntoResponse, Response};

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
        let body::New { content, expiry, sent_ms, proof } = new;
        may_write(access, &content.target())?;
        self.policy()
            .check(access.tenant(), &content, proof.as_ref())
            .map_err(|unfit| self.unfit(access, unfit))?;
        let expiry = expiry.unwrap_or_else(|| self.policy().expiry(access.tenant(), &content));
        Ok(Act::Put { content, expiry, sent_ms, proof })
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

    /// Refuses to bring back what looks like a secret: it was written when nobody looked, or before there was a
    /// pattern for it.
    pub(super) async fn may_return(
        &self,
        access: &Access,
        target: &Target,
        version: i64,
    ) -> Result<(), Refusal> {
        if self.policy().of(access.tenant()).secret_guard == SecretGuard::Off {
            return Ok(());
        }
        let past = self.store.history(access, target.clone(), version.checked_add(1), 1).await?;
        let content = past.into_iter().find(|one| one.stamp.version == version).and_then(|one| one.content);
        let found = content.and_then(|content| self.policy().secret_in(access.tenant(), &content));
        found.map_or(Ok(()), |pattern| Err(self.unfit(access, Unfit::Secret(pattern))))
    }

    pub(super) fn demand(&self, access: &Access, parameters: &Parameters) -> Demand {
        if parameters.require_match || self.policy().of(access.tenant()).require_match {
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

    pub(super) async fn one(&self, access: &Access, write: Write) -> Result<Done, Refusal> {
        let bounds = self.policy().bounds(access.tenant());
        let mut done = self.store.commit(access, vec![write], bounds).await?;
        done.pop().ok_or(Refusal::Unavailable)
    }

    /// Does several writes, all or none.
    pub(super) async fn all(&self, access: &Access, writes: Vec<Write>) -> Result<Vec<Done>, Refused> {
        let bounds = self.policy().bounds(access.tenant());
        Ok(self.store.commit(access, writes, bounds).await?)
    }

    /// Counts work that may be refused for one of several parts, and answers it.
    pub(super) async fn observed_parts(
        &self,
        op: Op,
        work: impl Future<Output = Result<Result<Response, Refused>, Refusal>>,
    ) -> Result<Response, Refusal> {
        let outcome = |result: &Result<Response, Refused>| match result {
            Ok(_) => None,
            Err(refused) => Some(refused.why.outcome()),
        };
        let answered = self.observed_as(op, work, outcome).await?;
        Ok(answered.unwrap_or_else(IntoResponse::into_response))
    }
}

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

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self { index: None, why: error.into() },
            CommitError::Refused { index, conflict } => Self { index: Some(index), why: conflict.into() },
        }
    }
}

/// Reads what a batch asks for.
pub(super) fn write_of(app: &App, access: &Access, operation: body::Operation) -> Result<Write, Refusal> {
    let demand = if app.policy().of(access.tenant()).require_match { Demand::Must } else { Demand::May };
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
