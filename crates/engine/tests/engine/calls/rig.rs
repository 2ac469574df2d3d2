//! An engine of calls, the service that it calls, and the ledger that it records in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, Envelope};
use engine::calls::{self, Admission, Called, Calls, Outcome};
use engine::{Failure, Handle, Handling, Meters, Options, Service, Summary};
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::rig::{Paused, id_of};

const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// What the service does with one call: how long it takes, and what it answers.
pub(crate) struct Reply {
    pub(crate) takes: Duration,
    pub(crate) outcome: guard::Outcome,
    pub(crate) has_answer: bool,
}

impl Reply {
    pub(crate) fn good(takes_ms: u64) -> Self {
        let takes = Duration::from_millis(takes_ms);
        Self { takes, outcome: guard::Outcome::Good, has_answer: true }
    }

    pub(crate) fn failed(takes_ms: u64) -> Self {
        let outcome = guard::Outcome::Failed;
        Self { outcome, has_answer: false, ..Self::good(takes_ms) }
    }

    pub(crate) fn hangs() -> Self {
        Self { takes: Duration::from_secs(24 * 3600), ..Self::good(0) }
    }
}

type OnCall = dyn Fn(&str, u32) -> Reply + Send + Sync;
type OnRecord = dyn Fn(&[String]) -> Result<Vec<Outcome>, Failure> + Send + Sync;
type OnAdmit = dyn Fn(&[String]) -> Result<Vec<Admission>, Failure> + Send + Sync;

/// What happened, in order.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) called: Vec<String>,
    pub(crate) recorded: Vec<String>,
    pub(crate) gave_up: Vec<String>,
    under_way: BTreeSet<String>,
    pub(crate) under_way_max: usize,
    /// Keys of which a call began while another was under way.
    pub(crate) overlaps: usize,
}

pub(crate) struct Script {
    pub(crate) call: Box<OnCall>,
    pub(crate) record: Box<OnRecord>,
    pub(crate) admit: Box<OnAdmit>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            call: Box::new(|_, _| Reply::good(50)),
            record: Box::new(|ids| Ok(vec![Outcome::Settled; ids.len()])),
            admit: Box::new(|ids| Ok(vec![Admission::Call; ids.len()])),
        }
    }
}

struct Scripted {
    name: &'static str,
    seen: Arc<Mutex<Seen>>,
    script: Script,
    guard: Arc<Mutex<Guard>>,
}

/// Ends a call also where it is dropped.
struct UnderWay<'a>(&'a Mutex<Seen>, String);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way.remove(&self.1);
    }
}

#[async_trait]
impl Calls for Scripted {
    type Answer = &'static str;

    fn pipeline(&self) -> &str {
        self.name
    }

    fn guard(&self) -> &Mutex<Guard> {
        &self.guard
    }

    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure> {
        let ids: Vec<String> = batch.iter().map(|one| id_of(one)).collect();
        (self.script.admit)(&ids)
    }

    async fn call(&self, event: &Envelope, attempt: u32) -> Called<&'static str> {
        let id = id_of(event);
        let key = id.split('-').next().unwrap().to_owned();
        {
            let mut seen = self.seen.lock().unwrap();
            seen.called.push(id.clone());
            let is_new = seen.under_way.insert(key.clone());
            seen.overlaps += usize::from(!is_new);
            seen.under_way_max = seen.under_way_max.max(seen.under_way.len());
        }
        let _under_way = UnderWay(&self.seen, key);
        let reply = (self.script.call)(&id, attempt);
        tokio::time::sleep(reply.takes).await;
        let answer = reply.has_answer.then_some("answered");
        Called { outcome: reply.outcome, retry_after: None, answer }
    }

    fn give_up(&self, event: &Envelope) -> &'static str {
        self.seen.lock().unwrap().gave_up.push(id_of(event));
        "gave up"
    }

    async fn record(
        &self,
        answers: &[(&Envelope, &&'static str)],
    ) -> Result<Vec<Outcome>, Failure> {
        let ids: Vec<String> = answers.iter().map(|(one, _)| id_of(one)).collect();
        let outcomes = (self.script.record)(&ids)?;
        let mut seen = self.seen.lock().unwrap();
        for (id, outcome) in ids.into_iter().zip(&outcomes) {
            if matches!(outcome, Outcome::Settled | Outcome::Parked) {
                seen.recorded.push(id);
            }
        }
        Ok(outcomes)
    }
}

pub(crate) struct Rig {
    pub(crate) name: &'static str,
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) memory: Arc<Memory>,
    /// What the engine leases from, if not from `memory`.
    pub(crate) buffer: Option<Arc<dyn Buffer>>,
    /// What engines that run one after the other share.
    pub(crate) meters: Option<Meters>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) guard: Arc<Mutex<Guard>>,
    pub(crate) clock: Arc<Paused>,
}

/// A guard that allows all.
pub(crate) fn open_guard() -> Guard {
    let options = guard::Options {
        pace: Pace::per_second(1_000_000, 1_000_000),
        limit: LimitOptions { min: 10_000, max: 10_000, start: 10_000 },
        breaker: BreakerOptions { calls_min: u32::MAX, ..BreakerOptions::default() },
        budget: BudgetOptions {
            saved_max: 100_000,
            retries_permille: 1000,
            ..BudgetOptions::default()
        },
    };
    Guard::new(options, Instant::now().into_std())
}

pub(crate) fn options() -> Options {
    Options { drain_timeout_ms: 20_000, ..Options::default() }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(open_guard())
    }

    pub(crate) fn with(guard: Guard) -> Self {
        Self::of(guard, memory::Options::default())
    }

    pub(crate) fn of(guard: Guard, options: memory::Options) -> Self {
        let clock = Arc::new(Paused(Instant::now()));
        Self {
            name: "calls",
            seen: Arc::default(),
            memory: Arc::new(Memory::new(options, clock.clone())),
            buffer: None,
            meters: None,
            shutdown: CancellationToken::new(),
            guard: Arc::new(Mutex::new(guard)),
            clock,
        }
    }

    pub(crate) fn start(&self, script: Script, calls: calls::Options) -> Handle {
        self.try_start(script, calls, options()).unwrap()
    }

    pub(crate) fn try_start(
        &self,
        script: Script,
        calls: calls::Options,
        options: Options,
    ) -> Result<Handle, engine::Error> {
        let (name, seen, guard) = (self.name, Arc::clone(&self.seen), Arc::clone(&self.guard));
        let service = Service {
            buffer: self.buffer.clone().unwrap_or_else(|| self.memory.clone()),
            handler: Handling::calls(Scripted { name, seen, script, guard }, calls),
            completions: None,
            clock: self.clock.clone(),
            seed: 7,
            shutdown: self.shutdown.clone(),
        };
        match &self.meters {
            Some(meters) => service.start_again(options, meters),
            None => service.start(options),
        }
    }

    /// Waits until all is done, then stops the engine.
    pub(crate) async fn finish(&self, handle: Handle) -> Summary {
        let drained = tokio::time::timeout(PATIENCE, handle.drained()).await;
        assert!(drained.is_ok(), "not drained: {:?}", self.memory.depth().await.unwrap());
        self.shutdown.cancel();
        handle.join().await.unwrap()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.0.elapsed()
    }

    /// Ids that are dead letters.
    pub(crate) async fn dead(&self) -> Vec<String> {
        let letters = self.memory.dead_letters().list(0, usize::MAX).await.unwrap();
        letters
            .iter()
            .map(|letter| String::from_utf8_lossy(letter.event.id()).into_owned())
            .collect()
    }

    pub(crate) async fn leftover(&self) -> u64 {
        let depth = self.memory.depth().await.unwrap();
        depth.ready + depth.leased
    }

    /// Waits on the paused clock until it is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.seen.lock().unwrap()) {
            assert!(Instant::now() < end, "it never came to be");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Asserts that each key's events were recorded, all of them, once, in the order offered, and that no two
    /// calls of a key overlapped.
    pub(crate) fn assert_order(&self, keys: usize, each: usize) {
        let seen = self.seen.lock().unwrap();
        let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for id in &seen.recorded {
            by_key.entry(id.split('-').next().unwrap()).or_default().push(id);
        }
        assert_eq!((by_key.len(), seen.overlaps), (keys, 0));
        for (key, ids) in by_key {
            let expected: Vec<String> = (0..each).map(|n| format!("{key}-{n:04}")).collect();
            assert_eq!(ids, expected, "key {key} lost its order");
        }
    }
}
