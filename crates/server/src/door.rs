//! One way in: how what comes in is read, the buffer it goes into, and what is counted of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use buffer::Buffer;
use model::clock::EpochMs;
use model::{Class, Classify as _, Event};
use tokio::time::timeout;

use crate::Readiness;
use crate::answer::Refusal;
use crate::meters::Taken;

/// See the module.
pub struct Door {
    pub(crate) buffer: Arc<dyn Buffer>,
    pub(crate) taken: Taken,
    /// The pipeline, for the log; nothing for a door that is the process's own.
    pipeline: Option<String>,
    reads: Box<dyn Reads>,
    /// The buffer could not be reached when it was last tried: said once in the log, not each time.
    unreachable: AtomicBool,
}

/// Makes events of what comes in at a door.
pub trait Reads: Send + Sync + 'static {
    /// The event that `json` is; `key` is the one in the path, where there is one.
    ///
    /// # Errors
    /// If it is none; names the field.
    fn read(&self, json: &[u8], key: Option<&str>, now_ms: EpochMs) -> Result<Event, Bad>;

    /// Whether the process is not ready while its buffer takes no more events. Otherwise only this door
    /// refuses.
    fn is_vital(&self) -> bool;
}

/// Why bytes are no event.
pub struct Bad {
    /// The field that is wrong.
    pub field: Cow<'static, str>,
    /// What is wrong with it. No value of the event: a card number may be in any field.
    pub problem: String,
}

/// Why an offer was not taken.
pub(crate) enum NotTaken {
    /// The buffer said so.
    Buffer(buffer::Error),
    /// The buffer said nothing within [`crate::Options::offer_timeout`].
    Silent(Duration),
}

impl Door {
    /// Events of `pipeline` into `buffer`, read by `reads`. What is taken is counted by the pipeline.
    #[must_use]
    pub fn of_pipeline(pipeline: &str, buffer: Arc<dyn Buffer>, reads: impl Reads) -> Self {
        Self::new(buffer, Taken::of("pipeline", pipeline), Some(pipeline.to_owned()), reads)
    }

    /// Events into `buffer`, read by `reads`.
    pub(crate) fn new(
        buffer: Arc<dyn Buffer>,
        taken: Taken,
        pipeline: Option<String>,
        reads: impl Reads,
    ) -> Self {
        let reads = Box::new(reads);
        Self { buffer, taken, pipeline, reads, unreachable: AtomicBool::new(false) }
    }

    /// See [`Reads::read`].
    pub(crate) fn read(
        &self,
        json: &[u8],
        key: Option<&str>,
        now_ms: EpochMs,
    ) -> Result<Event, Bad> {
        self.reads.read(json, key, now_ms)
    }

    /// Offers `events`, and waits a bounded time for the buffer to say that it has them.
    pub(crate) async fn offer(&self, events: &[Event], wait: Duration) -> Result<(), NotTaken> {
        match timeout(wait, self.buffer.offer(events)).await {
            Ok(Ok(())) => {
                // Loaded before it is stored: the line stays shared among the processors.
                if self.unreachable.load(Ordering::Relaxed) {
                    self.unreachable.store(false, Ordering::Relaxed);
                    tracing::info!(pipeline = self.pipeline, "the buffer takes events again");
                }
                Ok(())
            }
            Ok(Err(error)) => Err(NotTaken::Buffer(error)),
            Err(_elapsed) => Err(NotTaken::Silent(wait)),
        }
    }

    /// The answer to `events` good events that were not taken. What the buffer said goes to the
    /// log: it may name paths and hosts, which are none of the client's business.
    pub(crate) fn refuse(
        &self,
        readiness: &Readiness,
        not_taken: NotTaken,
        events: usize,
    ) -> Refusal {
        let events = events as u64;
        let error = match not_taken {
            NotTaken::Buffer(buffer::Error::Full { retry_after, .. }) => {
                self.taken.refused_full.increment(events);
                let begun = u64::from(retry_after.subsec_nanos() > 0);
                return Refusal::full(retry_after.as_secs().saturating_add(begun));
            }
            NotTaken::Buffer(buffer::Error::Unsupported(_)) => {
                self.taken.rejected.increment(events);
                return Refusal::read_only();
            }
            NotTaken::Buffer(error) if error.class() == Class::Rejected => {
                self.taken.rejected.increment(events);
                let problem = "the event is larger than the buffer takes; send a smaller one";
                return Refusal::of_field(StatusCode::PAYLOAD_TOO_LARGE, "event", problem);
            }
            NotTaken::Buffer(error) => error,
            NotTaken::Silent(wait) => {
                buffer::Error::Unavailable(format!("no answer within {wait:?}"))
            }
        };
        self.taken.refused_unavailable.increment(events);
        if error.class() == Class::Fatal {
            let newly = if self.reads.is_vital() {
                readiness.block("buffer", "takes no more events; see the log")
            } else {
                !self.unreachable.swap(true, Ordering::Relaxed)
            };
            if newly {
                tracing::error!(%error, pipeline = self.pipeline, "no more events are taken");
            }
        } else if !self.unreachable.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                pipeline = self.pipeline,
                "events are refused until the buffer can be reached"
            );
        }
        Refusal::unavailable("the buffer can't take events now; try again later")
    }
}
