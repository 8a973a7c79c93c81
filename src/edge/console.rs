//! Routes that serve the console: what it is, the [`console`] room knows.

use super::exchange::Exchange;
use super::folder;
use super::live::Live;
use crate::admission::Rejection;
use crate::config::checked::Target;
use crate::console::{self, Answer, Found};
use crate::openclaw::surface;
use bytes::Bytes;
use http::Method;
use pingora::proxy::Session;

/// How many segments of the path are the route's own, where an admitted request is for the console.
pub(super) fn of(live: &Live, exchange: &Exchange) -> Option<usize> {
    let route = &live.policy.routes[exchange.admitted.as_ref()?.route];
    (route.target == Target::Console).then_some(route.depth)
}

/// Answers with what the page has.
///
/// # Errors
/// In the outer result Pingora's own (the client is gone), in the inner one the refusal to answer with.
pub(super) async fn answer(
    live: &Live,
    session: &mut Session,
    exchange: &Exchange,
    depth: usize,
) -> pingora::Result<Result<(), Rejection>> {
    let head = session.req_header();
    let is_read = head.method == Method::GET;
    match console::find(surface::below(head.uri.path(), depth), &head.headers) {
        Found::Answer(Answer { status, fields, body }) => {
            let mut head = http::Response::new(()).into_parts().0;
            (head.status, head.headers) = (status, fields);
            let body = body.filter(|_| is_read);
            folder::begin(live, session, exchange, head, body.is_none()).await?;
            if let Some(body) = body {
                session.write_response_body(Some(Bytes::from_static(body)), true).await?;
            }
            Ok(Ok(()))
        }
        Found::Folder => folder::redirect(live, session, exchange).await.map(Ok),
        Found::Nothing => Ok(Err(Rejection::NotFound)),
        Found::OtherVersion => Ok(Err(Rejection::Precondition)),
    }
}
