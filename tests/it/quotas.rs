//! Quotas last: over reloads, restarts and sudden deaths nothing is spent twice, and everyone can see
//! how they stand.

use crate::house::client::Client;
use crate::house::double::Double;
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, GLOBEX};
use crate::house::site::Site;
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::Value;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn site(upstream: &Double, limit: u32) -> Site {
    Site::new()
        .upstream("all", upstream.address())
        .limit("writes", &format!("by: tenant, quota: {{ limit: {limit}, per: 1h }}"))
        .route("name: write, path: /write, limits: [writes], upstream: all")
        .route("name: mission-control, path: /api/**, scopes: [gateways:read], mission_control: true")
}

fn passed(client: &Client, times: usize) -> usize {
    (0..times).filter(|_| client.get("/write").status == 200).count()
}

fn quotas(text: &str) -> Vec<Value> {
    let told: Value = serde_json::from_str(text).expect("JSON");
    told["quotas"].as_array().expect("a list").clone()
}

#[test]
fn what_is_spent_stays_spent_after_a_restart() {
    let upstream = Double::mirror();
    let site = site(&upstream, 20);
    let edge = Edge::start(&site);
    assert_eq!(passed(&edge.caller(ACME), 12), 12);
    let edge = Edge::start_in(edge.stop(), &site);
    assert_eq!(passed(&edge.caller(ACME_TWO), 30), 8, "both keys are one tenant's");
    edge.caller(ACME).get("/write").refused(429, "limit_exceeded");
    assert_eq!(passed(&edge.caller(GLOBEX), 5), 5);
}

/// Writes until the edge is gone; how many were answered 200.
fn write_until_the_end(client: &Client, count: &AtomicUsize) -> usize {
    let mut written = 0;
    while let Ok(answer) = client.try_send(&crate::house::client::Request::get("/write")) {
        if answer.status == 200 {
            written += 1;
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    written
}

#[test]
fn no_death_gives_a_free_write_and_each_loses_a_block_at_most() {
    const LIMIT: usize = 1280;
    const BLOCK: usize = LIMIT / 64;
    const DEATHS: usize = 6;
    let upstream = Double::mirror();
    let site = site(&upstream, u32::try_from(LIMIT).expect("small"));
    let mut edge = Edge::start(&site);
    let mut told = 0;
    for _ in 0..DEATHS {
        let count = AtomicUsize::new(0);
        let client = edge.caller(ACME);
        let (folder, written) = std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| write_until_the_end(&client, &count))).collect();
            until("enough writes", SOON, || (count.load(Ordering::Relaxed) > 90).then_some(()));
            let folder = edge.kill();
            (folder, writers.into_iter().map(|one| one.join().expect("no panic")).sum::<usize>())
        });
        told += written;
        edge = Edge::start_in(folder, &site);
    }
    let caller = edge.caller(ACME);
    let rest = passed(&caller, LIMIT + 50);
    caller.get("/write").refused(429, "limit_exceeded");
    // What reached the upstream is what was spent; a few answers died with the edge.
    let spent = upstream.count();
    assert!(told + rest <= spent && spent <= LIMIT, "{told} and {rest} of {spent}");
    // A request may die between being counted and being sent on: four were under way.
    assert!(spent + DEATHS * (BLOCK + 4) >= LIMIT, "{spent} of {LIMIT}");
}

#[test]
fn a_disk_that_takes_nothing_gives_nothing_away_and_is_told() {
    const LIMIT: usize = 100;
    let upstream = Double::mirror();
    let site = site(&upstream, u32::try_from(LIMIT).expect("small"));
    // Files may grow to 2 KiB: as on a full disk, writes beyond that fail, and the edge runs on.
    let small = "trap '' XFSZ; ulimit -S -f 4; exec \"$@\"";
    let edge = Edge::start_behind(Temp::new(), &site, &["sh", "-c", small, "sh"]);
    let caller = edge.caller(ACME);
    let before = passed(&caller, LIMIT);
    assert!((5..LIMIT).contains(&before), "{before}: some were written down and then no more");
    assert_eq!(upstream.count(), before, "nothing goes on that is not written down");
    let refused = caller.get("/write").refused(429, "limit_exceeded");
    assert_eq!(refused.json()["violated-policies"][0], "writes");
    let unwritten = u32::try_from(LIMIT - before + 1).expect("small");
    assert!(edge.metrics().is("openclaw_edge_quota_unwritten", &[], unwritten));

    // Room again: it goes on without a restart, up to the quota and no further.
    let lifted =
        Command::new("prlimit").args(["--pid", &edge.pid().to_string(), "--fsize=unlimited"]).status();
    assert!(lifted.expect("prlimit is there").success());
    assert_eq!(before + passed(&caller, LIMIT), LIMIT);
    caller.get("/write").refused(429, "limit_exceeded");
    let edge = Edge::start_in(edge.kill(), &site);
    assert_eq!(passed(&edge.caller(ACME), 5), 0, "what was spent is in the file");
    assert_eq!(upstream.count(), LIMIT);
}

#[test]
fn operators_see_every_quota_and_callers_their_own() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, 100));
    assert_eq!(passed(&edge.caller(ACME), 7), 7);
    assert_eq!(passed(&edge.caller(GLOBEX), 2), 2);

    let all = quotas(&edge.admin("/quotas").expect("the admin listener").body);
    let seen: Vec<_> = all.iter().map(|one| (one["of"].as_str(), one["spent"].as_u64())).collect();
    assert_eq!(seen, [(Some("acme"), Some(7)), (Some("globex"), Some(2))]);

    let own = quotas(&edge.caller(ACME).get("/api/quota").expect(200).text());
    assert_eq!(own.len(), 1);
    let one = &own[0];
    assert_eq!((&one["quota"], &one["by"], &one["of"]), (&"writes".into(), &"tenant".into(), &"acme".into()));
    assert_eq!((&one["limit"], &one["per"], &one["remaining"]), (&100.into(), &3600.into(), &93.into()));
    assert!(one["more_in"].as_u64().is_some_and(|secs| (1..=3661).contains(&secs)), "{one}");
    edge.client().get("/api/quota").refused(401, "unauthorized");
    upstream.forget();
    edge.caller(ACME).get("/api/quota").expect(200);
    upstream.untouched();
}

#[test]
fn an_explanation_spends_nothing_and_says_what_a_request_would_meet() {
    let upstream = Double::mirror();
    let edge = Edge::start(&site(&upstream, 3));
    let ask = |query: &str| -> Value {
        let answer = edge.admin(&format!("/explain?ip=192.0.2.1&{query}")).expect("the admin listener");
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    };
    let id = ACME.id;
    for _ in 0..10 {
        let told = ask(&format!("path=/write&credential={id}"));
        assert_eq!((&told["route"], &told["tenant"]), (&"write".into(), &"acme".into()));
        assert_eq!(
            (&told["limits"][0]["limit"], &told["limits"][0]["remaining"]),
            (&"writes".into(), &3.into())
        );
        assert_eq!(told["outcome"]["admitted"], true);
    }
    assert_eq!(passed(&edge.caller(ACME), 9), 3);
    let told = ask(&format!("path=/write&credential={id}"));
    assert_eq!(
        (&told["limits"][0]["refuses"], &told["outcome"]["code"]),
        (&true.into(), &"limit_exceeded".into())
    );
    assert_eq!(ask("path=/write")["outcome"]["code"], "unauthorized");
    assert_eq!(ask("path=/write&credential=nobody")["outcome"]["code"], "unauthorized");
    assert_eq!(ask("path=/nowhere")["outcome"]["code"], "not_found");
    assert_eq!(edge.admin("/explain?path=/write").expect("the admin listener").status, 400);

    let out = std::process::Command::new(env!("CARGO_BIN_EXE_openclaw-edge"))
        .args(["explain", "--config"])
        .arg(edge.config())
        .args(["--credential", id, "/write"])
        .output()
        .expect("the program runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(told["limits"][0]["remaining"], 3, "offline nothing is spent yet");
}
