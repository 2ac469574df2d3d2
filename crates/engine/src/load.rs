//! How loaded an engine is: how busy its lanes are, as a metric to scale by, and for who keeps a
//! history of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Gauge, Unit, describe_gauge, gauge};
use model::clock::Clock;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often the load is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks that the share of busy time is taken over: ten seconds.
const LOOKS: usize = 10;

/// When each lane was at work. Waiting for events, or for a next try, is not work: a store that
/// can't be reached is no reason for more workers.
pub(crate) struct Load {
    pipeline: Arc<str>,
    /// All that the pipeline's engines have had so far. An engine of fewer lanes leaves the others idle.
    lanes: RwLock<Vec<Mutex<Lane>>>,
    /// How many lanes the present engine has, or the last one had.
    active: AtomicUsize,
    /// That were done with, by all lanes.
    batches: AtomicU64,
    busy_share: Gauge,
}

/// Reads how much the lanes of an engine have worked since it started. Clones read the same; it goes on
/// living after the engine has ended.
#[derive(Clone)]
pub struct Work(pub(crate) Arc<Load>);

impl Work {
    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// How long each lane has been settling by now: each that there has been, so that their number never
    /// shrinks.
    #[must_use]
    pub fn lanes(&self) -> Vec<Duration> {
        self.0.of_each(|lane| lane.worked_by_now())
    }

    /// How many lanes settle, or did before the engine ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.active()
    }

    /// How many batches the lanes were done with.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.0.batches.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Lane {
    /// In the stretches of work that have ended.
    worked: Duration,
    /// When the stretch under way began.
    since: Option<Instant>,
}

impl Lane {
    fn worked_by_now(&self) -> Duration {
        self.worked + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.worked += since.elapsed();
        }
    }
}

impl Load {
    /// Registers the metrics under this pipeline's name. They go to the recorder that is installed
    /// by now.
    pub(crate) fn new(pipeline: Arc<str>) -> Self {
        describe_gauge!(
            "engine_busy_share",
            Unit::Count,
            "Share (0 to 1) of the last ten seconds that the lanes were settling, on average."
        );
        let busy_share = gauge!("engine_busy_share", "pipeline" => pipeline.clone());
        let (lanes, active) = (RwLock::default(), AtomicUsize::new(0));
        Self { pipeline, lanes, active, batches: AtomicU64::new(0), busy_share }
    }

    /// An engine of this many lanes begins.
    pub(crate) fn engage(&self, lanes: usize) {
        let mut all = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let missing = lanes.saturating_sub(all.len());
        all.extend((0..missing).map(|_| Mutex::default()));
        self.active.store(lanes, Ordering::Relaxed);
    }

    /// The lanes of the present engine, or of the last one.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// The lane begins to work.
    pub(crate) fn begin(&self, lane: usize) {
        self.with(lane, |lane| lane.since = Some(Instant::now()));
    }

    /// The lane begins to wait.
    pub(crate) fn end(&self, lane: usize) {
        self.with(lane, Lane::end);
    }

    /// No lane works any more.
    pub(crate) fn all_end(&self) {
        self.of_each(Lane::end);
    }

    /// A batch is done with.
    pub(crate) fn batch_done(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// How long all lanes together have worked by now.
    fn worked(&self) -> Duration {
        self.of_each(|lane| lane.worked_by_now()).into_iter().sum()
    }

    fn with(&self, lane: usize, act: impl FnOnce(&mut Lane)) {
        let all = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        act(&mut locked(&all[lane]));
    }

    fn of_each<T>(&self, of: impl Fn(&mut Lane) -> T) -> Vec<T> {
        let all = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|lane| of(&mut locked(lane))).collect()
    }
}

fn locked(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks every second until the engine has ended.
pub(crate) async fn run(load: Arc<Load>, clock: Arc<dyn Clock>, ended: CancellationToken) {
    let mut looks = VecDeque::with_capacity(LOOKS + 1);
    loop {
        looks.push_back((Instant::now(), load.worked()));
        load.busy_share.set(share(&looks, load.active()));
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        tokio::select! {
            () = ended.cancelled() => break,
            () = sleep(clock.until_next(LOOK_EVERY)) => {}
        }
    }
    load.busy_share.set(0.0);
}

/// Of the time between the first look and the last, what each of `lanes` worked on average.
fn share(looks: &VecDeque<(Instant, Duration)>, lanes: usize) -> f64 {
    let (Some((first, before)), Some((last, after))) = (looks.front(), looks.back()) else {
        return 0.0;
    };
    let passed = last.duration_since(*first).as_secs_f64() * lanes as f64;
    if passed > 0.0 { after.saturating_sub(*before).as_secs_f64() / passed } else { 0.0 }
}
