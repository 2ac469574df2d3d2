//! Pipelines, the buffers they drain, and the ledger their handlers settle into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use engine::{Failure, Handler, Lane, Outcome};
use model::Event;
use model::clock::Clock;
use runtime::fleet::{OnFailure, Options};
use runtime::pipeline::Settling;
use runtime::{Entry, Fleet, Pipeline, restart};
use tokio::time::Instant;

pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// No test waits longer, most of it on the paused clock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3_600);

/// Time that follows tokio's, so that pausing one pauses the other.
struct Paused(Instant);

impl Clock for Paused {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000 + self.uptime_ms()
    }

    fn uptime_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).expect("tests are short")
    }
}

/// A store that one pipeline settles into, and how it behaves.
#[derive(Default)]
pub(crate) struct Store {
    applied: Mutex<(BTreeSet<String>, Vec<String>)>,
    /// Nothing further can be trusted.
    pub(crate) is_broken: AtomicBool,
    /// It refuses the events of the key `k003`.
    pub(crate) refuses: AtomicBool,
    /// How long each batch takes.
    pub(crate) takes_ms: AtomicU64,
    pub(crate) attempts: AtomicU64,
}

impl Store {
    /// All ids settled, in order.
    pub(crate) fn settled(&self) -> Vec<String> {
        self.applied.lock().unwrap().1.clone()
    }

    /// Asserts that each key's events were settled in the order offered, from the first on, without a
    /// gap. Returns how many were settled.
    pub(crate) fn assert_order(&self) -> usize {
        let settled = self.settled();
        let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
        for id in &settled {
            let (key, number) = id.split_once('-').unwrap();
            let next = by_key.entry(key.to_owned()).or_default();
            assert_eq!(number.parse::<usize>().unwrap(), *next, "{key} lost its order");
            *next += 1;
        }
        settled.len()
    }
}

struct Scripted {
    name: String,
    store: Arc<Store>,
}

impl Handler for Scripted {
    fn pipeline(&self) -> &str {
        &self.name
    }

    fn lane(&self) -> Box<dyn Lane> {
        Box::new(Scripted { name: self.name.clone(), store: self.store.clone() })
    }
}

#[async_trait]
impl Lane for Scripted {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        self.store.attempts.fetch_add(1, Ordering::SeqCst);
        let takes = Duration::from_millis(self.store.takes_ms.load(Ordering::SeqCst));
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        if self.store.is_broken.load(Ordering::SeqCst) {
            return Err(Failure::Fatal("as scripted".to_owned()));
        }
        let refuses = self.store.refuses.load(Ordering::SeqCst);
        if refuses && batch.iter().any(|envelope| envelope.event.key() == b"k003") {
            return Err(Failure::Refused("as scripted".to_owned()));
        }
        let mut applied = self.store.applied.lock().unwrap();
        let (seen, order) = &mut *applied;
        let apply = |envelope: &Envelope| {
            let id = String::from_utf8_lossy(envelope.event.id()).into_owned();
            if !seen.insert(id.clone()) {
                return Outcome::Duplicate;
            }
            order.push(id);
            Outcome::Settled
        };
        Ok(batch.iter().map(apply).collect())
    }
}

/// A memory buffer that outlives its opening, as a journal does.
pub(crate) struct Keeping {
    inner: Arc<Memory>,
    closed: AtomicBool,
}

impl Keeping {
    pub(crate) fn open(inner: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { inner: inner.clone(), closed: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Buffer for Keeping {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        self.inner.offer(events).await
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        assert!(!self.closed.load(Ordering::SeqCst), "a closed buffer was leased from");
        self.inner.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.inner.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.inner.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.inner.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.inner.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.inner.depth().await
    }

    fn kind(&self) -> Kind {
        Kind { durable: true, ..self.inner.kind() }
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.inner.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A pipeline and what surrounds it.
pub(crate) struct Rig {
    pub(crate) name: String,
    pub(crate) store: Arc<Store>,
    pub(crate) memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
}

impl Rig {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_clock(name, Arc::new(Paused(Instant::now())))
    }

    /// With a clock that outlives the tokio runtime.
    pub(crate) fn with_clock(name: &str, clock: Arc<dyn Clock>) -> Self {
        let memory = Arc::new(Memory::new(memory::Options::default(), clock.clone()));
        Self { name: name.to_owned(), store: Arc::default(), memory, clock }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(crate) fn pipeline(&self, buffer: Arc<dyn Buffer>) -> Pipeline {
        let handler = Scripted { name: self.name.clone(), store: self.store.clone() };
        let settling = Settling {
            handler: Arc::new(handler).into(),
            options: engine::Options {
                batch_max: 10,
                held_max: 50,
                // What is refused for a while is not buried.
                attempts_max: 1_000,
                ..engine::Options::default()
            },
            completions: None,
            clock: self.clock.clone(),
            seed: 7,
        };
        Pipeline::new(buffer, settling).unwrap()
    }

    /// Of a buffer that keeps nothing.
    pub(crate) fn entry(&self, on_failure: OnFailure) -> Entry {
        Entry::pipeline(self.pipeline(self.memory.clone()), on_failure)
    }

    /// Of a buffer that keeps what is left.
    pub(crate) fn keeping(&self, on_failure: OnFailure) -> (Entry, Arc<Keeping>) {
        let buffer = Keeping::open(&self.memory);
        (Entry::pipeline(self.pipeline(buffer.clone()), on_failure), buffer)
    }

    pub(crate) async fn depth(&self) -> u64 {
        let depth = self.memory.depth().await.unwrap();
        depth.ready + depth.leased
    }

    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Store) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is(&self.store) {
            assert!(Instant::now() < end, "never: {what}; settled {}", self.store.settled().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The events `from..from + each` of each of `keys` keys, interleaved: `k000-0000`, `k001-0000`, …
pub(crate) fn events(keys: usize, from: usize, each: usize) -> Vec<Event> {
    let of = |number: usize| {
        (0..keys).map(move |key| {
            let id = format!("k{key:03}-{number:04}");
            Event::new(id.as_bytes(), &id.as_bytes()[..4], b"{}").unwrap()
        })
    };
    (from..from + each).flat_map(of).collect()
}

/// A fleet, and the names of what was removed from it.
pub(crate) fn fleet() -> (Fleet, Arc<Mutex<Vec<String>>>) {
    let removed = Arc::new(Mutex::new(Vec::new()));
    let options =
        Options { drain_timeout: DRAIN_TIMEOUT, restarts: restart::Options::default(), seed: 7 };
    let names = removed.clone();
    let fleet = Fleet::new(options, move |name| names.lock().unwrap().push(name.to_owned()));
    (fleet, removed)
}

/// The name of the state that the component is in.
pub(crate) fn state(fleet: &Fleet, name: &str) -> &'static str {
    let states = fleet.states();
    states.iter().find(|(member, _)| **member == *name).unwrap().1.name()
}

/// Waits until the component is in this state.
pub(crate) async fn reaches(fleet: &Fleet, name: &str, expect: &str) {
    let end = Instant::now() + PATIENCE;
    while state(fleet, name) != expect {
        assert!(Instant::now() < end, "{name} is {}, not {expect}", state(fleet, name));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
