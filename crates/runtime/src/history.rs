//! What a process has to do, as a bounded history in the store: one row for each interval and pipeline,
//! for `forebay advise`.
//!
//! Only a process that settles keeps one: it has the store open. What comes in is told from what is
//! settled and how the backlog changes. So it counts events of every producer: those of a process that only
//! takes events, and those of foreign producers.
//!
//! Invariants
//! - Nothing waits for it. A row that can't be written in time is dropped, and the log says so now and then.
//! - It follows pipelines that are added and removed while the process runs.

mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::clock::Clock;
use store::{Load, Loads};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::window::{Held, Look, Window};
use crate::pipeline::Source;

/// How often counts are looked at, and which pipelines there are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a buffer that others use too is asked for its depth: it is a server's work.
const SHARED_DEPTH_EVERY: Duration = Duration::from_secs(10);
/// How long one row may take to be written.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long the last rows may hold up the end.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);
/// How often it is said that rows are dropped.
const SAY_EVERY: Duration = Duration::from_secs(3_600);

/// How a history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What one row is about.
    pub interval: Duration,
    /// How long rows are kept; none are written when it is zero.
    pub keep: Duration,
}

/// What each row says of its process, and where rows go.
#[derive(Clone)]
pub struct Book {
    /// Where rows are recorded.
    pub loads: Arc<dyn Loads>,
    /// Intervals follow it.
    pub clock: Arc<dyn Clock>,
    /// The id of this process.
    pub process: String,
    /// What the process does, as `--roles` has it.
    pub roles: String,
}

/// Keeps the history of a process until it is stopped.
pub struct History {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl History {
    /// Begins to look at each pipeline that `sources` returns. It is asked once a second.
    pub fn start(
        sources: impl Fn() -> Vec<Source> + Send + 'static,
        book: Book,
        options: Options,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(sources, book, options, stop.clone()));
        Self { stop, task }
    }

    /// Writes what the interval under way came to, if there is time: 2 s. The store must be open still.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the history of the load ended early");
        }
    }
}

/// One keeper for each pipeline, for as long as that is among the sources.
async fn keep(
    sources: impl Fn() -> Vec<Source> + Send,
    book: Book,
    options: Options,
    stop: CancellationToken,
) {
    // A source that is known here is held by its keeper, so that no other one has its address.
    let mut known: HashMap<usize, DropGuard> = HashMap::new();
    let mut keepers = JoinSet::new();
    let mut ticks = ticks();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let sources = if options.keep.is_zero() { Vec::new() } else { sources() };
        let mut present = HashMap::with_capacity(sources.len());
        for source in sources {
            let at = Arc::as_ptr(&source.stats).addr();
            let guard = known.remove(&at).unwrap_or_else(|| {
                let over = CancellationToken::new();
                let keeper =
                    Keeper { source, book: book.clone(), options, dropped: Dropped::default() };
                keepers.spawn(keeper.run(over.clone()));
                over.drop_guard()
            });
            present.insert(at, guard);
        }
        // Of a pipeline that is gone the last row is written.
        known = present;
        while keepers.try_join_next().is_some() {}
    }
    drop(known);
    let end = Instant::now() + LAST_WRITE_MAX;
    while let Ok(Some(_)) = timeout_at(end, keepers.join_next()).await {}
}

fn ticks() -> Interval {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

struct Keeper {
    source: Source,
    book: Book,
    options: Options,
    dropped: Dropped,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut ticks = ticks();
        ticks.tick().await;
        let interval_ms = i64::try_from(self.options.interval.as_millis()).unwrap_or(i64::MAX);
        let alone = !self.source.buffer.kind().shared;
        let mut window = Window::begin(self.look(true).await, interval_ms, alone);
        let mut asked = Instant::now();
        loop {
            let last = stop.run_until_cancelled(ticks.tick()).await.is_none();
            let over = last || window.is_over(self.book.clock.now_ms());
            let ask = over || alone || asked.elapsed() >= SHARED_DEPTH_EVERY;
            if ask {
                asked = Instant::now();
            }
            let look = self.look(ask).await;
            window.add(&look);
            if over {
                self.write(&window).await;
                window = window.next(look);
            }
            if last {
                return;
            }
        }
    }

    async fn look(&self, ask: bool) -> Look {
        let Source { buffer, stats, work, .. } = &self.source;
        let (counts, lanes, batches) = (stats.counts(), work.lanes(), work.batches());
        // A buffer that is out of reach is the engine's to complain of.
        let depth = if ask { buffer.depth().await.ok() } else { None };
        let now_ms = self.book.clock.now_ms();
        let held = depth.map(|depth| Held {
            events: depth.ready + depth.leased,
            oldest_age_ms: depth
                .oldest_accepted_ms
                .map_or(0, |since_ms| u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0)),
        });
        Look { at: Instant::now(), now_ms, counts, lanes, active: work.active(), batches, held }
    }

    async fn write(&mut self, window: &Window) {
        let Some(seen) = window.seen() else { return };
        let Source { buffer, work, batch_max, .. } = &self.source;
        let load = Load {
            process: self.book.process.clone(),
            roles: self.book.roles.clone(),
            pipeline: work.pipeline().to_owned(),
            buffer: buffer.kind().name.to_owned(),
            batch_max: u32::try_from(*batch_max).unwrap_or(u32::MAX),
            ..seen
        };
        let keep_ms = i64::try_from(self.options.keep.as_millis()).unwrap_or(i64::MAX);
        let forget_before_ms = self.book.clock.now_ms().saturating_sub(keep_ms);
        match timeout(WRITE_MAX, self.book.loads.record(load, forget_before_ms)).await {
            Ok(Ok(())) => self.dropped.none(),
            Ok(Err(error)) => self.dropped.one(&error.to_string()),
            Err(_) => self.dropped.one("the store did not answer in time"),
        }
    }
}

/// Rows that were not written since that was last said.
#[derive(Default)]
struct Dropped {
    count: u64,
    said: Option<Instant>,
}

impl Dropped {
    fn one(&mut self, cause: &str) {
        self.count += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            let rows = self.count;
            tracing::warn!(
                cause,
                rows,
                "the history of the load has gaps; nothing else depends on it"
            );
            *self = Self { count: 0, said: Some(Instant::now()) };
        }
    }

    /// One was written.
    fn none(&mut self) {
        if self.count > 0 && self.said.is_some_and(|said| said.elapsed() >= SAY_EVERY) {
            *self = Self::default();
        }
    }
}
