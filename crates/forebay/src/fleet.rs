//! The fleet of this process: every pipeline that it runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use runtime::fleet::{Options, Stopped};
use runtime::{Fleet, Remains, restart};

use crate::config::Config;

/// A fleet without a pipeline yet. The metric series of a pipeline end when it is removed.
pub(crate) fn of(config: &Config) -> Fleet {
    let options = Options {
        drain_timeout: Duration::from_millis(config.engine.drain_timeout_ms),
        restarts: restart::Options::default(),
        seed: rand::random(),
    };
    Fleet::new(options, server::telemetry::end_series)
}

/// Stops all pipelines. Returns the events that each did not settle.
///
/// # Errors
/// The first reason for which one did not end in order; all are stopped all the same.
pub(crate) async fn stop(fleet: &Fleet) -> Result<Vec<Arc<Remains>>> {
    let ends = fleet.stop().await.into_iter().map(|Stopped { end, .. }| end);
    Ok(ends.collect::<Result<_, _>>()?)
}
