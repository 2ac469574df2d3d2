//! Says in the log that something fails: once when it begins, and once when it is over.

use std::fmt::Display;

/// One thing that may fail, such as reading from a store.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    fails: bool,
}

impl Outage {
    /// `what` completes "cannot …", e.g. `read the store`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, fails: false }
    }

    pub(crate) fn begins(&mut self, error: &dyn Display) {
        if !std::mem::replace(&mut self.fails, true) {
            tracing::warn!(%error, "cannot {}; retrying", self.what);
        }
    }

    pub(crate) fn is_over(&mut self) {
        if std::mem::take(&mut self.fails) {
            tracing::info!("can {} again", self.what);
        }
    }
}
