//! Fifty sudden deaths under writes, on each engine: what was confirmed is there, what was not is there whole
//! or not at all, the feed has each change once and no gap, and the database is sound.
//!
//! Rounds are short: each waits for a number of confirmed writes and not for time.

use crate::house::client::{Client, Request};
use crate::house::postgres::Postgres;
use crate::house::process::store_program;
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROUNDS: usize = 50;
/// Writers of each tenant.
const WRITERS: usize = 3;
const TENANTS: [&str; 2] = ["acme", "globex"];
/// Confirmed writes after which the axe falls.
const ENOUGH: usize = 40;

/// What one writer was told, and what it was not told any more.
#[derive(Default)]
struct Told {
    /// Keys that are there, and those that were deleted.
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
    /// Keys of the request that had no answer: written all or none.
    unknown: Vec<String>,
    /// The key of a deletion that had no answer.
    unknown_deletion: Option<String>,
}

/// Writes until the store is gone: single rows, batches of three, and now and then a deletion.
fn write_until_the_end(client: &Client, name: &str, count: &AtomicUsize, over: &AtomicBool) -> Told {
    let mut told = Told::default();
    for at in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let key = |part: usize| format!("{name}/{at}.{part}");
        if at % 7 == 6
            && let Some(key) = told.there.first().cloned()
        {
            let request = Request::new("DELETE", &format!("/mesh/memory/mesh/{}", key.replace('/', "%2F")));
            match client.try_send(&request) {
                Ok(answer) if answer.status == 200 => {
                    told.there.remove(&key);
                    told.gone.insert(key);
                }
                Ok(_) | Err(_) => {
                    told.there.remove(&key);
                    told.unknown_deletion = Some(key);
                    return told;
                }
            }
        } else {
            let keys: Vec<String> = (0..if at % 4 == 3 { 3 } else { 1 }).map(key).collect();
            let row = |key: &String| json!({"op": "put", "scope": "mesh", "key": key, "value": {"at": key}});
            let request = match keys.as_slice() {
                [key] => Request::put("/mesh/memory", row(key).to_string()),
                keys => {
                    Request::post("/mesh/batch", json!(keys.iter().map(row).collect::<Vec<_>>()).to_string())
                }
            };
            match client.try_send(&request) {
                Ok(answer) if answer.status == 200 => told.there.extend(keys),
                Ok(_) | Err(_) => {
                    told.unknown = keys;
                    return told;
                }
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Says that a round is over, also when it fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has all writers write until `kill` has killed something under them.
fn killed_under_writes(
    store: &mut Store,
    round: usize,
    kill: impl FnOnce(&mut Store),
) -> BTreeMap<&'static str, Vec<Told>> {
    let (count, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let clients = TENANTS.map(|tenant| caller(store.address(), tenant));
    std::thread::scope(|scope| {
        let (count, over, clients) = (&count, &over, &clients);
        // However this ends, the writers do too.
        let _end = End(over);
        let mut writers = Vec::new();
        for (index, tenant) in TENANTS.into_iter().enumerate() {
            for writer in 0..WRITERS {
                let name = format!("r{round}/w{writer}");
                let write = move || write_until_the_end(&clients[index], &name, count, over);
                writers.push((tenant, scope.spawn(write)));
            }
        }
        until("enough writes", 3 * SOON, || (count.load(Ordering::Relaxed) >= ENOUGH).then_some(()));
        kill(store);
        // Who was between two requests has not noticed.
        over.store(true, Ordering::Relaxed);
        let mut all: BTreeMap<&str, Vec<Told>> = BTreeMap::new();
        for (tenant, writer) in writers {
            all.entry(tenant).or_default().push(writer.join().unwrap());
        }
        all
    })
}

/// Holds what a tenant finds against what its writers were told, and gives where its feed is then.
fn check_round(client: &Client, round: usize, told: &[Told], since: i64) -> i64 {
    let list = client.get(&format!("/mesh/memory?prefix=r{round}/&order=key&limit=1000")).expect(200);
    assert_eq!(list.field("link"), None, "a round is one page");
    let mut found = BTreeSet::new();
    for row in list.json().as_array().unwrap() {
        assert_eq!(row["value"]["at"], row["key"], "a torn row");
        found.insert(row["key"].as_str().unwrap().to_owned());
    }
    for one in told {
        for key in &one.there {
            assert!(found.contains(key), "round {round}: a confirmed write is lost: {key}");
        }
        for key in &one.gone {
            assert!(!found.contains(key), "round {round}: a confirmed deletion is undone: {key}");
        }
        let written = one.unknown.iter().filter(|key| found.contains(*key)).count();
        assert!(
            written == 0 || written == one.unknown.len(),
            "round {round}: half a batch: {:?}",
            one.unknown
        );
    }
    check_feed(client, round, told, &found, since)
}

fn check_feed(client: &Client, round: usize, told: &[Told], found: &BTreeSet<String>, since: i64) -> i64 {
    let (mut at, mut puts, mut deletions) = (since, BTreeSet::new(), BTreeSet::new());
    loop {
        let stretch = client.get(&format!("/mesh/changes?since={at}&limit=1000")).expect(200).json();
        assert_eq!(stretch["reset"], false);
        let changes = stretch["changes"].as_array().unwrap();
        for change in changes {
            at += 1;
            assert_eq!(change["change"], at, "round {round}: a gap in the feed, or a change twice");
            let key = change["key"].as_str().unwrap().to_owned();
            let new = match change["action"].as_str().unwrap() {
                "put" => puts.insert(key),
                "delete" => deletions.insert(key),
                other => panic!("{other}"),
            };
            assert!(new, "round {round}: told twice: {change}");
        }
        if changes.is_empty() {
            break;
        }
    }
    let there: BTreeSet<String> = puts.difference(&deletions).cloned().collect();
    assert_eq!(&there, found, "round {round}: the feed and the rows differ");
    for one in told {
        assert!(one.gone.is_subset(&deletions), "round {round}: a deletion is not in the feed");
        let open = one.unknown_deletion.iter();
        assert!(open.clone().all(|key| found.contains(key) || deletions.contains(key)), "round {round}");
    }
    at
}

/// `mesh-store check`, as an operator runs it.
fn is_sound(from: &str, url: &str) {
    let mut command = Command::new(store_program());
    let out = command.args(["check", "--from", from]).env("MESH_DATABASE_URL", url).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{told}");
    assert!(TENANTS.iter().all(|tenant| told.contains(&format!("{tenant}: "))), "{told}");
}

fn rounds(store: &mut Store, mut kill: impl FnMut(&mut Store, usize), mut check: impl FnMut(&Store)) {
    let mut feeds = BTreeMap::new();
    for round in 0..ROUNDS {
        let told = killed_under_writes(store, round, |store| kill(store, round));
        for tenant in TENANTS {
            let client = caller(store.address(), tenant);
            until("the store's way back", SOON, || (client.get("/mesh/skills").status == 200).then_some(()));
            let since = feeds.entry(tenant).or_insert(0);
            *since = check_round(&client, round, &told[tenant], *since);
        }
        if round % 10 == 9 {
            check(store);
        }
    }
    // Nothing that was there once went later.
    for tenant in TENANTS {
        let client = caller(store.address(), tenant);
        let rows = all_keys(&client);
        for round in 0..ROUNDS {
            assert!(rows.iter().any(|key| key.starts_with(&format!("r{round}/"))), "round {round} is gone");
        }
    }
}

fn all_keys(client: &Client) -> Vec<String> {
    let list = client.get("/mesh/memory?order=key").expect(200).json();
    let key = |row: &Value| row["key"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(key).collect()
}

#[test]
fn fifty_deaths_of_a_store_over_a_file_lose_nothing_that_was_confirmed() {
    let mut store = Store::start(Temp::new());
    let file = store.folder().join("mesh.db").display().to_string();
    rounds(&mut store, |store, _| store.crash(), |_| is_sound(&file, ""));
}

#[test]
fn fifty_deaths_of_a_store_over_postgresql_or_of_the_server_lose_nothing_that_was_confirmed() {
    let Some(mut server) = Postgres::start() else { return };
    let mut store = Store::start_on(&server);
    let url = server.url();
    let kill = |store: &mut Store, round: usize| match round % 10 {
        // The server alone, which finds its way back, and so does the store.
        2 => server.crash(),
        // Both at once.
        7 => {
            server.crash();
            store.crash();
        }
        _ => store.crash(),
    };
    rounds(&mut store, kill, |_| is_sound("env:MESH_DATABASE_URL", &url));
}
