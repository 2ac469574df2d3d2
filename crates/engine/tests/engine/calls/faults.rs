//! Calls that fail and hang, stores that are away or refuse, panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use buffer::Buffer;
use engine::Failure;
use engine::calls::{self, Outcome};
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use tokio::time::Instant;

use super::rig::{Reply, Rig, Script};
use crate::rig::events;
use crate::said::Said;

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_called_again_in_its_order() {
    let rig = Rig::new();
    rig.memory.offer(&events(20, 5)).await.unwrap();
    let script = Script {
        call: Box::new(|_, attempt| if attempt < 4 { Reply::failed(5) } else { Reply::good(5) }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.failed), (100, 300));
    rig.assert_order(20, 5);
}

#[tokio::test(start_paused = true)]
async fn a_retry_takes_turns_with_events_that_wait_for_their_first_call() {
    let rig = Rig::new();
    rig.memory.offer(&events(1000, 1)).await.unwrap();
    let fails = |id: &str, attempt| id == "k000-0000" && attempt == 1;
    let script = Script {
        call: Box::new(
            move |id, attempt| {
                if fails(id, attempt) { Reply::failed(50) } else { Reply::good(50) }
            },
        ),
        ..Script::default()
    };
    let calls = calls::Options { calls_max: 20, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.contains(&"k000-0000".to_owned())).await;
    let recorded = rig.seen.lock().unwrap().recorded.len();
    assert!(recorded < 200, "the retry waited for {recorded} others");
    rig.finish(handle).await;
    rig.assert_order(1000, 1);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_handler_gives_up_and_its_answer_is_recorded() {
    let rig = Rig::new();
    rig.memory.offer(&events(2, 2)).await.unwrap();
    let script = Script {
        call: Box::new(|id, _| if id == "k000-0000" { Reply::failed(5) } else { Reply::good(5) }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options { attempts_max: 3, ..calls::Options::default() });
    assert_eq!(rig.finish(handle).await.counts.settled, 4);
    let seen = rig.seen.lock().unwrap();
    assert_eq!(seen.gave_up, ["k000-0000"]);
    assert_eq!(seen.called.iter().filter(|id| *id == "k000-0000").count(), 3);
    drop(seen);
    rig.assert_order(2, 2);
}

#[tokio::test(start_paused = true)]
async fn hung_calls_stop_no_others_and_are_called_again_after_their_time_out() {
    let rig = Rig::new();
    rig.memory.offer(&events(100, 2)).await.unwrap();
    let hangs = |id: &str, attempt| id.starts_with("k00") && attempt == 1;
    let script = Script {
        call: Box::new(
            move |id, attempt| if hangs(id, attempt) { Reply::hangs() } else { Reply::good(50) },
        ),
        ..Script::default()
    };
    let calls = calls::Options { calls_max: 20, timeout_ms: 3_000, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.len() == 180).await;
    assert!(rig.elapsed() < Duration::from_millis(2_500), "{:?}", rig.elapsed());
    rig.finish(handle).await;
    rig.assert_order(100, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_costs_no_answer_and_no_second_call() {
    let rig = Rig::new();
    rig.memory.offer(&events(30, 3)).await.unwrap();
    let began = Instant::now();
    let minute = Duration::from_secs(60);
    let script = Script {
        record: Box::new(move |ids| {
            if began.elapsed() < minute {
                return Err(Failure::Unavailable("away".to_owned()));
            }
            Ok(vec![Outcome::Settled; ids.len()])
        }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (90, 0));
    assert_eq!(rig.seen.lock().unwrap().called.len(), 90, "each was called once");
    assert!(rig.elapsed() < minute + Duration::from_secs(3));
    rig.assert_order(30, 3);
}

#[tokio::test(start_paused = true)]
async fn one_answer_that_the_store_refuses_is_buried_alone() {
    let rig = Rig::new();
    rig.memory.offer(&events(40, 2)).await.unwrap();
    let script = Script {
        record: Box::new(|ids| {
            if ids.iter().any(|id| id == "k017-0000") {
                return Err(Failure::Refused("its column is too short".to_owned()));
            }
            Ok(vec![Outcome::Settled; ids.len()])
        }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (79, 1));
    assert_eq!(rig.dead().await, ["k017-0000"]);
    assert_eq!(rig.seen.lock().unwrap().called.len(), 80, "none was called twice");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_everything_buries_nothing() {
    let rig = Rig::new();
    rig.memory.offer(&events(10, 1)).await.unwrap();
    let refuses = Arc::new(AtomicBool::new(true));
    let refusing = Arc::clone(&refuses);
    let script = Script {
        record: Box::new(move |ids| {
            if refusing.load(Ordering::SeqCst) {
                return Err(Failure::Refused("the table is read-only".to_owned()));
            }
            Ok(vec![Outcome::Settled; ids.len()])
        }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.leftover().await, 10);
    refuses.store(false, Ordering::SeqCst);
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn panics_in_each_step_lose_nothing() {
    let rig = Rig::new();
    rig.memory.offer(&events(10, 3)).await.unwrap();
    let (admits, records) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let script = Script {
        call: Box::new(|_, attempt| {
            assert!(attempt > 1, "a scripted panic");
            Reply::good(5)
        }),
        admit: Box::new(move |ids| {
            assert!(admits.fetch_add(1, Ordering::SeqCst) > 1, "a scripted panic");
            Ok(vec![calls::Admission::Call; ids.len()])
        }),
        record: Box::new(move |ids| {
            assert!(records.fetch_add(1, Ordering::SeqCst) > 1, "a scripted panic");
            Ok(vec![Outcome::Settled; ids.len()])
        }),
    };
    let handle = rig.start(script, calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (30, 0));
    rig.assert_order(10, 3);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_ends_the_engine_and_gives_everything_back() {
    let rig = Rig::new();
    rig.memory.offer(&events(5, 1)).await.unwrap();
    let script = Script {
        record: Box::new(|_| Err(Failure::Fatal("the schema is another".to_owned()))),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let error = handle.join().await.unwrap_err();
    assert!(error.to_string().contains("the schema is another"), "{error}");
    assert_eq!(rig.leftover().await, 5);
}

/// The default guard of a service, but with a fixed limit.
fn usual_guard() -> Guard {
    let guard = guard::Options {
        pace: Pace::per_second(100_000, 1_000),
        limit: LimitOptions { min: 500, max: 500, start: 500 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions::default(),
    };
    Guard::new(guard, Instant::now().into_std())
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_backlog_of_retries_is_done_at_the_rate_of_the_service() {
    let rig = Rig::with(usual_guard());
    rig.memory.offer(&events(500, 1)).await.unwrap();
    let began = Instant::now();
    let away = Duration::from_secs(60);
    let script =
        Script {
            call: Box::new(move |_, _| {
                if began.elapsed() < away { Reply::failed(10) } else { Reply::good(10) }
            }),
            ..Script::default()
        };
    // All of them are under way when the service fails, and have had their first attempt.
    let calls =
        calls::Options { calls_max: 500, attempts_max: 10_000, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.len() == 500).await;
    assert!(rig.elapsed() < away + Duration::from_secs(45), "{:?}", rig.elapsed());
    assert_eq!(rig.finish(handle).await.counts.dead, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_always_hang_open_no_breaker_for_those_that_come_later() {
    let rig = Rig::with(usual_guard());
    // More than may be called at once.
    rig.memory.offer(&events(150, 1)).await.unwrap();
    let hangs = |id: &str| id.as_bytes()[4] == b'-';
    let script = Script {
        call: Box::new(move |id, _| if hangs(id) { Reply::hangs() } else { Reply::good(10) }),
        ..Script::default()
    };
    let calls =
        calls::Options { timeout_ms: 1_000, attempts_max: 10_000, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    // All hung calls look as if the service were away: the breaker opens, for up to a minute at a time.
    // By then each has had its first attempt.
    tokio::time::sleep(Duration::from_secs(1_800)).await;
    for (wave, most_s) in [(0, 75), (1, 5), (2, 5)] {
        let began = Instant::now();
        let key = |n: usize| format!("k{}", 1_000 * (wave + 1) + n);
        let good: Vec<_> = (0..300)
            .map(|n| model::Event::new(key(n).as_bytes(), key(n).as_bytes(), b"").unwrap())
            .collect();
        rig.memory.offer(&good).await.unwrap();
        rig.until(|seen| seen.recorded.len() == 300 * (wave + 1)).await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(most_s), "wave {wave} took {took:?}");
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
    handle.abandon().cancel();
    handle.join().await.unwrap();
    assert_eq!(rig.leftover().await, 150);
}

/// How often a breaker that opened at once has probed by then, if all probes failed.
fn rounds_of_probes(options: &BreakerOptions, by: Duration) -> usize {
    let open = |round: u32| options.open.saturating_mul(1 << round).min(options.open_max);
    let mut probes_at = Duration::ZERO;
    let ends = (0..).map(|round| {
        probes_at += open(round);
        probes_at
    });
    ends.take_while(|at| *at < by).count()
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_gets_only_probes_and_then_everything() {
    let guard = guard::Options {
        pace: Pace::per_second(1_000, 100),
        limit: LimitOptions { min: 1, max: 50, start: 50 },
        breaker: BreakerOptions::default(),
        budget: BudgetOptions { floor_per_1000_s: 100_000, ..BudgetOptions::default() },
    };
    let rig = Rig::with(Guard::new(guard, Instant::now().into_std()));
    rig.memory.offer(&events(200, 2)).await.unwrap();
    let began = Instant::now();
    let minute = Duration::from_secs(60);
    let script =
        Script {
            call: Box::new(move |_, _| {
                if began.elapsed() < minute { Reply::failed(10) } else { Reply::good(10) }
            }),
            ..Script::default()
        };
    let said = Said::default();
    let _until_the_end = said.listen();
    let calls = calls::Options { attempts_max: 10_000, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    // All that began at once have failed, and the breaker is open.
    let opened = Duration::from_secs(1);
    tokio::time::sleep(opened).await;
    let before = rig.seen.lock().unwrap().called.len();
    tokio::time::sleep(minute - opened).await;
    let probes = rig.seen.lock().unwrap().called.len() - before;
    let rounds = rounds_of_probes(&BreakerOptions::default(), minute);
    let most = rounds * BreakerOptions::default().probes as usize;
    assert!((rounds..=most).contains(&probes), "{probes} calls in {rounds} rounds of probes");
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (400, 0));
    rig.assert_order(200, 2);
    assert_eq!(said.lines("the outside service fails").len(), 1);
    assert_eq!(said.lines("the outside service answers again").len(), 1);
}
