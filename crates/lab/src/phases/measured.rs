//! What is measured while a phase runs: latencies, rates, processors.

use std::collections::BTreeMap;

/// How long payments took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct LatencyMs {
    /// Half were quicker.
    pub p50: f64,
    /// Nine of ten were quicker.
    pub p90: f64,
    /// Ninety-nine of a hundred were quicker.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Processors in use on average, in cores: 1.0 is one core that never rests.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct CoresMean {
    /// By this process.
    pub client: f64,
    /// By each server that was watched, with its children.
    pub servers: BTreeMap<String, f64>,
}

/// Processors in use between the sample before and this one, in cores.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct CpuSample {
    /// Since the phase began.
    pub at_seconds: f64,
    /// By this process.
    pub client_cores: f64,
    /// By each server that was watched, with its children.
    pub server_cores: BTreeMap<String, f64>,
}

/// How fast payments reached the database in a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct RatePoint {
    /// The middle of the stretch, since the phase began.
    pub at_seconds: f64,
    /// Payments a second.
    pub rate_per_second: f64,
}

impl LatencyMs {
    /// The percentiles with their names.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, f64); 4] {
        [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("max", self.max)]
    }
}
