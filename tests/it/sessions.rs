//! Sessions of browsers: a key or a token for a cookie, what it counts for, and every way in which it ends.

use crate::house::client::{Answer, Client, Request};
use crate::house::double::{Double, Reply};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, hex};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, closed, open};

const SECRET: &str = "one-secret-of-the-site-0123456789-abc";
const OTHER: &str = "another-secret-of-the-site-0123456789";
const KEY: &str = "oce_the-key-of-the-page-0123456789-abcdef";

fn sessions(more: &str) -> String {
    format!("sessions: {{ secret: \"{SECRET}\", allow_http: true{more} }}")
}

fn page(more: &str) -> String {
    format!(
        "id: page, tenant: acme, node: ceo, hash: \"sha256:{}\", scopes: [gateways:connect, operator.read]{more}",
        hex(KEY)
    )
}

fn with(site: Site, sessions: &str) -> Site {
    site.top("allow_literal_secrets: true").top(sessions).route("name: auth, path: /auth/**, sessions: true")
}

/// The cookie that an answer gives.
fn given(answer: &Answer) -> (String, Vec<String>) {
    let all: Vec<_> =
        answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!(all.len(), 1, "{answer:?}");
    let mut parts = all[0].1.split("; ").map(str::to_owned);
    (parts.next().unwrap(), parts.collect())
}

fn sign_in(edge: &Edge, key: &str) -> Client {
    let answer = edge.client().with("X-API-Key", key).post("/auth/session", "").expect(201);
    edge.client().with("Cookie", &given(&answer).0)
}

#[test]
fn a_key_is_swapped_for_a_cookie_that_stays_at_the_edge() {
    let upstream = Double::mirror();
    let edge = Edge::start(&with(Site::keyed(&upstream).credential(&page("")), &sessions("")));
    let answer = edge.client().with("X-API-Key", KEY).post("/auth/session", "").expect(201);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!(
        (&told["tenant"], &told["credential"], &told["node"]),
        (&"acme".into(), &"page".into(), &"ceo".into())
    );
    assert_eq!(told["scopes"], serde_json::json!(["gateways:connect", "operator.read"]));
    assert!(told["expires"].is_null() && told["session"]["idle_expires"].is_string(), "{told}");
    let (cookie, attributes) = given(&answer);
    assert!(cookie.starts_with("openclaw-session="), "{cookie}");
    assert_eq!(attributes, ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"]);

    let browser = edge.client().with("Cookie", &format!("a=b; {cookie}; c=d"));
    assert_eq!(browser.get("/auth/session").expect(200).json(), told);
    let answer = browser.get("/x").expect(200);
    assert_eq!(answer.json()["tenant"], "acme");
    assert_eq!(edge.log_line(&answer)["credential"], "page");
    let seen = upstream.only();
    assert_eq!((seen.field("cookie"), seen.field("x-credential-id")), (Some("a=b; c=d"), Some("page")));
    // Whatever else a request comes with.
    upstream.forget();
    edge.caller(GLOBEX).with("Cookie", &cookie).get("/x").expect(200);
    let seen = upstream.only();
    assert_eq!((seen.field("cookie"), seen.field("x-tenant-id")), (None, Some("globex")));
    let outputs = edge.all_output();
    assert!(!outputs.contains(cookie.split('=').nth(1).unwrap()), "the cookie is in a log");
    // A wrong key beside it is a wrong key.
    browser.with("X-API-Key", "wrong").get("/x").refused(401, "unauthorized");
    let kept = edge.caller(ACME).get("/auth/session").expect(200).json();
    assert!(kept["session"].is_null(), "{kept}");
    edge.client().get("/auth/session").refused(401, "unauthorized");
    edge.caller(ACME).get("/auth/other").refused(404, "not_found");
    let other = edge.caller(ACME).put("/auth/session", "").refused(405, "method_not_allowed");
    assert_eq!(other.field("allow"), Some("GET, HEAD, POST, DELETE"));
}

#[test]
fn what_changes_something_must_come_from_the_edges_own_pages() {
    let upstream = Double::mirror();
    let gateway = EchoGateway::start();
    let site = Site::keyed(&upstream).credential(&page("")).gateway("ceo", "acme", gateway.address());
    let edge = Edge::start(&with(site.gateway_routes(), &sessions("")));
    let answer = edge.client().with("X-API-Key", KEY).post("/auth/session", "").expect(201);
    let cookie = given(&answer).0;
    let own = format!("http://{}", edge.address());
    for (name, value, is_ours) in [
        ("Origin", own.as_str(), true),
        ("Sec-Fetch-Site", "same-origin", true),
        ("Origin", "https://evil.example", false),
        ("Origin", "null", false),
        ("Sec-Fetch-Site", "same-site", false),
        ("X-Says", "nothing", false),
    ] {
        let request = Request::post("/x", "{}").field("Cookie", &cookie).field(name, value);
        let answer = edge.send(&request);
        if is_ours {
            answer.expect(200);
        } else {
            answer.refused(403, "cross_site");
        }
        let opened = open(edge.address(), "/gateways/ceo", &[("Cookie", &cookie), (name, value)]);
        assert_eq!(opened.is_ok(), is_ours, "{name}: {value}");
    }
    // Neither does a page of another site sign its visitors out.
    edge.send(&Request::new("DELETE", "/auth/session").field("Cookie", &cookie)).refused(403, "cross_site");
    edge.client().with("Cookie", &cookie).get("/x").expect(200);
    let upgrade = gateway.upgrades().pop().unwrap();
    assert_eq!(upgrade.field("cookie"), None);
}

#[test]
fn a_session_ends_when_its_user_signs_out_also_for_sockets_and_restarts() {
    let gateway = EchoGateway::start();
    let site = Site::new().credential(&page("")).gateway("ceo", "acme", gateway.address()).gateway_routes();
    let site = with(site, &sessions(""));
    let edge = Edge::start(&site);
    let answer = edge.client().with("X-API-Key", KEY).post("/auth/session", "").expect(201);
    let cookie = given(&answer).0;
    let own = format!("http://{}", edge.address());
    let fields = [("Cookie", cookie.as_str()), ("Origin", own.as_str())];
    let mut socket = open(edge.address(), "/gateways/ceo", &fields).expect("an open socket");
    let mut other = open(edge.address(), "/gateways/ceo", &[("X-API-Key", KEY)]).expect("another");
    assert_eq!(ask(&mut socket, "here"), "here");
    let out = Request::new("DELETE", "/auth/session").field("Cookie", &cookie).field("Origin", &own);
    let answer = edge.send(&out).expect(204);
    let (gone, attributes) = given(&answer);
    assert_eq!((gone.as_str(), attributes[1].as_str()), ("openclaw-session=", "Max-Age=0"));
    assert_eq!(closed(&mut socket), (1008, "the credential is no longer in force".to_owned()));
    assert_eq!(ask(&mut other, "not me"), "not me");
    drop(other);
    let browser = edge.client().with("Cookie", &cookie);
    let refused = browser.get("/auth/session").refused(401, "unauthorized");
    assert_eq!(edge.log_line(&refused)["detail"], "the session was signed out");
    let second = sign_in(&edge, KEY);
    second.get("/auth/session").expect(200);
    let counted =
        |edge: &Edge, event| edge.metrics().sum("openclaw_edge_sessions_total", &[("event", event)]);
    assert!((counted(&edge, "begun") - 2.0).abs() < 0.1 && (counted(&edge, "signed_out") - 1.0).abs() < 0.1);

    let edge = Edge::start_in(edge.stop(), &site);
    edge.client().with("Cookie", &cookie).get("/auth/session").refused(401, "unauthorized");
    let cookie = given(&edge.client().with("X-API-Key", KEY).post("/auth/session", "").expect(201)).0;
    let edge = Edge::start_in(edge.stop(), &site);
    edge.client().with("Cookie", &cookie).get("/auth/session").expect(200);
}

#[test]
fn a_session_ends_with_what_it_began_with_and_with_its_secret() {
    let upstream = Double::mirror();
    let site = || Site::keyed(&upstream);
    let before = with(site().credential(&page("")), &sessions(""));
    let edge = Edge::start(&before);
    let browser = sign_in(&edge, KEY);
    let detail = || {
        let refused = browser.get("/auth/session").refused(401, "unauthorized");
        edge.log_line(&refused)["detail"].as_str().unwrap().to_owned()
    };
    // The key is taken back, or another.
    edge.reload(&with(site(), &sessions("")));
    assert_eq!(detail(), "what the session began with is no longer in force");
    edge.reload(&with(site().credential(&page("").replace(&hex(KEY), &hex("oce_another"))), &sessions("")));
    assert_eq!(detail(), "what the session began with is no longer in force");
    edge.reload(&with(site().credential(&page(", expires: 2020-01-01")), &sessions("")));
    assert_eq!(detail(), "what the session began with is no longer in force");
    // Scopes are those of now.
    edge.reload(&with(site().credential(&page("").replace("operator.read", "mesh:read")), &sessions("")));
    let scopes = browser.get("/auth/session").expect(200).json()["scopes"].clone();
    assert_eq!(scopes, serde_json::json!(["gateways:connect", "mesh:read"]));
    // Another secret, with the old one beside it and without.
    let other =
        format!("sessions: {{ secret: \"{OTHER}\", previous_secret: \"{SECRET}\", allow_http: true }}");
    edge.reload(&with(site().credential(&page("")), &other));
    browser.get("/auth/session").expect(200);
    edge.reload(&with(site().credential(&page("")), &sessions("").replace(SECRET, OTHER)));
    assert_eq!(detail(), "the session cannot be opened");
    edge.reload(&before);
    browser.get("/auth/session").expect(200);
    // Nor does any of it count against the address.
    assert!(edge.metrics().sum("openclaw_edge_strikes_total", &[]) < 0.5);
}

#[test]
fn over_http_none_begins_unless_the_config_says_so() {
    let upstream = Double::mirror();
    let site = Site::keyed(&upstream).top("client_address: { trusted_proxies: [127.0.0.1] }");
    let edge = Edge::start(&with(site, &format!("sessions: {{ secret: \"{SECRET}\" }}")));
    edge.caller(ACME).post("/auth/session", "").refused(403, "https_required");
    // A proxy in front does the TLS.
    let proxied = edge.caller(ACME).with("X-Forwarded-Proto", "https");
    let (cookie, attributes) = given(&proxied.post("/auth/session", "").expect(201));
    assert!(cookie.starts_with("__Host-openclaw-session="), "{cookie}");
    assert_eq!(attributes.last().map(String::as_str), Some("Secure"));
    let browser = edge.client().with("Cookie", &cookie);
    browser.get("/x").refused(401, "unauthorized");
    let browser = browser.with("X-Forwarded-Proto", "https");
    browser.get("/x").expect(200);
    // A session does not prolong itself.
    let again = browser.with("Origin", &format!("http://{}", edge.address()));
    let refused = again.post("/auth/session", "").refused(403, "session_source");
    assert_eq!(edge.log_line(&refused)["detail"], "a session begins with a key or a token");
}

#[test]
fn a_cookie_is_written_anew_while_it_is_used_and_no_upstream_sets_one() {
    let upstream = Double::start(|seen| {
        let reply = Reply::text(200, "ok").field("Set-Cookie", "openclaw-session=theirs");
        match seen.path() {
            "/shared" => reply.field("Cache-Control", "public, max-age=60"),
            _ => reply,
        }
    });
    let edge = Edge::start(&with(Site::keyed(&upstream), &sessions(", idle: 60s, lifetime: 10m")));
    let browser = sign_in(&edge, ACME.text);
    let renewed = crate::house::wait::until("a renewed cookie", crate::house::wait::SOON, || {
        let answer = browser.get("/shared").expect(200);
        assert_eq!(answer.field("set-cookie"), None);
        let answer = browser.get("/x").expect(200);
        answer.field("set-cookie").is_some().then_some(answer)
    });
    assert_eq!(renewed.field("cache-control"), Some("private"));
    let (cookie, _) = given(&renewed);
    edge.client().with("Cookie", &cookie).get("/x").expect(200);
    edge.client().with("Cookie", "openclaw-session=theirs").get("/x").refused(401, "unauthorized");
}
