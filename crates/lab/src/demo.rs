//! A run with generated traffic, from the first offer to the audit, under a picture.

use std::fs::TryLockError;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use model::clock::System;
use store::card::Guard;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::at_work::AtWork;
use crate::audit::{Ledger, Recorder};
use crate::generator::Source;
use crate::pace::{self, Outcome, Plan};
use crate::report::Report;
use crate::score::Labels;
use crate::sink::Buffered;
use crate::verdict::{Ended, Places, ledger};
use crate::view::{Phase, Picture, View};
use crate::watch::{Offered, Watch, Watched};

/// What marks a directory as one that may be wiped.
const MARKER: &str = ".forebay-demo";
/// How long what is accepted may take to be settled once the traffic has ended. What is left then is
/// counted as pending.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// A directory that no demo made, so that it is not wiped.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} was not made by a demo, so it is not wiped; move it away, or name another place with --data"
)]
pub struct NotOurs(String);

/// Wipes `dir` if an earlier demo made it and none is running in it, and makes it.
///
/// # Errors
/// [`NotOurs`]; if a demo runs in it, or it can't be wiped or made.
pub fn make_anew(dir: &Path) -> anyhow::Result<()> {
    let shown = dir.display();
    if dir.exists() {
        let empty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        if !empty && !dir.join(MARKER).is_file() {
            bail!(NotOurs(shown.to_string()));
        }
        let lock = std::fs::File::open(dir.join("buffer/LOCK"));
        if lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            bail!(
                "another demo is running in {shown}; wait for it, or name another place with --data"
            );
        }
        std::fs::remove_dir_all(dir).with_context(|| {
            format!("cannot wipe {shown}; mend its rights, or name another place with --data")
        })?;
    }
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(dir.join(MARKER), "forebay demo makes this directory anew\n"))
        .with_context(|| format!("cannot make {shown}; name another place with --data"))
}

/// The traffic of a run.
pub struct Traffic {
    /// When it is offered.
    pub plan: Plan,
    /// What is offered.
    pub source: Source,
    /// What makes the fingerprints of cards.
    pub guard: Arc<Guard>,
}

/// A run whose traffic has ended.
pub struct Run {
    watch: Watch,
    offering: Offering,
    settling: Duration,
}

/// What the traffic came to.
struct Offering {
    outcome: Outcome,
    ledger: Ledger,
    labels: Labels,
}

impl Run {
    /// Offers the traffic until its end, or until `stop`, and waits until what was accepted is settled, for at
    /// most 600 s. `metrics` renders what `/metrics` shows.
    ///
    /// # Errors
    /// If the task that offers panics.
    pub async fn settle(
        traffic: Traffic,
        at_work: &AtWork,
        stop: &CancellationToken,
        (picture, view): (Picture, View),
        metrics: Box<dyn Fn() -> String + Send>,
    ) -> anyhow::Result<Self> {
        let offered = Offered::default();
        let watched = Watched {
            stats: at_work.stats().clone(),
            buffer: at_work.buffer().clone(),
            clock: Arc::new(System),
            offered: offered.clone(),
            rules: fraud::Rule::ALL.iter().map(|rule| rule.name()).collect(),
            metrics,
        };
        let mut watch = Watch::new(picture, view, watched);
        let began = Instant::now();
        let sink = Buffered::new(at_work.buffer().clone());
        let sink = Recorder::new(sink, ledger(traffic.guard.clone()), Arc::new(System));
        let offering = tokio::spawn(offer(traffic, sink, stop.clone(), offered));
        // An engine that can't go on ends the traffic, too: nothing would be settled any more.
        let (ended, until) = (at_work.ended().clone(), stop.clone());
        tokio::spawn(async move {
            ended.cancelled().await;
            until.cancel();
        });
        let offering = watch.during(Phase::Running, stop, offering).await?;
        let enough = CancellationToken::new();
        let draining = enough.run_until_cancelled(timeout(DRAIN_MAX, at_work.drained()));
        watch.during(Phase::Draining, &enough, draining).await;
        Ok(Self { watch, offering, settling: began.elapsed() })
    }

    /// Audits the run.
    ///
    /// # Errors
    /// If the store or the buffer can't be read.
    pub async fn audit(self, places: Places, ended: Ended) -> anyhow::Result<Report> {
        let Self { mut watch, offering: Offering { outcome, ledger, labels }, settling } = self;
        let auditing =
            tokio::spawn(async move { places.report(ledger, &labels, &ended, settling).await });
        let never = CancellationToken::new();
        let report = watch.during(Phase::Auditing, &never, auditing).await??;
        Ok(report.with_outcome(&outcome))
    }
}

async fn offer(
    Traffic { plan, mut source, .. }: Traffic,
    mut sink: Recorder<Buffered>,
    stop: CancellationToken,
    offered: Offered,
) -> Offering {
    let mut labels = Labels::default();
    let mut make = |due| {
        let (event, label) = source.event(due);
        labels.add(event.id(), label);
        event
    };
    let mut tell = |now: &Outcome| {
        offered.lock().unwrap_or_else(PoisonError::into_inner).clone_from(now);
    };
    let outcome = pace::run(&plan, &mut make, &mut sink, &stop, &mut tell).await;
    let (ledger, _) = sink.into_parts();
    Offering { outcome, ledger, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_which_a_demo_runs_is_not_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let demo = dir.path().join("demo");
        make_anew(&demo).unwrap();
        std::fs::create_dir(demo.join("buffer")).unwrap();
        let lock = std::fs::File::create(demo.join("buffer/LOCK")).unwrap();
        lock.lock().unwrap();
        let error = make_anew(&demo).unwrap_err().to_string();
        assert!(error.contains("another demo is running"), "{error}");
        drop(lock);
        make_anew(&demo).unwrap();
        assert!(!demo.join("buffer").exists());
    }
}
