//! Everything at once, for a while, with reloads in between: no request may fail.

use crate::house::client::Request;
use crate::house::double::Double;
use crate::house::doubles;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, GLOBEX, Key};
use crate::house::messages::{Node, SPELLINGS};
use crate::house::site::Site;
use crate::house::sockets::{EchoGateway, ask, open};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many reloads a run has, however long it is.
const RELOADS: u32 = 50;

fn duration() -> Duration {
    let seconds = std::env::var("OPENCLAW_EDGE_LOAD_SECONDS").ok();
    Duration::from_secs(seconds.map_or(20, |text| text.parse().expect("a number of seconds")))
}

fn site(bridge: &Double, plain: &Double, gateway: &EchoGateway) -> Site {
    Site::new()
        .upstream("bridge", bridge.address())
        .upstream("plain", plain.address())
        .node("acme", "ceo", &Node::new("ceo", 7).public_key())
        .node("globex", "ceo", &Node::new("ceo", 7).public_key())
        .limit("never-reached", "by: credential, window: { limit: 4000000, per: 1m }")
        .gateway("ceo", "acme", gateway.address())
        .gateway("ops", "globex", gateway.address())
        .route("name: ingest, path: /ingest, scopes: [mesh:ingest], limits: [never-reached], verify: { scheme: mesh }, upstream: bridge")
        .route("name: plain, path: /plain/**, public: true, upstream: plain")
        .embedded_store()
        .gateway_routes()
}

/// What one kind of caller does over and over; all of it must succeed.
struct Load<'a> {
    edge: &'a Edge,
    over: &'a AtomicBool,
    done: &'a AtomicU64,
}

impl Load<'_> {
    fn run(&self, mut once: impl FnMut(u64)) {
        for at in 0.. {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            once(at);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pass(&self) {
        let mut connection = self.edge.client().connection();
        let body = vec![b'x'; 20_000];
        self.run(|at| {
            connection.send(&Request::get(&format!("/plain/{at}"))).expect(200);
            let answer = connection.send(&Request::new("POST", "/plain/body").body(&body)).expect(200);
            assert_eq!(answer.json()["bytes"], 20_000);
            if at % 50 == 0 {
                connection = self.edge.client().connection();
            }
        });
    }

    fn sign(&self, key: Key) {
        let node = Node::new("ceo", 7);
        let mut connection = self.edge.caller(key).connection();
        self.run(|at| {
            let (signed, sent) = SPELLINGS[usize::try_from(at).expect("fits") % SPELLINGS.len()];
            let message = node.memory(&format!("k{at}"), signed, sent);
            connection.send(&Request::post("/ingest", message)).expect(200);
            connection.send(&Request::post("/ingest", node.memory("k", "1", "2"))).expect(401);
        });
    }

    fn remember(&self, key: Key) {
        let client = self.edge.caller(key);
        self.run(|at| {
            let (name, value) = (format!("k{}", at % 200), json!({"tenant": key.tenant, "at": at}));
            let body = json!({"scope": "mesh", "key": name, "value": value});
            client.put("/mesh/memory", body.to_string()).expect(200);
            let row = client.get(&format!("/mesh/memory/mesh/{name}")).expect(200).json();
            assert_eq!(row["value"], value);
        });
    }

    fn talk(&self, key: Key, gateway: &str) {
        let target = format!("/gateways/{gateway}");
        let mut long =
            open(self.edge.address(), &target, &[("X-API-Key", key.text)]).expect("an open socket");
        self.run(|at| {
            let text = format!("{gateway}/{at}");
            assert_eq!(ask(&mut long, &text), text);
            if at % 20 == 0 {
                let mut short =
                    open(self.edge.address(), &target, &[("X-API-Key", key.text)]).expect("an open socket");
                assert_eq!(ask(&mut short, &text), text);
            }
        });
    }

    fn reload(&self, site: &Site, duration: Duration) {
        let start = Instant::now();
        for round in 1..=RELOADS {
            // Spread over the run: a reload must meet requests in every state.
            let due = start + duration * round / (RELOADS + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.edge.reload(
                &site
                    .clone()
                    .route(&format!("name: r{round}, path: /r{round}, public: true, upstream: plain")),
            );
            self.edge.client().get(&format!("/r{round}")).expect(200);
        }
        std::thread::sleep((start + duration).saturating_duration_since(Instant::now()));
    }
}

/// Ends the load also when one of the callers fails, so that the others do not go on for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn under_mixed_load_and_fifty_reloads_no_request_fails() {
    let (bridge, plain, gateway) = (doubles::bridge(), Double::mirror(), EchoGateway::start());
    let site = site(&bridge, &plain, &gateway);
    let mut edge = Edge::start(&site);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = Load { edge: &edge, over: &over, done: &done };
    std::thread::scope(|scope| {
        scope.spawn(|| guarded(&over, || load.pass()));
        scope.spawn(|| guarded(&over, || load.sign(ACME)));
        scope.spawn(|| guarded(&over, || load.sign(GLOBEX)));
        scope.spawn(|| guarded(&over, || load.remember(ACME)));
        scope.spawn(|| guarded(&over, || load.remember(GLOBEX)));
        scope.spawn(|| guarded(&over, || load.talk(ACME, "ceo")));
        scope.spawn(|| guarded(&over, || load.talk(GLOBEX, "ops")));
        scope.spawn(|| {
            // The books of the stand-ins would grow for minutes.
            while !over.load(Ordering::Relaxed) {
                bridge.forget();
                plain.forget();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        guarded(&over, || load.reload(&site, duration()));
    });
    let done = done.load(Ordering::Relaxed);
    assert!(done > 300, "only {done} rounds in {:?}", duration());
    assert!(!edge.log().contains("panicked"), "{}", edge.log());
    assert!(edge.runs());
}

fn guarded(over: &AtomicBool, work: impl FnOnce()) {
    let _over = Over(over);
    work();
}
