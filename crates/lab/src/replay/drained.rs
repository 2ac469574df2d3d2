//! A replay that is settled in this process as well, and audited.

use std::sync::Arc;
use std::time::Duration;

use model::clock::System;
use store::card::Guard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::run::{Replay, Summary};
use crate::at_work::AtWork;
use crate::audit::{Ledger, Recorder};
use crate::progress::{Progress, Unit};
use crate::report::Report;
use crate::score::Labels;
use crate::sink::Buffered;
use crate::verdict::{Ended, Places, ledger, per_second};

/// How often the progress of settling is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A replay of which nothing is left to settle, unless it was stopped.
pub struct Drained {
    summary: Summary,
    ledger: Ledger,
    offering: Duration,
    settling: Duration,
}

impl Drained {
    /// Offers to the pipeline, and waits until nothing is left to settle, or until `stop`. `progress` makes what
    /// shows how far it is.
    ///
    /// # Errors
    /// As [`Replay::run`].
    pub async fn settle(
        replay: &Replay,
        at_work: &AtWork,
        guard: Arc<Guard>,
        stop: &CancellationToken,
        progress: fn(Unit) -> Progress,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let sink = Buffered::new(at_work.buffer().clone());
        let mut recorder = Recorder::new(sink, ledger(guard), Arc::new(System));
        let summary = replay.run_shown(&mut recorder, stop, progress(Unit::Bytes)).await?;
        let offering = began.elapsed();
        wait(at_work, stop, progress(Unit::Events)).await;
        let (ledger, _) = recorder.into_parts();
        Ok(Self { summary, ledger, offering, settling: began.elapsed() })
    }

    /// Audits it.
    ///
    /// # Errors
    /// If the store or the buffer can't be read.
    pub async fn audit(self, places: &Places, ended: &Ended) -> anyhow::Result<(Summary, Report)> {
        let Self { summary, ledger, offering, settling } = self;
        let audited = places.report(ledger, &Labels::default(), ended, settling).await?;
        let report = Report {
            offered: summary.accepted,
            accepted: summary.accepted,
            refused: 0,
            duration_s: offering.as_secs_f64(),
            achieved_tps: per_second(summary.accepted, offering),
            ..audited
        };
        Ok((summary, report))
    }
}

/// Waits until nothing is left to settle; a stop ends it, and what is left comes next time.
async fn wait(at_work: &AtWork, stop: &CancellationToken, mut progress: Progress) {
    let drained = stop.run_until_cancelled(at_work.drained());
    let mut drained = std::pin::pin!(drained);
    loop {
        tokio::select! {
            _ = &mut drained => break,
            () = tokio::time::sleep(LOOK) => {
                let counts = at_work.stats().counts();
                let done = counts.settled + counts.duplicates + counts.dead;
                let depth = at_work.buffer().depth().await;
                let left = depth.map_or(0, |depth| depth.ready + depth.leased);
                progress.at(done, done + left, || "settled".to_owned());
            }
        }
    }
    progress.end();
}
