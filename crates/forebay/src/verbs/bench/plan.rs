//! What all phases are run with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use buffer::Location;
use lab::phases::processor::Server;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What all phases are run with.
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) store: store_postgres::Options,
    /// A buffer of its own, on the server of the configured one.
    pub(super) buffer: Arc<dyn Location>,
    pub(super) events: usize,
    pub(super) limit: Duration,
    pub(super) pool: usize,
    pub(super) servers: Vec<Server>,
    pub(super) out: PathBuf,
    pub(super) stop: CancellationToken,
}

impl Plan {
    /// What `work` comes to, unless a signal asks to stop.
    pub(super) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let worked = self.stop.run_until_cancelled(work).await;
        worked.context("stopped before all was measured")
    }
}
