//! An engine, the buffer it drains, and the ledger its handler settles into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, DeadLetter, Envelope};
use engine::{Failure, Handle, Handler, Lane, Meters, Options, Outcome, Service};
use model::Event;
use model::clock::Clock;
use store::Completions;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where the paused clock starts, in milliseconds since the epoch.
pub(crate) const EPOCH_MS: i64 = 1_700_000_000_000;

/// How long a drain may take, most of it on the paused clock, so that an engine which turns in
/// circles fails its test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// Wall-clock time that follows tokio's, so that pausing one pauses the other.
pub(crate) struct Paused(pub(crate) Instant);

impl Clock for Paused {
    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.uptime_ms()
    }

    fn uptime_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).expect("tests are short")
    }
}

/// What a handler does with one batch.
pub(crate) enum Step {
    /// Settle it.
    Settle,
    /// Settle it after a while.
    SettleAfter(Duration),
    /// Settle it, but let the answer be lost.
    SettleUnheard(Failure),
    /// Settle nothing of it.
    Fail(Failure),
    /// Settle all but the events with these ids.
    Reject(Vec<String>),
    /// Panic.
    Panic(&'static str),
}

type Script = dyn Fn(&[Envelope]) -> Step + Send + Sync;

/// The store: dedupes by id, and keeps the order in which effects were applied.
#[derive(Default)]
pub(crate) struct Ledger {
    applied: Mutex<(BTreeSet<String>, Vec<String>)>,
    /// The ids of each batch that the handler was called with.
    pub(crate) calls: Mutex<Vec<Vec<String>>>,
    pub(crate) lanes_made: AtomicUsize,
}

impl Ledger {
    fn apply(&self, batch: &[Envelope]) -> Vec<Outcome> {
        let mut applied = self.applied.lock().unwrap();
        let (seen, order) = &mut *applied;
        let mut outcomes = Vec::new();
        for envelope in batch {
            let id = id_of(envelope);
            if seen.insert(id.clone()) {
                order.push(id);
                outcomes.push(Outcome::Settled);
            } else {
                outcomes.push(Outcome::Duplicate);
            }
        }
        outcomes
    }

    /// All ids settled, in order.
    pub(crate) fn settled(&self) -> Vec<String> {
        self.applied.lock().unwrap().1.clone()
    }

    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().unwrap().clone()
    }

    /// Asserts that each key's events were settled, all of them, once, in the order offered.
    pub(crate) fn assert_order(&self, keys: usize, each: usize) {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for id in self.settled() {
            by_key.entry(id.split('-').next().unwrap().to_owned()).or_default().push(id);
        }
        assert_eq!(by_key.len(), keys);
        for (key, ids) in by_key {
            let expected: Vec<String> = (0..each).map(|n| format!("{key}-{n:04}")).collect();
            assert_eq!(ids, expected, "key {key} lost its order");
        }
    }
}

struct Scripted {
    ledger: Arc<Ledger>,
    script: Arc<Script>,
    /// A lane that panicked knows nothing for sure any more, and must not be called again.
    panicked: bool,
}

impl Handler for Scripted {
    fn pipeline(&self) -> &str {
        "test"
    }

    fn lane(&self) -> Box<dyn Lane> {
        self.ledger.lanes_made.fetch_add(1, Ordering::SeqCst);
        let (ledger, script) = (Arc::clone(&self.ledger), Arc::clone(&self.script));
        Box::new(Scripted { ledger, script, panicked: false })
    }
}

#[async_trait]
impl Lane for Scripted {
    async fn settle(&mut self, batch: &[Envelope]) -> Result<Vec<Outcome>, Failure> {
        assert!(!self.panicked, "a lane that panicked was called again");
        self.ledger.calls.lock().unwrap().push(batch.iter().map(id_of).collect());
        match (self.script)(batch) {
            Step::Settle => Ok(self.ledger.apply(batch)),
            Step::SettleAfter(wait) => {
                tokio::time::sleep(wait).await;
                Ok(self.ledger.apply(batch))
            }
            Step::SettleUnheard(failure) => {
                self.ledger.apply(batch);
                Err(failure)
            }
            Step::Fail(failure) => Err(failure),
            Step::Reject(ids) => Ok(batch
                .iter()
                .map(|envelope| match ids.contains(&id_of(envelope)) {
                    true => Outcome::Rejected("as scripted".to_owned()),
                    false => self.ledger.apply(std::slice::from_ref(envelope)).remove(0),
                })
                .collect()),
            Step::Panic(said) => {
                self.panicked = true;
                panic!("{said}")
            }
        }
    }
}

pub(crate) fn id_of(envelope: &Envelope) -> String {
    String::from_utf8_lossy(envelope.event.id()).into_owned()
}

/// Whether the batch holds an event with this id.
pub(crate) fn holds(batch: &[Envelope], id: &str) -> bool {
    batch.iter().any(|envelope| envelope.event.id() == id.as_bytes())
}

/// `each` events of each of `keys` keys, interleaved: `k000-0000`, `k001-0000`, …
pub(crate) fn events(keys: usize, each: usize) -> Vec<Event> {
    (0..each * keys)
        .map(|n| {
            let id = format!("k{:03}-{:04}", n % keys, n / keys);
            Event::new(id.as_bytes(), &id.as_bytes()[..4], b"{}").unwrap()
        })
        .collect()
}

/// One engine and what surrounds it.
pub(crate) struct Rig {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) shutdown: CancellationToken,
    clock: Arc<Paused>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_lease_ms(30_000)
    }

    pub(crate) fn with_lease_ms(lease_ms: i64) -> Self {
        Self::with(memory::Options { lease_ms, ..memory::Options::default() })
    }

    pub(crate) fn with_dead_max(dead_max: usize) -> Self {
        Self::with(memory::Options { dead_max, ..memory::Options::default() })
    }

    fn with(options: memory::Options) -> Self {
        let clock = Arc::new(Paused(Instant::now()));
        Self {
            ledger: Arc::default(),
            memory: Arc::new(Memory::new(options, clock.clone())),
            shutdown: CancellationToken::new(),
            clock,
        }
    }

    pub(crate) async fn offer(&self, events: &[Event]) {
        self.memory.offer(events).await.unwrap();
    }

    pub(crate) fn start(
        &self,
        options: Options,
        script: impl Fn(&[Envelope]) -> Step + Send + Sync + 'static,
    ) -> Handle {
        self.start_with(options, self.memory.clone(), None, script)
    }

    pub(crate) fn start_with(
        &self,
        options: Options,
        buffer: Arc<dyn Buffer>,
        completions: Option<Arc<dyn Completions>>,
        script: impl Fn(&[Envelope]) -> Step + Send + Sync + 'static,
    ) -> Handle {
        self.service(buffer, completions, script).start(options).unwrap()
    }

    /// Starts an engine where an earlier one of the same `meters` has ended.
    pub(crate) fn start_again(
        &self,
        options: Options,
        buffer: Arc<dyn Buffer>,
        meters: &Meters,
        script: impl Fn(&[Envelope]) -> Step + Send + Sync + 'static,
    ) -> Handle {
        self.service(buffer, None, script).start_again(options, meters).unwrap()
    }

    fn service(
        &self,
        buffer: Arc<dyn Buffer>,
        completions: Option<Arc<dyn Completions>>,
        script: impl Fn(&[Envelope]) -> Step + Send + Sync + 'static,
    ) -> Service {
        let ledger = Arc::clone(&self.ledger);
        Service {
            buffer,
            handler: Arc::new(Scripted { ledger, script: Arc::new(script), panicked: false })
                .into(),
            completions,
            clock: self.clock.clone(),
            seed: 7,
            shutdown: self.shutdown.clone(),
        }
    }

    /// Ready and leased events.
    pub(crate) async fn depth(&self) -> (u64, u64) {
        let depth = self.memory.depth().await.unwrap();
        (depth.ready, depth.leased)
    }

    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.memory.dead_letters().list(0, usize::MAX).await.unwrap()
    }

    /// How long the paused clock has run.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.0.elapsed()
    }

    /// Waits until all is settled or buried, then stops the engine.
    pub(crate) async fn finish(&self, handle: Handle) -> engine::Summary {
        let drained = tokio::time::timeout(PATIENCE, handle.drained()).await;
        assert!(drained.is_ok(), "not drained, but {:?}", self.depth().await);
        self.shutdown.cancel();
        let summary = handle.join().await.unwrap();
        assert_eq!((self.depth().await, summary.released), ((0, 0), 0));
        summary
    }
}

pub(crate) fn one_lane() -> Options {
    Options { lanes: 1, ..Options::default() }
}
