//! A rate of calls over processes that come, go, pause and lose the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use buffer::memory::{self, Memory};
use buffer::{Buffer, Envelope};
use engine::calls::{self, Admission, Called, Calls, Outcome};
use engine::{Failure, Handling};
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use runtime::fleet::OnFailure;
use runtime::pipeline::Settling;
use runtime::sharing::VIEW_MAX;
use runtime::{Entry, Fleet, Pipeline, Presence};
use store::processes::{Heard, KEEP_MAX, LIVE_MAX, Process};
use store::{Error, Processes};
use tokio::time::{Instant, sleep};

use crate::rig::{Rig, events, fleet};

pub(crate) const PIPELINE: &str = "webhook:orders";
/// Of all processes together.
const TOTAL: Pace = Pace { per_1000_s: 20_000, burst: 6 };

/// The rows of a store, by its own clock.
#[derive(Default)]
struct Rows(Mutex<BTreeMap<String, Row>>);

struct Row {
    process: Process,
    heard: Instant,
    joined: Instant,
}

/// The store, as one process reaches it.
#[derive(Clone)]
struct Reached {
    rows: Arc<Rows>,
    is_away: Arc<AtomicBool>,
    /// The process writes its row, and cannot read the others'.
    is_unreadable: Arc<AtomicBool>,
    /// How long the store takes for one answer.
    latency_ms: Arc<AtomicU64>,
}

impl Reached {
    async fn answer(&self) -> Result<(), Error> {
        sleep(Duration::from_millis(self.latency_ms.load(Ordering::SeqCst))).await;
        let away = || Error::Unavailable("as scripted".to_owned());
        if self.is_away.load(Ordering::SeqCst) { Err(away()) } else { Ok(()) }
    }
}

#[async_trait]
impl Processes for Reached {
    async fn heartbeat(&self, process: &Process) -> Result<(), Error> {
        self.answer().await?;
        let now = Instant::now();
        let mut rows = self.rows.0.lock().unwrap();
        rows.retain(|_, row| now - row.heard <= KEEP_MAX);
        let before = rows.get(&process.id).filter(|row| now - row.heard <= LIVE_MAX);
        let joined = before.map_or(now, |row| row.joined);
        let row = Row { process: process.clone(), heard: now, joined };
        rows.insert(process.id.clone(), row);
        Ok(())
    }

    async fn leave(&self, id: &str) -> Result<bool, Error> {
        self.answer().await?;
        Ok(self.rows.0.lock().unwrap().remove(id).is_some())
    }

    async fn heard(&self) -> Result<Vec<Heard>, Error> {
        self.answer().await?;
        if self.is_unreadable.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("as scripted".to_owned()));
        }
        let now = Instant::now();
        let rows = self.rows.0.lock().unwrap();
        let heard = |row: &Row| Heard {
            process: row.process.clone(),
            ago: now - row.heard,
            joined_ago: now - row.joined,
        };
        Ok(rows.values().map(heard).collect())
    }
}

/// A service that answers after 50 ms, and when each call began.
struct Service {
    began: Arc<Mutex<Vec<Instant>>>,
    guard: Arc<Mutex<Guard>>,
}

#[async_trait]
impl Calls for Service {
    type Answer = ();

    fn pipeline(&self) -> &str {
        PIPELINE
    }

    fn guard(&self) -> &Mutex<Guard> {
        &self.guard
    }

    async fn admit(&self, batch: &[&Envelope]) -> Result<Vec<Admission>, Failure> {
        Ok(vec![Admission::Call; batch.len()])
    }

    async fn call(&self, _: &Envelope, _: u32) -> Called<()> {
        self.began.lock().unwrap().push(Instant::now());
        sleep(Duration::from_millis(50)).await;
        Called { outcome: guard::Outcome::Good, retry_after: None, answer: Some(()) }
    }

    fn give_up(&self, _: &Envelope) {}

    async fn record(&self, answers: &[(&Envelope, &())]) -> Result<Vec<Outcome>, Failure> {
        Ok(vec![Outcome::Settled; answers.len()])
    }
}

/// One process, with more events than it can call for.
pub(crate) struct Running {
    pub(crate) fleet: Fleet,
    presence: Presence,
    is_away: Arc<AtomicBool>,
    is_unreadable: Arc<AtomicBool>,
    latency_ms: Arc<AtomicU64>,
    guard: Arc<Mutex<Guard>>,
}

impl Running {
    fn processes(&self) -> u32 {
        self.guard.lock().unwrap().figures(Instant::now().into_std()).processes
    }
}

/// All of them, and the calls of all together.
pub(crate) struct World {
    rows: Arc<Rows>,
    began: Arc<Mutex<Vec<Instant>>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { rows: Arc::default(), began: Arc::default() }
    }

    pub(crate) async fn start(&self, id: &str) -> Running {
        let options = guard::Options {
            pace: TOTAL,
            limit: LimitOptions { min: 100, max: 100, start: 100 },
            breaker: BreakerOptions::default(),
            budget: BudgetOptions::default(),
        };
        let guard = Guard::sharing(options, VIEW_MAX, Instant::now().into_std());
        let guard = Arc::new(Mutex::new(guard));
        let service = Service { began: self.began.clone(), guard: guard.clone() };
        let clock = Rig::new(PIPELINE).clock();
        let memory = Arc::new(Memory::new(memory::Options::default(), clock.clone()));
        memory.offer(&events(1_000, 0, 10)).await.unwrap();
        let settling = Settling {
            handler: Handling::calls(service, calls::Options::default()),
            options: engine::Options::default(),
            completions: None,
            clock,
            seed: 7,
        };
        let (fleet, _) = fleet();
        let pipeline = Pipeline::new(memory, settling).unwrap();
        fleet.add(Entry::pipeline(pipeline, OnFailure::Restart)).unwrap();
        let (is_away, is_unreadable) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let latency_ms = Arc::<AtomicU64>::default();
        let reached = Reached {
            rows: self.rows.clone(),
            is_away: is_away.clone(),
            is_unreadable: is_unreadable.clone(),
            latency_ms: latency_ms.clone(),
        };
        let me = Process { id: id.to_owned(), ..Process::default() };
        let presence = Presence::begin(&fleet, Arc::new(reached), me);
        Running { fleet, presence, is_away, is_unreadable, latency_ms, guard }
    }

    /// Calls in the `seconds` from now on.
    async fn calls_in(&self, seconds: u64) -> usize {
        let before = self.began.lock().unwrap().len();
        sleep(Duration::from_secs(seconds)).await;
        self.began.lock().unwrap().len() - before
    }

    /// Asserts that no stretch of time had more calls than the rate gives in it, and one burst.
    fn assert_rate(&self) {
        let began = self.began.lock().unwrap();
        let full = f64::from(TOTAL.burst);
        let (mut saved, mut last) = (full, began[0]);
        for (n, at) in began.iter().enumerate() {
            let passed = (*at - last).as_secs_f64();
            saved = (saved + passed * TOTAL.per_1000_s as f64 / 1_000.0).min(full) - 1.0;
            last = *at;
            assert!(saved > -1e-6, "call {n} of {} after {:?}", began.len(), *at - began[0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_three_processes_that_come_and_go_is_never_exceeded_and_used_whole() {
    let world = World::new();
    let first = world.start("first").await;
    assert_eq!(world.calls_in(11).await, 0, "others may not know of it yet");
    sleep(Duration::from_secs(8)).await;
    assert!((199..=201).contains(&world.calls_in(10).await));
    let second = world.start("second").await;
    sleep(Duration::from_secs(7)).await;
    let third = world.start("third").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!([&first, &second, &third].map(Running::processes), [3; 3]);
    assert!((598..=602).contains(&world.calls_in(30).await), "each has a third");

    // One ends in order, and the others have its part after their next heartbeat.
    first.fleet.stop().await;
    first.presence.leave().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!([&second, &third].map(Running::processes), [2; 2]);
    assert!((199..=201).contains(&world.calls_in(10).await));

    // One that is paused does not call, and joins anew.
    second.fleet.pause(PIPELINE).await.unwrap();
    sleep(Duration::from_secs(7)).await;
    assert_eq!([&second, &third].map(Running::processes), [0, 1]);
    assert!((199..=201).contains(&world.calls_in(10).await));
    second.fleet.resume(PIPELINE).unwrap();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(second.processes(), 0);
    sleep(Duration::from_secs(3)).await;
    assert_eq!([&second, &third].map(Running::processes), [2; 2]);
    world.assert_rate();
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_whose_pause_was_written_joins_anew_though_the_rows_could_not_be_read() {
    let world = World::new();
    let (paused, other) = (world.start("paused").await, world.start("other").await);
    sleep(Duration::from_secs(31)).await;
    paused.is_unreadable.store(true, Ordering::SeqCst);
    paused.fleet.pause(PIPELINE).await.unwrap();
    // The other one reads it five seconds after it read last; the view before the pause would last for twelve.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(other.processes(), 1, "it has the whole rate");
    paused.fleet.resume(PIPELINE).unwrap();
    assert_eq!(paused.processes(), 0, "what it read before the pause holds no more");
    paused.is_unreadable.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(30)).await;
    assert_eq!([&paused, &other].map(Running::processes), [2; 2]);
    world.assert_rate();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_loses_the_store_ends_its_calls_before_the_others_take_its_part() {
    let world = World::new();
    let (lost, other) = (world.start("lost").await, world.start("other").await);
    sleep(Duration::from_secs(30)).await;
    assert_eq!([&lost, &other].map(Running::processes), [2; 2]);
    lost.is_away.store(true, Ordering::SeqCst);
    sleep(VIEW_MAX + Duration::from_millis(1)).await;
    assert_eq!([&lost, &other].map(Running::processes), [0, 2]);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(other.processes(), 1, "its row is dropped by now");
    // It is there again, and joins anew.
    lost.is_away.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(lost.processes(), 0);
    sleep(Duration::from_secs(8)).await;
    assert_eq!([&lost, &other].map(Running::processes), [2; 2]);
    // A short outage is no matter.
    other.is_away.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    other.is_away.store(false, Ordering::SeqCst);
    assert!((298..=302).contains(&world.calls_in(15).await));
    // Where all lose the store, none calls.
    lost.is_away.store(true, Ordering::SeqCst);
    other.is_away.store(true, Ordering::SeqCst);
    sleep(VIEW_MAX + Duration::from_secs(1)).await;
    assert_eq!(world.calls_in(60).await, 0);
    world.assert_rate();
}

/// A heartbeat fails at once, or only when it has hung as long as it may. The store answers slowly before and after it.
#[tokio::test(start_paused = true)]
async fn one_failed_heartbeat_stops_no_call_though_the_store_is_slow() {
    for (latency_ms, failed_ms) in [(1, 1), (240, 1), (480, 1), (480, 60_000), (240, 60_000)] {
        let world = World::new();
        let one = world.start("one").await;
        one.latency_ms.store(latency_ms, Ordering::SeqCst);
        sleep(Duration::from_secs(40)).await;
        let heard = || world.rows.0.lock().unwrap()["one"].heard;
        let before = heard();
        while heard() == before {
            sleep(Duration::from_millis(1)).await;
        }
        // By then the rows are read as well.
        sleep(Duration::from_secs(1)).await;
        one.is_away.store(true, Ordering::SeqCst);
        one.latency_ms.store(failed_ms, Ordering::SeqCst);
        // The next heartbeat begins within 5.5 s of this one and fails; the one after it does not.
        sleep(Duration::from_secs(5)).await;
        one.is_away.store(false, Ordering::SeqCst);
        one.latency_ms.store(latency_ms, Ordering::SeqCst);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let after = heard().elapsed();
            assert_eq!(one.processes(), 1, "{latency_ms} ms, {failed_ms} ms, {after:?} after it");
            sleep(Duration::from_millis(10)).await;
        }
        world.assert_rate();
    }
}
