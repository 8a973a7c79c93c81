//! Routes that serve a folder: the file is looked for and read on a thread that may wait for the disk, and
//! goes to the client in pieces, so that a slow one holds a piece in memory and no more.
//!
//! Which file that is, and what is said of it, the [`folder`] room knows.

use super::exchange::Exchange;
use super::headers;
use super::limits;
use super::live::Live;
use crate::admission::Rejection;
use crate::config::checked::{Folder, Target};
use crate::folder::{self, Answer, Body, FolderError, Found, Request};
use crate::openclaw::surface;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header, response};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

/// The folder that answers an admitted request, and how many segments of the path are the route's own.
pub(super) fn of<'l>(live: &'l Live, exchange: &Exchange) -> Option<(&'l Arc<Folder>, usize)> {
    let route = &live.policy.routes[exchange.admitted.as_ref()?.route];
    match &route.target {
        Target::Folder(folder) => Some((folder, route.depth)),
        Target::Upstream { .. }
        | Target::Gateway(_)
        | Target::GatewayParam(_)
        | Target::MissionControl
        | Target::Sessions
        | Target::Console
        | Target::Outbox => None,
    }
}

/// Answers with what the folder has.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn answer(
    live: &Live,
    session: &mut Session,
    exchange: &Exchange,
    (folder, depth): (&Arc<Folder>, usize),
) -> pingora::Result<Result<(), Rejection>> {
    let head = session.req_header();
    let below = surface::below(head.uri.path(), depth);
    let request = Request::new(below, &head.method, &head.headers);
    let is_read = head.method == http::Method::GET;
    let folder = folder.clone();
    let found = on_disk(move || {
        let mut found = folder::find(&folder, &request, SystemTime::now());
        // The first piece along with it: most files are no larger.
        let first = match &mut found {
            Ok(Found::Answer(Answer { body: Some(body), .. })) if is_read && !body.is_done() => {
                Some(body.piece())
            }
            _ => None,
        };
        (found, first.transpose())
    });
    let (found, first) = match found.await {
        Some((Ok(found), Ok(first))) => (found, first),
        Some((Err(error), _)) => return Ok(Err(unavailable(&error))),
        Some((Ok(_), Err(error))) => return Ok(Err(unavailable(&FolderError::File(error)))),
        None => return Ok(Err(Rejection::Internal)),
    };
    match found {
        Found::Answer(Answer { status, fields, body }) => {
            let mut head = http::Response::new(()).into_parts().0;
            (head.status, head.headers) = (status, fields);
            let body = body.filter(|_| is_read);
            begin(live, session, exchange, head, body.is_none()).await?;
            if let Some(body) = body {
                send(session, first.unwrap_or_default(), body).await?;
            }
            Ok(Ok(()))
        }
        Found::Folder => redirect(live, session, exchange).await.map(Ok),
        Found::Nothing => Ok(Err(Rejection::NotFound)),
        Found::OtherVersion => Ok(Err(Rejection::Precondition)),
        Found::BeyondEnd(length) => Ok(Err(Rejection::Range { length })),
    }
}

/// Where links on the page are read from its own folder: the same path with a slash at its end.
pub(super) async fn redirect(live: &Live, session: &mut Session, exchange: &Exchange) -> pingora::Result<()> {
    let uri = &session.req_header().uri;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut head = http::Response::new(()).into_parts().0;
    head.status = StatusCode::PERMANENT_REDIRECT;
    // The guard lets no path begin with two slashes, which would be the name of another host.
    if let Ok(place) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        head.headers.insert(header::LOCATION, place);
    }
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    begin(live, session, exchange, head, true).await
}

/// Writes the head of an answer of the edge's own, with what each of them has.
pub(super) async fn begin(
    live: &Live,
    session: &mut Session,
    exchange: &Exchange,
    mut head: response::Parts,
    is_all: bool,
) -> pingora::Result<()> {
    headers::name_answer(&mut head.headers, exchange);
    limits::tell(live, exchange, head.status, &mut head.headers);
    session.write_response_header(Box::new(ResponseHeader::from(head)), is_all).await?;
    if is_all {
        session.write_response_body(None, true).await?;
    }
    Ok(())
}

async fn send(session: &mut Session, first: Bytes, mut body: Body) -> pingora::Result<()> {
    let mut piece = first;
    loop {
        let is_last = body.is_done();
        session.write_response_body(Some(piece), is_last).await?;
        if is_last {
            return Ok(());
        }
        let read = on_disk(move || (body.piece(), body)).await;
        let (next, rest) = read.ok_or_else(|| Error::new(ErrorType::InternalError))?;
        // The length was told: what cannot be read any more ends the connection.
        piece =
            next.map_err(|error| Error::because(ErrorType::FileReadError, "a file that is served", error))?;
        body = rest;
    }
}

/// Does something that may wait for the disk; nothing when it panicked.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn unavailable(error: &FolderError) -> Rejection {
    let because: &io::Error = match error {
        FolderError::Root(because) | FolderError::File(because) => because,
    };
    tracing::warn!(%error, %because, "a folder is not served");
    Rejection::FolderUnavailable
}
