//! What verification costs beside the signature check that it cannot do without.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::FutureExt as _;
use openclaw_edge::config::checked::{
    Canonical, Envelope, MeshRules, Mode, NodeKey, OnFailure, ReplayCache, ReplaySync,
};
use openclaw_edge::edge::{Replay, Standing};
use openclaw_edge::ids::{NodeId, TenantId};
use openclaw_edge::metrics::Metrics;
use openclaw_edge::signatures::{Canonicaliser, Context, Identity, KeyRegistry, Scratch, sign, verify};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Memory messages of about this many bytes, with an object inside as real ones have.
const SIZES: [usize; 3] = [256, 1024, 16 * 1024];

fn message(size: usize) -> Vec<u8> {
    let mut notes = String::new();
    while notes.len() + 200 < size {
        notes.push_str(r#"{"at":1739123456,"text":"Prefers short answers, in German.","tags":["style","de"],"score":0.75},"#);
    }
    let notes = notes.trim_end_matches(',');
    format!(
        r#"{{"type":"memory","scope":"mesh","key":"user.preferences","value":{{"shortAnswers":true,"notes":[{notes}]}},"nodeId":"ceo","ts":1739123456}}"#
    )
    .into_bytes()
}

fn spread(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    text.replace(",\"", ",\n    \"").replace("\":", "\": ").into_bytes()
}

fn signatures(c: &mut Criterion) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let tenant = TenantId::parse("acme").expect("is a tenant's name");
    let node = NodeId::parse("ceo").expect("is a node's name");
    let registered = NodeKey::of(tenant.clone(), node, key.verifying_key());
    let keys = KeyRegistry::build([&registered]).expect("the key is sound");
    let policy = MeshRules {
        mode: Mode::Required,
        on_failure: OnFailure::Reject,
        envelope: Envelope::None,
        freshness: None,
        canonical: Canonical::Mesh,
    };
    let context =
        Context { policy: &policy, tenant: &tenant, keys: &keys, query: None, now_unix: 0.0, taken: None };

    for size in SIZES {
        let body = sign::sign(&message(size), &key).expect("the message can be signed");
        let pretty = spread(&body);
        let text = sign::canonical_text(&body).expect("the message has a canonical text");
        let signature = key.sign(&text);
        let public = key.verifying_key();
        let mut group = c.benchmark_group(format!("signatures/{size}"));
        group.throughput(Throughput::Bytes(body.len() as u64));

        group.bench_function("verify_strict_alone", |b| {
            b.iter(|| public.verify_strict(black_box(&text), black_box(&signature)));
        });
        let mut reader = Canonicaliser::default();
        for (name, body) in [("canonicalise", &body), ("canonicalise_spread", &pretty)] {
            group.bench_function(name, |b| {
                b.iter(|| reader.read(black_box(body)).map(|document| document.len()));
            });
        }
        let mut scratch = Scratch::default();
        group.bench_function("whole", |b| {
            b.iter(|| verify(black_box(&body), &context, &mut scratch));
        });
        group.finish();
    }

    batches(c, &key, &context);
}

fn batches(c: &mut Criterion, key: &SigningKey, context: &Context<'_>) {
    let one = String::from_utf8(message(1024)).expect("is text");
    let array = format!("[{}]", [one.as_str(); 64].join(","));
    let body = sign::sign(array.as_bytes(), key).expect("the messages can be signed");
    let mut scratch = Scratch::default();
    c.bench_function("signatures/array_of_64", |b| {
        b.iter_batched(
            || body.clone(),
            |body| verify(black_box(&body), context, &mut scratch),
            BatchSize::SmallInput,
        );
    });
}

/// What the replay cache does for one taken delivery: naming it, asking, claiming, marking (one `write`).
fn replays(c: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("openclaw-edge-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let settings = ReplayCache { max_per_tenant: 200_000, sync: ReplaySync::System };
    let cache = Replay::open(&folder, settings, Arc::new(Metrics::new()), 0).expect("a new log can be made");
    let tenant = TenantId::parse("acme").expect("is a tenant's name");
    let keep = Duration::from_hours(72);
    let mut text = sign::canonical_text(&message(1024)).expect("the message has a canonical text");
    let mut count = 0_u64;
    c.bench_function("signatures/replay_of_1024", |b| {
        b.iter(|| {
            count += 1;
            text[..8].copy_from_slice(&count.to_le_bytes());
            let identity = Identity::of([b"mesh".as_slice(), black_box(&text)]);
            assert!(!cache.is_taken(&tenant, "ingest", &identity, 1));
            let Standing::Fresh(claim) = cache.claim(&tenant, "ingest", &[identity], keep, 1) else {
                panic!("each is new")
            };
            claim.taken(1).now_or_never()
        });
    });
    let _ = std::fs::remove_dir_all(&folder);
}

criterion_group!(benches, signatures, replays);
criterion_main!(benches);
