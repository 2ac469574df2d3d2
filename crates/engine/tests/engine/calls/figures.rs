//! What an engine of calls shows in metrics: of its calls, of its guard, and of its load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buffer::Buffer;
use engine::calls;
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Outcome, Pace};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::time::{Instant, sleep};

use super::rig::{Reply, Rig, Script, options};
use crate::rig::events;

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

/// Keeps what is recorded, by name and labels beside the pipeline's: `calls_total good`.
struct Recorded {
    described: Mutex<BTreeMap<String, (Unit, String)>>,
    values: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    calls: Arc<Samples>,
    pipeline: &'static str,
}

impl Default for Recorded {
    fn default() -> Self {
        let (values, gauges) = (Mutex::default(), Mutex::default());
        Self {
            described: Mutex::default(),
            values,
            gauges,
            calls: Arc::default(),
            pipeline: "calls",
        }
    }
}

impl Recorded {
    fn name(&self, key: &Key) -> String {
        let mut labels = key.labels().map(|label| (label.key(), label.value()));
        assert_eq!(labels.next(), Some(("pipeline", self.pipeline)), "{key}");
        labels.fold(key.name().to_owned(), |name, (_, value)| format!("{name} {value}"))
    }

    fn count(&self, name: &str) -> u64 {
        self.values.lock().unwrap()[name].load(Ordering::SeqCst)
    }

    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.gauges.lock().unwrap()[name].load(Ordering::SeqCst))
    }

    fn names(&self) -> Vec<String> {
        let values = self.values.lock().unwrap();
        values.keys().chain(self.gauges.lock().unwrap().keys()).cloned().collect()
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        let described = (unit.unwrap(), help.to_string());
        self.described.lock().unwrap().insert(name.as_str().to_owned(), described);
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let counter = Arc::<AtomicU64>::default();
        self.values.lock().unwrap().insert(self.name(key), counter.clone());
        Counter::from_arc(counter)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let gauge = Arc::<AtomicU64>::default();
        self.gauges.lock().unwrap().insert(self.name(key), gauge.clone());
        Gauge::from_arc(gauge)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match &*self.name(key) {
            "call_seconds" => Histogram::from_arc(self.calls.clone()),
            _ => Histogram::noop(),
        }
    }
}

fn start(rig: &Rig, recorded: &Recorded, script: Script, calls: calls::Options) -> engine::Handle {
    metrics::with_local_recorder(recorded, || rig.start(script, calls))
}

/// A guard with this rate and limit.
fn guard(per_second: u32, limit: u32) -> Guard {
    let options = guard::Options {
        pace: Pace::per_second(per_second, per_second),
        limit: LimitOptions { min: limit, max: limit, start: limit },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions { saved_max: 3, retries_permille: 0, ..BudgetOptions::default() },
    };
    Guard::new(options, Instant::now().into_std())
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_outcome_and_timed_one_by_one() {
    let (rig, recorded) = (Rig::new(), Recorded::default());
    rig.memory.offer(&events(7, 1)).await.unwrap();
    let reply = |outcome, has_answer| Reply { outcome, has_answer, ..Reply::good(250) };
    let script = Script {
        call: Box::new(move |id, attempt| match (id, attempt) {
            ("k000-0000", 1) => reply(Outcome::Failed, false),
            ("k001-0000", 1) => reply(Outcome::Overloaded, false),
            ("k002-0000", 1) => Reply::hangs(),
            ("k003-0000", _) => reply(Outcome::Rejected, true),
            ("k004-0000", 1) => panic!("a scripted panic"),
            _ => Reply::good(250),
        }),
        record: Box::new(|ids| {
            let outcome = |id: &String| match id.as_str() {
                "k005-0000" => calls::Outcome::Parked,
                _ => calls::Outcome::Settled,
            };
            Ok(ids.iter().map(outcome).collect())
        }),
        ..Script::default()
    };
    let calls = calls::Options { timeout_ms: 2_000, ..calls::Options::default() };
    let handle = start(&rig, &recorded, script, calls);
    rig.finish(handle).await;
    let outcomes = ["good", "rejected", "overloaded", "failed", "timed_out", "abandoned"];
    let counts = outcomes.map(|outcome| recorded.count(&format!("calls_total {outcome}")));
    assert_eq!(counts, [6, 1, 1, 1, 1, 1]);
    assert_eq!(recorded.count("calls_parked_total"), 1);
    let mut took = recorded.calls.0.lock().unwrap().clone();
    took.sort_by(f64::total_cmp);
    let expected = [[0.25; 9].as_slice(), &[2.0]].concat();
    let is_near = |(took, expected): (&f64, &f64)| (took - expected).abs() < 0.01;
    assert!(took.len() == 10 && took.iter().zip(&expected).all(is_near), "{took:?}");
    let described = recorded.described.lock().unwrap();
    for name in recorded.names().iter().map(|name| name.split(' ').next().unwrap()) {
        let (unit, help) = &described[name];
        assert!(!help.is_empty() && (*unit == Unit::Count || name == "guard_per_second"), "{name}");
    }
    assert_eq!(described["call_seconds"].0, Unit::Seconds);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_waits_and_is_under_way_is_shown_until_the_engine_ends() {
    let (rig, recorded) = (Rig::with(guard(1_000, 40)), Recorded::default());
    rig.memory.offer(&events(30, 2)).await.unwrap();
    let script = Script {
        call: Box::new(|id, _| match id {
            "k000-0000" | "k001-0000" => Reply::failed(10),
            _ => Reply::good(3_600_000),
        }),
        ..Script::default()
    };
    let calls = calls::Options {
        calls_max: 20,
        timeout_ms: 9_000,
        backoff_min_ms: 86_400_000,
        backoff_max_ms: 86_400_000,
        ..calls::Options::default()
    };
    let handle = start(&rig, &recorded, script, calls);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(recorded.gauge("calls_held"), 60.0);
    assert_eq!(recorded.gauge("calls_waiting"), 2.0);
    assert_eq!(recorded.gauge("calls_under_way"), 20.0);
    assert_eq!(recorded.gauge("guard_under_way"), 20.0);
    assert_eq!(recorded.gauge("guard_limit"), 40.0);
    assert_eq!(recorded.gauge("guard_per_second"), 1_000.0);
    assert_eq!(recorded.gauge("guard_processes"), 1.0);
    assert_eq!(recorded.gauge("guard_breaker_state"), 0.0);
    assert_eq!(recorded.gauge("guard_retries_saved"), 3.0);
    assert_eq!(recorded.gauge("engine_busy_share"), 1.0, "all 20 that may be are under way");
    handle.abandon().cancel();
    handle.join().await.unwrap();
    for name in ["calls_held", "calls_waiting", "calls_under_way", "guard_under_way", "guard_limit"]
    {
        assert_eq!(recorded.gauge(name), 0.0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_guard_is_counted_once_by_reason() {
    let calls = calls::Options { attempts_max: 10_000, ..calls::Options::default() };
    // Five at once, and 20 that wait for one of them.
    let (rig, recorded) = (Rig::with(guard(1_000_000, 5)), Recorded::default());
    rig.memory.offer(&events(25, 1)).await.unwrap();
    let handle = start(&rig, &recorded, Script::default(), calls.clone());
    rig.finish(handle).await;
    let full = recorded.count("calls_held_back_total full");
    assert!((4..=20).contains(&full), "{full}");
    assert_eq!(recorded.count("calls_held_back_total too_soon"), 0);
    // Ten a second, and ten at once at the start.
    let (rig, recorded) = (Rig::with(guard(10, 100)), Recorded::default());
    rig.memory.offer(&events(50, 1)).await.unwrap();
    let handle = start(&rig, &recorded, Script::default(), calls.clone());
    rig.finish(handle).await;
    let too_soon = recorded.count("calls_held_back_total too_soon");
    assert!((30..=40).contains(&too_soon), "{too_soon}");
    // All fail: only three retries are saved, and the first attempts of others open the breaker.
    let (rig, recorded) = (Rig::with(guard(1_000, 100)), Recorded::default());
    rig.memory.offer(&events(19, 1)).await.unwrap();
    let script = Script { call: Box::new(|_, _| Reply::failed(10)), ..Script::default() };
    let handle = start(&rig, &recorded, script, calls);
    sleep(Duration::from_secs(3)).await;
    assert!(recorded.count("calls_held_back_total no_retry") > 0);
    assert_eq!(recorded.count("calls_held_back_total broken"), 0, "retries alone do not open it");
    rig.memory.offer(&events(50, 1)[19..]).await.unwrap();
    sleep(Duration::from_millis(1_900)).await;
    assert!(recorded.count("calls_held_back_total broken") > 0);
    assert_eq!(recorded.gauge("guard_breaker_state"), 3.0);
    assert!(recorded.gauge("engine_busy_share") < 0.01, "a service that is away is no load");
    handle.abandon().cancel();
    handle.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_two_pipelines_is_shown_once() {
    let (mut recorded, mut handles) = (Vec::new(), Vec::new());
    let first = Rig::new();
    let second = Rig { name: "calls-2", guard: first.guard.clone(), ..Rig::new() };
    for rig in [&first, &second] {
        let one = Recorded { pipeline: rig.name, ..Recorded::default() };
        handles.push(start(rig, &one, Script::default(), calls::Options::default()));
        recorded.push(one);
    }
    let shows = |recorded: &Recorded| recorded.names().contains(&"guard_limit".to_owned());
    assert!(shows(&recorded[0]) && !shows(&recorded[1]));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(recorded[0].gauge("guard_limit"), 10_000.0);
    first.finish(handles.remove(0)).await;
    second.finish(handles.remove(0)).await;
    // The next engine shows the guard, whichever it is.
    let second = Rig { name: "calls-2", guard: first.guard.clone(), ..Rig::new() };
    let later = Recorded { pipeline: "calls-2", ..Recorded::default() };
    let handle = start(&second, &later, Script::default(), calls::Options::default());
    assert_eq!(later.gauge("guard_limit"), 10_000.0);
    second.finish(handle).await;
}

/// The share over ten seconds, after so long.
async fn busy_share(limit: u32, calls_max: usize, hang: usize, after: Duration) -> f64 {
    let (rig, recorded) = (Rig::with(guard(1_000_000, limit)), Recorded::default());
    rig.memory.offer(&events(hang, 1)).await.unwrap();
    let script = Script { call: Box::new(|_, _| Reply::good(6_000)), ..Script::default() };
    let calls = calls::Options { calls_max, timeout_ms: 9_000, ..calls::Options::default() };
    let handle = start(&rig, &recorded, script, calls);
    sleep(after).await;
    let share = recorded.gauge("engine_busy_share");
    rig.finish(handle).await;
    share
}

#[tokio::test(start_paused = true)]
async fn the_busy_share_is_calls_under_way_of_those_that_may_be() {
    let check = |got: f64, expect: f64| assert!((got - expect).abs() < 0.01, "{got}, not {expect}");
    let ten = Duration::from_millis(10_500);
    // Five of ten, for six seconds of ten.
    check(busy_share(1_000, 10, 5, ten).await, 0.3);
    // The limit allows ten of the thousand.
    check(busy_share(10, 1_000, 5, ten).await, 0.3);
    check(busy_share(10, 1_000, 10, Duration::from_millis(5_500)).await, 1.0);
}

#[tokio::test(start_paused = true)]
async fn each_call_that_may_be_under_way_is_a_lane_for_a_history_of_the_load() {
    let rig = Rig::new();
    rig.memory.offer(&events(6, 2)).await.unwrap();
    let calls = calls::Options { calls_max: 4, ..calls::Options::default() };
    let handle = rig.start(Script::default(), calls);
    let work = handle.work();
    rig.finish(handle).await;
    let worked: Duration = work.lanes().iter().sum();
    // Twelve calls of 50 ms.
    assert!((595..=630).contains(&worked.as_millis()), "{worked:?}");
    assert_eq!((work.lanes().len(), work.active(), work.batches()), (4, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn hung_events_stop_others_only_once_they_fill_all_that_may_be_held() {
    for (hung, settles) in [(99, true), (100, false)] {
        let rig = Rig::new();
        let of_hung = |n: usize| {
            let id = format!("hung-{n:04}");
            model::Event::new(id.as_bytes(), id.as_bytes(), b"{}").unwrap()
        };
        rig.memory.offer(&(0..hung).map(of_hung).collect::<Vec<_>>()).await.unwrap();
        rig.memory.offer(&events(300, 1)).await.unwrap();
        let script = Script {
            call: Box::new(
                |id, _| if id.starts_with("hung") { Reply::hangs() } else { Reply::good(5) },
            ),
            ..Script::default()
        };
        // A hung event waits for hours between its attempts, and takes no slot.
        let calls = calls::Options {
            calls_max: 50,
            timeout_ms: 100,
            attempts_max: 10_000,
            backoff_min_ms: 86_400_000,
            backoff_max_ms: 86_400_000,
        };
        let options = engine::Options { held_max: 100, batch_max: 10, ..options() };
        let handle = rig.try_start(script, calls, options).unwrap();
        sleep(Duration::from_secs(60)).await;
        let seen = rig.seen.lock().unwrap().recorded.len();
        assert_eq!(seen, if settles { 300 } else { 0 }, "{hung} hung");
        rig.shutdown.cancel();
        handle.join().await.unwrap();
    }
}
