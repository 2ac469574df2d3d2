//! The engine's second way to settle: events that need a slow answer of an outside service.
//!
//! ```text
//!            admit: one read for many        call: many at once           record: one transaction for many
//!   lease ──────────► still to be called ──────────► answer ──────────────────► ack
//!                          └ done already ─────────────────────────────────────► ack
//! ```
//!
//! One key has one call under way, and none before the answer of the event before it is recorded. Different keys
//! finish out of order. A [`Guard`] says whether another call may begin.

mod caller;
mod finish;
mod permit;
mod quiet;
mod recording;
mod schedule;
mod stats;
mod together;

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use buffer::Envelope;
use guard::Guard;

use crate::options::within;
use crate::{Error, Failure};

pub(crate) use caller::Dyn;
pub(crate) use quiet::Quiet;
pub(crate) use stats::Stats;

/// Most calls under way at once, in one engine.
pub const CALLS_MAX: usize = 10_000;

/// The longest time of [`Outcome::Later`].
pub const LATER_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A domain whose events need an answer of an outside service.
#[async_trait]
pub trait Calls: Send + Sync + 'static {
    /// What the service answered, as far as it is recorded.
    type Answer: Send + Sync + 'static;

    /// The pipeline's name, in metrics and in `pipeline_completion_log`.
    fn pipeline(&self) -> &str;

    /// What bounds the calls. Pipelines that call the same service may share one.
    fn guard(&self) -> &Mutex<Guard>;

    /// Says with one read which of these events still need a call, one admission for each, in their order. All
    /// of them have different keys.
    ///
    /// # Errors
    /// As for [`Lane::settle`](crate::Lane::settle).
    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure>;

    /// Calls once. It is dropped at its time-out and at a forced stop; the service may act on it all the same.
    /// `attempt` counts from 1, since this process has the event.
    async fn call(&self, event: &Envelope, attempt: u32) -> Called<Self::Answer>;

    /// The answer to record of an event that had [`Options::attempts_max`] attempts without one.
    fn give_up(&self, event: &Envelope) -> Self::Answer;

    /// Records these answers in one transaction; one outcome for each, in their order. All of them have different
    /// keys. Recording an answer twice must have the effect of recording it once.
    ///
    /// # Errors
    /// As for [`Lane::settle`](crate::Lane::settle).
    async fn record(&self, answers: &[(&Envelope, &Self::Answer)])
    -> Result<Vec<Outcome>, Failure>;
}

/// Whether an event still needs a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Call,
    /// It does not.
    Done(Outcome),
}

/// How one call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called<A> {
    /// What it says about the service.
    pub outcome: guard::Outcome,
    /// The pause that the service asked for.
    pub retry_after: Option<Duration>,
    /// The answer to record; without one it is called again.
    pub answer: Option<A>,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect is in the store now.
    Settled,
    /// Its effect was in the store already.
    Duplicate,
    /// It can never be settled; the engine buries it with this reason.
    Rejected(String),
    /// The store has it, and it leaves the buffer: the domain deals with it from there.
    Parked,
    /// It is admitted again after this time. Until then it keeps its key and its lease, and no slot. It counts
    /// towards [`held_max`](crate::Options::held_max), and so do the events behind it of the same key.
    Later(Duration),
}

/// The bounds of an engine's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Calls under way at once: 1 to [`CALLS_MAX`], and no more than the engine's `held_max`. The guard may allow
    /// fewer.
    pub calls_max: usize,
    /// How long one call may take, in milliseconds: 1 to an hour, and less than the engine's `lease_ms` and
    /// `drain_timeout_ms`.
    pub timeout_ms: u64,
    /// Attempts that an event may have in this process: 1 to 10,000. After the last one the handler gives up.
    pub attempts_max: u32,
    /// The most that the first retry waits, in milliseconds; doubled for each further one, with full jitter.
    pub backoff_min_ms: u64,
    /// The most that any retry waits, in milliseconds: `backoff_min_ms` to a day.
    pub backoff_max_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            calls_max: 100,
            timeout_ms: 5_000,
            attempts_max: 10,
            backoff_min_ms: 100,
            backoff_max_ms: 30_000,
        }
    }
}

impl Options {
    /// # Errors
    /// [`Error::Option`], which names the first field out of bounds.
    pub(crate) fn validate(&self, engine: &crate::Options) -> Result<(), Error> {
        let calls_max = CALLS_MAX.min(engine.held_max);
        within("calls_max", self.calls_max as u64, 1..=calls_max as u64)?;
        let shorter = engine.lease_ms.min(engine.drain_timeout_ms).saturating_sub(1);
        within("timeout_ms", self.timeout_ms, 1..=shorter.min(3_600_000))?;
        within("attempts_max", self.attempts_max.into(), 1..=10_000)?;
        within("backoff_min_ms", self.backoff_min_ms, 1..=86_400_000)?;
        within("backoff_max_ms", self.backoff_max_ms, self.backoff_min_ms..=86_400_000)
    }
}
