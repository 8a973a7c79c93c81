//! Configs for tests: the common site (two tenants, their keys), and what a test adds to it.

use super::double::Double;
use super::keys::KEYS;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A config in the making. Entries are written as an operator would write them, without the braces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    listen: Vec<String>,
    top: Vec<String>,
    tenants: Vec<String>,
    credentials: Vec<String>,
    nodes: Vec<String>,
    limits: Vec<String>,
    upstreams: Vec<String>,
    gateways: Vec<String>,
    routes: Vec<String>,
}

impl Site {
    /// Tenants and keys, and nothing that is served.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line at the top level, such as `allow_literal_secrets: true`.
    pub(crate) fn top(mut self, line: &str) -> Self {
        self.top.push(line.into());
        self
    }

    /// One more socket for clients, in the operator's words.
    pub(crate) fn listen(mut self, entry: &str) -> Self {
        self.listen.push(format!(", {{ {entry} }}"));
        self
    }

    /// What one of the two tenants has, in the operator's words.
    pub(crate) fn tenant(mut self, name: &str, entry: &str) -> Self {
        self.tenants.push(format!("{name}: {{ {entry} }}"));
        self
    }

    /// One more credential, in the operator's words.
    pub(crate) fn credential(mut self, entry: &str) -> Self {
        self.credentials.push(entry.into());
        self
    }

    /// A node's public key.
    pub(crate) fn node(mut self, tenant: &str, node: &str, public_key: &str) -> Self {
        self.nodes.push(format!("tenant: {tenant}, node: \"{node}\", public_key: \"{public_key}\""));
        self
    }

    /// A node's public key in the operator's words.
    pub(crate) fn node_entry(mut self, entry: &str) -> Self {
        self.nodes.push(entry.into());
        self
    }

    /// A limit: `limit("ingest", "by: credential, window: { limit: 60, per: 1m }")`.
    pub(crate) fn limit(mut self, name: &str, entry: &str) -> Self {
        self.limits.push(format!("{name}: {{ {entry} }}"));
        self
    }

    /// An upstream at an address.
    pub(crate) fn upstream(self, name: &str, address: SocketAddr) -> Self {
        self.upstream_entry(name, &format!("servers: [\"{address}\"]"))
    }

    /// An upstream in the operator's words.
    pub(crate) fn upstream_entry(mut self, name: &str, entry: &str) -> Self {
        self.upstreams.push(format!("{name}: {{ {entry} }}"));
        self
    }

    /// A gateway whose sockets are relayed, and to which the edge itself does not connect: for stand-ins that
    /// speak in no calls.
    pub(crate) fn gateway(self, id: &str, tenant: &str, address: SocketAddr) -> Self {
        self.gateway_entry(&format!(
            "id: {id}, tenant: {tenant}, url: \"ws://{address}\", frames: relayed, operator: {{ access: off }}"
        ))
    }

    /// A gateway in the operator's words.
    pub(crate) fn gateway_entry(mut self, entry: &str) -> Self {
        self.gateways.push(entry.into());
        self
    }

    /// A route in the operator's words.
    pub(crate) fn route(mut self, entry: &str) -> Self {
        self.routes.push(entry.into());
        self
    }

    /// One public upstream behind every path: for tests about the way, not about who goes it.
    pub(crate) fn open(double: &Double) -> Self {
        Self::new()
            .upstream("all", double.address())
            .route("name: all, path: /**, public: true, upstream: all")
    }

    /// One upstream behind every path, for any key.
    pub(crate) fn keyed(double: &Double) -> Self {
        Self::new().upstream("all", double.address()).route("name: all, path: /**, upstream: all")
    }

    /// The mesh store, inside the edge.
    pub(crate) fn embedded_store(self) -> Self {
        self.upstream_entry("store", "embedded: { database: \"$FOLDER/mesh.db\" }").store_routes()
    }

    /// The store's routes, as the documents have them.
    pub(crate) fn store_routes(self) -> Self {
        self.route("name: store-health, path: /health, methods: [GET], public: true, upstream: store")
            .route("name: mesh-read, path: /mesh/**, methods: [GET, HEAD], scopes: [mesh:read], encoded_slashes: keep, upstream: store")
            .route("name: mesh-query, path: /mesh/query, methods: [POST], scopes: [mesh:read], upstream: store")
            .route("name: mesh-write, path: /mesh/**, methods: [PUT, POST, DELETE], scopes: [mesh:write], encoded_slashes: keep, upstream: store")
    }

    /// The gateway route and Mission Control, as the documents have them.
    pub(crate) fn gateway_routes(self) -> Self {
        self.route("name: gateway, path: \"/gateways/{gateway}/**\", scopes: [gateways:connect], gateway: \"{gateway}\"")
            .route("name: mission-control, path: /api/**, scopes: [gateways:read], mission_control: true")
            .route("name: multiplex, path: /ws, scopes: [gateways:connect], mission_control: true")
    }

    /// The file. `$FOLDER` in entries is the test's folder.
    pub(crate) fn text(&self, listen: SocketAddr, admin: SocketAddr, folder: &str) -> String {
        let more = self.listen.concat();
        let mut out = format!(
            "listen: [{{ address: \"{listen}\" }}{more}]\nadmin: \"{admin}\"\ndata: \"{folder}/data\"\n"
        );
        for line in &self.top {
            writeln!(out, "{line}").expect("a text can be written to");
        }
        let plain = ["acme", "globex"].map(|name| format!("{name}: "));
        let plain = plain.into_iter().filter(|name| !self.tenants.iter().any(|one| one.starts_with(name)));
        let tenants: Vec<String> = plain.map(|name| name + "{}").chain(self.tenants.clone()).collect();
        map(&mut out, "tenants", &tenants);
        let keys = KEYS.iter().map(super::keys::Key::entry);
        let credentials: Vec<String> = keys.chain(self.credentials.clone()).collect();
        list(&mut out, "credentials", &credentials);
        list(&mut out, "nodes", &self.nodes);
        map(&mut out, "limits", &self.limits);
        map(&mut out, "upstreams", &self.upstreams);
        list(&mut out, "gateways", &self.gateways);
        list(&mut out, "routes", &self.routes);
        out.replace("$FOLDER", folder)
    }
}

fn list(out: &mut String, name: &str, entries: &[String]) {
    section(out, name, entries, |entry| format!("  - {{ {entry} }}"));
}

fn map(out: &mut String, name: &str, entries: &[String]) {
    section(out, name, entries, |entry| format!("  {entry}"));
}

fn section(out: &mut String, name: &str, entries: &[String], line: impl Fn(&String) -> String) {
    if entries.is_empty() {
        return;
    }
    let lines: Vec<String> = entries.iter().map(line).collect();
    writeln!(out, "{name}:\n{}", lines.join("\n")).expect("a text can be written to");
}
