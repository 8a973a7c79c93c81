//! Who is calling: keys, in every field that may carry one, and addresses, through proxies or not.

use crate::house::client::{Answer, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, EXPIRED, GLOBEX, READER};
use crate::house::site::Site;
use base64::Engine as _;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_key_is_taken_in_each_of_its_fields() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    for (name, value) in [
        ("X-API-Key", ACME.text.to_owned()),
        ("x-api-key", ACME.text.to_owned()),
        ("Authorization", format!("Bearer {}", ACME.text)),
        ("Authorization", format!("bearer {}", ACME.text)),
        ("Authorization", basic("key", ACME.text)),
        ("Authorization", basic("", ACME.text)),
    ] {
        let answer = edge.client().with(name, &value).get("/x").expect(200);
        assert_eq!(answer.json()["tenant"], "acme", "{name}: {value}");
    }
}

#[test]
fn x_api_key_wins_over_authorization_which_then_goes_on() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let globex = format!("Bearer {}", GLOBEX.text);
    let answer = edge.caller(ACME).with("Authorization", &globex).get("/x").expect(200);
    assert_eq!(answer.json()["tenant"], "acme");
    assert_eq!(upstream.only().field("x-api-key"), None);
    // A bad key is not made good by a good one in the other field.
    edge.client()
        .with("X-API-Key", "bad")
        .with("Authorization", &globex)
        .get("/x")
        .refused(401, "unauthorized");
}

#[test]
fn a_browser_is_asked_for_a_key_on_pages_and_lends_it_to_no_other_site() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let challenges = |request: &Request| -> Vec<String> {
        let answer = edge.send(request);
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"));
        let all = answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        all.map(|(_, value)| value.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let page = Request::get("/x").field("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(challenges(&page), ["Bearer", "Basic"]);
    assert_eq!(challenges(&page.clone().field("X-API-Key", "wrong")), ["Bearer"]);
    let part = Request::get("/x").field("Accept", "*/*");
    assert_eq!(challenges(&part), ["Bearer"]);
    assert_eq!(challenges(&part.field("Sec-Fetch-Site", "same-origin")), ["Bearer", "Basic"]);

    let host = edge.address().to_string();
    let own = format!("http://{host}");
    let kept = Request::post("/x", "{}").field("Authorization", &basic("key", ACME.text));
    let given = Request::post("/x", "{}").field("X-API-Key", ACME.text);
    for (name, value, is_forged) in [
        ("Origin", "https://evil.example", true),
        ("Origin", "null", true),
        ("Sec-Fetch-Site", "cross-site", true),
        ("Sec-Fetch-Site", "same-site", true),
        ("Sec-Fetch-Site", "same-origin", false),
        ("Origin", own.as_str(), false),
    ] {
        upstream.forget();
        let answer = edge.send(&kept.clone().field(name, value));
        if is_forged {
            answer.refused(403, "cross_site");
            upstream.untouched();
        } else {
            answer.expect(200);
        }
        edge.send(&given.clone().field(name, value)).expect(200);
    }
    // A link on another page leads here like any other.
    let link = Request::get("/x").field("Authorization", &basic("key", ACME.text));
    let link = link.field("Sec-Fetch-Site", "cross-site").field("Sec-Fetch-Mode", "navigate");
    edge.send(&link).expect(200);
}

/// Everything but the request's id and the time must be the same for all of them.
fn unauthorized(edge: &Edge, request: &Request) -> String {
    let answer = edge.send(request).refused(401, "unauthorized");
    assert_eq!(answer.json()["error"], "Unauthorized");
    assert!(answer.field("www-authenticate").is_some(), "RFC 9110 asks for a challenge: {answer:?}");
    answer.shape()
}

#[test]
fn every_way_of_not_being_known_gets_one_and_the_same_answer() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let none = unauthorized(&edge, &Request::get("/x"));
    let longer = format!("{}x", ACME.text);
    let shorter = &ACME.text[..ACME.text.len() - 1];
    let upper = ACME.text.to_uppercase();
    for key in [EXPIRED.text, "x", shorter, &longer, &upper, "", &ACME.hash(), &"k".repeat(4000)] {
        for request in [
            Request::get("/x").field("X-API-Key", key),
            Request::get("/x").field("Authorization", &format!("Bearer {key}")),
            Request::get("/x").field("Authorization", &basic("key", key)),
        ] {
            assert_eq!(unauthorized(&edge, &request), none, "{request:?}");
        }
    }
    for value in [
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic !!!",
        "Basic a2V5",
        &format!("Digest {}", ACME.text),
        ACME.text,
        &format!("Bearer {0} {0}", ACME.text),
    ] {
        let request = Request::get("/x").field("Authorization", value);
        assert_eq!(unauthorized(&edge, &request), none, "{value}");
    }
    upstream.untouched();
}

#[test]
fn a_field_that_stands_twice_carries_no_key() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let bearer = format!("Bearer {}", ACME.text);
    for (name, first, second) in [
        ("X-API-Key", ACME.text, GLOBEX.text),
        ("X-API-Key", ACME.text, ACME.text),
        ("Authorization", bearer.as_str(), bearer.as_str()),
    ] {
        let request = Request::get("/x").field(name, first).field(name, second);
        edge.send(&request).refused(401, "unauthorized");
    }
    upstream.untouched();
}

#[test]
fn a_known_caller_without_the_scope_is_forbidden_and_not_told_which() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .route("name: write, path: /write, scopes: [mesh:read, mesh:write], upstream: all")
        .route("name: any, path: /any, upstream: all");
    let edge = Edge::start(&site);
    let answer = edge.caller(READER).get("/write").refused(403, "forbidden");
    assert!(!answer.text().contains("mesh:write"), "{}", answer.text());
    edge.caller(READER).get("/any").expect(200);
    edge.caller(ACME).get("/write").expect(200);
}

#[test]
fn the_log_says_which_credential_it_was_and_never_the_key() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::keyed(&upstream));
    let answer = edge.caller(ACME).get("/x").expect(200);
    let line = edge.log_line(&answer).to_string();
    assert!(line.contains("acme-ceo"), "{line}");
    let refused = edge.client().with("X-API-Key", "oce_wrong-key-9f3").get("/x").expect(401);
    let line = edge.log_line(&refused).to_string();
    assert!(line.contains("unauthorized"), "{line}");
    let output = edge.all_output();
    assert!(!output.contains(ACME.text) && !output.contains("oce_wrong-key-9f3"), "{output}");
}

/// What the upstream was told of the client's address.
fn address(upstream: &Double, answer: Answer) -> String {
    answer.expect(200);
    upstream.only().field("x-forwarded-for").expect("one rebuilt field").to_owned()
}

#[test]
fn a_strangers_word_about_its_address_is_not_believed() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream).top("client_address: { trusted_proxies: [10.0.0.0/8] }"));
    let answer = edge.client().with("X-Forwarded-For", "198.51.100.7").get("/x");
    assert_eq!(address(&upstream, answer), "127.0.0.1");
}

#[test]
fn behind_trusted_proxies_the_chain_is_walked_from_right_to_left() {
    let upstream = Double::mirror();
    let site = Site::open(&upstream).top("client_address: { trusted_proxies: [127.0.0.0/8, 10.0.0.0/8] }");
    let edge = Edge::start(&site);
    for (chain, client) in [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.66, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.66, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("198.51.100.7, nonsense", "127.0.0.1"),
        ("198.51.100.7,", "127.0.0.1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
    ] {
        let answer = edge.client().with("X-Forwarded-For", chain).get("/x");
        let told = address(&upstream, answer);
        let client_is_told = told.split(", ").next().unwrap_or_default() == client;
        assert!(client_is_told, "{chain} was told as {told}, not {client}");
    }
    let twice =
        Request::get("/x").field("X-Forwarded-For", "203.0.113.66").field("X-Forwarded-For", "198.51.100.7");
    assert_eq!(address(&upstream, edge.send(&twice)).split(", ").next(), Some("198.51.100.7"));
}

#[test]
fn the_access_log_has_the_clients_address_and_not_the_proxys() {
    let upstream = Double::mirror();
    let edge = Edge::start(&Site::open(&upstream).top("client_address: { trusted_proxies: [127.0.0.0/8] }"));
    let answer = edge.client().with("X-Forwarded-For", "203.0.113.66, 198.51.100.7").get("/x").expect(200);
    let line = edge.log_line(&answer).to_string();
    assert!(line.contains("198.51.100.7") && !line.contains("203.0.113.66"), "{line}");
}
