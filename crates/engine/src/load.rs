//! How loaded an engine is, as a metric to scale by and for a history: how busy its lanes are, or how many of the
//! calls that it may make are under way.

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
    /// In place of lanes, where the engine calls.
    slots: Mutex<Option<Slots>>,
    busy_share: Gauge,
}

/// What shows more of an engine at each look; at the last one it gets `true`.
pub(crate) type Show = Box<dyn Fn(bool) + Send + Sync>;

/// Reads how much an engine has worked since it started. Clones read the same; it goes on living after the engine
/// has ended. Of an engine that calls, each call that may be under way is a lane.
#[derive(Clone)]
pub struct Work(pub(crate) Arc<Load>);

impl Work {
    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// How long each lane has been settling by now: each that there has been, so that their number never
    /// shrinks. Calls are divided evenly between the lanes.
    #[must_use]
    pub fn lanes(&self) -> Vec<Duration> {
        if let Some(slots) = self.0.slots().as_mut() {
            let worked = slots.by_now().worked / slots.calls_max.max(1);
            return vec![worked; slots.calls_max as usize];
        }
        self.0.of_each(|lane| lane.worked_by_now())
    }

    /// How many lanes settle, or did before the engine ended. Of calls: how many may be under way as configured.
    #[must_use]
    pub fn active(&self) -> usize {
        self.0.active()
    }

    /// How many batches the lanes were done with. Calls are none.
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

/// Calls under way over time.
struct Slots {
    /// As configured.
    calls_max: u32,
    under_way: u32,
    /// Calls that may be under way now.
    allowed: u32,
    total: Total,
    since: Instant,
}

/// Time of calls: two calls of a second each are two seconds.
#[derive(Clone, Copy, Default)]
struct Total {
    worked: Duration,
    allowed: Duration,
}

impl Slots {
    fn by_now(&mut self) -> Total {
        let passed = self.since.elapsed();
        self.since += passed;
        self.total.worked += passed * self.under_way;
        // A limit that fell leaves more calls under way than it allows.
        self.total.allowed += passed * self.allowed.max(self.under_way);
        self.total
    }
}

impl Load {
    /// Registers the metrics under this pipeline's name. They go to the recorder that is installed
    /// by now.
    pub(crate) fn new(pipeline: Arc<str>) -> Self {
        describe_gauge!(
            "engine_busy_share",
            Unit::Count,
            "Share (0 to 1) of the last ten seconds that the lanes were settling, on average; of a pipeline of \
             calls, how many of the allowed calls were under way."
        );
        let busy_share = gauge!("engine_busy_share", "pipeline" => pipeline.clone());
        let (lanes, active) = (RwLock::default(), AtomicUsize::new(0));
        let (batches, slots) = (AtomicU64::new(0), Mutex::default());
        Self { pipeline, lanes, active, batches, slots, busy_share }
    }

    pub(crate) fn pipeline(&self) -> &Arc<str> {
        &self.pipeline
    }

    /// An engine of so many calls at once begins.
    pub(crate) fn engage_calls(&self, calls_max: usize) {
        let total = self.slots().as_mut().map(Slots::by_now).unwrap_or_default();
        let (calls_max, since) = (whole(calls_max), Instant::now());
        let slots = Slots { calls_max, under_way: 0, allowed: calls_max, total, since };
        *self.slots() = Some(slots);
        self.active.store(calls_max as usize, Ordering::Relaxed);
    }

    /// From now on so many calls are under way, of so many that may be.
    pub(crate) fn calls(&self, under_way: usize, allowed: usize) {
        if let Some(slots) = self.slots().as_mut() {
            slots.by_now();
            (slots.under_way, slots.allowed) = (whole(under_way), whole(allowed));
        }
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

    /// Nothing works any more.
    pub(crate) fn all_end(&self) {
        self.of_each(Lane::end);
        if let Some(slots) = self.slots().as_mut() {
            slots.by_now();
            slots.under_way = 0;
        }
    }

    /// A batch is done with.
    pub(crate) fn batch_done(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// How long all lanes or calls together have worked by now, and could have, `since` the start.
    fn total(&self, since: Instant) -> Total {
        if let Some(slots) = self.slots().as_mut() {
            return slots.by_now();
        }
        let worked = self.of_each(|lane| lane.worked_by_now()).into_iter().sum();
        Total { worked, allowed: since.elapsed() * whole(self.active()) }
    }

    fn slots(&self) -> MutexGuard<'_, Option<Slots>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Looks every second until the engine has ended.
pub(crate) async fn run(
    load: Arc<Load>,
    clock: Arc<dyn Clock>,
    show: Option<Show>,
    ended: CancellationToken,
) {
    let (mut looks, began) = (VecDeque::with_capacity(LOOKS + 1), Instant::now());
    let show = |is_over| show.iter().for_each(|show| show(is_over));
    loop {
        looks.push_back(load.total(began));
        load.busy_share.set(share(&looks));
        show(false);
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        tokio::select! {
            () = ended.cancelled() => break,
            () = sleep(clock.until_next(LOOK_EVERY)) => {}
        }
    }
    load.busy_share.set(0.0);
    show(true);
}

/// Of what could be worked between the first look and the last, the share that was.
fn share(looks: &VecDeque<Total>) -> f64 {
    let (Some(first), Some(last)) = (looks.front(), looks.back()) else { return 0.0 };
    let allowed = last.allowed.saturating_sub(first.allowed).as_secs_f64();
    let worked = last.worked.saturating_sub(first.worked).as_secs_f64();
    if allowed > 0.0 { worked / allowed } else { 0.0 }
}
