//! What the routes of all domains share.

use std::sync::Arc;

use buffer::Buffer;
use model::clock::Clock;
use tokio::sync::Semaphore;

use crate::{Options, Readiness, Telemetry};

/// Names the buffers whose depth `/metrics` shows. It is asked at each scrape.
pub(crate) type Watched = Box<dyn Fn() -> Vec<(String, Arc<dyn Buffer>)> + Send + Sync>;

/// See the module.
pub(crate) struct Shell {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Telemetry,
    pub(crate) readiness: Readiness,
    pub(crate) options: Options,
    /// One permit for each stream that is being read.
    pub(crate) streams: Semaphore,
    pub(crate) watched: Watched,
}
