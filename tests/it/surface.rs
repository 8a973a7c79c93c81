//! The HTTP side of gateways: who may ask for what, which secret goes where, and how paths arrive.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, VIEWER};
use crate::house::site::Site;

const TOKEN: &str = "a-gateways-own-token";
const ROUTE: &str =
    "name: gateway, path: \"/gateways/{gateway}/**\", scopes: [gateways:connect], gateway: \"{gateway}\"";

fn site(gateway: &Double, base: &str) -> Site {
    let url = format!("ws://{}{base}", gateway.address());
    let entry = format!("id: ceo, tenant: acme, url: \"{url}\", token: \"{TOKEN}\"");
    Site::new().top("allow_literal_secrets: true").gateway_entry(&entry)
}

#[test]
fn path_and_method_need_their_scope_before_the_gateway_hears_of_them() {
    let gateway = Double::mirror();
    let edge = Edge::start(&site(&gateway, "").route(ROUTE));
    let viewer = edge.caller(VIEWER);
    for path in [
        "/v1/chat/completions",
        "/v1/responses",
        "/tools/invoke",
        "/sessions/main/kill",
        "/api/v1/admin/rpc",
        "/strange",
    ] {
        viewer.post(&format!("/gateways/ceo{path}"), "{}").refused(403, "forbidden");
    }
    viewer.get("/gateways/ceo/__openclaw__/worker").refused(403, "forbidden");
    gateway.untouched();
    for path in ["/v1/models", "/sessions/main/history", "/", "/healthz", "/assets/app.js"] {
        viewer.get(&format!("/gateways/ceo{path}")).expect(200);
    }
    viewer.post("/gateways/ceo/hooks/wake", "{}").expect(200);
    gateway.forget();
    edge.caller(ACME).post("/gateways/ceo/v1/chat/completions", "{}").expect(200);
    assert_eq!(gateway.only().path(), "/v1/chat/completions");
}

#[test]
fn the_gateways_secret_goes_where_it_is_asked_for_and_nowhere_else() {
    let gateway = Double::mirror();
    let edge = Edge::start(&site(&gateway, "").route(ROUTE));
    let bearer = format!("Bearer {TOKEN}");
    let check = |request: Request, want: Option<&str>| {
        gateway.forget();
        edge.caller(VIEWER).send(&request).expect(200);
        let seen = gateway.only();
        assert_eq!(seen.field("authorization"), want, "{seen:?}");
        assert_eq!(seen.field("x-openclaw-scopes"), Some("operator.read,operator.sessions.read"));
        assert_eq!(seen.field("x-openclaw-model"), None);
        assert_eq!(seen.field("x-api-key"), None);
        assert_eq!(seen.field("x-forwarded-for"), None);
    };
    let forged = |request: Request| {
        request
            .field("X-OpenClaw-Scopes", "operator.admin")
            .field("X-OpenClaw-Model", "m")
            .field("X-Forwarded-For", "203.0.113.9")
    };
    check(forged(Request::get("/gateways/ceo/v1/models")), Some(&bearer));
    check(forged(Request::get("/gateways/ceo/healthz")), None);
    check(forged(Request::get("/gateways/ceo/")), None);
    check(forged(Request::post("/gateways/ceo/hooks/wake", "{}")), None);
    let own = Request::get("/gateways/ceo/v1/models").field("Authorization", "Bearer theirs");
    check(own, Some("Bearer theirs"));
    assert!(!edge.all_output().contains(TOKEN));
}

#[test]
fn a_public_route_puts_no_secret_in() {
    let gateway = Double::mirror();
    let route = "name: hooks, path: /hook/**, public: true, gateway: ceo";
    let edge = Edge::start(&site(&gateway, "").route(route));
    edge.client().post("/hook/v1/chat/completions", "{}").expect(200);
    assert_eq!(gateway.only().field("authorization"), None);
}

#[test]
fn a_base_path_stays_on_pages_and_goes_off_interfaces() {
    let gateway = Double::mirror();
    let by_name = "name: by-name, host: \"127.0.0.1\", path: /**, scopes: [gateways:connect], gateway: ceo";
    let edge = Edge::start(&site(&gateway, "/gateways/ceo").route(by_name).route(ROUTE));
    let other = Edge::start(&site(&gateway, "/gateways/ceo").route(ROUTE));
    for (edge, asked, got) in [
        (&other, "/gateways/ceo/chat?a=b", "/gateways/ceo/chat?a=b"),
        (&other, "/gateways/ceo/v1/models", "/v1/models"),
        (&other, "/gateways/ceo/readyz", "/readyz"),
        (&other, "/gateways/ceo/sessions/main/history?limit=2", "/sessions/main/history?limit=2"),
        (&edge, "/v1/models", "/v1/models"),
        (&edge, "/assets/app.js", "/gateways/ceo/assets/app.js"),
    ] {
        gateway.forget();
        edge.caller(ACME).get(asked).expect(200);
        assert_eq!(gateway.only().target, got, "{asked}");
    }
}
