//! Lets go of pending rows that are no longer in the buffer, whoever settled them.

use std::time::Duration;

use buffer::Depth;
use metrics::gauge;
use model::clock::EpochMs;
use tokio_util::sync::CancellationToken;

use crate::known::SHARDS;
use crate::shared::Shared;

/// How often the buffer is asked for the age of the oldest it holds.
const EVERY: Duration = Duration::from_secs(1);
/// How far the clock of a buffer that is shared (a server's) may be ahead of this machine's.
const AHEAD_MS_MAX: i64 = 10_000;

pub(crate) async fn run(shared: &Shared, stop: CancellationToken) {
    let pending = gauge!("table_pending_rows", "table" => shared.definition.name.clone());
    let pause = || tokio::time::sleep(shared.clock.rest(EVERY));
    while stop.run_until_cancelled(pause()).await.is_some() {
        // A buffer on a server is not asked for nothing.
        if shared.known.has_accepted() {
            once(shared).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "their number is bounded far below 2^53")]
        pending.set(shared.known.pending() as f64);
    }
}

pub(crate) async fn once(shared: &Shared) {
    let asked_at_ms = shared.clock.now_ms();
    match shared.buffer.depth().await {
        Ok(depth) => {
            let ahead_ms = if shared.buffer.kind().shared { AHEAD_MS_MAX } else { 0 };
            if let Some(before_ms) = left_before(&depth, asked_at_ms, ahead_ms) {
                for shard in 0..SHARDS {
                    while shared.known.some_left(shard, before_ms) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        Err(error) => tracing::debug!(%error, "cannot read the depth of the buffer"),
    }
}

/// What was accepted before this moment has left a buffer of this depth, which was asked at
/// `asked_at_ms` and whose clock may be ahead by `ahead_ms`.
fn left_before(depth: &Depth, asked_at_ms: EpochMs, ahead_ms: i64) -> Option<EpochMs> {
    match depth.oldest_accepted_ms {
        Some(oldest_ms) => Some(oldest_ms.saturating_sub(ahead_ms).min(asked_at_ms)),
        None => (depth.ready + depth.leased == 0).then_some(asked_at_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_the_oldest_by_any_clock_has_left() {
        let check = |ready, oldest_accepted_ms, ahead_ms, expect| {
            let depth = Depth { ready, oldest_accepted_ms, ..Depth::default() };
            assert_eq!(left_before(&depth, 1_000, ahead_ms), expect);
        };
        check(0, None, 0, Some(1_000));
        check(0, None, 10, Some(1_000));
        check(1, Some(900), 0, Some(900));
        check(1, Some(900), 10, Some(890));
        check(1, Some(5_000), 10, Some(1_000));
        check(1, None, 0, None);
    }
}
