//! The server in which several edges count together, and which limits they count there.

use super::Surroundings;
use super::checked::{Dimension, LimitKind, LocalShare, SharedLimit, SharedServer};
use super::checker::{Checker, shown};
use super::raw::{self, Shared, WhenUnreachable};
use super::secrets;
use super::tree::{Document, Spot};
use super::urls::{shared_node, shared_url};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);
const DEFAULT_PREFIX: &str = "openclaw-edge";
/// Most that an edge takes ahead.
const LARGEST_BLOCK: u32 = 1_000_000;

pub(super) fn server(
    raw: &raw::Config,
    document: &Document,
    around: Surroundings<'_>,
    checker: &mut Checker,
) -> Option<SharedServer> {
    let spot = document.top().key("shared");
    let bare = |url: &str| raw::SharedServer {
        url: url.into(),
        cluster: false,
        nodes: Vec::new(),
        username: None,
        password: None,
        ca: None,
        edges: None,
        prefix: None,
        deadline: None,
    };
    let made;
    let (server, url_spot) = match raw.shared.as_ref()? {
        Shared::Url(url) => {
            made = bare(url);
            (&made, spot)
        }
        Shared::Server(server) => (&**server, spot.key("url")),
    };
    let address = checker.take(url_spot.at, shared_url(&server.url))?;
    let nodes = nodes(server, &address.host, address.port, spot, checker);
    let password = match &server.password {
        Some(source) => Some(secrets::resolve(source, spot.key("password"), around, checker)?),
        None => None,
    };
    if server.username.is_some() && server.password.is_none() {
        checker.lacks(spot, "a user needs a `password`", "such as `password: { env: REDIS_PASSWORD }`");
    }
    if server.cluster && address.database != 0 {
        checker.problem(url_spot.at, "a cluster has one database only, 0");
    }
    let ca = match &server.ca {
        Some(file) if address.tls => {
            Some(secrets::public_text(&file.file, spot.key("ca").key("file"), checker)?)
        }
        Some(_) => {
            checker.problem(spot.key_at("ca"), "`ca` goes with `rediss://`");
            None
        }
        None => None,
    };
    if server.edges == Some(0) {
        checker.problem(spot.key("edges").at, "this edge is one of them");
    }
    let prefix = server.prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
    checker.name(spot.key("prefix"), "the prefix", prefix)?;
    let deadline =
        checker.duration(spot.key("deadline"), server.deadline.as_deref(), DEADLINE, (MS, LONGEST));
    Some(SharedServer {
        nodes,
        tls: address.tls,
        database: address.database,
        cluster: server.cluster,
        username: server.username.clone(),
        password,
        ca,
        prefix: prefix.into(),
        deadline: deadline?,
    })
}

fn nodes(
    server: &raw::SharedServer,
    host: &str,
    port: u16,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Vec<(String, u16)> {
    let mut nodes = vec![(host.to_owned(), port)];
    if !server.nodes.is_empty() && !server.cluster {
        checker.problem(spot.key_at("nodes"), "only a cluster has more nodes: add `cluster: true`");
    }
    for (index, text) in server.nodes.iter().enumerate() {
        let spot = spot.key("nodes").item(index);
        match shared_node(text) {
            Ok(node) => nodes.push(node),
            Err(_) => {
                checker.hinted(spot.at, shown(spot, "this is no node", text), "`host:port`");
            }
        }
    }
    nodes
}

/// How many edges there are, where the config says it.
pub(super) fn edges(raw: &raw::Config) -> Option<u32> {
    match raw.shared.as_ref()? {
        Shared::Url(_) => None,
        Shared::Server(server) => server.edges.filter(|edges| *edges > 0),
    }
}

/// Whether and how a limit is counted together with other edges.
pub(super) fn limit(
    (limit, by): (&raw::Limit, &[Dimension]),
    kind: LimitKind,
    most: u32,
    all: &raw::Config,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<SharedLimit> {
    if !limit.shared {
        let given = [
            ("when_unreachable", limit.when_unreachable.is_some()),
            ("share", limit.share.is_some()),
            ("leases", limit.leases.is_some()),
        ];
        for (key, _) in given.iter().filter(|(_, there)| *there) {
            checker.problem(spot.key_at(key), format!("`{key}` goes with `shared: true`"));
        }
        return None;
    }
    if all.shared.is_none() {
        let hint = "say at the top where edges count together: `shared: redis://127.0.0.1:6379`";
        checker.hinted(spot.key_at("shared"), "there is no server to share this limit in", hint);
    }
    if by.contains(&Dimension::Header) {
        let message = "counts by a request's field are kept by each edge alone";
        checker.problem(spot.key_at("shared"), message);
    }
    let when = limit.when_unreachable.unwrap_or_default();
    let alone = share(limit, when, most, edges(all), spot, checker);
    let block = block(limit, kind, most, spot, checker);
    Some(SharedLimit { when, alone: alone?, block })
}

fn share(
    limit: &raw::Limit,
    when: WhenUnreachable,
    most: u32,
    edges: Option<u32>,
    spot: Spot<'_>,
    checker: &mut Checker,
) -> Option<LocalShare> {
    match (when, limit.share, edges) {
        (WhenUnreachable::Open | WhenUnreachable::Closed, Some(_), _) => {
            checker.problem(spot.key_at("share"), "`share` goes with `when_unreachable: local`");
            None
        }
        (WhenUnreachable::Open | WhenUnreachable::Closed, None, edges) => {
            Some(LocalShare { n: 1, of: edges.unwrap_or(1) })
        }
        (WhenUnreachable::Local, Some(share), _) if share == 0 || share > most => {
            checker.problem(spot.key("share").at, "a share is at least 1 and at most the limit itself");
            None
        }
        (WhenUnreachable::Local, Some(share), _) => Some(LocalShare { n: share, of: most.max(1) }),
        (WhenUnreachable::Local, None, Some(edges)) => Some(LocalShare { n: 1, of: edges }),
        (WhenUnreachable::Local, None, None) => {
            let hint = "say how many edges there are, `shared: { url: …, edges: 3 }`, or what this one lets \
                        through alone, `share: 20`";
            checker.lacks(spot, "this edge's share is not known", hint);
            None
        }
    }
}

fn block(limit: &raw::Limit, kind: LimitKind, most: u32, spot: Spot<'_>, checker: &mut Checker) -> u32 {
    let Some(block) = limit.leases else { return 0 };
    match kind {
        LimitKind::Window | LimitKind::Quota | LimitKind::Rate { .. } => {}
        LimitKind::Concurrency => {
            checker.problem(spot.key_at("leases"), "places in flight are not taken ahead");
        }
    }
    if limit.refund == raw::Refund::UpstreamFailed {
        let hint = "leave `refund` out, or `leases`";
        checker.hinted(spot.key_at("leases"), "what was taken ahead is not given back", hint);
    }
    if block == 0 || block > most.min(LARGEST_BLOCK) {
        checker.problem(spot.key("leases").at, "a block is at least 1 and at most the limit itself");
    }
    block
}

#[cfg(test)]
#[path = "check_shared_tests.rs"]
mod tests;
