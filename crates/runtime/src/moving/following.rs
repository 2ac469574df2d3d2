//! Going along with a move from one buffer to another: every process that offers or leases takes each
//! step when it sees it, and says so in the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use buffer::moving::Moving;
use buffer::{Buffer, Depth};
use model::clock::Clock;
use model::route::Phase;
use store::Moves;
use store::moves::{Recorded, Report};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::way::Way;
use crate::pipeline::Companion;

/// How often it is looked which step is the present one.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long offers of the keys that move are held, at most, until every process says that it holds them.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(20);
/// How long a process holds them for a leader that has gone. Longer, so that it is the leader that ends it.
pub(super) const ABANDONED: Duration = Duration::from_secs(40);
/// How often a process says where it is, though nothing changed.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long the report that this process has ended may hold up its end.
pub(super) const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Goes along until it is stopped.
pub struct Follower {
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The command that marks this process as ended, where it cannot report that itself.
    forget: String,
}

/// This process, as it takes part in a move.
struct Participant {
    moving: Arc<Moving>,
    moves: Arc<dyn Moves>,
    way: Way,
    /// The id of the process and of this stretch of following: its counts begin at 0.
    process: String,
    /// The step in whose hold it is, and since when.
    held: Option<(u64, Instant)>,
    /// What the two held and had buried when they were last read.
    depths: [Depth; 2],
    /// What was said last, and when.
    said: Option<(Report, Instant)>,
    /// Whether the store was out of reach at the last try.
    failing: bool,
}

/// Puts the two buffers together, goes by the present step, and begins to go along. `process` is the id of this
/// process.
///
/// # Errors
/// [`Error::Store`] if the store can't be reached: it alone says which buffer takes offers.
/// [`Error::Refused`] if another move is unfinished.
pub async fn follow(
    source: Arc<dyn Buffer>,
    target: Arc<dyn Buffer>,
    moves: Arc<dyn Moves>,
    way: Way,
    process: &str,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Moving>, Follower), Error> {
    way.of(moves.recorded(way.pipeline()).await?).await?;
    let pipeline = way.pipeline().to_owned();
    let moving = Arc::new(Moving::new(source, target, clock));
    let process = format!("{process}:{:06x}", rand::random::<u32>() & 0x00ff_ffff);
    let forget = format!("{} --forget {process}", way.subject.command);
    let mut participant = Participant {
        moving: moving.clone(),
        moves,
        way,
        process,
        held: None,
        depths: Default::default(),
        said: None,
        failing: false,
    };
    // Known of before it asks: whoever takes a step waits for all who were known of by then.
    participant.report(false).await?;
    if let Err(error) = participant.look().await {
        // It is not there after all. That it can't be said either is the same trouble.
        let _ = participant.report(true).await;
        return Err(error);
    }
    let step = moving.step().await;
    if step > 0 {
        let pipeline = &*pipeline;
        tracing::info!(step, pipeline, "goes along with the move to next_buffer, which has begun");
    }
    let stop = CancellationToken::new();
    let task = tokio::spawn(participant.run(stop.clone()));
    Ok((moving, Follower { stop, task, forget }))
}

#[async_trait]
impl Companion for Follower {
    /// Reports that this process has ended, for at most [`LEAVE_MAX`].
    async fn stop(mut self: Box<Self>) {
        self.stop.cancel();
        match timeout(LEAVE_MAX, &mut self.task).await {
            Ok(Ok(())) => {}
            ended => {
                self.task.abort();
                let cause = ended.map_or("the store does not answer", |_| "its task panicked");
                let forget = &self.forget;
                tracing::warn!("cannot report the end of this process: {cause}; run `{forget}`");
            }
        }
    }
}

impl Drop for Follower {
    /// Of a start that came to nothing: it must not hold the buffers any longer.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Participant {
    async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let looked = self.look().await;
            self.tell(looked);
        }
        let told = self.report(true).await;
        self.tell(told);
    }

    /// Takes the present step, and reports if there is something to say.
    async fn look(&mut self) -> Result<(), Error> {
        // Another move that has begun is not joined: this process stays on its way, and reports it.
        let joined = match self.way.of(self.moves.recorded(self.way.pipeline()).await?).await {
            Ok(Some(recorded)) => {
                self.moving.take(recorded.step.number, recorded.step.route).await;
                self.release(&recorded).await
            }
            Ok(None) => Ok(()),
            Err(other) => Err(other),
        };
        let step = self.moving.step().await;
        let is_due = match &self.said {
            None => true,
            Some((said, when)) => {
                said.step != step
                    || when.elapsed() >= REPORT_EVERY
                    || (!said.drained && self.is_drained().await)
            }
        };
        if is_due {
            self.report(false).await?;
        }
        joined
    }

    /// Takes the hold back that nobody leads on.
    async fn release(&mut self, recorded: &Recorded) -> Result<(), Error> {
        let step = recorded.step;
        if step.route.phase != Phase::Hold {
            self.held = None;
            return Ok(());
        }
        let now = Instant::now();
        let (held, since) = *self.held.get_or_insert((step.number, now));
        if held != step.number {
            self.held = Some((step.number, now));
        } else if since.elapsed() > ABANDONED {
            // The first process does it; for the others the step is no longer the present one.
            if self.moves.advance(&recorded.pipeline, step.back()).await? {
                let pipeline = &recorded.pipeline;
                tracing::warn!(pipeline, "the hold of a move timed out; rolled back");
            }
        }
        Ok(())
    }

    async fn report(&mut self, ended: bool) -> Result<(), Error> {
        // What was offered before what is held: whatever is counted there is held, or done, here.
        let step = self.moving.step().await;
        let done = self.moving.done();
        let depths = match ended {
            // They are closed: others know better.
            true => Default::default(),
            false => self.look_into().await,
        };
        let report = Report {
            process: self.process.clone(),
            buffers: self.way.buffers(),
            step,
            drained: !ended && self.is_drained().await,
            ended,
            offered: done.map(|side| side.offered),
            done: done.map(|side| side.done),
            pending: depths.map(|depth| depth.ready + depth.leased),
            // Read after it: a place that is passed meanwhile is counted twice rather than not at all.
            empty: self.moving.empty_places(),
            dead: depths.map(|depth| depth.dead),
        };
        self.moves.report(self.way.pipeline(), &report).await?;
        self.said = Some((report, Instant::now()));
        Ok(())
    }

    /// What the two hold. One that can't be read holds what it held before, and is never called empty: a
    /// move goes on without it as far as it can.
    async fn look_into(&mut self) -> [Depth; 2] {
        for (known, read) in self.depths.iter_mut().zip(self.moving.depths().await) {
            match read {
                Ok(depth) => *known = depth,
                Err(error) => {
                    tracing::debug!(%error, "a buffer can't be read");
                    known.ready = known.ready.max(1);
                }
            }
        }
        self.depths
    }

    async fn is_drained(&self) -> bool {
        self.moving.is_drained().await.unwrap_or(false)
    }

    /// Once when it begins to fail, and once when it goes on.
    fn tell(&mut self, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) if self.failing => tracing::info!("the move goes on"),
            Err(error) if !self.failing => {
                tracing::warn!("the move stands still until this is over: {error}");
                self.failing = true;
                return;
            }
            Err(_) => return,
            Ok(()) => {}
        }
        self.failing = false;
    }
}
