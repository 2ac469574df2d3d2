//! Starts an engine's tasks, watches over them, and ends them in order.

use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Receipt};
use guard::Guard;
use model::clock::Clock;
use store::Completions;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::completion::{self, Progress};
use crate::dispatcher::Dispatcher;
use crate::handle::{Handle, Summary};
use crate::held::Held;
use crate::load::{self, Show};
use crate::meters::Meters;
use crate::shared::{Calls, Shared};
use crate::worker::Worker;
use crate::{Error, Handler, Options, calls, heartbeat};

/// How long each of the last steps may take (stop the tasks, release, record) when whatever it
/// waits for does not answer.
const LAST_STEP_MAX: Duration = Duration::from_secs(2);

/// An engine that is not running yet: everything it works with, passed in.
pub struct Service {
    /// Where events come from. Its owner closes it, after the engine has ended.
    pub buffer: Arc<dyn Buffer>,
    /// What settles them.
    pub handler: Handling,
    /// Where finished work is recorded, if anywhere.
    pub completions: Option<Arc<dyn Completions>>,
    /// Latencies and completions follow it.
    pub clock: Arc<dyn Clock>,
    /// What the jitter of retries is drawn from.
    pub seed: u64,
    /// Cancel it to stop: nothing more is leased, what is held is finished within
    /// [`Options::drain_timeout_ms`], and the rest goes back to the buffer.
    pub shutdown: CancellationToken,
}

/// One of the two ways to settle. Clones are the same handler.
#[derive(Clone)]
pub struct Handling(Way);

#[derive(Clone)]
enum Way {
    Lanes(Arc<dyn Handler>),
    Calls(Arc<dyn calls::Dyn>),
}

impl Handling {
    /// Events are called one by one, many at once.
    pub fn calls(handler: impl calls::Calls, options: calls::Options) -> Self {
        Self(Way::Calls(Arc::new((handler, options))))
    }

    /// The pipeline's name.
    #[must_use]
    pub fn pipeline(&self) -> &str {
        match &self.0 {
            Way::Lanes(handler) => handler.pipeline(),
            Way::Calls(handler) => handler.pipeline(),
        }
    }

    /// Calls under way at once, at most; nothing where lanes settle.
    #[must_use]
    pub fn calls_max(&self) -> Option<usize> {
        match &self.0 {
            Way::Lanes(_) => None,
            Way::Calls(handler) => Some(handler.calls_max()),
        }
    }

    /// What bounds the calls; nothing where lanes settle. Handlers that call the same service have the same one.
    #[must_use]
    pub fn guard(&self) -> Option<&std::sync::Mutex<Guard>> {
        match &self.0 {
            Way::Lanes(_) => None,
            Way::Calls(handler) => Some(handler.guard()),
        }
    }

    /// Registers the metrics of the pipeline with the recorder that is installed by now.
    #[must_use]
    pub fn meters(&self) -> Meters {
        let meters = Meters::new(self.pipeline());
        if let Way::Calls(_) = &self.0 {
            let _registered = meters.calls();
        }
        meters
    }

    /// Whether an engine with these options can run it.
    ///
    /// # Errors
    /// [`Error::Option`], which names the first field out of bounds.
    pub fn validate(&self, options: &Options) -> Result<(), Error> {
        options.validate()?;
        match &self.0 {
            Way::Lanes(_) => Ok(()),
            Way::Calls(handler) => handler.validate(options),
        }
    }
}

impl<H: Handler> From<Arc<H>> for Handling {
    fn from(handler: Arc<H>) -> Self {
        Self(Way::Lanes(handler))
    }
}

impl From<Arc<dyn Handler>> for Handling {
    fn from(handler: Arc<dyn Handler>) -> Self {
        Self(Way::Lanes(handler))
    }
}

impl Service {
    /// Starts the engine on the current tokio runtime. Metrics go to the recorder that is installed
    /// by now.
    ///
    /// # Errors
    /// [`Error::Option`] when an option is out of bounds.
    pub fn start(self, options: Options) -> Result<Handle, Error> {
        self.handler.validate(&options)?;
        let meters = self.handler.meters();
        self.start_again(options, &meters)
    }

    /// Starts the engine as [`Service::start`] does, and continues the counts of `meters`: those of an
    /// engine of the same pipeline, which has ended. It may have had another number of lanes. The engine
    /// leases no event before those that the last one held or gave back can be leased again.
    ///
    /// # Errors
    /// [`Error::Option`] when an option is out of bounds.
    pub fn start_again(self, options: Options, meters: &Meters) -> Result<Handle, Error> {
        self.handler.validate(&options)?;
        let Self { buffer, handler, completions, clock, seed, shutdown } = self;
        let options = match handler.calls_max() {
            Some(calls_max) => {
                meters.load.engage_calls(calls_max);
                Options { lanes: 1, ..options }
            }
            None => {
                meters.load.engage(options.lanes);
                options
            }
        };
        meters.quiet.begin(&*clock);
        let progress = Arc::new(Progress::new(handler.pipeline().into()));
        let shared = Arc::new(Shared {
            buffer,
            clock,
            stats: Arc::clone(&meters.stats),
            progress,
            load: Arc::clone(&meters.load),
            leftover: Arc::clone(&meters.leftover),
            quiet: Arc::clone(&meters.quiet),
            calls: Calls::default(),
            held: (0..options.lanes).map(|_| Held::default()).collect(),
            room: Semaphore::new(options.held_max),
            options,
            leasing: Mutex::new(()),
            stop: shutdown.child_token(),
            abandon: CancellationToken::new(),
            ended: CancellationToken::new(),
        });

        let mut tasks = JoinSet::new();
        let mut lanes = Vec::new();
        for lane in 0..shared.options.lanes {
            let (sender, queue) = mpsc::channel(shared.options.held_max);
            lanes.push(sender);
            let seed = seed.wrapping_add(1 + lane as u64);
            let shared = Arc::clone(&shared);
            match handler.0.clone() {
                Way::Lanes(handler) => {
                    tasks.spawn(Worker::new(shared, handler, lane, queue, seed).run())
                }
                Way::Calls(handler) => {
                    tasks.spawn(handler.run(shared, meters.calls(), queue, seed))
                }
            };
        }
        let backoff = Backoff::new(&shared.options, seed);
        tasks.spawn(Dispatcher { shared: Arc::clone(&shared), lanes, backoff }.run());

        let shown = shown(&handler, meters, &shared);
        let ending = supervise(Arc::clone(&shared), tasks, completions, shown, shutdown);
        let supervisor = tokio::spawn(ending);
        Ok(Handle { shared, supervisor })
    }
}

/// What shows an engine of calls, once a second and at its end.
fn shown(handler: &Handling, meters: &Meters, shared: &Arc<Shared>) -> Option<Show> {
    let Way::Calls(handler) = &handler.0 else { return None };
    let (handler, stats, shared) = (Arc::clone(handler), meters.calls(), Arc::clone(shared));
    let show = move |is_over: bool| {
        if is_over {
            stats.over(handler.guard());
        } else {
            stats.look(shared.held(), handler.guard(), Instant::now().into_std());
        }
    };
    show(false);
    Some(Box::new(show))
}

async fn supervise(
    shared: Arc<Shared>,
    mut tasks: JoinSet<Result<(), Error>>,
    completions: Option<Arc<dyn Completions>>,
    shown: Option<Show>,
    shutdown: CancellationToken,
) -> Result<Summary, Error> {
    // Whatever way this ends, so does what runs beside it, and whoever waits for a drain.
    let _ended = shared.ended.clone().drop_guard();
    let heartbeat = tokio::spawn(heartbeat::run(Arc::clone(&shared)));
    let (load, clock) = (Arc::clone(&shared.load), Arc::clone(&shared.clock));
    let load = tokio::spawn(load::run(load, clock, shown, shared.ended.clone()));
    let recorder = completions.map(|port| {
        let interval = Duration::from_millis(shared.options.completion_interval_ms);
        let progress = Arc::clone(&shared.progress);
        tokio::spawn(completion::run(progress, port, interval, shared.ended.clone()))
    });

    let drain_timeout = Duration::from_millis(shared.options.drain_timeout_ms);
    let in_time = async {
        shutdown.cancelled().await;
        sleep(drain_timeout).await;
    };
    let drain_is_over = async {
        tokio::select! {
            () = in_time => {}
            () = shared.abandon.cancelled() => {}
        }
    };
    let ended = tokio::select! {
        ended = all_end(&mut tasks) => ended,
        () = drain_is_over => Ok(()),
    };
    shared.stop.cancel();
    shared.abandon.cancel();
    // What stopped the engine is known; how the others end adds nothing.
    let others_end = async { while tasks.join_next().await.is_some() {} };
    if timeout(LAST_STEP_MAX, others_end).await.is_err() {
        tracing::warn!("a lane does not stop; going on without it");
        tasks.abort_all();
    }

    heartbeat.abort();
    shared.stats.none_waits_alone();
    shared.load.all_end();
    let released = release(&shared).await;
    shared.ended.cancel();
    if timeout(LAST_STEP_MAX, load).await.is_err() {
        tracing::warn!("the load can't be looked at to the end");
    }
    if let Some(recorder) = recorder
        && timeout(LAST_STEP_MAX, recorder).await.is_err()
    {
        tracing::warn!("the last completion could not be recorded in time");
    }
    ended.map(|()| Summary { counts: shared.stats.counts(), released })
}

/// Ends with the first failure, or when there is nothing left that could fail.
async fn all_end(tasks: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(ended) => ended?,
            Err(error) => return Err(Error::Broken(error.to_string())),
        }
    }
    Ok(())
}

/// Gives back all that is still held. Returns how many events that were. What can't be released is left to
/// the next engine of the pipeline.
async fn release(shared: &Shared) -> u64 {
    // No lease is extended any more.
    let leased_until = Instant::now() + Duration::from_millis(shared.options.lease_ms);
    let receipts: Vec<Receipt> = shared.held.iter().flat_map(Held::receipts).collect();
    if receipts.is_empty() {
        return 0;
    }
    let held = receipts.len();
    match timeout(LAST_STEP_MAX, shared.buffer.release(&receipts, Duration::ZERO)).await {
        Ok(Ok(released)) => return released as u64,
        Ok(Err(error)) => {
            tracing::warn!(
                %error,
                held,
                "events could not be released; they come again when their leases expire"
            );
        }
        Err(_) => {
            tracing::warn!(
                held,
                "events could not be released in time; they come again when their leases expire"
            );
        }
    }
    shared.leftover.stay_leased(receipts, leased_until);
    0
}
