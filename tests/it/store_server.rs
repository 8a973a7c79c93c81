//! What lies between a store and its PostgreSQL: a pooler of transactions, TLS, and other stores beside it.

use crate::house::certificates::Authority;
use crate::house::client::{Client, Request};
use crate::house::edge::admin;
use crate::house::events::Events;
use crate::house::pooler::{Pooler, SHARED};
use crate::house::postgres::Postgres;
use crate::house::process::{free_address, store_program};
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

fn put(client: &Client, key: &str, value: &str) {
    let body = json!({"scope": "mesh", "key": key, "value": value});
    client.put("/mesh/memory", body.to_string()).expect(200);
}

#[test]
fn many_tenants_share_few_server_connections_and_never_see_each_other() {
    let Some(server) = Postgres::start() else { return };
    let Some(pooler) = Pooler::start(&server) else { return };
    let stores = [Store::start_at(pooler.url()), Store::start_at(pooler.url())];
    std::thread::scope(|scope| {
        for number in 0..8 {
            let client = caller(stores[number % 2].address(), &format!("tenant-{}", number / 2));
            scope.spawn(move || {
                for at in 0..15 {
                    put(&client, &format!("k{number}/{at}"), &format!("word of tenant-{}", number / 2));
                    let rows = client.get("/mesh/memory?order=key").expect(200).json();
                    let hits = client.get("/mesh/memory?q=word&limit=100").expect(200).json();
                    for row in rows.as_array().unwrap().iter().chain(hits.as_array().unwrap()) {
                        let of: usize = row["key"].as_str().unwrap()[1..2].parse().unwrap();
                        assert_eq!(of / 2, number / 2, "another tenant's: {row}");
                    }
                }
            });
        }
    });
    let connections = server
        .ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mesh' AND pid <> pg_backend_pid()");
    let connections: usize = connections.parse().unwrap();
    assert!((1..=SHARED).contains(&connections), "{connections} server connections for two stores");
    for tenant in 0..4 {
        let rows = caller(stores[0].address(), &format!("tenant-{tenant}")).get("/mesh/memory").json();
        assert_eq!(rows.as_array().unwrap().len(), 30);
    }
}

/// Whoever follows a feed at one store hears what is written at another, and does not wait for a stream's heartbeat.
fn hears_the_other(one: &Store, other: &Store) {
    let (reader, writer) = (caller(one.address(), "acme"), caller(other.address(), "acme"));
    let mut events = Events::open(&reader, "/mesh/changes", Some("0")).expect("a stream");
    events.next().expect("where it starts");
    let began = Instant::now();
    for at in 1..=10 {
        put(&writer, "k", &at.to_string());
        let event = events.next().expect("an event");
        assert_eq!((event.id, event.name.as_str()), (at.to_string(), "change"));
        let poll = Request::get(&format!("/mesh/changes?since={at}&wait=60"));
        let mut waiting = reader.connection();
        waiting.begin(&poll);
        put(&caller(other.address(), "globex"), "k", "not for acme");
        drop(waiting);
    }
    // A heartbeat is fifteen seconds; ten changes that each waited for one would be far beyond this.
    assert!(began.elapsed() < 3 * SOON, "changes of another store come late: {:?}", began.elapsed());
}

#[test]
fn stores_on_one_server_hear_each_other_with_a_pooler_between_and_without() {
    let Some(server) = Postgres::start() else { return };
    let one = Store::start_on(&server);
    hears_the_other(&one, &Store::start_on(&server));
    let Some(server) = Postgres::start() else { return };
    let Some(pooler) = Pooler::start(&server) else { return };
    hears_the_other(&Store::start_at(pooler.url()), &Store::start_at(pooler.url()));
}

/// A store that cannot start says why and ends.
fn refused(url: &str) -> String {
    let (mut command, folder) = (Command::new(store_program()), Temp::new());
    command.args(["run", "--postgres-env", "MESH_DATABASE_URL", "--listen", "unix:store.sock"]);
    let out: Output = command.env("MESH_DATABASE_URL", url).current_dir(folder.path()).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{told}");
    assert!(!told.contains("mesh:mesh"), "the password is in the log: {told}");
    told
}

#[test]
fn a_server_is_believed_by_the_certificate_of_the_authority_that_is_named() {
    let (Some(authority), Some(stranger)) = (Authority::new(), Authority::new()) else { return };
    let Some(server) = Postgres::start_with(&authority.certificate()) else { return };
    let url = |more: &str| format!("postgres://mesh:mesh@{}/mesh?{more}", server.address());
    let with = |file: &Path, mode: &str| url(&format!("sslmode={mode}&sslrootcert={}", file.display()));
    for mode in ["require", "verify-full"] {
        let store = Store::start_at(with(&authority.file(), mode));
        put(&caller(store.address(), "acme"), mode, "by TLS");
    }
    let store = Store::start_at(with(&authority.file(), "require").replace("sslmode=require&", ""));
    assert_eq!(caller(store.address(), "acme").get("/mesh/memory").json().as_array().unwrap().len(), 2);
    let told = server.ask(
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'mesh-store'",
    );
    assert_eq!(told, "t");
    drop(store);
    for unknown in [url("sslmode=require"), with(&stranger.file(), "require")] {
        assert!(refused(&unknown).contains("invalid peer certificate"), "{unknown}");
    }
    let other_name = with(&authority.file(), "require").replace("127.0.0.1", "localhost");
    assert!(refused(&other_name).contains("invalid peer certificate"), "a certificate for another name");
    assert!(refused(&url("sslmode=disable")).contains("no encryption"));
    let absent = refused(&with(Path::new("/nowhere/ca.pem"), "require"));
    assert!(absent.contains("/nowhere/ca.pem"), "{absent}");
}

/// A number of a store's metrics.
fn told(metrics: std::net::SocketAddr, name: &str) -> Option<u64> {
    let text = admin(metrics, "/metrics")?.body;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn stores_on_one_server_tell_each_other_that_a_feed_has_grown() {
    let Some(server) = Postgres::start() else { return };
    let start = || {
        let metrics = free_address();
        let lines = format!("metrics: {{ listen: \"{metrics}\" }}");
        (Store::start_with(Temp::new(), Some(&server), &lines), metrics)
    };
    let ((one, metrics), (other, _)) = (start(), start());
    until("listening", SOON, || (told(metrics, "mesh_store_listening ") == Some(1)).then_some(()));
    let (here, there) = (caller(one.address(), "acme"), caller(other.address(), "acme"));
    let mut events = Events::open(&here, "/mesh/changes", Some("0")).expect("a stream");
    events.next().expect("where it starts");
    for key in ["a", "b"] {
        put(&there, key, "1");
        assert!(events.next().expect("an event").data.contains(&format!("\"key\":\"{key}\"")));
    }
    // Told, and not only seen by looking; what the store itself writes it hears from nobody.
    let heard = || told(metrics, "mesh_store_heard_total ");
    let before = until("a call", SOON, || heard().filter(|heard| *heard > 0));
    put(&here, "c", "1");
    assert!(events.next().expect("an event").data.contains("\"key\":\"c\""));
    put(&caller(other.address(), "globex"), "x", "1");
    until("the call for the other tenant", SOON, || (heard() > Some(before)).then_some(()));
}
