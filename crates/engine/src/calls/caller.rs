//! The task that owns the schedule: begins steps, and takes in how they ended.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use buffer::{Envelope, Receipt};
use futures_util::FutureExt;
use guard::{Guard, RETRY_AFTER_MAX, Refusal, State};
use model::clock::EpochMs;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::permit::Permit;
use super::schedule::{Id, Schedule, Step};
use super::stats::{Reason, Stats};
use super::together::Together;
use super::{Admission, Called, Calls, Options, Outcome};
use crate::backoff::Backoff;
use crate::given_back::GivenBack;
use crate::shared::Shared;
use crate::{Error, Failure};

/// When a shared guard is asked again that allows no further call: a call of another pipeline may have ended.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// When a buffer is asked again whether this worker has the lease of an event. Until it answers, no call of it begins.
const LEASE_ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long the sight of a lease counts that another process may end at any time.
const LEASE_RECENT: Duration = Duration::from_millis(100);

/// Tasks that have ended and are taken in before others begin.
const TAKEN_MAX: usize = 64;

/// A handler of calls whose type of answer is hidden.
#[async_trait]
pub(crate) trait Dyn: Send + Sync + 'static {
    fn pipeline(&self) -> &str;

    fn validate(&self, engine: &crate::Options) -> Result<(), Error>;

    /// Calls under way at once, at most.
    fn calls_max(&self) -> usize;

    fn guard(&self) -> &Mutex<Guard>;

    /// Takes the place of a lane.
    async fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        queue: mpsc::Receiver<Vec<Envelope>>,
        seed: u64,
    ) -> Result<(), Error>;
}

#[async_trait]
impl<H: Calls> Dyn for (H, Options) {
    fn pipeline(&self) -> &str {
        self.0.pipeline()
    }

    fn validate(&self, engine: &crate::Options) -> Result<(), Error> {
        self.1.validate(engine)
    }

    fn calls_max(&self) -> usize {
        self.1.calls_max
    }

    fn guard(&self) -> &Mutex<Guard> {
        self.0.guard()
    }

    async fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        queue: mpsc::Receiver<Vec<Envelope>>,
        seed: u64,
    ) -> Result<(), Error> {
        Caller::new(self, shared, stats, queue, seed).run().await
    }
}

/// See the module.
pub(crate) struct Caller<H: Calls> {
    pub(super) handler: Arc<(H, Options)>,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<Stats>,
    queue: mpsc::Receiver<Vec<Envelope>>,
    queue_ended: bool,
    pub(super) schedule: Schedule<H::Answer>,
    pub(super) given_back: GivenBack,
    pub(super) tasks: JoinSet<Ended<H>>,
    pub(super) admitting: Together,
    pub(super) recording: Together,
    /// When the guard is asked again.
    pub(super) ask_at: Option<Instant>,
    /// The call that had to wait for the guard last, and why.
    held_back: Option<(Id, Reason)>,
    /// Whether the service failed when it was looked at last.
    is_broken: bool,
    /// When answers are recorded, even if they are few.
    pub(super) lingers_until: Option<Instant>,
    /// Between two attempts of a call.
    retries: Backoff,
    /// Between two attempts at the store.
    pub(super) outages: Backoff,
}

/// A task that has ended.
pub(super) enum Ended<H: Calls> {
    Admitted(Vec<Id>, Result<Vec<Admission>, Failure>, EpochMs),
    /// Whether this worker has the lease of the event, by an answer to what was asked at that moment; nothing if the
    /// buffer did not answer.
    Asked {
        id: Id,
        held: Option<bool>,
        at: Instant,
    },
    Called {
        id: Id,
        permit: Permit<H>,
        called: Called<H::Answer>,
        /// The service may still act on it.
        may_run_on: bool,
    },
    Recorded(Vec<Id>, Result<Vec<Outcome>, Failure>, EpochMs),
    /// These are buried, or gone back; another worker decides about the receipts.
    Finished(Vec<Id>, Result<Vec<Receipt>, Error>),
}

/// Why the caller stops. What is not done is still held.
pub(super) enum Stop {
    Abandoned,
    Failed(Error),
}

impl<H: Calls> Caller<H> {
    fn new(
        handler: Arc<(H, Options)>,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        queue: mpsc::Receiver<Vec<Envelope>>,
        seed: u64,
    ) -> Self {
        let options = &handler.1;
        let retries = Backoff::between(options.backoff_min_ms, options.backoff_max_ms, seed);
        let outages = Backoff::new(&shared.options, seed.wrapping_add(1));
        let batch_max = shared.options.batch_max;
        Self {
            handler,
            shared,
            stats,
            queue,
            queue_ended: false,
            schedule: Schedule::new(),
            given_back: GivenBack::default(),
            tasks: JoinSet::new(),
            admitting: Together::new(batch_max),
            recording: Together::new(batch_max),
            ask_at: None,
            held_back: None,
            is_broken: false,
            lingers_until: None,
            retries,
            outages,
        }
    }

    /// Ends when the queue has ended and everything in it is done or given back, or when the engine gives up.
    async fn run(mut self) -> Result<(), Error> {
        loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Stop::Abandoned) => {
                    self.abandon().await;
                    return Ok(());
                }
                Err(Stop::Failed(error)) => {
                    self.abandon().await;
                    return Err(error);
                }
            }
        }
    }

    /// Begins what may begin, and waits until something has ended or may begin; false at the end.
    async fn turn(&mut self) -> Result<bool, Stop> {
        let now = Instant::now();
        self.schedule.wake(now);
        let _expired = self.given_back.expire(now, |key| self.schedule.has(key));
        self.begin(now);
        if self.queue_ended {
            self.give_back_not_begun().await?;
            if self.schedule.is_empty() && self.tasks.is_empty() {
                return Ok(false);
            }
        }
        let wakes_at = [
            self.schedule.wakes_at(),
            self.given_back.next_look(),
            self.ask_at,
            self.lingers_until,
            self.admitting.paused_until(now),
            self.recording.paused_until(now),
        ];
        let wakes_at = wakes_at.into_iter().flatten().min();
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            () = shared.abandon.cancelled() => return Err(Stop::Abandoned),
            Some(ended) = self.tasks.join_next() => {
                self.take_in(ended).await?;
                // What has ended by now needs no turn of its own.
                for _ in 1..TAKEN_MAX {
                    let Some(ended) = self.tasks.try_join_next() else { break };
                    self.take_in(ended).await?;
                }
            }
            chunk = self.queue.recv(), if !self.queue_ended => match chunk {
                Some(chunk) => self.add(chunk).await?,
                None => self.queue_ended = true,
            },
            () = sleep_until(wakes_at.unwrap_or(now)), if wakes_at.is_some() => {}
        }
        Ok(true)
    }

    /// Takes what was leased. An event whose key waits for earlier ones that this worker lost goes back behind them.
    async fn add(&mut self, chunk: Vec<Envelope>) -> Result<(), Stop> {
        let (next, early): (Vec<_>, Vec<_>) =
            chunk.into_iter().partition(|envelope| self.given_back.take(envelope));
        self.schedule.add(next, Instant::now());
        if early.is_empty() {
            return Ok(());
        }
        let early: Vec<_> = early.into_iter().map(Arc::new).collect();
        self.release(&early, self.given_back.pause()).await
    }

    fn begin(&mut self, now: Instant) {
        self.lingers_until = None;
        self.ask_at = None;
        self.begin_recording(now);
        // At a drain no further call begins: it might not end in time, and would be abandoned.
        if !self.queue_ended {
            self.begin_admission(now);
            self.begin_calls(now);
        }
        self.show(now);
    }

    fn begin_calls(&mut self, now: Instant) {
        while self.schedule.under_way(Step::Call) < self.handler.1.calls_max {
            let Some((id, attempts)) = self.next_call(now) else { break };
            if self.schedule.is_doubtful(id, self.doubtful_after(attempts), now) {
                self.schedule.begin_call(id);
                self.ask_for_lease(id, now);
                continue;
            }
            let begun = self.guard().start(attempts > 0, now.into_std());
            match begun {
                Ok(attempt) => {
                    self.schedule.begin_call(id);
                    let (handler, stats) = (Arc::clone(&self.handler), Arc::clone(&self.stats));
                    self.call(id, attempts + 1, Permit::new(handler, stats, attempt));
                }
                Err(refusal) => {
                    self.hold_back(id, (&refusal).into());
                    let wait = match refusal {
                        Refusal::NoRetry => {
                            let wait = self.retries.after(attempts);
                            self.schedule.postpone(id, now + wait.max(ASK_AGAIN));
                            continue;
                        }
                        Refusal::Full => ASK_AGAIN,
                        Refusal::Broken(wait) | Refusal::TooSoon(wait) => wait,
                    };
                    self.ask_at = Some(now + wait.max(Duration::from_micros(100)));
                    break;
                }
            }
        }
    }

    /// Counts that a call has to wait: once for each reason, however often the guard is asked, and each denied retry.
    fn hold_back(&mut self, id: Id, reason: Reason) {
        if reason == Reason::NoRetry || self.held_back != Some((id, reason)) {
            self.held_back = Some((id, reason));
            self.stats.held_back(reason);
        }
    }

    fn show(&mut self, now: Instant) {
        let under_way = self.schedule.under_way(Step::Call);
        self.stats.now(under_way, self.schedule.waits());
        let (limit, breaker) = {
            let guard = self.guard();
            (guard.limit(now.into_std()) as usize, guard.breaker())
        };
        self.shared.load.calls(under_way, limit.min(self.handler.1.calls_max));
        let is_broken = matches!(breaker, State::Open | State::Probing);
        if is_broken != self.is_broken {
            self.is_broken = is_broken;
            let pipeline = self.handler.0.pipeline();
            if is_broken {
                tracing::warn!(
                    pipeline,
                    "the outside service fails; it gets only probes until it answers"
                );
            } else {
                tracing::info!(pipeline, "the outside service answers again");
            }
        }
    }

    fn next_call(&self, now: Instant) -> Option<(Id, u32)> {
        let (is_probe, limit) = {
            let mut guard = self.guard();
            (guard.is_probing(now.into_std()), guard.limit(now.into_std()) as usize)
        };
        self.schedule.next_call(is_probe, limit.min(self.handler.1.calls_max))
    }

    /// After how long without a sight of its lease another worker may have an event. Where processes share a buffer
    /// whose leases are in their memory, a lease may end before its time.
    fn doubtful_after(&self, attempts: u32) -> Duration {
        let half_lease = Duration::from_millis(self.shared.options.lease_ms / 2);
        let kind = self.shared.buffer.kind();
        match () {
            () if kind.shared && !kind.counts_leases => LEASE_RECENT.min(half_lease),
            () if kind.shared && attempts > 0 => LEASE_ASK_AGAIN.min(half_lease),
            () => half_lease,
        }
    }

    fn ask_for_lease(&mut self, id: Id, now: Instant) {
        let (shared, envelope) = (Arc::clone(&self.shared), self.schedule.envelope(id));
        self.tasks.spawn(async move {
            let lease = Duration::from_millis(shared.options.lease_ms);
            let held = shared.buffer.extend(&[envelope.receipt], lease).await;
            Ended::Asked { id, held: held.map(|count| count > 0).ok(), at: now }
        });
    }

    fn call(&mut self, id: Id, number: u32, permit: Permit<H>) {
        let handler = Arc::clone(&self.handler);
        let envelope = self.schedule.envelope(id);
        let longest = Duration::from_millis(handler.1.timeout_ms);
        self.tasks.spawn(async move {
            let call = AssertUnwindSafe(handler.0.call(&envelope, number)).catch_unwind();
            let unanswered = |outcome| Called { outcome, retry_after: None, answer: None };
            let (called, may_run_on) = match timeout(longest, call).await {
                Ok(Ok(called)) => (called, false),
                Ok(Err(panic)) => {
                    let said = said(&*panic);
                    tracing::error!(pipeline = handler.0.pipeline(), said, "a call panicked");
                    (unanswered(guard::Outcome::Abandoned), true)
                }
                Err(_) => (unanswered(guard::Outcome::TimedOut), false),
            };
            Ended::Called { id, permit, called, may_run_on }
        });
    }

    async fn take_in(&mut self, ended: Result<Ended<H>, JoinError>) -> Result<(), Stop> {
        match ended.map_err(|error| Stop::Failed(Error::Broken(error.to_string())))? {
            Ended::Admitted(ids, admitted, began_ms) => self.admitted(ids, admitted, began_ms),
            Ended::Recorded(ids, recorded, began_ms) => self.recorded(ids, recorded, began_ms),
            Ended::Asked { id, .. } if !self.schedule.holds(id) => Ok(()),
            Ended::Asked { id, held: Some(false), .. } => self.lose(id).await,
            Ended::Asked { id, held: Some(true), at } => {
                self.schedule.seen(id, at);
                self.schedule.again(id);
                Ok(())
            }
            Ended::Asked { id, held: None, .. } => {
                self.schedule.postpone(id, Instant::now() + LEASE_ASK_AGAIN);
                Ok(())
            }
            Ended::Called { id, permit, called, may_run_on } => {
                let Called { outcome, retry_after, answer } = called;
                permit.finish(outcome, retry_after);
                if self.schedule.holds(id) {
                    let least = if may_run_on { self.handler.1.timeout_ms } else { 0 };
                    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                    let least = Duration::from_millis(least).max(asked);
                    self.called(id, least, answer);
                }
                Ok(())
            }
            Ended::Finished(ids, finished) => {
                for receipt in finished.map_err(Stop::Failed)? {
                    if let Some(id) = self.schedule.find(&receipt) {
                        self.lose(id).await?;
                    }
                }
                for id in ids {
                    if self.schedule.holds(id) {
                        let envelope = self.schedule.remove(id);
                        self.done(&[envelope]);
                    }
                }
                Ok(())
            }
        }
    }

    /// A call has ended. Without an answer, the next one begins after `least` or later.
    fn called(&mut self, id: Id, least: Duration, answer: Option<H::Answer>) {
        if let Some(answer) = answer {
            self.schedule.set_answer(id, answer);
            return self.schedule.follow(id, Step::Record);
        }
        self.shared.stats.attempt_failed();
        let attempts = self.schedule.attempts(id).saturating_add(1);
        if attempts >= self.handler.1.attempts_max {
            let answer = self.handler.0.give_up(&self.schedule.envelope(id));
            self.schedule.set_answer(id, answer);
            return self.schedule.follow(id, Step::Record);
        }
        let wait = self.retries.after(attempts).max(least);
        self.schedule.later(id, Step::Call, Instant::now() + wait);
    }

    /// Until when this event is not called: a call of another process for it may still be under way.
    pub(super) fn quiet_until(&self, id: Id) -> Option<Instant> {
        let (shared, envelope) = (&self.shared, self.schedule.envelope(id));
        let longest = Duration::from_millis(self.handler.1.timeout_ms);
        let leased = self.schedule.added(id);
        shared.quiet.until(&envelope, leased, &shared.buffer.kind(), longest)
    }

    pub(super) fn guard(&self) -> MutexGuard<'_, Guard> {
        self.handler.0.guard().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
