//! The army server behind the edge, under its own paths and under those of Mission Control.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, READER};
use crate::house::process::free_address;
use crate::house::site::Site;
use serde_json::json;

fn site(army: &Double) -> Site {
    Site::new()
        .upstream("army", army.address())
        .route("name: army, path: /army/**, scopes: [army], upstream: army")
        .route("name: api-army, path: /api/army/**, scopes: [army], strip_prefix: /api, upstream: army")
}

#[test]
fn both_paths_lead_to_it_with_any_method_and_query() {
    let army = doubles::army();
    let edge = Edge::start(&site(&army));
    let acme = edge.caller(ACME);
    for prefix in ["", "/api"] {
        assert_eq!(acme.get(&format!("{prefix}/army/nodes")).expect(200).json()[0]["id"], "ceo");
        assert_eq!(army.only().target, "/army/nodes");
        acme.get(&format!("{prefix}/army/orders?status=open&x=%2F")).expect(200);
        assert_eq!(army.only().target, "/army/orders?status=open&x=%2F");
        let order = r#"{"addressee":"all","payload":{},"priority":1}"#;
        assert_eq!(
            acme.post(&format!("{prefix}/army/orders"), order).expect(202).json(),
            json!({"orderId": "o-1"})
        );
        assert_eq!(army.only().body, order.as_bytes());
        acme.send(&Request::new("DELETE", &format!("{prefix}/army/orders/o-1"))).expect(404);
        assert_eq!(army.only().method, "DELETE");
    }
}

#[test]
fn it_hears_which_node_calls_from_the_edge_and_keeps_its_own_bearer() {
    let army = doubles::army();
    let edge = Edge::start(&site(&army));
    let request = Request::post("/army/register", "{}")
        .field("X-Node-Id", "impostor")
        .field("Authorization", "Bearer armys-own");
    let answer = edge.caller(ACME).send(&request).expect(200);
    assert_eq!(answer.json(), json!({"ok": true, "by": "ceo"}));
    assert_eq!(army.only().field("authorization"), Some("Bearer armys-own"));
}

#[test]
fn who_has_no_business_there_does_not_get_there() {
    let army = doubles::army();
    let edge = Edge::start(&site(&army));
    edge.client().get("/army/nodes").refused(401, "unauthorized");
    edge.caller(READER).get("/api/army/nodes").refused(403, "forbidden");
    army.untouched();
}

#[test]
fn without_it_the_edge_says_so() {
    let site = Site::new()
        .upstream("army", free_address())
        .route("name: army, path: /army/**, scopes: [army], upstream: army");
    let edge = Edge::start(&site);
    edge.caller(ACME).get("/army/nodes").refused(502, "upstream_unreachable");
}
