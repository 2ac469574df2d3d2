//! The server's own metrics, looked up once: a request costs an atomic addition for each.

use std::sync::OnceLock;

use axum::http::StatusCode;
use metrics::{Counter, counter};

/// Counts the answers of one path, or of several that share a label. Paths that clients make up have no
/// label of their own: each would be a series.
pub(crate) struct Answers {
    path: &'static str,
    counters: Vec<(u16, OnceLock<Counter>)>,
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

    /// Those that bear this label, at zero.
    pub(crate) fn of(label: &'static str, value: &str) -> Self {
        let value = || value.to_owned();
        let taken = Self {
            accepted: counter!("accepted_total", label => value()),
            rejected: counter!("rejected_total", label => value()),
            refused_full: counter!("refused_total", "reason" => "full", label => value()),
            refused_unavailable: counter!("refused_total", "reason" => "unavailable", label => value()),
        };
        let Self { accepted, rejected, refused_full, refused_unavailable } = &taken;
        for counter in [accepted, rejected, refused_full, refused_unavailable] {
            counter.increment(0);
        }
        taken
    }
}

impl Answers {
    /// Counters of `path`, the value of the `path` label. `statuses` are all that it answers with.
    pub(crate) fn new(path: &'static str, statuses: &[u16]) -> Self {
        let counters = statuses.iter().map(|&status| (status, OnceLock::new())).collect();
        Self { path, counters }
    }

    /// The same counters, shown at zero before the first request.
    pub(crate) fn at_zero(self) -> Self {
        for (status, cell) in &self.counters {
            self.counter(*status, cell).increment(0);
        }
        self
    }

    /// One request more was answered with `status`.
    pub(crate) fn count(&self, status: StatusCode) {
        let status = status.as_u16();
        let cell = self.counters.iter().find(|(declared, _)| *declared == status);
        debug_assert!(cell.is_some(), "{} does not declare its status {status}", self.path);
        if let Some((_, cell)) = cell {
            self.counter(status, cell).increment(1);
        }
    }

    fn counter<'a>(&self, status: u16, cell: &'a OnceLock<Counter>) -> &'a Counter {
        cell.get_or_init(
            || counter!("http_requests_total", "path" => self.path, "status" => status.to_string()),
        )
    }
}
