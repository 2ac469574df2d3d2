//! What a domain plugs into the engine.

use async_trait::async_trait;
use buffer::Envelope;
use model::{Class, Classify};

/// A domain: makes the lanes that settle its events.
pub trait Handler: Send + Sync + 'static {
    /// The pipeline's name, in metrics and in `pipeline_completion_log`.
    fn pipeline(&self) -> &str;

    /// A lane with fresh state. Called once for each lane at the start, and again after a lane
    /// panicked: whatever the lane knew must then be read back from the store.
    fn lane(&self) -> Box<dyn Lane>;
}

/// Settles one key's events in order. A lane is never called twice at once.
#[async_trait]
pub trait Lane: Send {
    /// Applies the effects of `batch`, all of them together with their dedupe marks in one
    /// transaction, and returns one outcome for each event, in the order of the batch.
    ///
    /// # Errors
    /// A [`Failure`] means that nothing of the batch was applied as far as the lane knows (a commit
    /// may have gone through unheard: the next attempt dedupes), and that the lane's own state is
    /// as if the batch had never been seen.
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure>;

    /// The engine buries this event, which the store refused each time; the lane did not see it
    /// among its own outcomes.
    fn buried(&mut self, _event: &Envelope) {}
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its effect is in the store now.
    Settled,
    /// Its effect was in the store already (or earlier in this batch).
    Duplicate,
    /// It can never be settled; the engine buries it with this reason.
    Rejected(String),
}

/// Why a whole batch could not be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store or a service can't be reached: no event is to blame. Retried for ever.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// This attempt failed for a cause that may pass, or that may lie in one of the events. Counts
    /// towards `attempts_max`.
    #[error("failed: {0}")]
    Retryable(String),
    /// The store refused the batch, for one of its events or for a reason that concerns every event.
    /// The engine bisects; an event that is refused alone waits, and is buried after
    /// `attempts_max` times if the lane settled others in between.
    #[error("refused: {0}")]
    Refused(String),
    /// Some event of the batch is bad for certain and the lane can't tell which: the engine bisects.
    #[error("rejected: {0}")]
    Rejected(String),
    /// Nothing further can be trusted: the engine stops.
    #[error("fatal: {0}")]
    Fatal(String),
}

impl Classify for Failure {
    fn class(&self) -> Class {
        match self {
            Self::Unavailable(_) | Self::Retryable(_) | Self::Refused(_) => Class::Retryable,
            Self::Rejected(_) => Class::Rejected,
            Self::Fatal(_) => Class::Fatal,
        }
    }
}
