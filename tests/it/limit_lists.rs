//! Lists of addresses: who is kept out before anything else, who is let in, and whom limits do not count.

use crate::house::client::Client;
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::ACME;
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};

/// Behind a proxy, so that a test may come from anywhere.
fn site(upstream: &Double) -> Site {
    Site::open(upstream)
        .top("client_address: { trusted_proxies: [127.0.0.0/8] }")
        .limit("few", "by: ip, window: { limit: 2, per: 1h }")
        .route("name: limited, path: /limited, public: true, limits: [few], upstream: all")
}

fn lists(entries: &[&str]) -> String {
    format!("address_lists:\n  - {{ {} }}", entries.join(" }\n  - { "))
}

fn from(edge: &Edge, address: &str) -> Client {
    edge.client().with("X-Forwarded-For", address)
}

#[test]
fn the_longest_prefix_decides_before_anyone_is_known() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).top(&lists(&[
        "name: outside, action: deny, networks: [192.0.2.0/24, \"2001:db8::/32\"]",
        "name: friends, action: allow, networks: [192.0.2.128/25]",
        "name: pest, action: deny, networks: [192.0.2.200]",
    ])));
    for (address, status) in [
        ("192.0.2.1", 403),
        ("2001:db8::7", 403),
        ("::ffff:192.0.2.1", 403),
        ("192.0.2.129", 200),
        ("192.0.2.200", 403),
        ("198.51.100.1", 200),
    ] {
        let answer = from(&edge, address).with("X-API-Key", ACME.text).get("/x");
        assert_eq!(answer.status, status, "{address}");
    }
    let refused = from(&edge, "192.0.2.200").get("/no-such-path/%2e%2e").refused(403, "address_denied");
    let line = edge.log_line(&refused);
    assert_eq!((&line["list"], &line["client"]), (&"pest".into(), &"192.0.2.200".into()));
    assert!(edge.metrics().is("openclaw_edge_denied_total", &[("list", "pest")], 2));
    assert!(edge.metrics().is("openclaw_edge_denied_total", &[("list", "outside")], 3));
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_list_may_close_without_an_answer() {
    let upstream = Double::mirror();
    let edge = Edge::start(
        &site(&upstream).top(&lists(&["name: pest, action: deny, answer: close, networks: [192.0.2.0/24]"])),
    );
    let raw = from(&edge, "192.0.2.1")
        .raw(b"POST /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(raw.closed && raw.answers.is_empty(), "{raw:?}");
    assert!(edge.metrics().is("openclaw_edge_denied_total", &[("list", "pest")], 1));
    from(&edge, "192.0.3.1").get("/x").expect(200);
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_file_of_networks_is_read_anew_when_it_changes() {
    let upstream = Double::mirror();
    let folder = Temp::new();
    let file = folder.write("pests.txt", "# who was seen\n192.0.2.1\n198.51.100.0/24 ; a whole network\n\n");
    let site = site(&upstream).top(&lists(&["name: pests, action: deny, files: [$FOLDER/pests.txt]"]));
    let edge = Edge::start_in(folder, &site);
    from(&edge, "192.0.2.1").get("/x").refused(403, "address_denied");
    from(&edge, "198.51.100.77").get("/x").refused(403, "address_denied");
    from(&edge, "192.0.2.2").get("/x").expect(200);

    std::fs::write(&file, "192.0.2.2\n").expect("a file can be written");
    until("the new list", SOON, || (from(&edge, "192.0.2.2").get("/x").status == 403).then_some(()));
    from(&edge, "192.0.2.1").get("/x").expect(200);

    // A mistake leaves the old list in force, and is told with its line.
    std::fs::write(&file, "192.0.2.3\nexample.com\n").expect("a file can be written");
    edge.logged("line 2 of this file is no network");
    from(&edge, "192.0.2.2").get("/x").refused(403, "address_denied");
    from(&edge, "192.0.2.3").get("/x").expect(200);
}

#[test]
fn a_list_may_free_from_limits() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream).top(&lists(&[
        "name: office, action: allow, networks: [192.0.2.0/24], exempt: [few]",
        "name: guests, action: allow, networks: [192.0.2.128/25]",
    ])));
    let passed = |address| (0..5).filter(|_| from(&edge, address).get("/limited").status == 200).count();
    assert_eq!(passed("192.0.2.1"), 5);
    assert_eq!(passed("192.0.2.129"), 2, "the longer prefix frees nobody");
    assert_eq!(passed("198.51.100.1"), 2);
    let told = edge.admin("/explain?ip=192.0.2.1&path=/limited").expect("the admin listener");
    assert!(told.body.contains("\"limits\":[]"), "{}", told.body);
}
