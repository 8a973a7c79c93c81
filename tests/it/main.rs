//! Black-box tests: the real programs, on free ports, with stand-ins (and, where installed, the real
//! OpenClaw gateway) around them. Each test is a sentence about what someone outside can see.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "deadlines of tests need a clock")]
#![allow(clippy::doc_markdown, reason = "OpenClaw and WebSockets are names, not items")]

mod house;

mod abuse;
mod army;
mod audit;
mod autobahn;
mod bridge;
mod canonical_node;
mod cli;
mod client_certificates;
mod console;
mod credentials;
mod docs;
mod doctor;
mod durability;
mod engines;
mod federation;
mod floors;
mod frames;
mod fuzz_corpus;
mod gateway_reload;
mod gateways;
mod harness;
mod http2;
mod identity;
mod key_feeds;
mod limit_kinds;
mod limit_lists;
mod limit_memory;
mod limit_plans;
mod limits;
mod load;
mod mesh_keys;
mod meshes;
mod mux;
mod openapi;
mod operations;
mod operator;
mod pairing;
mod proofs;
mod quotas;
mod reasons;
mod refusals;
mod reload;
mod replay;
mod seeing;
mod service;
mod sessions;
mod shared;
mod shipping;
mod shutdown;
mod signatures;
mod signing;
mod static_files;
mod store;
mod store_feed;
mod store_kills;
mod store_model;
mod store_rules;
mod store_server;
mod store_tenants;
mod store_versions;
mod strict;
mod surface;
mod tenants;
mod tls;
mod tokens;
mod upstream_failures;
mod webhooks;
mod websocket;
