//! Two engines, one behaviour: the same requests to a store over a file and to one over PostgreSQL, and the
//! same answers; and what only a server of its own can promise.

use crate::house::client::{Answer, Client, Request};
use crate::house::postgres::Postgres;
use crate::house::process::store_program;
use crate::house::store::{Store, caller};
use crate::house::temp::Temp;
use crate::house::wait::{SOON, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const TENANTS: [&str; 3] = ["acme", "globex", "acme-1"];
const SCOPES: [&str; 3] = ["mesh", "node", "user:bob"];
const KEYS: [&str; 6] = ["a", "a/b", "A", "é", "a\u{1}", "a\u{0}b"];
const WORDS: [&str; 6] = ["dawn", "Zürich", "weather-report", "attack at", "🚀", "'; DROP TABLE"];

/// Two that are good, and one that anyone can sign for.
const PUBLIC_KEYS: [&str; 3] = [
    "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
];

/// Requests in an order that chance made, the same for each run with one seed.
struct Chance(fastrand::Rng);

impl Chance {
    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.0.usize(..choices.len())]
    }

    fn request(&mut self) -> (String, Request) {
        let tenant = self.of(&TENANTS).to_owned();
        let (scope, key) = (self.of(&SCOPES), self.of(&KEYS));
        let place = format!("/mesh/memory/{}/{}", encoded(scope), encoded(key));
        let request = match self.0.u8(..100) {
            0..=49 => {
                let text = format!("{} {}", self.of(&WORDS), self.of(&WORDS));
                let value = [json!(text), json!({"n": 1.5, "text": text}), json!(null)];
                let value = &value[self.0.usize(..value.len())];
                let body =
                    json!({"scope": scope, "key": key, "value": value, "node_id": self.of(&["ceo", "cto"])});
                Request::put("/mesh/memory", body.to_string())
            }
            50..=64 => Request::get(&place),
            65..=69 => Request::get("/mesh/memory"),
            70..=74 => Request::get(&format!("/mesh/memory?scope={}", encoded(scope))),
            75..=86 => Request::get(&format!(
                "/mesh/memory?q={}&limit=100{}",
                encoded(self.of(&WORDS)),
                self.of(&["", "&scope=mesh", "&prefix=a", "&marks=html"])
            )),
            87..=91 => {
                let body = json!({"name": key, "source_node": "ceo", "content": self.of(&WORDS)});
                Request::put("/mesh/skills", body.to_string())
            }
            92..=93 => Request::get(&format!("/mesh/skills/{}", encoded(key))),
            94 => Request::get("/mesh/skills"),
            _ => self.keys_request(),
        };
        (tenant, request)
    }

    fn keys_request(&mut self) -> Request {
        let node = self.of(&["ceo", "cto", "Sec.1", "no node"]);
        let place = format!("/mesh/keys/{}", encoded(node));
        let (one, other) = (self.of(&PUBLIC_KEYS), self.of(&PUBLIC_KEYS));
        match self.0.u8(..8) {
            0..=2 => {
                Request::put(&place, json!({"public_key": one, "not_after": 4_000_000_000_u64}).to_string())
            }
            3 => {
                let keys = [json!({"kid": "a", "public_key": one}), json!({"kid": "b", "public_key": other})];
                Request::put(&place, json!({"keys": keys}).to_string())
            }
            4 => Request::get("/mesh/keys?order=key&meta=1"),
            5 => Request::get(&format!("{place}/history")),
            6 => Request::new("DELETE", &place),
            _ => Request::get(&place),
        }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A caller who may also write keys.
fn admin(address: std::net::SocketAddr, tenant: &str) -> Client {
    caller(address, tenant).with("X-Credential-Scopes", "mesh:admin")
}

/// What is compared: times are the engines' own.
fn told(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    forget_times(&mut body);
    (answer.status, body)
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("updated_at");
            members.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_same_requests_have_the_same_answers_on_both_engines() {
    let Some(server) = Postgres::start() else { return };
    let (one, other) = (Store::start(Temp::new()), Store::start_on(&server));
    let clients: BTreeMap<&str, (Client, Client)> = TENANTS
        .into_iter()
        .map(|tenant| (tenant, (admin(one.address(), tenant), admin(other.address(), tenant))))
        .collect();
    let mut chance = Chance(fastrand::Rng::with_seed(7));
    for step in 0..1200 {
        let (tenant, request) = chance.request();
        let (sqlite, postgres) = &clients[tenant.as_str()];
        let (expected, answer) = (told(&sqlite.send(&request)), told(&postgres.send(&request)));
        assert_eq!(answer, expected, "step {step}, {tenant}: {request:?}");
    }
    // Vectors follow behind; when both have them, both find the same.
    for tenant in TENANTS {
        let (sqlite, postgres) = &clients[tenant];
        for words in ["dawns", "zurich weather"] {
            let request = Request::get(&format!("/mesh/memory?q={}&mode=semantic&limit=5", encoded(words)));
            let ask = |client: &Client| told(&client.send(&request)).1;
            until("the same neighbours", SOON, || {
                let (expected, found) = (ask(sqlite), ask(postgres));
                (expected != json!([]) && distances(&expected) == distances(&found)).then_some(())
            });
        }
    }
}

/// Rows at one distance may come in any order.
fn distances(hits: &Value) -> Vec<String> {
    hits.as_array().unwrap().iter().map(|hit| hit["distance"].to_string()).collect()
}

#[test]
fn a_wrong_query_cannot_cross_tenants_on_the_server() {
    let Some(server) = Postgres::start() else { return };
    let store = Store::start_on(&server);
    for tenant in ["acme", "globex"] {
        let body = json!({"scope": "mesh", "key": "k", "value": format!("of {tenant}")});
        caller(store.address(), tenant).send(&Request::put("/mesh/memory", body.to_string())).expect(200);
    }
    until("the vectors", SOON, || {
        let found = caller(store.address(), "acme").get("/mesh/memory?q=of&mode=semantic").json();
        (found != json!([])).then_some(())
    });
    // The store's own role, asking without the tenant's setting or for another tenant's rows.
    for table in
        ["mesh_rows", "mesh_changes", "mesh_tenants", "mesh_words", "mesh_vectors", "mesh_vector_state"]
    {
        assert_eq!(server.ask(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
        let asked = format!(
            "BEGIN; SELECT set_config('mesh.tenant', 'acme', true);
             SELECT DISTINCT tenant_id FROM {table}; COMMIT"
        );
        let told = server.ask(&asked);
        assert!(told.ends_with("acme") && !told.contains("globex"), "{table}: {told}");
        let foreign = format!(
            "BEGIN; SELECT set_config('mesh.tenant', 'acme', true);
             SELECT count(*) FROM {table} WHERE tenant_id = 'globex'; COMMIT"
        );
        assert!(server.ask(&foreign).ends_with('0'), "{table}");
    }
    let write = "BEGIN; SELECT set_config('mesh.tenant', 'acme', true);
         INSERT INTO mesh_tenants (tenant_id) VALUES ('initech'); COMMIT";
    assert!(server.refuses(write).contains("row-level security"));
    let stolen = "BEGIN; SELECT set_config('mesh.tenant', 'acme', true);
         UPDATE mesh_rows SET value = '1' WHERE tenant_id = 'globex'; DELETE FROM mesh_rows WHERE scope = 'mesh'; COMMIT";
    server.ask(stolen);
    caller(store.address(), "globex").get("/mesh/memory/mesh/k").expect(200);
    caller(store.address(), "acme").get("/mesh/memory/mesh/k").expect(404);
}

#[test]
fn a_server_whose_tables_know_no_keys_is_brought_up_to_date_at_the_next_start() {
    let Some(server) = Postgres::start() else { return };
    let store = Store::start_on(&server);
    let body = json!({"scope": "mesh", "key": "k", "value": 1}).to_string();
    caller(store.address(), "acme").put("/mesh/memory", &body).expect(200);
    drop(store.kill());
    server.ask(
        "ALTER TABLE mesh_tenants DROP COLUMN keys;
         UPDATE store_facts SET value = convert_to('1', 'UTF8') WHERE name = 'version'",
    );
    for key in &PUBLIC_KEYS[..2] {
        let store = Store::start_on(&server);
        caller(store.address(), "acme").get("/mesh/memory/mesh/k").expect(200);
        let put = json!({"public_key": key}).to_string();
        admin(store.address(), "acme").put("/mesh/keys/ceo", put).expect(200);
        let told = server.ask(
            "BEGIN; SELECT set_config('mesh.tenant', 'acme', true); SELECT memories, keys FROM mesh_tenants; COMMIT",
        );
        assert!(told.ends_with("1|1"), "{told}");
    }
}

#[test]
fn a_role_for_which_row_level_security_would_not_hold_is_refused() {
    let Some(server) = Postgres::start() else { return };
    let mut command = Command::new(store_program());
    command.args(["run", "--postgres-env", "MESH_DATABASE_URL", "--listen", "unix:store.sock"]);
    let folder = Temp::new();
    let out =
        command.env("MESH_DATABASE_URL", server.admin_url()).current_dir(folder.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(told.contains("superuser or has BYPASSRLS"), "{told}");
}

#[test]
fn what_was_confirmed_survives_a_crash_of_the_server_and_the_log_has_no_gap() {
    let Some(mut server) = Postgres::start() else { return };
    let store = Store::start_on(&server);
    let mut confirmed: Vec<Vec<usize>> = vec![Vec::new(); 3];
    for _ in 0..3 {
        let count = AtomicUsize::new(0);
        let client = caller(store.address(), "acme");
        let starts: Vec<usize> =
            confirmed.iter().map(|kept| kept.last().map_or(0, |last| last + 1)).collect();
        let kept: Vec<Vec<usize>> = std::thread::scope(|scope| {
            let (client, count) = (&client, &count);
            let writers: Vec<_> = starts
                .iter()
                .enumerate()
                .map(|(writer, &start)| {
                    scope.spawn(move || write_until_it_fails(client, writer, start, count))
                })
                .collect();
            until("enough writes", SOON, || (count.load(Ordering::Relaxed) > 100).then_some(()));
            server.crash();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        for (all, more) in confirmed.iter_mut().zip(kept) {
            all.extend(more);
        }
        until("the store's way back to the server", SOON, || {
            (client.get("/mesh/skills").status == 200).then_some(())
        });
        for (writer, numbers) in confirmed.iter().enumerate() {
            for at in numbers {
                client.get(&format!("/mesh/memory/mesh/w{writer}%2F{at}")).expect(200);
            }
        }
        let gaps = server.ask(
            "BEGIN; SELECT set_config('mesh.tenant', 'acme', true);
             SELECT count(*) = max(change) AND min(change) = 1 AND max(change) = (SELECT last_change FROM mesh_tenants)
             FROM mesh_changes; COMMIT",
        );
        assert!(gaps.ends_with('t'), "{gaps}");
    }
}

/// Writes new keys until one is not confirmed; the numbers of those that were.
fn write_until_it_fails(client: &Client, writer: usize, start: usize, count: &AtomicUsize) -> Vec<usize> {
    let mut kept = Vec::new();
    for at in start.. {
        let body = json!({"scope": "mesh", "key": format!("w{writer}/{at}"), "value": {"at": at}});
        match client.try_send(&Request::put("/mesh/memory", body.to_string())) {
            Ok(answer) if answer.status == 200 => kept.push(at),
            Ok(_) | Err(_) => return kept,
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    kept
}
