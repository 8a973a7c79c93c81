//! A new config takes over without anyone noticing; a bad one does not, and says so.

use crate::house::client::Request;
use crate::house::double::{Double, Gate, Reply};
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, open};
use crate::house::wait::{SOON, until};

fn site(upstream: &Double) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .route("name: old, path: /old, public: true, upstream: all")
}

#[test]
fn after_a_hangup_the_new_route_is_served_and_the_old_still() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    edge.client().get("/new").refused(404, "not_found");
    edge.reload(&site(&upstream).route("name: new, path: /new, public: true, upstream: all"));
    edge.client().get("/new").expect(200);
    edge.client().get("/old").expect(200);
}

#[test]
fn a_changed_file_is_enough() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    edge.rewrite(&site(&upstream).route("name: new, path: /new, public: true, upstream: all"));
    until("the new route", SOON, || (edge.client().get("/new").status == 200).then_some(()));
}

#[test]
fn a_route_that_is_gone_is_gone() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).route("name: new, path: /new, public: true, upstream: all"));
    edge.client().get("/new").expect(200);
    edge.reload(&site(&upstream));
    edge.client().get("/new").refused(404, "not_found");
}

#[test]
fn a_bad_file_changes_nothing_and_is_counted_and_told() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    for (at, bad) in [
        "listen: [",
        "",
        "routes: 5",
        "no_such_key: true",
        "tenants: { acme: {} }\nroutes: [{ name: x, path: /x, upstream: nowhere }]",
    ]
    .into_iter()
    .enumerate()
    {
        let before = edge.reloads("refused");
        edge.rewrite_text(bad);
        edge.sighup();
        until("the refusal", SOON, || (edge.reloads("refused") > before).then_some(()));
        edge.client().get("/old").expect(200);
        assert!(edge.metrics().sum("openclaw_edge_config_stale", &[]) > 0.0, "{at}");
    }
    edge.logged("edge.yaml");
    edge.reload(&site(&upstream).route("name: new, path: /new, public: true, upstream: all"));
    edge.client().get("/new").expect(200);
    assert!(edge.metrics().sum("openclaw_edge_config_stale", &[]).abs() < 0.5);
}

#[test]
fn a_request_in_flight_ends_as_it_began() {
    let gate = Gate::closed();
    let held = gate.clone();
    let upstream = Double::start(move |_| Reply::text(200, "slow but sure").after(&held));
    let edge = Edge::start(&Site::open(&upstream));
    let request = Request::get("/slow");
    let mut connection = edge.client().connection();
    connection.begin(&request);
    until("the request's arrival", SOON, || (upstream.count() == 1).then_some(()));
    let elsewhere = Double::mirror();
    edge.reload(
        &Site::new()
            .upstream("all", elsewhere.address())
            .route("name: only, path: /only, public: true, upstream: all"),
    );
    edge.client().get("/slow").refused(404, "not_found");
    gate.open();
    assert_eq!(connection.finish(&request).expect(200).text(), "slow but sure");
    connection.send(&request).refused(404, "not_found");
}

#[test]
fn a_revoked_key_is_not_taken_any_more() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let mut connection = edge.caller(ACME).connection();
    connection.send(&Request::get("/x")).expect(200);
    let text = std::fs::read_to_string(edge.config()).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("id: acme-ceo")).collect();
    edge.reload_text(&without.join("\n"));
    edge.caller(ACME).get("/x").refused(401, "unauthorized");
    connection.send(&Request::get("/x")).refused(401, "unauthorized");
}

#[test]
fn an_open_websocket_outlives_reloads() {
    let gateway = EchoGateway::start();
    let site = Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes();
    let edge = Edge::start(&site);
    let mut socket =
        open(edge.address(), "/gateways/ceo", &[("X-API-Key", ACME.text)]).expect("an open socket");
    for round in 0..5 {
        assert_eq!(ask(&mut socket, &format!("round {round}")), format!("round {round}"));
        edge.reload(
            &site
                .clone()
                .top(&format!("# round {round}"))
                .limit("unused", &format!("by: ip, window: {{ limit: {}, per: 1m }}", round + 1)),
        );
    }
    assert_eq!(ask(&mut socket, "still here"), "still here");
    assert_eq!(gateway.upgrades().len(), 1);
}

#[test]
fn an_unchanged_file_is_no_reload() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let applied = edge.reloads("applied");
    edge.sighup();
    until("the look", SOON, || (edge.reloads("unchanged") > 0.0).then_some(()));
    assert!((edge.reloads("applied") - applied).abs() < 0.5);
    edge.client().get("/old").expect(200);
}

#[test]
fn fifty_reloads_under_fire_lose_nothing() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream));
    let served = std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut connection = edge.client().connection();
            let mut served = 0;
            while edge.reloads("applied") < 50.0 {
                connection.send(&Request::get("/old")).expect(200);
                edge.client().get("/old").expect(200);
                served += 2;
            }
            served
        });
        for round in 0..60 {
            edge.reload(
                &site(&upstream)
                    .route(&format!("name: r{round}, path: /r{round}, public: true, upstream: all")),
            );
            edge.client().get(&format!("/r{round}")).expect(200);
        }
        caller.join().unwrap()
    });
    assert!(served > 50, "{served}");
}
