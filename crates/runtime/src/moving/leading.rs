//! Leading a pipeline from one buffer to another, share by share.
//!
//! A leader moves nothing itself. It takes the steps of the move in the store, and waits after each until
//! every process goes by it. Ended at any time, the next leader takes over.

use std::sync::Arc;
use std::time::Duration;

use buffer::Identity;
use model::route::{Phase, Route, SHARE_MAX, Side};
use store::Moves;
use store::moves::{Heard, Recorded, Step};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::following::{HOLD_MAX, REPORT_EVERY};
use super::ledger::Ledger;
use super::subject::Subject;
use super::together::{Together, buffers_of};
use super::way::{Way, ended_at};

/// How often the processes' reports are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process that was not heard of for longer is named.
const SILENT: Duration = Duration::from_secs(10);
/// A process that is configured for another move and was not heard of for longer has ended, in
/// milliseconds: it reports twice a second.
const STRANGER_MS: u64 = 60_000;
/// How much later than another look a report has to be made to be after it.
const AFTER: Duration = Duration::from_millis(100);

/// What a leader has to say while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It waits until every process goes by a step.
    Step {
        /// The share that the step leads to, in percent.
        share: u8,
        /// Its phase.
        phase: Phase,
        /// Processes that have not ended.
        processes: usize,
        /// Events that the giving buffer holds, and the most that it held.
        left: u64,
        /// The most of them so far.
        most: u64,
    },
    /// It stays at a share.
    Staying {
        /// For how long it has.
        passed: Duration,
        /// For how long in all.
        pause: Duration,
        /// Events in the old buffer and in the new one.
        pending: [u64; 2],
    },
    /// It waits until the buffer that was left is empty.
    Draining {
        /// Events that it holds.
        left: u64,
        /// The most of them so far.
        most: u64,
    },
    /// No process has joined for ten seconds.
    NoneJoined,
    /// A process was not heard of for longer than ten seconds.
    Silent {
        /// Which one.
        process: String,
        /// For how long.
        silent: Duration,
    },
}

/// Leads the move of one pipeline.
pub struct Leader {
    pub(super) moves: Arc<dyn Moves>,
    pub(super) way: Way,
    pub(super) ledger: Box<dyn Ledger>,
    stop: CancellationToken,
    tell: Box<dyn Fn(Told) + Send + Sync>,
}

impl Leader {
    /// Leads along `way` until `stop` is cancelled. `tell` hears what it waits for.
    pub fn new(
        moves: Arc<dyn Moves>,
        way: Way,
        ledger: Box<dyn Ledger>,
        stop: CancellationToken,
        tell: impl Fn(Told) + Send + Sync + 'static,
    ) -> Self {
        Self { moves, way, ledger, stop, tell: Box::new(tell) }
    }

    /// The recorded move, if it is this one.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Refused`] if another move is unfinished.
    pub async fn recorded(&self) -> Result<Option<Recorded>, Error> {
        self.way.of(self.moves.recorded(self.way.pipeline()).await?).await
    }

    /// The present step, if this move has begun.
    ///
    /// # Errors
    /// As [`Leader::recorded`].
    pub async fn step(&self) -> Result<Option<Step>, Error> {
        Ok(self.recorded().await?.map(|recorded| recorded.step))
    }

    /// Records the buffers of this way as those of the recorded move.
    ///
    /// # Errors
    /// [`Error::NoMove`]; [`Error::Unlike`] if the recorded buffers are of other kinds.
    pub async fn rename(&self) -> Result<(), Error> {
        let recorded = self.moves.recorded(self.way.pipeline()).await?.ok_or(Error::NoMove)?;
        let buffers = self.way.in_place_of(&recorded)?;
        self.moves.rename(&recorded.pipeline, &buffers).await?;
        Ok(())
    }

    /// Marks a process as ended that can't say so. Returns whether there is such a process.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn forget(&self, process: &str) -> Result<bool, Error> {
        Ok(self.moves.forget(self.way.pipeline(), process).await?)
    }

    pub(super) async fn heard(&self) -> Result<Together, Error> {
        Together::of(self.moves.reports(self.way.pipeline()).await?, &self.way).await
    }

    /// Takes step after step until this share is open. Returns how many processes go by it.
    ///
    /// # Errors
    /// When not every process joins in time, or a stop came in between.
    pub async fn go_to(&self, share: u8) -> Result<usize, Error> {
        loop {
            let Some(recorded) = self.recorded().await? else {
                if share == 0 {
                    break;
                }
                self.begin(Route { before: 0, share, phase: Phase::Hold }).await?;
                continue;
            };
            let now = recorded.step.route;
            let next = match now.phase {
                Phase::Open if now.share == share => break,
                Phase::Open => Route { before: now.share, share, phase: Phase::Hold },
                Phase::Hold => Route { phase: Phase::Drain, ..now },
                Phase::Drain => Route { phase: Phase::Open, ..now },
            };
            self.everybody(&recorded).await?;
            let step = Step { number: recorded.step.number + 1, route: next };
            // Another leader may have taken another step: then that is the present one.
            self.moves.advance(&recorded.pipeline, step).await?;
        }
        Ok(self.heard().await?.live.len())
    }

    /// Records the first step, with what there is before anything moves.
    async fn begin(&self, route: Route) -> Result<(), Error> {
        self.ready().await?;
        // Counts of processes that have ended are in no sum from here on.
        self.moves.sweep(self.way.pipeline()).await?;
        let start = self.start().await?;
        let before = self
            .moves
            .recorded(self.way.pipeline())
            .await?
            .map_or(0, |recorded| recorded.step.number);
        let step = Step { number: before + 1, route };
        let pipeline = self.way.pipeline().to_owned();
        let first = Recorded { pipeline, buffers: self.way.buffers(), step };
        // Another leader may have begun one: then that is the recorded one.
        self.moves.begin(&first, start).await?;
        Ok(())
    }

    /// Refuses to begin where no process has joined, or a running one moves otherwise. One that was configured
    /// for another move and has been silent for long is taken for ended.
    async fn ready(&self) -> Result<(), Error> {
        let seen = self.heard().await?;
        if let Some(other) = seen.strangers.iter().find(|heard| heard.ago_ms < STRANGER_MS) {
            let (process, theirs) = (&other.report.process, buffers_of(other));
            return Err(Error::Refused(format!(
                "cannot begin the move: {process} runs with the buffers {theirs}, heard {} s ago; \
                 restart it with this configuration, or run this again in a minute if it has ended",
                other.ago_ms / 1_000
            )));
        }
        if seen.live.is_empty() {
            return Err(Error::NoneJoined);
        }
        for other in &seen.strangers {
            self.moves.forget(self.way.pipeline(), &other.report.process).await?;
        }
        Ok(())
    }

    /// What the processes say once each of them has said something after `when`, or has not for so
    /// long that it won't.
    pub(super) async fn heard_after(&self, when: Instant) -> Result<Together, Error> {
        loop {
            let seen = self.heard().await?;
            let since = when.elapsed();
            let after = |heard: &Heard| Duration::from_millis(heard.ago_ms) + AFTER < since;
            if seen.live.iter().all(after) || since > SILENT {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every process goes by the present step, and in its drain until that is through.
    async fn everybody(&self, recorded: &Recorded) -> Result<(), Error> {
        let Step { number, route } = recorded.step;
        let giving = route.closed().map(Side::other);
        let mut most = 0;
        let (began, mut named) = (Instant::now(), Instant::now());
        loop {
            if self.stop.is_cancelled() {
                return self.interrupted(recorded).await;
            }
            let seen = self.heard().await?;
            if self.step().await? != Some(recorded.step) {
                // Somebody else leads it on.
                return Ok(());
            }
            let there = seen.is_at(number);
            let drains = route.phase == Phase::Drain;
            let drained = |heard: &Heard| heard.report.step == number && heard.report.drained;
            if there && !seen.live.is_empty() && (!drains || seen.live.iter().any(drained)) {
                return Ok(());
            }
            let nobody = seen.live.is_empty() && route.phase == Phase::Hold;
            if (!there || nobody) && began.elapsed() > HOLD_MAX {
                return self.given_up(recorded, &seen).await;
            }
            let left = giving.map_or(0, |side| seen.pending[side.index()]);
            most = most.max(left);
            let (share, phase, processes) = (route.share, route.phase, seen.live.len());
            (self.tell)(Told::Step { share, phase, processes, left, most });
            if named.elapsed() >= SILENT {
                named = Instant::now();
                self.name_silent(&seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn name_silent(&self, seen: &Together) {
        if seen.live.is_empty() {
            (self.tell)(Told::NoneJoined);
        }
        for heard in seen.live.iter().chain(&seen.strangers) {
            let silent = Duration::from_millis(heard.ago_ms);
            if silent >= SILENT {
                (self.tell)(Told::Silent { process: heard.report.process.clone(), silent });
            }
        }
    }

    /// Lets nobody wait for a leader that has gone.
    async fn interrupted(&self, Recorded { pipeline, step, .. }: &Recorded) -> Result<(), Error> {
        let route = step.route;
        if route.phase == Phase::Hold {
            self.moves.advance(pipeline, step.back()).await?;
        }
        Err(Error::Refused(format!(
            "stopped on the way to {} %; run it again to go on, or with --rollback",
            route.share
        )))
    }

    /// Lets nobody wait for a process that says nothing.
    async fn given_up(&self, recorded: &Recorded, seen: &Together) -> Result<(), Error> {
        let step = recorded.step;
        if step.route.phase == Phase::Hold {
            self.moves.advance(&recorded.pipeline, step.back()).await?;
        }
        let missing = seen.missing(step.number);
        Err(Error::Refused(format!(
            "within {} s not every process joined; missing: {}. If one has ended, run this again with \
             --forget PROCESS",
            HOLD_MAX.as_secs(),
            if missing.is_empty() { "all of them".to_owned() } else { missing.join(", ") }
        )))
    }

    /// Stays at a share.
    ///
    /// # Errors
    /// When a stop came in between.
    pub async fn stay(&self, pause: Duration) -> Result<(), Error> {
        let began = Instant::now();
        while began.elapsed() < pause {
            if self.stop.is_cancelled() {
                let stopped =
                    "stopped between two shares; run it again to go on, or with --rollback";
                return Err(Error::Refused(stopped.to_owned()));
            }
            let (passed, pending) = (began.elapsed(), self.heard().await?.pending);
            (self.tell)(Told::Staying { passed, pause, pending });
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until the buffer that nothing goes to any more is empty.
    ///
    /// # Errors
    /// When a stop came in between.
    pub async fn drain(&self) -> Result<(), Error> {
        let Some(step) = self.step().await? else { return Ok(()) };
        let giving = if step.route.share == 0 { Side::Target } else { Side::Source };
        let (mut most, mut empty_since) = (0, None);
        let mut named = Instant::now();
        loop {
            if self.stop.is_cancelled() {
                let stopped = "stopped while the other buffer is drained; it goes on without this";
                return Err(Error::Refused(stopped.to_owned()));
            }
            let seen = self.heard().await?;
            let left = seen.pending[giving.index()];
            if seen.live.is_empty() && named.elapsed() >= SILENT {
                named = Instant::now();
                (self.tell)(Told::NoneJoined);
            }
            if seen.live.is_empty() || left > 0 {
                empty_since = None;
            } else if empty_since.get_or_insert_with(Instant::now).elapsed() > REPORT_EVERY * 6 {
                return Ok(());
            }
            most = most.max(left);
            (self.tell)(Told::Draining { left, most });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Records that the last move of a pipeline ended at `buffer`, which has a new address.
///
/// # Errors
/// [`Error::NoMove`]; [`Error::Unlike`] if the move is unfinished, or ended at a buffer of another kind.
pub async fn ended_here(
    moves: &dyn Moves,
    subject: &Subject,
    buffer: &Identity,
) -> Result<(), Error> {
    let recorded = moves.recorded(&subject.pipeline).await?.ok_or(Error::NoMove)?;
    let buffers = ended_at(&recorded, buffer, subject.parse)?;
    moves.rename(&recorded.pipeline, &buffers).await?;
    Ok(())
}

/// Whether a move to this share leaves nothing behind in the other buffer.
#[must_use]
pub fn is_through(share: u8) -> bool {
    matches!(share, 0 | SHARE_MAX)
}
