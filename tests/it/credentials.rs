//! Credentials over time: keys that change, times, and what is taken back under open sockets.

use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, hex};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};
use crate::house::wait::{SOON, until};

const NEW: &str = "oce_the-new-key-of-the-agent-0123456789";
const OLD: &str = "oce_the-old-key-of-the-agent-0123456789";

fn agent(more: &str) -> String {
    format!("id: agent, tenant: acme, hash: \"sha256:{}\", scopes: [gateways:connect]{more}", hex(NEW))
}

fn previous(expires: &str) -> String {
    format!(", previous: {{ hash: \"sha256:{}\", expires: {expires} }}", hex(OLD))
}

#[test]
fn two_keys_are_taken_while_they_change_and_the_old_one_ends() {
    let upstream = Double::mirror();
    let site = Site::keyed(&upstream);
    let edge = Edge::start(&site.clone().credential(&agent(&previous("2999-01-01"))));
    let caller = |key: &str| edge.client().with("X-API-Key", key);
    let answer = caller(OLD).get("/x").expect(200);
    assert_eq!(edge.log_line(&answer)["credential"], "agent");
    let used = |key| {
        let labels = &[("credential", "agent"), ("key", key)];
        edge.metrics().sum("openclaw_edge_credential_last_used_timestamp_seconds", labels)
    };
    assert!(used("previous") > 1.7e9 && used("current") < 0.5);
    caller(NEW).get("/x").expect(200);
    assert!(used("current") > 1.7e9);
    edge.reload(&site.clone().credential(&agent(&previous("2020-01-01"))));
    caller(OLD).get("/x").refused(401, "unauthorized");
    caller(NEW).get("/x").expect(200);
    edge.reload(&site.credential(&agent("")));
    caller(OLD).get("/x").refused(401, "unauthorized");
    // When it was last used is known over reloads.
    assert!(used("current") > 1.7e9);
}

#[test]
fn a_credential_begins_when_it_says() {
    let upstream = Double::mirror();
    let site = Site::keyed(&upstream);
    let edge = Edge::start(&site.clone().credential(&agent(", not_before: 2999-01-01")));
    let caller = edge.client().with("X-API-Key", NEW);
    let refused = caller.get("/x").refused(401, "unauthorized");
    assert_eq!(edge.log_line(&refused)["detail"], "the credential is not in force yet");
    edge.reload(&site.credential(&agent(", not_before: 2020-01-01, expires: 2999-01-01")));
    caller.get("/x").expect(200);
}

#[test]
fn what_a_reload_takes_back_ends_its_open_sockets_and_no_others() {
    let gateway = EchoGateway::start();
    let site = Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes();
    let start = |more: &str| site.clone().credential(&agent(more));
    for (before, after) in [
        // The whole credential; the key that the socket came with; its scopes; its time.
        (start(""), site.clone()),
        (start(&previous("2999-01-01")), start("")),
        (start(""), site.clone().credential(&agent("").replace("[gateways:connect]", "[]"))),
        (start(""), start(", expires: 2020-01-01")),
        (start(""), site.clone().credential(&agent("").replace("tenant: acme", "tenant: globex"))),
    ] {
        let edge = Edge::start(&before);
        let key =
            if before.text(edge.address(), edge.address(), "").contains("previous") { OLD } else { NEW };
        let mut socket =
            open(edge.address(), "/gateways/ceo", &[("X-API-Key", key)]).expect("an open socket");
        let mut other = open(edge.address(), "/gateways/ceo", &[("X-API-Key", ACME.text)]).expect("another");
        assert_eq!(ask(&mut socket, "here"), "here");
        edge.reload(&before.clone().limit("unused", "by: ip, window: { limit: 5, per: 1m }"));
        assert_eq!(ask(&mut socket, "still here"), "still here");
        edge.reload(&after);
        assert_eq!(closed(&mut socket), (1008, "the credential is no longer in force".to_owned()));
        assert_eq!(ask(&mut other, "not me"), "not me");
        until("the count", SOON, || {
            (edge.metrics().sum("openclaw_edge_websockets_revoked_total", &[]) > 0.5).then_some(())
        });
    }
}

#[test]
fn a_socket_ends_with_its_credential() {
    let gateway = EchoGateway::start();
    let site = Site::new().gateway("ceo", "acme", gateway.address()).gateway_routes();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let ends = rcgen::date_time_ymd(1970, 1, 1) + now + std::time::Duration::from_secs(5);
    let moment = format!("{}T{:02}:{:02}:{:02}Z", ends.date(), ends.hour(), ends.minute(), ends.second());
    let edge = Edge::start(&site.credential(&agent(&format!(", expires: \"{moment}\""))));
    let mut socket = open(edge.address(), "/gateways/ceo", &[("X-API-Key", NEW)]).expect("an open socket");
    assert_eq!(closed(&mut socket).0, 1008);
}
