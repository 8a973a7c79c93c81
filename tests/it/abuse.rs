//! Those who misbehave: strikes and the pauses that they lead to, and what an address may hold before anyone is
//! known. Clients come from many addresses, told by a proxy on this machine that is trusted, or really.

use crate::house::client::{Client, Request};
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, GLOBEX};
use crate::house::site::Site;
use crate::house::wait::{SOON, until};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const SECRET: &str = "a-secret-that-only-two-know-0123456789";
const GUESS: &str = "oce_somebody-guesses_0123456789";

/// Behind a proxy, so that a test may come from anywhere.
fn behind_a_proxy(upstream: &Double, strikes: &str) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .top("client_address: { trusted_proxies: [127.0.0.0/8] }")
        .top("allow_literal_secrets: true")
        .top(&format!("abuse: {{ strikes: {{ {strikes} }} }}"))
        .top("address_lists: [{ name: office, action: allow, networks: [198.51.100.0/24] }]")
        .route("name: keyed, path: /keyed/**, upstream: all")
        .route("name: open, path: /open/**, public: true, upstream: all")
        .route(&format!(
            "name: hook, path: /hook, methods: [POST], tenant: acme, verify: {{ scheme: github, secret: {SECRET} }}, upstream: all"
        ))
}

/// Clients on this machine are counted too.
fn directly(upstream: &Double, budgets: &str) -> Site {
    Site::open(upstream).top(&format!("abuse: {{ spare: [], budgets: {{ {budgets} }} }}"))
}

fn from(edge: &Edge, address: &str) -> Client {
    edge.client().with("X-Forwarded-For", address)
}

fn guess(edge: &Edge, address: &str) -> u16 {
    from(edge, address).with("X-API-Key", GUESS).get("/keyed/x").status
}

/// Guesses until the address cools down; how many it took.
fn provoke(edge: &Edge, address: &str) -> usize {
    let refused = (1..50).find(|_| guess(edge, address) == 429);
    refused.expect("fifty guesses are too many")
}

fn cooldowns(edge: &Edge) -> Vec<Value> {
    let told = edge.admin("/cooldowns").expect("the admin listener");
    let told: Value = serde_json::from_str(&told.body).expect("JSON");
    told["cooldowns"].as_array().expect("a list").clone()
}

fn delivery(secret: &str, body: &str) -> Request {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let id = &body[..body.len().min(16)];
    Request::post("/hook", body).field("X-Hub-Signature-256", &signature).field("X-GitHub-Delivery", id)
}

#[test]
fn guesses_lead_to_a_pause_that_operators_see_and_lift() {
    let upstream = Double::mirror();
    let edge = Edge::start(&behind_a_proxy(&upstream, "limit: 5, per: 1h, pause: 10m"));
    assert_eq!(provoke(&edge, "192.0.2.1"), 7, "the sixth guess is one too many");
    let refused = from(&edge, "192.0.2.1").get("/open/x").refused(429, "cooling_down");
    let told = refused.json();
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    assert_eq!(told["type"], "https://iana.org/assignments/http-problem-types#abnormal-usage-detected");
    let seconds: u64 = refused.field("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((500..=600).contains(&seconds), "{seconds}");
    from(&edge, "192.0.2.1").get("/nowhere").refused(429, "cooling_down");
    from(&edge, "192.0.2.2").get("/open/x").expect(200);

    let all = cooldowns(&edge);
    assert_eq!((all.len(), &all[0]["prefix"], &all[0]["times"]), (1, &"192.0.2.1".into(), &1.into()));
    assert_eq!((&all[0]["strikes"]["unauthorized"], &all[0]["pause"]), (&6.into(), &600.into()));
    let metrics = edge.metrics();
    assert!(metrics.is("openclaw_edge_cooling_down", &[], 1));
    assert!(metrics.is("openclaw_edge_cooldowns_total", &[], 1));
    assert!(metrics.is("openclaw_edge_strikes_total", &[("kind", "unauthorized")], 6));
    edge.logged("an address cools down");
    assert!(!edge.all_output().contains(GUESS));

    let lift = |target: &str| edge.admin_send("DELETE", target).expect("the admin listener");
    assert_eq!(lift("/cooldowns/192.0.2.99").status, 404);
    assert_eq!(lift("/cooldowns/office").status, 400);
    assert_eq!(lift("/cooldowns/192.0.2.1").status, 200);
    from(&edge, "192.0.2.1").get("/open/x").expect(200);
    assert_eq!(cooldowns(&edge).len(), 0);
    for address in ["2001:db8:1:2::7", "192.0.2.3"] {
        provoke(&edge, address);
    }
    from(&edge, "2001:db8:1:2:ffff::1").get("/open/x").refused(429, "cooling_down");
    from(&edge, "2001:db8:1:3::1").get("/open/x").expect(200);
    assert_eq!(lift("/cooldowns/2001:db8:1:2::/64").status, 200);
    assert_eq!(lift("/cooldowns").body.trim(), "{\"lifted\":1}");
}

#[test]
fn pauses_outlive_a_sudden_death_and_what_was_lifted_stays_lifted() {
    let upstream = Double::mirror();
    let site = behind_a_proxy(&upstream, "limit: 5, per: 1h, pause: 10m");
    let edge = Edge::start(&site);
    for address in ["192.0.2.1", "2001:db8:1:2::7"] {
        provoke(&edge, address);
    }
    let file = edge.config().with_file_name("data").join("cooldowns.jsonl");
    let written = |count: usize| {
        until("the file of pauses", SOON, || {
            let text = std::fs::read_to_string(&file).ok()?;
            (text.lines().count() == count).then_some(())
        });
    };
    written(2);
    let edge = Edge::start_in(edge.kill(), &site);
    from(&edge, "192.0.2.1").get("/open/x").refused(429, "cooling_down");
    from(&edge, "2001:db8:1:2::9").get("/open/x").refused(429, "cooling_down");
    from(&edge, "192.0.2.2").get("/open/x").expect(200);
    let told = cooldowns(&edge);
    assert_eq!((told.len(), &told[0]["strikes"]["unauthorized"]), (2, &Value::from(6)));
    assert_eq!(edge.admin_send("DELETE", "/cooldowns/192.0.2.1").expect("the admin listener").status, 200);
    written(1);
    let folder = edge.kill();
    folder.write("data/cooldowns.jsonl", std::fs::read_to_string(&file).unwrap() + "{\"prefix\":");
    let edge = Edge::start_in(folder, &site);
    from(&edge, "192.0.2.1").get("/open/x").expect(200);
    assert_eq!(cooldowns(&edge).len(), 1);
    edge.logged("file cannot be read");
}

#[test]
fn those_who_were_known_before_go_on_behind_the_same_address() {
    let upstream = Double::mirror();
    let edge = Edge::start(&behind_a_proxy(&upstream, "limit: 5, per: 1h, pause: 10m"));
    let nat = |key: crate::house::keys::Key| from(&edge, "192.0.2.1").with("X-API-Key", key.text);
    nat(ACME).get("/keyed/x").expect(200);
    from(&edge, "192.0.2.9").with("X-API-Key", ACME_TWO.text).get("/keyed/x").expect(200);
    provoke(&edge, "192.0.2.1");
    nat(ACME).get("/keyed/x").expect(200);
    // A key that was never used from there is told the same as a wrong one: guessing shows nothing.
    nat(ACME_TWO).get("/keyed/x").refused(429, "cooling_down");
    nat(GLOBEX).get("/keyed/x").refused(429, "cooling_down");
    let told = edge.admin(&format!("/explain?ip=192.0.2.1&path=/keyed/x&credential={}", GLOBEX.id));
    assert!(told.expect("admin").body.contains("cooling_down"));
    // A reload forgets neither.
    edge.reload(&behind_a_proxy(&upstream, "limit: 6, per: 1h, pause: 10m"));
    nat(ACME).get("/keyed/x").expect(200);
    nat(GLOBEX).get("/keyed/x").refused(429, "cooling_down");
    // Those on a list that lets them in are never struck.
    assert!((0..30).all(|_| guess(&edge, "198.51.100.7") == 401));
}

#[test]
fn bad_signatures_are_strikes_and_senders_who_were_proved_before_go_on() {
    let upstream = Double::mirror();
    let edge = Edge::start(&behind_a_proxy(&upstream, "limit: 4, per: 1h, pause: 10m"));
    let send =
        |address: &str, secret: &str, body: &str| from(&edge, address).send(&delivery(secret, body)).status;
    assert_eq!(send("192.0.2.1", SECRET, "one"), 200);
    for _ in 0..5 {
        assert_eq!([send("192.0.2.1", GUESS, "two"), send("192.0.2.2", GUESS, "two")], [401, 401]);
    }
    assert_eq!(send("192.0.2.1", SECRET, "three"), 200, "it was proved from there before");
    assert_eq!(send("192.0.2.2", SECRET, "four"), 429);
    from(&edge, "192.0.2.1").get("/open/x").refused(429, "cooling_down");
    assert_eq!(cooldowns(&edge)[0]["strikes"]["signature"], 5);
}

#[test]
fn malformed_heads_are_strikes_of_who_sends_them() {
    let upstream = Double::mirror();
    let site = Site::open(&upstream)
        .top("abuse: { spare: [], strikes: { limit: 3, per: 1h, pause: 10m, longest: 10m } }");
    let edge = Edge::start(&site);
    for _ in 0..4 {
        let raw = edge.client().raw(b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        assert_eq!(raw.answers[0].status, 400);
    }
    edge.client().get("/x").refused(429, "cooling_down");
    assert_eq!(cooldowns(&edge)[0]["prefix"], "127.0.0.1");
    assert_eq!(edge.admin_send("DELETE", "/cooldowns").expect("admin").status, 200);
    edge.client().get("/x").expect(200);
}

#[test]
fn strikes_can_be_switched_off_and_this_machine_is_spared_without_being_told() {
    let upstream = Double::mirror();
    let edge = Edge::start(&behind_a_proxy(&upstream, "enabled: false"));
    assert!((0..70).all(|_| guess(&edge, "192.0.2.1") == 401));
    let edge = Edge::start(&Site::keyed(&upstream));
    assert!((0..70).all(|_| edge.client().get("/x").status == 401));
}

/// A connection that has sent the beginning of a head.
fn half_open(edge: &Edge, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(edge.address()).expect("the edge listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.write_all(beginning).expect("the edge reads");
    stream
}

/// Whether the edge closes a connection and says nothing.
fn is_turned_away(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
    match stream.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// What came back until the end of the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn an_address_has_so_many_connections_without_a_whole_head_and_no_more() {
    let upstream = Double::mirror();
    let edge = Edge::start(&directly(&upstream, "half_open: 5").top("head: { timeout: 10m }"));
    // Which of many connections is let in is the edge's affair: all of them stay until one is turned away.
    let mut waiting = Vec::new();
    until("one to be closed", SOON, || {
        waiting.push(half_open(&edge, b"GET / HT"));
        is_turned_away(waiting.last_mut().expect("one was put there")).then_some(())
    });
    assert!(waiting.len() > 5, "{}", waiting.len());
    assert!(edge.metrics().sum("openclaw_edge_budget_exceeded_total", &[("budget", "half_open")]) >= 1.0);
    // One that sends its head whole makes room, and so does one that leaves.
    let whole = waiting.iter_mut().find_map(|one| {
        let mut answer = [0; 12];
        one.write_all(b"TP/1.1\r\nHost: x\r\n\r\n").ok()?;
        one.read_exact(&mut answer).ok()?;
        Some(answer)
    });
    assert_eq!(whole.as_ref().map(<[u8; 12]>::as_slice), Some(b"HTTP/1.1 200".as_slice()));
    drop(waiting);
    until("room", SOON, || edge.client().try_send(&Request::get("/x")).ok());
}

#[test]
fn an_address_has_so_many_bytes_of_unfinished_heads() {
    let upstream = Double::mirror();
    let edge = Edge::start(&directly(&upstream, "head_bytes: 4KiB").top("head: { timeout: 10m }"));
    let beginning = [b"GET / HTTP/1.1\r\nHost: x\r\nX-Padding: ".as_slice(), &[b'a'; 1400]].concat();
    // As above: whichever is one too many is told so.
    let mut waiting = Vec::new();
    let refused = until("the budget to be spent", SOON, || {
        waiting.push(half_open(&edge, &beginning));
        waiting.iter().find_map(|one: &TcpStream| {
            one.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
            let said = rest(one.try_clone().expect("a socket"));
            said.contains("budget_exceeded").then_some(said)
        })
    });
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("#abnormal-usage-detected"), "{refused}");
    // A head that comes whole needs nothing of it.
    edge.client().get("/x").expect(200);
    drop(waiting);
    until("room", SOON, || {
        let mut late = half_open(&edge, &beginning);
        late.write_all(b"\r\nConnection: close\r\n\r\n").ok()?;
        rest(late).starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn an_address_may_be_waited_for_so_long_and_no_longer() {
    let upstream = Double::mirror();
    let edge = Edge::start(&directly(&upstream, "head_time: 1s").top("head: { timeout: 10m }"));
    let waiting: Vec<TcpStream> = (0..3).map(|_| half_open(&edge, b"GET / HTTP/1.1\r\nHo")).collect();
    let said: Vec<String> = waiting.into_iter().map(rest).collect();
    assert!(said.iter().all(|said| said.contains("budget_exceeded")), "{said:?}");
    edge.client().get("/x").expect(200);
    assert!(edge.metrics().sum("openclaw_edge_budget_exceeded_total", &[("budget", "head_time")]) >= 1.0);
}

#[test]
fn an_address_has_so_many_bytes_of_bodies_that_nobody_vouches_for() {
    let upstream = Double::mirror();
    let site = Site::new()
        .upstream("all", upstream.address())
        .top("abuse: { spare: [], budgets: { body_bytes: 100KiB } }")
        .top("allow_literal_secrets: true")
        .route(&format!(
            "name: hook, path: /hook, methods: [POST], tenant: acme, verify: {{ scheme: github, secret: {SECRET} }}, upstream: all"
        ));
    let edge = Edge::start(&site);
    let begun = half_open(&edge, b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\nabc");
    let body = "b".repeat(20_000);
    // Not before it is held: the other way round it would be the one that is refused.
    let held = || edge.metrics().sum("openclaw_edge_held_body_bytes", &[]) > 89_999.0;
    until("the body that is begun", SOON, || held().then_some(()));
    until("the budget to be spent", SOON, || {
        let answer = edge.client().send(&delivery(SECRET, &body));
        (answer.code() == "budget_exceeded").then_some(())
    });
    edge.client().send(&delivery(SECRET, "small")).expect(200);
    drop(begun);
    until("room", SOON, || (edge.client().send(&delivery(SECRET, &body)).status == 200).then_some(()));
}
