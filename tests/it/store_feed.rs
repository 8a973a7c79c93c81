//! The feed of changes over sudden deaths, of its readers and of the store: every change once, in order, without
//! a gap; and readers that do not read.

use crate::house::client::{Client, Request};
use crate::house::events::Events;
use crate::house::postgres::Postgres;
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Writes of each of the two writers.
const WRITES: usize = 120;
const DEATHS: usize = 4;

/// Writes each key until it is confirmed, whatever dies meanwhile.
fn write_all(client: &Client, name: &str, count: &AtomicUsize) {
    for at in 0..WRITES {
        let body =
            json!({"scope": "mesh", "key": format!("{name}/{at}"), "value": {"at": at, "text": "a\nb"}});
        let request = Request::put("/mesh/memory", body.to_string());
        until("a confirmed write", SOON, || {
            client.try_send(&request).is_ok_and(|answer| answer.status == 200).then_some(())
        });
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Follows the stream; lets go of it now and then in the middle, and comes back with the last number it saw.
fn follow_stream(client: &Client) -> Vec<Value> {
    let (mut seen, mut last, mut rng) = (Vec::new(), "0".to_owned(), fastrand::Rng::with_seed(3));
    loop {
        // Between a death and the new start nobody listens.
        let Ok(mut events) = Events::open(client, "/mesh/changes", Some(&last)) else { continue };
        let patience = rng.usize(5..40);
        for _ in 0..patience {
            let Some(event) = events.next() else { break };
            if !event.data.is_empty() {
                assert_eq!(event.name, "change", "{event:?}");
                let change: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(change["change"].to_string(), event.id);
                seen.push(change);
            }
            last = event.id;
            if is_all(&seen) {
                return seen;
            }
        }
    }
}

/// Follows by long polls; drops every fifth answer on the floor and asks again.
fn follow_polls(client: &Client) -> Vec<Value> {
    let (mut seen, mut next) = (Vec::new(), "0".to_owned());
    for turn in 0.. {
        let request = Request::get(&format!("/mesh/changes?since={next}&wait=1&limit=7"));
        if turn % 5 == 4 {
            // Asked, and gone before the answer.
            drop(client.begin(&request));
            continue;
        }
        let Ok(answer) = client.try_send(&request) else { continue };
        if answer.status != 200 {
            continue;
        }
        let told = answer.json();
        assert_eq!(told["reset"], false, "{told}");
        seen.extend(told["changes"].as_array().expect("a list").iter().cloned());
        next = told["next"].to_string();
        if is_all(&seen) {
            break;
        }
    }
    seen
}

/// The last write is made when nothing dies any more, once.
fn is_all(seen: &[Value]) -> bool {
    seen.last().is_some_and(|change| change["key"] == "last")
}

/// Both kinds of readers see the same: 1, 2, 3 and so on, with every confirmed key among them.
fn every_change_once(store: &mut Store, mut kill: impl FnMut(&mut Store, usize)) {
    let count = AtomicUsize::new(0);
    let client = caller(store.address(), "acme");
    let (streamed, polled) = std::thread::scope(|scope| {
        let (client, count) = (&client, &count);
        let stream = scope.spawn(move || follow_stream(client));
        let polls = scope.spawn(move || follow_polls(client));
        let writers: Vec<_> = ["w0", "w1"]
            .into_iter()
            .map(|name| scope.spawn(move || write_all(client, name, count)))
            .collect();
        for death in 0..DEATHS {
            let enough = (death + 1) * 2 * WRITES / (DEATHS + 1);
            until("enough writes", SOON, || (count.load(Ordering::Relaxed) >= enough).then_some(()));
            kill(store, death);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        client.put("/mesh/memory", r#"{"scope":"mesh","key":"last","value":1}"#).expect(200);
        (stream.join().unwrap(), polls.join().unwrap())
    });
    for (index, change) in streamed.iter().enumerate() {
        assert_eq!(change["change"], index + 1, "a gap, or a change twice");
        assert_eq!(change["row"]["key"], change["key"], "{change}");
    }
    assert_eq!(streamed, polled, "a stream and long polls tell the same");
    let keys: BTreeSet<&str> = streamed.iter().map(|change| change["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 2 * WRITES + 1, "every confirmed write is among them");
}

#[test]
fn readers_of_a_store_over_a_file_see_every_change_once_whoever_dies() {
    every_change_once(&mut Store::start(Temp::new()), |store, _| store.crash());
}

#[test]
fn readers_of_a_store_over_postgresql_see_every_change_once_whoever_dies() {
    let Some(mut server) = Postgres::start() else { return };
    let mut store = Store::start_on(&server);
    every_change_once(&mut store, |store, death| if death % 2 == 1 { server.crash() } else { store.crash() });
}

/// Readers that open a stream from the beginning and never read.
const SLOW: usize = 24;
/// Rows of the feed, and bytes of each: more than all slow readers together may cost.
const ROWS: usize = 150;
const BYTES: usize = 200_000;

fn slow_readers_cost_little(store: &Store) {
    let client = caller(store.address(), "acme");
    for at in 0..ROWS {
        let body = json!({"scope": "mesh", "key": format!("k{at}"), "value": "x".repeat(BYTES)});
        client.put("/mesh/memory", body.to_string()).expect(200);
    }
    let request =
        Request::get("/mesh/changes").field("Accept", "text/event-stream").field("Last-Event-ID", "0");
    let before = store.memory();
    let slow: Vec<_> = (0..SLOW).map(|_| client.begin(&request).expect("a stream")).collect();
    // By the time that one who reads is through, each of the others has had what it gets without reading.
    let mut events = Events::open(&client, "/mesh/changes", Some("0")).expect("a stream");
    let mut seen = 0;
    while seen < ROWS {
        let event = events.next().expect("an event");
        if !event.data.is_empty() {
            seen += 1;
            assert_eq!(event.id, seen.to_string());
        }
    }
    let grown = store.memory().saturating_sub(before);
    assert!(grown < 192 << 20, "{SLOW} readers that do not read cost {} MiB", grown >> 20);
    drop(slow);
}

#[test]
fn readers_that_do_not_read_cost_little_over_a_file() {
    slow_readers_cost_little(&Store::start(Temp::new()));
}

#[test]
fn readers_that_do_not_read_cost_little_over_postgresql() {
    let Some(server) = Postgres::start() else { return };
    slow_readers_cost_little(&Store::start_on(&server));
}
