//! What the gates cost: finding a route, and the whole of admission with a key among a thousand and two limits.
//! Run with `cargo bench --bench admission`.

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use openclaw_edge::admission::route::{Found, RouteTable};
use openclaw_edge::admission::{Head, Now, Policy, Trail};
use openclaw_edge::config::{self, Effects};
use openclaw_edge::identity::head::{self, Bounds};
use openclaw_edge::identity::sessions::Wire;
use openclaw_edge::limits::{Limiter, Tick};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1000;
const ROUTES: usize = 100;

fn key(number: usize) -> String {
    format!("bench-key-{number:04}-0123456789abcdef")
}

/// A site with a thousand keys, fifty tenants and a hundred routes.
fn site() -> String {
    let mut yaml = String::from("listen: [{ address: \"127.0.0.1:0\" }]\ntenants:\n");
    for tenant in 0..50 {
        let _ = writeln!(yaml, "  t{tenant}: {{}}");
    }
    yaml.push_str("credentials:\n");
    for number in 0..KEYS {
        let hash = Sha256::digest(key(number)).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = writeln!(
            yaml,
            "  - {{ id: c{number}, tenant: t{}, hash: \"sha256:{hash}\", scopes: [go] }}",
            number % 50
        );
    }
    yaml.push_str(
        "limits:\n  per-ip: { by: ip, window: { limit: 4000000000, per: 1m } }\n  per-key: { by: credential, window: { limit: 4000000000, per: 1m } }\n\
         upstreams:\n  up: { servers: [\"127.0.0.1:1\"] }\nroutes:\n",
    );
    for number in 0..ROUTES {
        let _ = writeln!(
            yaml,
            "  - {{ name: r{number}, path: \"/service{number}/{{id}}/**\", scopes: [go], limits: [per-ip, per-key], upstream: up }}"
        );
    }
    yaml
}

fn benches(criterion: &mut Criterion) {
    let loaded = config::parse("bench.yaml", &site(), Effects::None).expect("a config without mistakes");
    let mut group = criterion.benchmark_group("admission");

    let raw = b"GET /service77/abc/items?page=2 HTTP/1.1\r\nHost: edge.example.com\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nX-API-Key: bench-key-0500-0123456789abcdef\r\n\r\n";
    let bounds = Bounds { max_bytes: 16 * 1024, max_fields: 64 };
    group.bench_function("head_guard", |b| b.iter(|| head::examine(black_box(raw), bounds)));

    let table = RouteTable::new(&loaded.config.routes);
    group.bench_function("route_match_of_100", |b| {
        b.iter(|| {
            let found = table.find("edge.example.com", &Method::GET, black_box("/service77/abc/items"));
            assert!(matches!(found, Found::Route { index: 77, .. }));
        });
    });

    let limiter = Arc::new(Limiter::new(10_000));
    let policy = Policy::new(&loaded.config, limiter).expect("a config that compiles");
    let mut fields = HeaderMap::new();
    fields.insert("host", HeaderValue::from_static("edge.example.com"));
    fields.insert("accept", HeaderValue::from_static("*/*"));
    fields.insert("x-api-key", HeaderValue::from_str(&key(500)).expect("a key of plain characters"));
    let peer: IpAddr = "203.0.113.9".parse().expect("an address");
    let mut nanos = 0;
    group.bench_function("whole_with_key_of_1000_and_two_limits", |b| {
        b.iter(|| {
            nanos += 1000;
            let head = Head {
                peer,
                method: &Method::GET,
                host: "edge.example.com",
                path: black_box("/service77/abc/items"),
                fields: &fields,
                certificate: None,
                wire: Wire::Clear,
            };
            let mut trail = Trail::default();
            let now = Now { tick: Tick::from_nanos(nanos), unix: 0 };
            policy.admit(head, now, &mut trail).expect("an admitted request")
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
