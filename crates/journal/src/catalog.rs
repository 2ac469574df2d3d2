//! The segments of an open log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fs::File;

/// The segments, as far as they may be read.
pub(crate) struct Catalog {
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// One past the last durable record.
    pub(crate) next_seq: u64,
    /// The segment that is written to.
    pub(crate) writing: Option<u64>,
}

pub(crate) struct Segment {
    pub(crate) file: Arc<dyn File>,
    /// One past the last readable byte.
    pub(crate) end: u64,
    pub(crate) next_seq: u64,
}
