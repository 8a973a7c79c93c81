//! The mesh store's series: among the edge's when the store runs inside it, and in a registry of their own when
//! it runs alone.

use super::{INVARIANT, LATENCY, text};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What a store does.
#[derive(Debug, Clone)]
pub struct StoreSeries {
    /// Operations by kind and outcome.
    pub operations: IntCounterVec,
    /// Their time.
    pub seconds: HistogramVec,
    /// Changes that have no vectors yet.
    pub embedding_lag: IntGauge,
    /// What upkeep took away.
    pub swept: IntCounterVec,
    /// Rounds of upkeep that failed.
    pub sweep_failures: IntCounter,
    /// Writes refused as secrets, by the pattern that they fit.
    pub secrets_refused: IntCounterVec,
    /// Whether other stores on the server are heard.
    pub listening: IntGauge,
    /// What was heard of them.
    pub heard: IntCounter,
}

impl StoreSeries {
    /// Makes them in a registry.
    pub(super) fn new(registry: &Registry) -> Self {
        let series = Self {
            operations: counters(
                "operations_total",
                "Store operations by kind and outcome.",
                &["operation", "outcome"],
            ),
            seconds: HistogramVec::new(
                HistogramOpts {
                    common_opts: named(
                        "operation_duration_seconds",
                        "Time of store operations, until durable for writes.",
                    ),
                    buckets: LATENCY.to_vec(),
                },
                &["operation"],
            )
            .expect(INVARIANT),
            embedding_lag: IntGauge::with_opts(named(
                "embedding_lag_changes",
                "Changes that have no vectors yet; 0 when the index is up with the writes.",
            ))
            .expect(INVARIANT),
            swept: counters(
                "swept_total",
                "What upkeep took away: rows that expired, versions of the past, entries of the feed.",
                &["what"],
            ),
            sweep_failures: IntCounter::with_opts(named(
                "sweep_failures_total",
                "Rounds of upkeep that the database did not let end.",
            ))
            .expect(INVARIANT),
            secrets_refused: counters(
                "secrets_refused_total",
                "Writes refused because they look like a secret, by the pattern that they fit.",
                &["pattern"],
            ),
            listening: IntGauge::with_opts(named(
                "listening",
                "1 while PostgreSQL tells what other stores write; 0 while the store looks for it a few times a second.",
            ))
            .expect(INVARIANT),
            heard: IntCounter::with_opts(named(
                "heard_total",
                "Times at which another store told that a tenant's feed has grown.",
            ))
            .expect(INVARIANT),
        };
        let collectors: [Box<dyn Collector>; 8] = [
            Box::new(series.operations.clone()),
            Box::new(series.seconds.clone()),
            Box::new(series.embedding_lag.clone()),
            Box::new(series.swept.clone()),
            Box::new(series.sweep_failures.clone()),
            Box::new(series.secrets_refused.clone()),
            Box::new(series.listening.clone()),
            Box::new(series.heard.clone()),
        ];
        for collector in collectors {
            registry.register(collector).expect(INVARIANT);
        }
        for what in ["rows", "versions", "changes"] {
            series.swept.with_label_values(&[what]);
        }
        series
    }
}

/// The series of a store that runs alone.
#[derive(Debug)]
pub struct StoreMetrics {
    registry: Registry,
    /// What it does.
    pub store: StoreSeries,
}

impl StoreMetrics {
    /// Makes all series in a registry of their own.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let store = StoreSeries::new(&registry);
        let build = IntGaugeVec::new(named("build_info", "The running version, as a label."), &["version"])
            .expect(INVARIANT);
        registry.register(Box::new(build.clone())).expect(INVARIANT);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(ProcessCollector::for_self())).expect(INVARIANT);
        Self { registry, store }
    }

    /// All series as Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        text(&self.registry)
    }
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self::new()
    }
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(named(name, help), labels).expect(INVARIANT)
}

fn named(name: &str, help: &str) -> Opts {
    Opts::new(format!("mesh_store_{name}"), help)
}
