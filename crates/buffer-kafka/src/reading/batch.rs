//! What is read, and how much of it goes to the caller at once.

use model::clock::EpochMs;

/// Most records of one batch.
pub const BATCH_RECORDS_MAX: usize = 1_000;
/// Most bytes of keys and values of one batch (1 MiB), but for the record that goes past it.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Most batches that wait for the caller.
pub const BATCHES_MAX: usize = 2;

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end that each partition has at the call.
    End,
    /// On and on, also into partitions that are added, until [`Records`](super::Records) is dropped.
    Dropped,
}

/// A record as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time: the producer's, or the broker's where the topic says so; 0 without one.
    pub at_ms: EpochMs,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// Records that go to the caller together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}
