//! What the processes of a pipeline say of its move, together.

use store::moves::{Heard, Report};

use super::error::Error;
use super::way::{Way, words};

/// What the processes say, together.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// Those that have not ended.
    pub(super) live: Vec<Heard>,
    /// Those that have not ended, and are configured for another move.
    pub(super) strangers: Vec<Heard>,
    /// Events that all of them offered to each buffer.
    pub(super) offered: [u64; 2],
    /// Events that all of them acked or buried.
    pub(super) done: u64,
    /// Events in the buffers, as the latest of the living sees them.
    pub(super) pending: [u64; 2],
    /// Dead letters, likewise.
    pub(super) dead: [u64; 2],
    /// Places without an event that they read past.
    pub(super) empty: u64,
}

impl Together {
    /// Of these reports, those of processes on this way count.
    pub(super) async fn of(reports: Vec<Heard>, way: &Way) -> Result<Self, Error> {
        let mut seen = Self::default();
        for heard in reports {
            let Report { buffers, offered, done, ended, .. } = &heard.report;
            if !way.is(buffers).await {
                seen.strangers.extend((!ended).then_some(heard));
                continue;
            }
            for (sum, offered) in seen.offered.iter_mut().zip(offered) {
                *sum += offered;
            }
            seen.done += done.iter().sum::<u64>();
            seen.empty += heard.report.empty.iter().sum::<u64>();
            seen.live.extend((!ended).then_some(heard));
        }
        if let Some(latest) = seen.live.iter().min_by_key(|heard| heard.ago_ms) {
            (seen.pending, seen.dead) = (latest.report.pending, latest.report.dead);
        }
        Ok(seen)
    }

    /// Whether each of them goes by the step of this number.
    pub(super) fn is_at(&self, number: u64) -> bool {
        self.strangers.is_empty() && self.live.iter().all(|heard| heard.report.step == number)
    }

    /// Those that do not go by the step of this number, in words.
    pub(super) fn missing(&self, number: u64) -> Vec<String> {
        let late = self.live.iter().filter(|heard| heard.report.step != number);
        let late = late.map(|heard| heard.report.process.clone());
        let others = self.strangers.iter().map(|heard| {
            format!("{} (which moves from {})", heard.report.process, buffers_of(heard))
        });
        late.chain(others).collect()
    }
}

/// Which buffers a process moves between, in words.
pub(super) fn buffers_of(heard: &Heard) -> String {
    words(&heard.report.buffers)
}
