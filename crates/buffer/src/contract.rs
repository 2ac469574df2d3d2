//! What a backend does, what it is, and how much it holds.

use std::time::Duration;

use async_trait::async_trait;
use model::Event;

use crate::{DeadLetters, Envelope, Error, Receipt};

/// What a backend can do, and what it survives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The name in URLs and metrics, e.g. `journal`.
    pub name: &'static str,
    /// What an accepted event survives, in plain words.
    pub survives: &'static str,
    /// Whether an accepted event survives at least the death of this process.
    pub durable: bool,
    /// Whether several processes may lease from it at once. [`Envelope::term`] then says when what
    /// a process knows of a key may be out of date.
    pub shared: bool,
    /// Whether [`Envelope::attempt`] counts the leases of all processes, also of those that have ended.
    pub counts_leases: bool,
}

/// How much is in a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events waiting to be leased, released ones among them.
    pub ready: u64,
    /// Events held by a lease.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest event that is neither acked nor buried was accepted.
    pub oldest_accepted_ms: Option<model::clock::EpochMs>,
}

/// A durable queue with leases.
///
/// Every method may be called from many tasks at once.
#[async_trait]
pub trait Buffer: Send + Sync + 'static {
    /// Holds all of `events`, in order, or none of them as far as the caller may count on.
    ///
    /// Returns only when they are durable as [`Kind::survives`] says. After an error some may be
    /// held all the same (the answer, not the write, may have been what failed): offering them
    /// again is always right, because effects are deduped by id.
    ///
    /// # Errors
    /// [`Error::Full`] when a bound is reached, [`Error::TooMany`] when this batch could never fit,
    /// [`Error::Poisoned`] after a failed fsync, [`Error::Closed`] after [`Buffer::close`].
    async fn offer(&self, events: &[Event]) -> Result<(), Error>;

    /// Leases up to `max` events; waits up to `wait` for the first one. An empty vector means that
    /// none came in time (or the buffer closed).
    ///
    /// # Errors
    /// If the backend can't be read.
    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error>;

    /// Done for good. A receipt that is no longer valid (its lease expired) is passed over: the
    /// event comes again and is deduped. Returns how many were acked.
    ///
    /// # Errors
    /// If the backend can't record it; the events then come again.
    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error>;

    /// Back to the buffer, to be leased again after `delay`. Stale receipts are passed over.
    /// Returns how many were released.
    ///
    /// # Errors
    /// If the backend can't record it; the events then come again when their lease expires.
    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error>;

    /// To the dead letters, durably, and then acked. Each comes with its reason. Stale receipts are
    /// passed over. Returns how many were buried.
    ///
    /// # Errors
    /// If the dead letters can't be made durable (or are full); the events stay leased.
    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error>;

    /// Moves the deadline of these leases to `by` from now. Stale receipts are passed over.
    /// Returns how many were extended.
    ///
    /// # Errors
    /// If the backend can't record it.
    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error>;

    /// How much is held.
    ///
    /// # Errors
    /// If the backend can't be read.
    async fn depth(&self) -> Result<Depth, Error>;

    /// How much of it its spill holds, which is read while the buffer is out of reach; `None` without a spill.
    ///
    /// # Errors
    /// If the spill can't be read.
    async fn spilled(&self) -> Result<Option<Depth>, Error> {
        Ok(None)
    }

    /// Places that this process read past since it opened the buffer and that held no event. Where
    /// [`Depth::ready`] is an upper bound, it counted each of them until then; elsewhere there are none.
    fn empty_places(&self) -> u64 {
        0
    }

    /// What this backend is.
    fn kind(&self) -> Kind;

    /// The dead letters of this buffer.
    fn dead_letters(&self) -> &dyn DeadLetters;

    /// Refuses further offers, ends waiting leases, makes progress durable. May be called twice.
    ///
    /// # Errors
    /// If progress could not be made durable; the events concerned come again.
    async fn close(&self) -> Result<(), Error>;
}
