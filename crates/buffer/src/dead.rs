//! Dead letters: events that could not be settled, kept with the reason until a person decides.

use async_trait::async_trait;
use model::Event;
use model::clock::EpochMs;

use crate::Error;

/// One buried event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place among the dead letters; never used twice.
    pub seq: u64,
    /// Why it was buried.
    pub reason: String,
    /// When it was buried.
    pub buried_at_ms: EpochMs,
    /// When the buffer had accepted it.
    pub accepted_at_ms: EpochMs,
    /// How many times it had been leased.
    pub attempts: u32,
    /// The event, as it was offered.
    pub event: Event,
}

/// The dead letters of a buffer.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Up to `max` letters with a `seq` of at least `from`, in order of `seq`.
    ///
    /// # Errors
    /// If they can't be read.
    async fn list(&self, from: u64, max: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Offers these again, as new events of the buffer, and drops them, in one step as far as a later start
    /// can tell: after a crash each is a letter or an event, never neither. Where a backend has no such
    /// step, a few may be both, and their [`DeadLetter::reason`] says so. Unknown ones are passed over.
    /// Returns how many were offered.
    ///
    /// # Errors
    /// If they can't be read, offered or dropped.
    async fn replay(&self, seqs: &[u64]) -> Result<usize, Error>;

    /// Forgets these for good. Unknown ones are passed over. Returns how many were dropped.
    ///
    /// # Errors
    /// If it can't be made durable.
    async fn drop_letters(&self, seqs: &[u64]) -> Result<usize, Error>;
}
