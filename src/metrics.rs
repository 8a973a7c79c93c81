//! Every series that the edge exports: name, help, labels, in one place.
//!
//! Label values come from the config or from closed sets in the code, never from a client, so the number
//! of series is bounded by what the operator wrote. Nothing is global: one [`Metrics`] is handed in.

mod gateways;
mod mux;
mod store;

pub use gateways::GatewaySeries;
pub use mux::MuxSeries;
pub use store::{StoreMetrics, StoreSeries};

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::sync::OnceLock;

/// From half a millisecond to a minute: a proxy's own time is below the first bound.
const LATENCY: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// From a tenth of a millisecond to five seconds: a question to a server nearby.
const QUICK: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0, 5.0];

/// Status codes that get a series of their own; all others are counted as `other`.
const CODES: &[u16] = &[
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410,
    411, 412, 413, 415, 417, 422, 426, 428, 429, 431, 499, 500, 501, 502, 503, 504, 505, 507,
];

/// The label of requests that no route took.
pub const UNMATCHED: &str = "unmatched";

/// All series.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    upstream_seconds: HistogramVec,
    /// Refusals by stable code.
    pub refusals: IntCounterVec,
    /// Refusals by the rule that refused.
    pub limited: IntCounterVec,
    /// Requests that rules which are only tried would have refused.
    pub would_limit: IntCounterVec,
    /// Requests from addresses that are kept out, by the list.
    pub denied: IntCounterVec,
    /// Requests that count against their address, by what they are.
    pub strikes: IntCounterVec,
    /// Pauses that strikes led to.
    pub cooldowns: IntCounter,
    /// Addresses that cool down now.
    pub cooling: IntGauge,
    /// What was refused because an address holds too much before anyone is known, by the budget.
    pub budgets: IntCounterVec,
    /// Signature checks by result.
    pub signatures: IntCounterVec,
    /// Deliveries that were taken before, by what they were told.
    pub replays: IntCounterVec,
    /// Deliveries that are remembered.
    pub replay_marks: IntGauge,
    /// Deliveries that were forgotten before their time.
    pub replay_evicted: IntCounter,
    /// Failures to write the replay log.
    pub replay_write_failures: IntCounter,
    /// Bodies and requests that were signed on the way out, by scheme.
    pub signed: IntCounterVec,
    /// Messages at the border to other meshes, by direction and result.
    pub federation: IntCounterVec,
    /// Calls to other meshes, by result.
    pub outbox_attempts: IntCounterVec,
    /// Deliveries that wait.
    pub outbox_waiting: IntGaugeVec,
    /// Deliveries that were laid aside.
    pub outbox_aside: IntGaugeVec,
    /// Bytes of both.
    pub outbox_bytes: IntGaugeVec,
    /// Age of the oldest that waits.
    pub outbox_age: IntGaugeVec,
    /// Requests being worked on, WebSockets included.
    pub in_flight: IntGauge,
    /// WebSockets open now.
    pub websockets_open: IntGauge,
    /// WebSockets opened so far, by how the upstream took it.
    pub websockets: IntCounterVec,
    /// WebSockets closed because what they were opened with counts no more.
    pub websockets_revoked: IntCounter,
    /// Sessions of browsers, by what became of them.
    pub sessions: IntCounterVec,
    /// Unix time at which a credential was last taken.
    credential_used: IntGaugeVec,
    /// Message bytes relayed, by direction.
    pub websocket_bytes: IntCounterVec,
    /// Calls inside WebSockets to gateways, by what became of them.
    pub calls: IntCounterVec,
    /// Handshakes with clients over TLS, by how they ended.
    pub tls_handshakes: IntCounterVec,
    /// Connections closed because their client took back too many streams.
    pub http2_abused: IntCounter,
    /// Unix time at which certificates end.
    certificate_ends: IntGaugeVec,
    /// Config loads by result.
    pub reloads: IntCounterVec,
    /// Unix time of the load that is in force.
    pub config_loaded: IntGauge,
    /// 1 when the newest file was refused and an older config is in force.
    pub config_stale: IntGauge,
    /// Bytes of bodies held for verification.
    pub held_bytes: IntGauge,
    /// Access-log lines that could not be written.
    pub access_log_dropped: IntCounter,
    /// Lines about uses, refusals and changes that the audit log did not take.
    pub audit_unwritten: IntCounter,
    /// Client addresses counted exactly.
    pub limiter_addresses: IntGauge,
    /// Values of fields counted exactly.
    pub limiter_values: IntGauge,
    /// Requests refused because their quota could not be written down.
    pub quota_failures: IntGauge,
    /// 1 while the server that edges share does not answer.
    pub shared_unreachable: IntGauge,
    /// How often it stopped to answer.
    pub shared_failures: IntCounter,
    /// Decisions on shared limits, by who made them.
    pub shared_decisions: IntCounterVec,
    /// Time of the questions that requests wait for.
    pub shared_seconds: Histogram,
    /// Counts that this edge has spent alone and not yet paid.
    pub shared_owed: IntGauge,
    /// What could not be remembered to be paid.
    pub shared_lost: IntCounter,
    /// Unix time at which a source of keys last answered.
    pub key_source_refreshed: IntGaugeVec,
    /// Failures of sources of keys.
    pub key_source_failures: IntCounterVec,
    /// Keys that sources told.
    pub key_source_keys: IntGaugeVec,
    /// What the edge itself does at gateways.
    pub gateways: GatewaySeries,
    /// What the multiplexer does.
    pub mux: MuxSeries,
    /// What the embedded store does.
    pub store: StoreSeries,
}

impl Metrics {
    /// Makes all series in a registry of their own.
    ///
    /// # Panics
    /// Never in practice: names and labels are constants, and a test makes them all.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker { registry: &registry };
        let metrics = Self {
            requests: make.counters(
                "requests_total",
                "Finished requests by route and status.",
                &["route", "status"],
            ),
            request_seconds: make.histograms(
                "request_duration_seconds",
                "Time from a request's head to the end of its answer; WebSockets are left out.",
                &["route"],
            ),
            upstream_seconds: make.histograms(
                "upstream_response_seconds",
                "Time from picking an upstream to the head of its answer.",
                &["upstream"],
            ),
            refusals: make.counters(
                "refusals_total",
                "Requests that the edge answered with a refusal, by its code.",
                &["code"],
            ),
            limited: make.counters("limited_total", "Requests refused by a limit, by the limit.", &["limit"]),
            would_limit: make.counters(
                "would_limit_total",
                "Requests that a limit which is only tried (shadow, proposed) would have refused, by the limit.",
                &["limit"],
            ),
            denied: make.counters(
                "denied_total",
                "Requests from addresses on a list of those that are kept out, by the list.",
                &["list"],
            ),
            strikes: make.counters(
                "strikes_total",
                "Requests that count against their address, by what they are.",
                &["kind"],
            ),
            cooldowns: make.counter("cooldowns_total", "Pauses that too many strikes led to."),
            cooling: make.gauge("cooling_down", "Addresses that cool down now."),
            budgets: make.counters(
                "budget_exceeded_total",
                "Connections, heads and bodies refused because their address holds too much before anyone is known, by the budget.",
                &["budget"],
            ),
            signatures: make.counters(
                "signatures_total",
                "Mesh messages and webhooks checked, by scheme and result.",
                &["scheme", "result"],
            ),
            replays: make.counters(
                "replays_total",
                "Deliveries that were taken before or are on their way, by what they were told.",
                &["answer"],
            ),
            replay_marks: make.gauge("replay_marks", "Deliveries that the replay cache remembers."),
            replay_evicted: make.counter(
                "replay_evicted_total",
                "Deliveries forgotten before their time because their tenant is at its bound.",
            ),
            replay_write_failures: make.counter(
                "replay_write_failures_total",
                "Failures to write the replay log: marks that a restart may lose.",
            ),
            signed: make.counters(
                "signed_total",
                "Bodies of mesh messages and requests that the edge signed on the way out, by scheme.",
                &["scheme"],
            ),
            federation: make.counters(
                "federation_messages_total",
                "Messages at the border to other meshes: passed, or why they stayed.",
                &["tenant", "mesh", "direction", "result"],
            ),
            outbox_attempts: make.counters(
                "outbox_attempts_total",
                "Calls to other meshes by result; given_up counts deliveries laid aside after the last of them.",
                &["tenant", "mesh", "result"],
            ),
            outbox_waiting: make.gauges(
                "outbox_waiting",
                "Deliveries that wait for another mesh.",
                &["tenant", "mesh"],
            ),
            outbox_aside: make.gauges(
                "outbox_aside",
                "Deliveries laid aside for an operator.",
                &["tenant", "mesh"],
            ),
            outbox_bytes: make.gauges(
                "outbox_bytes",
                "Bytes of deliveries that wait or were laid aside.",
                &["tenant", "mesh"],
            ),
            outbox_age: make.gauges(
                "outbox_oldest_seconds",
                "Age of the oldest delivery that waits.",
                &["tenant", "mesh"],
            ),
            in_flight: make.gauge("in_flight", "Requests being worked on, open WebSockets included."),
            websockets_open: make.gauge("websockets_open", "WebSockets open now."),
            websockets: make.counters(
                "websockets_total",
                "WebSockets asked for, by what became of them.",
                &["result"],
            ),
            websockets_revoked: make.counter(
                "websockets_revoked_total",
                "WebSockets closed because the credential that opened them was taken back or has expired.",
            ),
            sessions: make.counters(
                "sessions_total",
                "Sessions of browsers, by what became of them.",
                &["event"],
            ),
            credential_used: make.gauges(
                "credential_last_used_timestamp_seconds",
                "Unix time at which a credential was last taken, by which of its keys.",
                &["credential", "key"],
            ),
            websocket_bytes: make.counters(
                "websocket_message_bytes_total",
                "Bytes of WebSocket messages relayed, by direction.",
                &["direction"],
            ),
            calls: make.counters(
                "calls_total",
                "Calls inside WebSockets to gateways whose frames are checked, by what became of them.",
                &["result"],
            ),
            tls_handshakes: make.counters(
                "tls_handshakes_total",
                "Handshakes with clients over TLS, by how they ended.",
                &["result"],
            ),
            http2_abused: make.counter(
                "http2_abused_total",
                "HTTP/2 connections closed because their client took back too many requests.",
            ),
            certificate_ends: make.gauges(
                "tls_certificate_expiry_timestamp_seconds",
                "Unix time at which a certificate in force ends, by its file.",
                &["certificate"],
            ),
            reloads: make.counters(
                "config_reloads_total",
                "Attempts to load the config, by result.",
                &["result"],
            ),
            config_loaded: make.gauge(
                "config_loaded_timestamp_seconds",
                "Unix time at which the config in force was loaded.",
            ),
            config_stale: make.gauge(
                "config_stale",
                "1 while the newest config file was refused and an older one is in force.",
            ),
            held_bytes: make.gauge("held_body_bytes", "Bytes of request bodies held for verification."),
            access_log_dropped: make.counter(
                "access_log_dropped_total",
                "Access-log lines lost because the log could not be written fast enough.",
            ),
            audit_unwritten: make.counter(
                "audit_unwritten_total",
                "Lines about uses of keys, refusals and changes that could not be written to the audit log.",
            ),
            limiter_addresses: make
                .gauge("limiter_addresses", "Client addresses that the limiter counts exactly."),
            limiter_values: make
                .gauge("limiter_header_values", "Values of header fields that the limiter counts exactly."),
            quota_failures: make.gauge(
                "quota_unwritten",
                "Requests refused since the start because their quota could not be written down.",
            ),
            shared_unreachable: make.gauge(
                "shared_unreachable",
                "1 while the server in which edges count together does not answer and each decides alone.",
            ),
            shared_failures: make.counter(
                "shared_failures_total",
                "Times at which the server in which edges count together stopped to answer.",
            ),
            shared_decisions: make.counters(
                "shared_decisions_total",
                "Requests with shared limits, by who decided: server, ahead (a block taken before), local, open, closed.",
                &["by"],
            ),
            shared_seconds: make.histogram(
                "shared_question_seconds",
                "Time that requests waited for the server in which edges count together.",
            ),
            shared_owed: make.gauge(
                "shared_owed",
                "Counts that this edge has spent alone and has not yet told the shared server.",
            ),
            shared_lost: make.counter(
                "shared_lost_total",
                "Counts and marks that were made alone and could not be kept for the shared server.",
            ),
            key_source_refreshed: make.gauges(
                "key_source_refreshed_timestamp_seconds",
                "Unix time at which a source of public keys last answered.",
                &["source", "tenant"],
            ),
            key_source_failures: make.counters(
                "key_source_failures_total",
                "Attempts to ask a source of public keys that failed; what it told last stays.",
                &["source", "tenant"],
            ),
            key_source_keys: make.gauges(
                "key_source_keys",
                "Public keys that a source told last.",
                &["source", "tenant"],
            ),
            gateways: GatewaySeries::new(&registry),
            mux: MuxSeries::new(&make),
            store: StoreSeries::new(&registry),
            registry: registry.clone(),
        };
        let build = make.gauges("build_info", "The running version, as a label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(ProcessCollector::for_self())).expect(INVARIANT);
        for result in ["applied", "unchanged", "refused"] {
            metrics.reloads.with_label_values(&[result]);
        }
        metrics
    }

    /// The series of one route, looked up once so that a request only counts.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteSeries {
        RouteSeries {
            name: name.to_owned(),
            requests: self.requests.clone(),
            by_code: std::array::from_fn(|_| OnceLock::new()),
            seconds: self.request_seconds.with_label_values(&[name]),
        }
    }

    /// Which certificates are in force, by their files, and when they end.
    pub fn certificates<'a>(&self, in_force: impl Iterator<Item = (&'a str, i64)>) {
        self.certificate_ends.reset();
        in_force.for_each(|(file, ends)| self.certificate_ends.with_label_values(&[file]).set(ends));
    }

    /// When credentials were last taken, by name and key; those that never were are left out.
    pub fn credentials_used<'a>(&self, all: impl Iterator<Item = (&'a str, &'a str, u64)>) {
        self.credential_used.reset();
        for (credential, key, when) in all.filter(|(_, _, when)| *when > 0) {
            let when = i64::try_from(when).unwrap_or(i64::MAX);
            self.credential_used.with_label_values(&[credential, key]).set(when);
        }
    }

    /// The series of one upstream.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Histogram {
        self.upstream_seconds.with_label_values(&[name])
    }

    /// All series as Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        text(&self.registry)
    }
}

fn text(registry: &Registry) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail, and families of one registry are consistent.
    if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut out) {
        tracing::error!(%error, "metrics could not be written");
    }
    out
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The series of one route.
#[derive(Debug)]
pub struct RouteSeries {
    name: String,
    requests: IntCounterVec,
    by_code: [OnceLock<IntCounter>; CODES.len() + 1],
    seconds: Histogram,
}

impl RouteSeries {
    /// Counts a finished request.
    pub fn finished(&self, status: u16) {
        let slot = CODES.binary_search(&status).unwrap_or(CODES.len());
        self.by_code[slot]
            .get_or_init(|| {
                let code = CODES.get(slot).map_or_else(|| "other".to_owned(), u16::to_string);
                self.requests.with_label_values(&[self.name.as_str(), code.as_str()])
            })
            .inc();
    }

    /// Records how long it took.
    pub fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }
}

struct Maker<'a> {
    registry: &'a Registry,
}

const INVARIANT: &str = "names and labels are constants, each made once";

impl Maker<'_> {
    fn registered<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect(INVARIANT);
        self.registry.register(Box::new(collector.clone())).expect(INVARIANT);
        collector
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.registered(IntCounterVec::new(edge(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.registered(IntCounter::with_opts(edge(name, help)))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.registered(IntGauge::with_opts(edge(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.registered(IntGaugeVec::new(edge(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts { common_opts: edge(name, help), buckets: LATENCY.to_vec() };
        self.registered(HistogramVec::new(opts, labels))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts { common_opts: edge(name, help), buckets: QUICK.to_vec() };
        self.registered(Histogram::with_opts(opts))
    }
}

fn edge(name: &str, help: &str) -> Opts {
    Opts::new(format!("openclaw_edge_{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_a_series_is_counted_as_other() {
        let metrics = Metrics::new();
        let route = metrics.route("r");
        route.finished(200);
        route.finished(200);
        route.finished(299);
        route.finished(7);
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains(r#"openclaw_edge_requests_total{route="r",status="200"} 2"#), "{text}");
        assert!(text.contains(r#"openclaw_edge_requests_total{route="r",status="other"} 2"#), "{text}");
    }

    #[test]
    fn the_codes_are_sorted_for_the_search() {
        assert!(CODES.is_sorted());
    }
}
