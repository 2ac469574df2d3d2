//! The server's own metrics, looked up once: a request costs an atomic addition for each.

use std::sync::OnceLock;

use axum::http::StatusCode;
use metrics::{Counter, counter};

/// The values of the `path` label. Paths that clients make up are not among them: each would be a
/// series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// `/v1/events`
    Events,
    /// `/v1/tables`, whatever the table and the key.
    Tables,
    /// `/ping`
    Ping,
    /// `/ready`
    Ready,
    /// `/metrics`
    Metrics,
    /// Anything else.
    Other,
}

const PATHS: [&str; 6] = ["/v1/events", "/v1/tables", "/ping", "/ready", "/metrics", "other"];
const STATUSES: [u16; 10] = [200, 202, 400, 404, 405, 408, 413, 415, 429, 503];

/// What a fresh server shows at zero: the answers that are to be expected.
const EXPECTED: [(Path, &[u16]); 5] = [
    (Path::Events, &[202, 400, 405, 408, 413, 415, 429, 503]),
    (Path::Ping, &[200]),
    (Path::Ready, &[200, 503]),
    (Path::Metrics, &[200]),
    (Path::Other, &[404]),
];

/// Handles of the counters that requests move.
pub(crate) struct Meters {
    requests: [[OnceLock<Counter>; STATUSES.len()]; PATHS.len()],
}

/// Handles of the counters of one way in.
pub(crate) struct Taken {
    /// Events that are durable.
    pub(crate) accepted: Counter,
    /// Events that were bad.
    pub(crate) rejected: Counter,
    /// Events that were good, and refused because the buffer was full.
    pub(crate) refused_full: Counter,
    /// Events that were good, and refused because the buffer could not be used.
    pub(crate) refused_unavailable: Counter,
}

impl Taken {
    /// Those of payments, at zero.
    pub(crate) fn payments() -> Self {
        Self {
            accepted: counter!("accepted_total"),
            rejected: counter!("rejected_total"),
            refused_full: counter!("refused_total", "reason" => "full"),
            refused_unavailable: counter!("refused_total", "reason" => "unavailable"),
        }
    }

    /// Those of a table's rows, at zero.
    pub(crate) fn rows(table: &str) -> Self {
        let table = || table.to_owned();
        let taken = Self {
            accepted: counter!("accepted_total", "table" => table()),
            rejected: counter!("rejected_total", "table" => table()),
            refused_full: counter!("refused_total", "reason" => "full", "table" => table()),
            refused_unavailable: counter!("refused_total", "reason" => "unavailable", "table" => table()),
        };
        let Self { accepted, rejected, refused_full, refused_unavailable } = &taken;
        for counter in [accepted, rejected, refused_full, refused_unavailable] {
            counter.increment(0);
        }
        taken
    }
}

impl Meters {
    /// Registers all of them with the recorder of this process, at zero.
    pub(crate) fn new() -> Self {
        let meters = Self { requests: Default::default() };
        for (path, statuses) in EXPECTED {
            for &status in statuses {
                if let Some(counter) = meters.cell(path, status) {
                    counter.increment(0);
                }
            }
        }
        meters
    }

    /// One request more on `path` was answered with `status`.
    pub(crate) fn answered(&self, path: Path, status: StatusCode) {
        if let Some(counter) = self.cell(path, status.as_u16()) {
            counter.increment(1);
        }
    }

    fn cell(&self, path: Path, status: u16) -> Option<&Counter> {
        let column = STATUSES.iter().position(|&known| known == status);
        debug_assert!(column.is_some(), "status {status} is not in STATUSES");
        let cell = &self.requests[path as usize][column?];
        Some(cell.get_or_init(|| {
            let (path, status) = (PATHS[path as usize], status.to_string());
            counter!("http_requests_total", "path" => path, "status" => status)
        }))
    }
}
