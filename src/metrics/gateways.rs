//! The series about the edge's own connections to gateways.

use super::{INVARIANT, edge};
use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec, Registry};

/// What can become of a call.
const CALLS: &[&str] = &["answered", "refused", "timed_out", "away", "busy"];
/// What can become of an attempt to connect; why it fails is told by `hub::away`.
const CONNECTS: &[&str] = &[
    "connected",
    "unreachable",
    "timeout",
    "tls",
    "protocol",
    "http_refused",
    "unauthorized",
    "locked_out",
    "not_paired",
    "no_device",
    "not_granted",
    "starting",
    "restarting",
    "busy",
    "revoked",
    "closed",
    "broken",
    "silent",
    "refused",
];

/// What the edge itself does at gateways.
#[derive(Debug, Clone)]
pub struct GatewaySeries {
    /// Connections that are open.
    pub links: IntGaugeVec,
    /// Attempts to make one, by result.
    pub connects: IntCounterVec,
    /// Calls by what became of them.
    pub calls: IntCounterVec,
    /// Gaps in what gateways told.
    pub gaps: IntCounterVec,
}

impl GatewaySeries {
    /// Makes them in a registry.
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(edge(name, help), labels).expect(INVARIANT)
        };
        let series = Self {
            links: IntGaugeVec::new(
                edge("gateway_links", "Connections of the edge's own that are open to a gateway."),
                &["gateway"],
            )
            .expect(INVARIANT),
            connects: counters(
                "gateway_connects_total",
                "Attempts of the edge's own to connect to a gateway: connected, or why not.",
                &["gateway", "result"],
            ),
            calls: counters(
                "gateway_calls_total",
                "Calls of the edge's own to a gateway, by what became of them.",
                &["gateway", "result"],
            ),
            gaps: counters(
                "gateway_gaps_total",
                "Times at which a gateway left events out that it should have told the edge.",
                &["gateway"],
            ),
        };
        let collectors: [Box<dyn Collector>; 4] = [
            Box::new(series.links.clone()),
            Box::new(series.connects.clone()),
            Box::new(series.calls.clone()),
            Box::new(series.gaps.clone()),
        ];
        for collector in collectors {
            registry.register(collector).expect(INVARIANT);
        }
        series
    }

    /// Takes out a gateway that the config no longer has.
    pub fn forget(&self, gateway: &str) {
        // One that was never counted is not there.
        let _ = self.links.remove_label_values(&[gateway]);
        let _ = self.gaps.remove_label_values(&[gateway]);
        for (counters, results) in [(&self.connects, CONNECTS), (&self.calls, CALLS)] {
            for result in results {
                let _ = counters.remove_label_values(&[gateway, result]);
            }
        }
    }
}
