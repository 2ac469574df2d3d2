//! What a worker holds while it works.

use model::Event;
use model::clock::EpochMs;

/// Names a leased event until it is acked, released, buried, or its deadline passes.
///
/// `epoch` changes each time the event is leased, so that a worker whose lease expired can't act
/// on the lease of the worker that has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    /// The event's place in the buffer, as the backend counts.
    pub seq: u64,
    /// Which lease of that event.
    pub epoch: u32,
}

/// An event on lease.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Names this lease.
    pub receipt: Receipt,
    /// When the buffer accepted the event.
    pub accepted_at_ms: EpochMs,
    /// How many times it has been leased, this one included (as far as the backend can know).
    pub attempt: u32,
    /// Which stretch of this process's sole care for the event's key this is: while it stays the
    /// same, nobody else has settled events of that key in between, so what was remembered of it
    /// still holds. Where no other process can lease, it is always 0.
    pub term: u64,
    /// Which part of the buffer the event's key belongs to, where the buffer gives each part to one
    /// process at a time. All processes number the parts alike, but for those of a move's target
    /// while some processes are restarted after the move. `None` where no other process can lease, and
    /// where keys have no owner (SQS, a topic of others in Kafka).
    pub shard: Option<u32>,
    /// The event.
    pub event: Event,
}
