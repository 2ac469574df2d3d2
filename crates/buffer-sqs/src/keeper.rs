//! The heartbeat: hides at half time what is still leased, so that a process that lives keeps it for as
//! long as it asks, and what a dead one held comes again within one visibility.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::api::Told;
use crate::shared::Shared;

/// How soon a beat that was not heard is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the keeper sleeps when nothing is held.
const IDLE: Duration = Duration::from_secs(3600);

/// Beats until the buffer is dropped, and then gives back what is held.
pub(crate) async fn keep(shared: Arc<Shared>) {
    loop {
        let next = shared.state().next_due();
        tokio::select! {
            () = sleep_until(next.unwrap_or_else(|| Instant::now() + IDLE)) => {}
            () = shared.kept.notified() => {}
        }
        if shared.is_dropped() {
            let held = shared.state().take_held(Instant::now());
            shared.give_back(held).await;
            return;
        }
        shared.beat().await;
    }
}

impl Shared {
    async fn beat(&self) {
        let now = Instant::now();
        let due = self.state().due(now);
        if !due.back.is_empty() {
            for (seq, _) in &due.back {
                self.state().gone(*seq, None);
            }
            self.give_back(due.back.into_iter().map(|(_, handle)| handle).collect()).await;
        }
        if due.beat.is_empty() {
            return;
        }
        let handles: Vec<(String, u64)> =
            due.beat.iter().map(|(_, handle, seconds)| (handle.clone(), *seconds)).collect();
        let told = self.client.hide(&self.queue, &handles).await;
        let (mut lost, mut unheard) = (0_u64, None);
        {
            let mut state = self.state();
            for ((seq, _, seconds), told) in due.beat.iter().zip(told) {
                match told {
                    Told::Done => state.hidden(*seq, now + Duration::from_secs(*seconds), None),
                    Told::Stale => {
                        lost += 1;
                        state.gone(*seq, None);
                    }
                    Told::Failed(why) => {
                        unheard = Some(why);
                        state.again(*seq, Instant::now() + PAUSE);
                    }
                }
            }
        }
        if lost > 0 {
            metrics::counter!("buffer_sqs_lost_leases_total").increment(lost);
            tracing::warn!(events = lost, "sqs had shown these to others: they come again");
        }
        if let Some(why) = unheard {
            tracing::warn!(%why, "sqs does not hear that this process goes on; it is told again");
        }
    }
}
