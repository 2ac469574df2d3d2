//! The memory backend: the reference model every other backend is held against.
//!
//! Simple before fast: one lock, one map of what is held, and three orders over it (fresh, ready
//! again, due later). Nothing survives the process.
//!
//! What it settles for all backends
//! - Events ready again (released and due, or expired) go before fresh ones, lowest `seq` first.
//! - A receipt is valid until its event is acked, released, buried or leased again. A lease whose
//!   deadline has passed, but whose event nobody has leased since, can still be acted on.
//! - After [`Buffer::close`] leases come back empty, and what is held can
//!   still be acked, released or buried.

mod backend;
mod letters;
mod options;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::Event;
use model::clock::Clock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use state::State;

pub use backend::Backend;
pub use options::Options;

/// How often a waiting lease looks at the clock while something is leased or delayed: the clock is
/// passed in and may be stepped by hand, so no timer can know when it will be due.
const POLL: Duration = Duration::from_millis(20);

/// A buffer in this process's memory.
pub struct Memory {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Told whenever something becomes ready, or a new deadline is set, or the buffer closes.
    changed: Notify,
}

impl Memory {
    /// An empty buffer with these bounds, whose deadlines follow `clock`.
    #[must_use]
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self { state: Mutex::new(State::new(options)), clock, changed: Notify::new() }
    }

    /// No method leaves the state half changed, so a panic elsewhere while it was locked is no
    /// reason to refuse it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be leased now, or else how long to sleep before looking again.
    fn try_lease(&self, max: usize) -> Result<Vec<Envelope>, Duration> {
        let mut state = self.state();
        let now_ms = self.clock.uptime_ms();
        let leased = state.lease(max, now_ms);
        if !leased.is_empty() || state.closed || max == 0 {
            return Ok(leased);
        }
        match state.next_due_ms() {
            Some(due_ms) => {
                let left_ms = u64::try_from(due_ms - now_ms).unwrap_or(0).max(1);
                Err(Duration::from_millis(left_ms).min(POLL))
            }
            None => Err(Duration::MAX),
        }
    }
}

#[async_trait]
impl Buffer for Memory {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        self.state().offer(events, self.clock.now_ms())?;
        self.changed.notify_waiters();
        Ok(())
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        let started = Instant::now();
        loop {
            // Made before looking, so that what happens between looking and sleeping wakes us.
            let changed = self.changed.notified();
            let pause = match self.try_lease(max) {
                Ok(leased) => return Ok(leased),
                Err(pause) => pause,
            };
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            // Either way we look again: a wake-up and a passed deadline ask for the same thing.
            let _ = tokio::time::timeout(pause.min(left), changed).await;
        }
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        Ok(self.state().ack(receipts))
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        let released = self.state().release(receipts, after(self.clock.uptime_ms(), delay));
        self.changed.notify_waiters();
        Ok(released)
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.state().bury(burials, self.clock.now_ms())
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        let extended = self.state().extend(receipts, after(self.clock.uptime_ms(), by));
        self.changed.notify_waiters();
        Ok(extended)
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.state().depth(self.clock.uptime_ms()))
    }

    fn kind(&self) -> Kind {
        Kind {
            name: "memory",
            survives: "nothing: what is held is gone when the process ends",
            durable: false,
            shared: false,
            counts_leases: false,
        }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self
    }

    async fn close(&self) -> Result<(), Error> {
        self.state().closed = true;
        self.changed.notify_waiters();
        Ok(())
    }
}

fn after(now_ms: i64, delay: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use model::clock::Manual;

    use super::*;

    fn memory(options: Options) -> Memory {
        Memory::new(options, Arc::new(Manual::at(0)))
    }

    #[tokio::test]
    async fn the_bound_in_bytes_refuses_and_frees_like_the_one_in_events() {
        let memory = memory(Options { bytes_max: 10, ..Options::default() });
        let five = Event::new(b"a", b"b", b"ccc").unwrap();
        memory.offer(&[five.clone(), five.clone()]).await.unwrap();
        let refused = memory.offer(std::slice::from_ref(&five)).await.unwrap_err();
        assert!(matches!(&refused, Error::Full { bound, .. } if bound == "bytes_max = 10 bytes"));
        let never = memory.offer(&vec![five.clone(); 3]).await.unwrap_err();
        assert!(matches!(never, Error::TooMany { got: 15, max: 10 }));

        let leased = memory.lease(1, Duration::ZERO).await.unwrap();
        memory.ack(&[leased[0].receipt]).await.unwrap();
        memory.offer(&[five]).await.unwrap();
    }

    #[tokio::test]
    async fn a_lease_without_end_in_sight_ends_when_an_event_comes() {
        let memory = Arc::new(memory(Options::default()));
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.lease(1, Duration::MAX).await.unwrap() }
        });
        memory.offer(&[Event::new(b"a", b"", b"").unwrap()]).await.unwrap();
        assert_eq!(waiting.await.unwrap().len(), 1);
    }
}
