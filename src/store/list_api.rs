//! Lists over HTTP: bare arrays, as they always were, in pages.
//!
//! The next page is in a `Link` header and, for who would rather not take that apart, in `Mesh-Next-Cursor`.
//! Without `limit` an answer has as many rows as the operator lets a list have.

use super::access::Access;
use super::conditions;
use super::http::App;
use super::model::{Filter, Kind, Page, Place, Row};
use super::observe::Op;
use super::proof::Prover;
use super::reply::{self, Refusal};
use super::uri::{Parameters, write_query};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// Longest page of rows whose proofs are checked.
const MOST_PROOFS: u32 = 1000;

/// The cursor of the next page.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("mesh-next-cursor");

/// `GET /mesh/skills`.
pub(super) async fn skills(
    State(app): State<App>,
    access: Access,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let list = async {
        let parameters = Parameters::parse(query.as_deref())?;
        app.list(&access, &headers, Kind::Skill, &parameters).await
    };
    app.observed(Op::SkillList, list).await
}

impl App {
    /// A page of one kind.
    pub(super) async fn list(
        &self,
        access: &Access,
        headers: &HeaderMap,
        kind: Kind,
        parameters: &Parameters,
    ) -> Result<Response, Refusal> {
        let filter = filter(kind, parameters)?;
        let from = match parameters.text("cursor") {
            Some(cursor) => self.cursors.read(access.tenant(), &filter, cursor)?,
            None => first(parameters)?,
        };
        let limit = parameters.page_limit()?.unwrap_or(self.policy().list_cap);
        let limit = if parameters.proof { limit.min(MOST_PROOFS) } else { limit };
        let page = self.store.page(access, filter.clone(), from, limit).await?;
        let next = page.next.as_ref().map(|place| self.cursors.write(access.tenant(), &filter, place));
        if !parameters.proof {
            return answer(&page, next.as_deref(), headers, parameters);
        }
        let (mut proofs, mut prover) = (Vec::with_capacity(page.rows.len()), Prover::new(self, access));
        for row in &page.rows {
            proofs.push(prover.tell(row).await?);
            // Many signatures take a while; whoever else this thread serves comes in between.
            tokio::task::yield_now().await;
        }
        // No tag: how a proof stands may change while the rows do not.
        let mut response = reply::page(&page.rows, parameters, &proofs);
        reply::shared(response.headers_mut());
        link(response.headers_mut(), kind, next.as_deref(), parameters);
        Ok(response)
    }
}

fn filter(kind: Kind, parameters: &Parameters) -> Result<Filter, Refusal> {
    Ok(Filter {
        kind,
        // What has no scope is not fewer when it is asked for one, as ever.
        scope: parameters.scope.clone().filter(|_| kind == Kind::Memory),
        prefix: parameters.text("prefix").cloned(),
        node: parameters.text("node_id").cloned(),
        updated_since: parameters.number("updated_since")?,
    })
}

fn first(parameters: &Parameters) -> Result<Place, Refusal> {
    match parameters.text("order").map(String::as_str) {
        None | Some("newest") => Ok(Place::Newest),
        Some("key") => Ok(Place::Name { scope: String::new(), name: String::new() }),
        Some(_) => Err(Refusal::UnknownOrder),
    }
}

fn answer(
    page: &Page,
    next: Option<&str>,
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<Response, Refusal> {
    let tag = tag(&page.rows, next.is_some(), parameters);
    let mut response = if conditions::is_known(headers, &tag)? {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        reply::page(&page.rows, parameters, &[])
    };
    let fields = response.headers_mut();
    fields.insert(ETAG, tag);
    reply::shared(fields);
    let kind = page.rows.first().map_or(Kind::Memory, |row| row.content.target().kind);
    link(fields, kind, next, parameters);
    Ok(response)
}

/// Where the next page is.
fn link(fields: &mut HeaderMap, kind: Kind, next: Option<&str>, parameters: &Parameters) {
    if let Some(cursor) = next {
        let path = match kind {
            Kind::Memory => "/mesh/memory",
            Kind::Skill => "/mesh/skills",
            Kind::Key => "/mesh/keys",
        };
        let link = format!("<{path}?{}>; rel=\"next\"", write_query(parameters, cursor));
        if let (Ok(link), Ok(cursor)) = (HeaderValue::try_from(link), HeaderValue::try_from(cursor)) {
            fields.insert(LINK, link);
            fields.insert(NEXT_CURSOR, cursor);
        }
    }
}

/// The tag of a page: of which rows at which change. Two answers with the same one say the same.
fn tag(rows: &[Row], more: bool, parameters: &Parameters) -> HeaderValue {
    let mut hash = Sha256::new();
    hash.update([u8::from(more), u8::from(parameters.meta), u8::from(parameters.proof)]);
    for row in rows {
        hash.update(row.stamp.change.to_be_bytes());
    }
    let digest = hash.finalize();
    let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    HeaderValue::try_from(format!("\"l{number:016x}\"")).unwrap_or(HeaderValue::from_static("\"l\""))
}
