//! After a refusal a connection's next request is decided on before a session is made for it. Nobody can
//! tell: the same answers, told and counted the same, nothing spent twice, and the connection goes on.

use crate::house::client::{Answer, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;

fn site(upstream: &Double) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .limit("two", "by: credential, window: { limit: 2, per: 1h }")
        .limit("many", "by: credential, window: { limit: 60, per: 1h }")
        .route("name: narrow, path: /narrow, limits: [two], upstream: all")
        .route("name: wide, path: /wide, methods: [GET, POST], limits: [many], upstream: all")
        .route("name: scoped, path: /scoped, scopes: [nobody:has], upstream: all")
}

/// All that must not differ between refusals of the same request but a moment later.
fn shape(answer: &Answer) -> String {
    let mut answer = answer.clone();
    answer.fields.retain(|(name, _)| name != "retry-after");
    answer.shape()
}

#[test]
fn refusals_in_a_row_are_alike_and_each_is_told_and_counted_once() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let mut connection = edge.caller(ACME).connection();
    let request = Request::get("/narrow?with=query");
    for _ in 0..2 {
        connection.send(&request).expect(200);
    }
    let refused: Vec<Answer> =
        (0..6).map(|_| connection.send(&request).refused(429, "limit_exceeded")).collect();
    for answer in &refused {
        assert_eq!(shape(answer), shape(&refused[0]));
        assert_eq!(answer.field("connection"), Some("keep-alive"));
        assert!(answer.field("date").is_some() && answer.field("retry-after").is_some());
        let line = edge.log_line(answer);
        assert_eq!((&line["status"], &line["refused"]), (&429.into(), &"limit_exceeded".into()));
        assert_eq!((&line["method"], &line["path"]), (&"GET".into(), &"/narrow".into()));
        assert_eq!((&line["limit"], &line["route"]), (&"two".into(), &"narrow".into()));
        assert_eq!(line["credential"], ACME.id);
        assert_eq!(line["bytes_out"], answer.body.len());
    }
    assert_eq!(edge.access_log().len(), 8);
    let metrics = edge.metrics();
    assert!(metrics.sum("openclaw_edge_refusals_total", &[("code", "limit_exceeded")]).eq(&6.0));
    assert!(metrics.sum("openclaw_edge_requests_total", &[("route", "narrow")]).eq(&8.0));
    assert!(metrics.sum("openclaw_edge_requests_in_flight", &[]).eq(&0.0));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn after_any_refusal_the_connection_goes_on_and_nothing_is_spent_twice() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let mut connection = edge.client().connection();
    let keyed = |request: Request| request.field("X-API-Key", ACME.text);
    let mut left = 60;
    let refusals = [
        (Request::get("/wide"), 401, "unauthorized"),
        (keyed(Request::get("/nowhere")), 404, "not_found"),
        (keyed(Request::new("DELETE", "/wide")), 405, "method_not_allowed"),
        (keyed(Request::get("/scoped")), 403, "forbidden"),
        (keyed(Request::get("/wide/../wide")), 400, "path_dot_segment"),
    ];
    for (request, status, code) in refusals {
        for _ in 0..3 {
            connection.send(&request).refused(status, code);
        }
        // The first of these is decided on early, and so was the body's; the second is not.
        for request in [Request::get("/wide"), Request::post("/wide", "{\"a\":1}"), Request::get("/wide")] {
            let answer = connection.send(&keyed(request)).expect(200);
            left -= 1;
            let limit = answer.field("ratelimit").expect("RateLimit");
            assert!(limit.contains(&format!("r={left};")), "{limit} {left}");
        }
    }
    assert_eq!(upstream.count(), 15);
}

#[test]
fn requests_that_come_together_after_a_refusal_are_answered_in_order() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let mut connection = edge.client().connection();
    connection.send(&Request::get("/wide")).refused(401, "unauthorized");
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let both = [one("/wide"), one("/nowhere")].concat();
    connection.write(both.as_bytes()).expect("the edge reads");
    let first = connection.answer("GET").expect("an answer").expect("the connection is open");
    first.refused(401, "unauthorized");
    // Pipelined requests are for Pingora, which closes; what it must never do is answer out of order.
    if let Ok(Some(second)) = connection.answer("GET") {
        second.refused(404, "not_found");
    }
}

#[test]
fn who_asks_to_close_is_closed_after_a_refusal_too() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let mut connection = edge.client().connection();
    connection.send(&Request::get("/wide")).refused(401, "unauthorized");
    let last = connection.send(&Request::get("/wide").field("Connection", "close"));
    last.refused(401, "unauthorized");
    assert!(connection.is_closed_by_server());
}
