//! Which process holds what of a shared buffer.

use model::clock::EpochMs;

/// A process that leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: the process it is of, if that was told, and what makes it another than all before.
    pub id: String,
    /// When it is given up unless it is heard of again.
    pub deadline_ms: EpochMs,
    /// The shards it holds.
    pub shards: Vec<u16>,
    /// How many leases it holds.
    pub leases: u64,
    /// How many events those hold.
    pub events: u64,
}

/// Who holds what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The time of the server.
    pub now_ms: EpochMs,
    /// The processes that lease.
    pub members: Vec<Member>,
    /// Events not leased, by shard (the index).
    pub backlog: Vec<u64>,
    /// Events that are not routed to a shard yet.
    pub source: u64,
}
