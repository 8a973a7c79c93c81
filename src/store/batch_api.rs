//! `POST /mesh/batch`: up to a thousand writes, all or none; and `DELETE /mesh/tenant`, which leaves nothing.

use super::access::Access;
use super::body;
use super::http::App;
use super::model::Act;
use super::observe::Op;
use super::reply::{self, Refusal};
use super::uri::Parameters;
use super::writes::{Refused, write_of};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

/// Most operations of one batch.
pub(super) const MOST_OPERATIONS: usize = 1000;

/// `POST /mesh/batch`.
pub(super) async fn batch(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Refusal> {
    let work = async {
        let parameters = Parameters::parse(query.as_deref())?;
        let held = app.hold(&headers, body).await?;
        let operations = body::operations(&held.bytes)?;
        if operations.len() > MOST_OPERATIONS {
            return Err(Refusal::TooManyOperations);
        }
        Ok(match app.batch(&access, operations).await {
            Ok(done) => Ok(reply::batch(&done, &parameters)),
            Err(refused) => Err(refused),
        })
    };
    app.observed_parts(Op::Batch, work).await
}

/// `DELETE /mesh/tenant?confirm=<tenant>`.
pub(super) async fn erase(
    State(app): State<App>,
    access: Access,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let erase = async {
        let parameters = Parameters::parse(query.as_deref())?;
        if !access.may_administer() {
            return Err(Refusal::NotAdmin);
        }
        // Said twice, so that no slip of a path takes a tenant away.
        if parameters.text("confirm").map(String::as_str) != Some(access.tenant().as_str()) {
            return Err(Refusal::NotConfirmed);
        }
        let had = app.store.erase(&access).await?;
        tracing::warn!(tenant = %access.tenant(), rows = had.rows(), "everything of a tenant was erased");
        let text = format!(
            r#"{{"erased":{{"memories":{},"skills":{},"keys":{},"bytes":{},"versions":{}}}}}"#,
            had.memories, had.skills, had.keys, had.bytes, had.versions
        );
        Ok(reply::json(StatusCode::OK, text.into_bytes()))
    };
    app.observed(Op::Erase, erase).await
}

impl App {
    async fn batch(
        &self,
        access: &Access,
        operations: Vec<Result<body::Operation, Refusal>>,
    ) -> Result<Vec<super::model::Done>, Refused> {
        let mut writes = Vec::with_capacity(operations.len());
        for (index, operation) in operations.into_iter().enumerate() {
            let refused = |why| Refused { index: Some(index), why };
            let write = operation.and_then(|operation| write_of(self, access, operation)).map_err(refused)?;
            if let Act::Restore(target, version) = &write.act {
                self.may_return(access, target, *version).await.map_err(refused)?;
            }
            writes.push(write);
        }
        self.all(access, writes).await
    }
}
