//! The OpenAPI document against the router: each path, method and status of the one is the other's.

use super::House;
use crate::store::openapi::DOCUMENT;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Routes = BTreeMap<String, BTreeSet<String>>;

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// What the router's source has: patterns, and the methods that each takes.
fn of_the_router() -> Routes {
    let source = include_str!("../http.rs");
    let start = source.find("Router::new()").unwrap();
    let end = start + source[start..].find(".fallback(").unwrap();
    let mut routes = Routes::new();
    for piece in source[start..end].split(".route(").skip(1) {
        let pattern = piece.split('"').nth(1).unwrap();
        let methods = ["get", "put", "post", "delete", "patch", "head", "options"];
        let taken = methods.into_iter().filter(|method| {
            piece.match_indices(&format!("{method}(")).any(|(at, _)| {
                !piece[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
            })
        });
        routes.insert(pattern.to_owned(), taken.map(str::to_uppercase).collect());
    }
    routes
}

/// The document's paths under the pattern that takes them: a memory's key may hold slashes, so one takes all.
fn of_the_document() -> Routes {
    let document = document();
    let mut routes = Routes::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let pattern =
            if path.starts_with("/mesh/memory/") { "/mesh/memory/{*rest}".to_owned() } else { path.clone() };
        let methods = operations.as_object().unwrap().keys().map(|method| method.to_uppercase());
        routes.entry(pattern).or_default().extend(methods);
    }
    routes
}

#[test]
fn the_document_has_the_routers_paths_and_methods_and_no_others() {
    let routes = of_the_router();
    assert!(routes.len() > 15 && routes["/mesh/keys/{node}"].len() == 3, "{routes:?}");
    assert_eq!(of_the_document(), routes);
}

#[tokio::test]
async fn each_path_takes_the_methods_that_the_document_gives_it() {
    let house = House::on_socket().await;
    for (pattern, methods) in of_the_document() {
        let path = pattern.replace("{*rest}", "mesh/k").replace(['{', '}'], "");
        let answer = house.ask("acme", "PATCH", &path, None).await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed: BTreeSet<String> =
            answer.field("allow").unwrap().split(',').map(|one| one.trim().to_owned()).collect();
        let mut expected = methods.clone();
        expected.extend(methods.contains("GET").then(|| "HEAD".to_owned()));
        assert_eq!(allowed, expected, "{path}");
    }
    assert_eq!(house.ask("acme", "GET", "/openapi.json", None).await.json(), document());
}

#[test]
fn the_document_has_the_statuses_of_all_refusals_and_no_others() {
    let source = include_str!("../reply.rs");
    let start = source.find("fn parts(self)").unwrap();
    let end = start + source[start..].find("\n    }\n").unwrap();
    let told: BTreeSet<&str> = source[start..end]
        .split("StatusCode::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap())
        .filter(|name| !name.is_empty())
        .collect();
    let document = document();
    let mut known = BTreeSet::new();
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap())
    {
        for (status, answer) in operation.1["responses"].as_object().unwrap() {
            if let Some(name) = answer["$ref"].as_str() {
                assert!(document.pointer(name.trim_start_matches('#')).is_some(), "{name}");
                known.insert(status.parse::<u16>().unwrap());
            } else {
                assert!(matches!(status.as_str(), "200" | "304"), "{status}");
            }
        }
    }
    // The router's own answer for methods that a path does not take is no operation's.
    known.insert(405);
    let names = known.into_iter().map(|status| {
        let reason = http::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
        reason.to_uppercase().replace(' ', "_")
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), told.into_iter().map(str::to_owned).collect());
}
