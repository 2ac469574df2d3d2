//! Keeps the leases of everything held alive, however long a lane has to wait.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Beats for each lease: one may be lost and the lease still lives.
const BEATS_PER_LEASE: u32 = 3;

/// Extends all leases, at most a third of a lease apart, until the engine has ended.
pub(crate) async fn run(shared: Arc<Shared>) {
    let lease = Duration::from_millis(shared.options.lease_ms);
    loop {
        tokio::select! {
            () = shared.ended.cancelled() => return,
            () = tokio::time::sleep(shared.clock.rest(lease / BEATS_PER_LEASE)) => {}
        }
        for held in &shared.held {
            let receipts = held.receipts();
            if receipts.is_empty() {
                continue;
            }
            if let Err(error) = shared.buffer.extend(&receipts, lease).await {
                tracing::warn!(%error, held = receipts.len(), "leases could not be extended");
            }
        }
    }
}
