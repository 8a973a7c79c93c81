//! Agents that share rows without losing each other's updates, through the edge.

use crate::house::client::{Client, Request};
use crate::house::edge::Edge;
use crate::house::keys::{ACME, ACME_TWO, ADMIN, GLOBEX, READER};
use crate::house::site::Site;
use serde_json::{Value, json};

fn edge() -> Edge {
    Edge::start(&Site::new().embedded_store())
}

fn row(key: &str, value: &Value) -> String {
    json!({"scope": "mesh", "key": key, "value": value}).to_string()
}

/// Adds one to a number until it is done, as an agent does that reads first.
fn add_one(client: &Client) -> usize {
    for tries in 1.. {
        let read = client.get("/mesh/memory/mesh/count").expect(200);
        let next = read.json()["value"].as_i64().expect("a number") + 1;
        let tag = read.field("etag").expect("a tag").to_owned();
        let put = Request::put("/mesh/memory", row("count", &json!(next))).field("If-Match", &tag);
        match client.send(&put).status {
            200 => return tries,
            412 => {}
            other => panic!("{other}"),
        }
    }
    0
}

#[test]
fn many_agents_count_together_and_no_count_is_lost() {
    let edge = edge();
    let acme = edge.caller(ACME);
    acme.put("/mesh/memory", row("count", &json!(0))).expect(200);
    std::thread::scope(|scope| {
        for key in [ACME, ACME_TWO, ACME, ACME_TWO] {
            let client = edge.caller(key);
            scope.spawn(move || (0..20).map(|_| add_one(&client)).sum::<usize>());
        }
    });
    let end = acme.get("/mesh/memory/mesh/count").expect(200);
    assert_eq!(end.json()["value"], 80);
    assert_eq!(end.field("mesh-version"), Some("81"));
    let known = Request::get("/mesh/memory/mesh/count").field("If-None-Match", end.field("etag").unwrap());
    assert_eq!(acme.send(&known).expect(304).text(), "");
}

#[test]
fn what_was_deleted_by_mistake_comes_back_and_what_was_purged_does_not() {
    let edge = edge();
    let acme = edge.caller(ACME);
    acme.put("/mesh/memory", row("a/b", &json!("one"))).expect(200);
    acme.send(&Request::new("DELETE", "/mesh/memory/mesh/a%2Fb")).expect(200);
    acme.get("/mesh/memory/mesh/a%2Fb").expect(404);
    assert_eq!(acme.get("/mesh/memory?q=one").expect(200).json(), json!([]));
    assert_eq!(acme.post("/mesh/memory/mesh/a%2Fb/restore", "{}").expect(200).json()["value"], "one");
    assert_eq!(acme.get("/mesh/memory?q=one").expect(200).json()[0]["key"], "a/b");
    acme.send(&Request::new("DELETE", "/mesh/memory/mesh/a%2Fb?purge=1")).expect(200);
    acme.get("/mesh/memory/mesh/a%2Fb/history").expect(404);
}

#[test]
fn a_key_that_reads_can_neither_delete_nor_restore_nor_batch() {
    let edge = edge();
    edge.caller(ACME).put("/mesh/memory", row("k", &json!(1))).expect(200);
    let reader = edge.caller(READER);
    for request in [
        Request::new("DELETE", "/mesh/memory/mesh/k"),
        Request::post("/mesh/memory/mesh/k/restore", "{}"),
        Request::post("/mesh/batch", "[]"),
        Request::new("DELETE", "/mesh/tenant?confirm=acme"),
    ] {
        reader.send(&request).refused(403, "forbidden");
    }
    reader.get("/mesh/memory/mesh/k/history").expect(200);
}

#[test]
fn only_an_admin_erases_and_only_its_own_tenant() {
    let edge = edge();
    for key in [ACME, GLOBEX] {
        edge.caller(key).put("/mesh/memory", row("k", &json!(1))).expect(200);
    }
    let erase = Request::new("DELETE", "/mesh/tenant?confirm=acme");
    for client in [edge.caller(ACME), edge.caller(ACME).with("X-Credential-Scopes", "mesh:admin")] {
        client.send(&erase).expect(403);
    }
    edge.caller(ADMIN).send(&Request::new("DELETE", "/mesh/tenant?confirm=globex")).expect(400);
    edge.caller(ADMIN).send(&erase).expect(200);
    assert_eq!(edge.caller(ACME).get("/mesh/memory").expect(200).json(), json!([]));
    edge.caller(GLOBEX).get("/mesh/memory/mesh/k").expect(200);
}

#[test]
fn a_long_list_is_walked_by_its_links_while_others_write() {
    let edge = edge();
    let acme = edge.caller(ACME);
    let rows: Vec<Value> = (0..300)
        .map(|n| json!({"op": "put", "scope": "mesh", "key": format!("k{n:03}"), "value": n}))
        .collect();
    acme.post("/mesh/batch", json!(rows).to_string()).expect(200);
    for order in ["newest", "key"] {
        let mut path = format!("/mesh/memory?scope=mesh&prefix=k&limit=40&order={order}");
        let mut seen = std::collections::BTreeMap::new();
        let mut turn = 0;
        loop {
            let page = acme.get(&path).expect(200);
            for row in page.json().as_array().expect("a bare array") {
                *seen.entry(row["key"].as_str().expect("a key").to_owned()).or_insert(0) += 1;
            }
            acme.put("/mesh/memory", row(&format!("k{:03}", turn * 7), &json!("again"))).expect(200);
            acme.put("/mesh/memory", row(&format!("other{turn}"), &json!(1))).expect(200);
            turn += 1;
            // Rows that are written after the walk began come at its end, so a walk that writes has none.
            let Some(link) = page.field("link").filter(|_| turn < 12) else { break };
            path = link.trim_start_matches('<').split('>').next().expect("a target").to_owned();
        }
        assert_eq!(seen.len(), 300, "{order}");
        assert!(order == "newest" || seen.values().all(|&times| times == 1), "{seen:?}");
    }
}
