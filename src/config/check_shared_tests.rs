//! What an operator may write about limits that edges share, and what they are told when it is wrong.

use super::super::checked::{Config, SharedServer, WhenUnreachable};
use super::super::{Effects, parse_in};
use super::*;

fn parse(shared: &str, limit: &str) -> Result<Config, String> {
    let text = format!(
        "listen: [{{ address: \"127.0.0.1:0\" }}]\ntenants: {{ acme: {{}} }}\nupstreams: {{ u: {{ servers: [\"127.0.0.1:1\"] }} }}\n\
         {shared}\nlimits: {{ a: {{ by: ip, {limit} }} }}\nroutes:\n  - {{ name: r, path: /r, limits: [a], upstream: u }}\n"
    );
    let env = |name: &str| (name == "PASSWORD").then(|| "a-password".to_owned());
    match parse_in("edge.yaml", &text, Surroundings { env: &env, effects: Effects::None }) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => Err(problems.to_string()),
    }
}

const WINDOW: &str = "window: { limit: 90, per: 1m }";

fn server(shared: &str) -> SharedServer {
    let config = parse(&format!("shared: {shared}"), WINDOW).expect("a good config");
    config.shared.expect("a server")
}

fn bad(shared: &str, limit: &str, why: &str) {
    let told = parse(shared, limit).map(drop).expect_err("a bad config");
    assert!(told.contains(why), "{shared} {limit}: {told:?}");
}

#[test]
fn an_address_is_enough() {
    let plain = server("redis://redis.internal");
    assert_eq!(plain.nodes, [("redis.internal".to_owned(), 6379)]);
    assert_eq!((plain.tls, plain.database, plain.cluster), (false, 0, false));
    assert_eq!((plain.prefix.as_str(), plain.deadline), ("openclaw-edge", DEADLINE));
    let tls = server("\"valkeys://[::1]:7000/3\"");
    assert_eq!((tls.nodes, tls.tls, tls.database), (vec![("::1".to_owned(), 7000)], true, 3));
    let whole = server(
        "{ url: \"redis://a:1\", cluster: true, nodes: [\"b:2\"], username: edge, password: { env: PASSWORD }, edges: 3, deadline: 5ms }",
    );
    assert_eq!(whole.nodes, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert!(whole.password.is_some_and(|password| password.matches(b"a-password")));
}

#[test]
fn a_limits_share_is_its_part_or_what_it_says() {
    let limit = |shared: &str, limit: &str| {
        let config = parse(shared, limit).expect("a good config");
        config.limits[0].clone()
    };
    let three = "shared: { url: \"redis://a\", edges: 3 }";
    let window = limit(three, &format!("{WINDOW}, shared: true, leases: 9"));
    let shared = window.shared.expect("it is shared");
    assert_eq!((shared.when, shared.block), (WhenUnreachable::Local, 9));
    assert_eq!(window.alone(shared.alone).limit, 30);
    let own = limit("shared: redis://a", &format!("{WINDOW}, shared: true, share: 7"));
    assert_eq!(own.alone(own.shared.expect("it is shared").alone).limit, 7);
    let rate = limit(three, "rate: { per_second: 6, burst: 2 }, shared: true");
    let alone = rate.alone(rate.shared.expect("it is shared").alone);
    assert_eq!(alone.limit, 1, "never nothing");
    assert_eq!(alone.kind, LimitKind::Rate { every: Duration::from_secs_f64(1.0 / 6.0) * 3 });
    assert_eq!(limit(three, WINDOW).shared, None);
    let open = limit("shared: redis://a", &format!("{WINDOW}, shared: true, when_unreachable: open"));
    assert_eq!(open.shared.map(|shared| shared.when), Some(WhenUnreachable::Open));
}

#[test]
fn mistakes_are_told() {
    bad("shared: http://a", WINDOW, "does not begin with `redis://` or `rediss://`");
    bad("shared: \"redis://u:p@a\"", WINDOW, "use `username` and `password`");
    bad("shared: \"redis://a/x\"", WINDOW, "a path that cannot be sent");
    bad("shared: { url: \"redis://a/1\", cluster: true }", WINDOW, "a cluster has one database only");
    bad("shared: { url: \"redis://a\", nodes: [\"b:1\"] }", WINDOW, "only a cluster has more nodes");
    bad("shared: { url: \"redis://a\", cluster: true, nodes: [b] }", WINDOW, "this is no node");
    bad("shared: { url: \"redis://a\", username: u }", WINDOW, "a user needs a `password`");
    bad("shared: { url: \"redis://a\", ca: { file: x } }", WINDOW, "`ca` goes with `rediss://`");
    bad("shared: { url: \"redis://a\", edges: 0 }", WINDOW, "this edge is one of them");
    bad("shared: { url: \"redis://a\", prefix: \"{x}\" }", WINDOW, "the prefix");
    bad("shared: { url: \"redis://a\", deadline: 6s }", WINDOW, "is not between 1ms and 5s");
    let three = "shared: { url: \"redis://a\", edges: 3 }";
    for (limit, why) in [
        ("leases: 5", "`leases` goes with `shared: true`"),
        ("share: 5", "`share` goes with `shared: true`"),
        ("when_unreachable: open", "`when_unreachable` goes with `shared: true`"),
        ("shared: true, when_unreachable: open, share: 5", "goes with `when_unreachable: local`"),
        ("shared: true, share: 91", "a share is at least 1"),
        ("shared: true, leases: 91", "a block is at least 1"),
        ("shared: true, leases: 0", "a block is at least 1"),
        ("shared: true, leases: 5, refund: upstream_failed", "is not given back"),
    ] {
        bad(three, &format!("{WINDOW}, {limit}"), why);
    }
    bad(three, "concurrency: 5, shared: true, leases: 1", "places in flight are not taken ahead");
    bad("shared: redis://a", &format!("{WINDOW}, shared: true"), "this edge's share is not known");
    bad("", &format!("{WINDOW}, shared: true"), "there is no server to share this limit in");
}
