//! The OpenAPI document against the router: each path and status of the one is the other's.

use super::api::{DOCUMENT, Hub, router};
use super::fleet::Fleet;
use crate::metrics::Metrics;
use axum::http::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn the_document_has_the_routers_paths_and_no_others() {
    let source = include_str!("api.rs");
    let start = source.find("Router::new()").unwrap();
    let end = start + source[start..].find(".fallback(").unwrap();
    // The socket is for frames, which OpenAPI does not tell of.
    let routed: BTreeSet<&str> = source[start..end]
        .split(".route(\"")
        .skip(1)
        .map(|piece| piece.split('"').next().unwrap())
        .filter(|path| *path != "/ws")
        .collect();
    let document = document();
    let told: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(routed.len() > 7, "{routed:?}");
    assert_eq!(told, routed);
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn walk(value: &Value, whole: &Value) {
        if let Some(to) = value.get("$ref").and_then(Value::as_str) {
            assert!(whole.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
        match value {
            Value::Object(members) => members.values().for_each(|value| walk(value, whole)),
            Value::Array(items) => items.iter().for_each(|value| walk(value, whole)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&document(), &document());
}

/// Asks over the socket, as the edge does.
async fn ask(socket: &std::path::Path, method: &str, path: &str, fields: &str) -> (StatusCode, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}

#[tokio::test]
async fn nobody_is_answered_whom_the_edge_has_not_named() {
    let path = std::env::temp_dir().join(format!("openclaw-edge-hub-{:016x}.sock", fastrand::u64(..)));
    let listener = UnixListener::bind(&path).unwrap();
    let (_end, draining) = watch::channel(false);
    let hub = Hub { fleet: Arc::new(Fleet::new(Arc::new(Metrics::new()))), draining };
    tokio::spawn(async move { axum::serve(listener, router(hub)).await });
    for target in document()["paths"].as_object().unwrap().keys() {
        let target = target.replace("{id}", "ceo");
        assert_eq!(ask(&path, "GET", &target, "").await.0, StatusCode::UNAUTHORIZED, "{target}");
        let odd = ask(&path, "GET", &target, "X-Tenant-Id: Not A Tenant\r\n").await;
        assert_eq!(odd.0, StatusCode::UNAUTHORIZED, "{target}");
        let (status, text) = ask(&path, "POST", &target, "X-Tenant-Id: acme\r\n").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{target}");
        assert!(text.contains(r#"{"error":"Method not allowed"}"#), "{text}");
    }
    let (status, text) = ask(&path, "GET", "/api/none", "X-Tenant-Id: acme\r\n").await;
    assert!(status == StatusCode::NOT_FOUND && text.contains(r#"{"error":"Not found"}"#), "{text}");
    std::fs::remove_file(&path).unwrap();
}
