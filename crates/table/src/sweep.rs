//! Lets go of pending rows that are no longer in the buffer, whoever settled them.

use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use crate::front::Shared;

/// How often the buffer is asked for the age of the oldest it holds.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(shared: &Shared, stop: CancellationToken) {
    let pending = gauge!("table_pending_rows", "table" => shared.definition.name.clone());
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        once(shared).await;
        #[expect(clippy::cast_precision_loss, reason = "their number is bounded far below 2^53")]
        pending.set(shared.known.pending() as f64);
    }
}

/// What was accepted before the oldest that the buffer holds has left it.
pub(crate) async fn once(shared: &Shared) {
    let asked_at_ms = shared.clock.now_ms();
    match shared.buffer.depth().await {
        Ok(depth) => match depth.oldest_accepted_ms {
            Some(oldest_ms) => shared.known.left(oldest_ms.min(asked_at_ms)),
            None if depth.ready + depth.leased == 0 => shared.known.left(asked_at_ms),
            None => {}
        },
        Err(error) => tracing::debug!(%error, "the buffer's depth can't be read"),
    }
}
