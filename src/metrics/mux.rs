//! The multiplexer's series: clients' sockets that lead to many gateways.

use super::Maker;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// What the multiplexer does.
#[derive(Debug)]
pub struct MuxSeries {
    /// Clients now.
    pub sessions: IntGauge,
    /// Frames from clients (`in`) and to them (`out`).
    pub frames: IntCounterVec,
    /// Clients that were dropped because they do not read.
    pub slow: IntCounter,
    /// Calls by what became of them.
    pub calls: IntCounterVec,
}

/// What becomes of a call.
const RESULTS: [&str; 9] =
    ["answered", "refused", "away", "timed_out", "busy", "local", "no_gateway", "malformed", "unaudited"];

impl MuxSeries {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let series = Self {
            sessions: make.gauge("mux_sessions", "Clients on the multiplexer now."),
            frames: make.counters(
                "mux_frames_total",
                "Frames of clients on the multiplexer, by direction.",
                &["direction"],
            ),
            slow: make.counter(
                "mux_slow_clients_total",
                "Clients that the multiplexer dropped because they do not read fast enough.",
            ),
            calls: make.counters(
                "mux_calls_total",
                "Calls of clients on the multiplexer, by what became of them.",
                &["result"],
            ),
        };
        for result in RESULTS {
            series.calls.with_label_values(&[result]);
        }
        series
    }
}
