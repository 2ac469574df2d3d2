//! What a proxy is to do, as its threads share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How soon a change of fault is noticed by whoever waits for something else.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// What a proxy does to every connection, new ones and those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Passes on everything.
    None,
    /// Passes on everything, each way this much later, so that a round trip takes twice as much
    /// longer.
    Delay(Duration),
    /// Passes on what the client sends, and swallows what the server answers. A connection that
    /// lost an answer this way is cut when the fault ends: no network leaves a hole in a stream.
    DropReplies,
    /// Passes on nothing and keeps every connection open. What was sent meanwhile arrives when the
    /// fault ends.
    HalfOpen,
    /// Cuts every connection and refuses new ones.
    Refuse,
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) fault: Fault,
    /// Counts the cuts; a connection that began under an earlier count is to end.
    pub(super) cuts: u64,
    pub(super) ended: bool,
}

pub(super) fn lock(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}
