//! Events that never get an answer take turns with all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buffer::Buffer;
use engine::calls;
use guard::{BreakerOptions, BudgetOptions, Guard, LimitOptions, Pace};
use model::Event;
use tokio::time::Instant;

use super::rig::{Reply, Rig, Script};

/// Events with an id and a key of their own.
fn named(name: &str, count: usize) -> Vec<Event> {
    let id = |n: usize| format!("{name}{n}");
    (0..count).map(|n| Event::new(id(n).as_bytes(), id(n).as_bytes(), b"").unwrap()).collect()
}

/// A guard whose budget allows many retries: they are bounded by their share alone.
fn guard(calls: u32, pace: Pace, breaker: BreakerOptions) -> Guard {
    let options = guard::Options {
        pace,
        limit: LimitOptions { min: calls, max: calls, start: calls },
        breaker,
        budget: BudgetOptions { floor_per_1000_s: 10_000_000, ..BudgetOptions::default() },
    };
    Guard::new(options, Instant::now().into_std())
}

fn calls(calls_max: usize) -> calls::Options {
    calls::Options {
        calls_max,
        timeout_ms: 5_000,
        attempts_max: 10_000,
        backoff_min_ms: 1_000,
        backoff_max_ms: 10_000,
    }
}

async fn stop(handle: engine::Handle) {
    handle.abandon().cancel();
    handle.join().await.unwrap();
}

/// Whether 50 events are done soon, though many others that are never done are called again all the time.
async fn others_are_done(calls_max: u32, pace: Pace, never: fn() -> Reply) {
    let breaker = BreakerOptions { calls_min: u32::MAX, ..BreakerOptions::default() };
    let rig = Rig::with(guard(calls_max, pace, breaker));
    rig.memory.offer(&named("never", 200)).await.unwrap();
    let script = Script {
        call: Box::new(
            move |id, _| if id.starts_with("never") { never() } else { Reply::good(50) },
        ),
        ..Script::default()
    };
    let handle = rig.start(script, calls(calls_max as usize));
    // Each of them had an attempt by then, and there is always one that is to be called again.
    tokio::time::sleep(Duration::from_secs(2_500)).await;
    rig.memory.offer(&named("good", 50)).await.unwrap();
    let began = Instant::now();
    rig.until(|seen| seen.recorded.len() == 50).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(300), "{calls_max} calls at once: they took {took:?}");
    stop(handle).await;
}

#[tokio::test(start_paused = true)]
async fn retries_that_always_hang_leave_calls_to_events_that_come_later() {
    let pace = Pace::per_second(1_000_000, 1_000_000);
    for calls_max in [1, 2, 8] {
        others_are_done(calls_max, pace, Reply::hangs).await;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_that_always_fail_leave_half_of_the_rate_to_events_that_come_later() {
    others_are_done(100, Pace::per_second(1, 1), || Reply::failed(10)).await;
}

#[tokio::test(start_paused = true)]
async fn events_that_always_fail_keep_no_breaker_open() {
    let rig = Rig::with(guard(10, Pace::per_second(1_000, 1_000), BreakerOptions::default()));
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let script = Script {
        call: Box::new(move |id, _| {
            let fails = id.starts_with("never") || away.load(Ordering::SeqCst);
            if fails { Reply::failed(10) } else { Reply::good(10) }
        }),
        ..Script::default()
    };
    let handle = rig.start(script, calls(10));
    // One after the other, so that the breaker stays closed.
    for (never, good) in named("never", 25).into_iter().zip(named("early", 250).chunks(10)) {
        rig.memory.offer(&[never]).await.unwrap();
        rig.memory.offer(good).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    is_away.store(true, Ordering::SeqCst);
    rig.memory.offer(&named("during", 30)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    is_away.store(false, Ordering::SeqCst);
    rig.memory.offer(&named("late", 30)).await.unwrap();
    let began = Instant::now();
    rig.until(|seen| seen.recorded.len() == 250 + 60).await;
    assert!(began.elapsed() < Duration::from_secs(300), "{:?}", began.elapsed());
    stop(handle).await;
}
