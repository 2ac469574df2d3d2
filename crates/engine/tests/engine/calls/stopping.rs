//! What a stop finishes, and what it gives back.

use std::sync::Arc;
use std::time::Duration;

use buffer::Buffer;
use engine::calls;

use super::rig::{Reply, Rig, Script};
use crate::faulty::{Faults, Faulty};
use crate::lost::{first_leases, take_over};
use crate::rig::events;

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_calls_under_way_and_gives_back_all_others_at_once() {
    let rig = Rig::new();
    rig.memory.offer(&events(10, 2)).await.unwrap();
    let script = Script {
        call: Box::new(
            |id, _| if id == "k003-0000" { Reply::failed(10) } else { Reply::good(500) },
        ),
        ..Script::default()
    };
    let calls = calls::Options {
        backoff_min_ms: 3_600_000,
        backoff_max_ms: 3_600_000,
        ..calls::Options::default()
    };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.called.len() == 10).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    rig.shutdown.cancel();
    let stopped = tokio::time::Instant::now();
    let summary = handle.join().await.unwrap();
    assert!(stopped.elapsed() < Duration::from_millis(600), "{:?}", stopped.elapsed());
    assert_eq!((summary.counts.settled, summary.released), (9, 0));
    assert_eq!(rig.seen.lock().unwrap().overlaps, 0);
    // Also the event that was to wait for an hour, before the one behind it.
    let again = rig.memory.lease(20, Duration::ZERO).await.unwrap();
    let ids: Vec<_> = again.iter().map(crate::rig::id_of).collect();
    assert_eq!(ids.len(), 11);
    let of_failed: Vec<_> = ids.iter().filter(|id| id.starts_with("k003")).collect();
    assert_eq!(of_failed, ["k003-0000", "k003-0001"]);
}

/// The next engine of the process leases later events of the key only after those of the abandoned call.
#[tokio::test(start_paused = true)]
async fn an_abandoned_call_whose_event_cannot_be_released_keeps_the_order_of_its_key() {
    let mut rig = Rig::new();
    rig.meters = Some(engine::Meters::new("calls"));
    let faults = Faults { release: 1.into(), ..Faults::default() };
    rig.buffer = Some(Arc::new(Faulty(rig.memory.clone(), faults)));
    rig.memory.offer(&events(1, 1)).await.unwrap();
    let hangs = Script { call: Box::new(|_, _| Reply::hangs()), ..Script::default() };
    let calls = calls::Options { timeout_ms: 15_000, ..calls::Options::default() };
    let handle = rig.start(hangs, calls.clone());
    rig.until(|seen| seen.called.len() == 1).await;
    let began = tokio::time::Instant::now();
    handle.abandon().cancel();
    handle.join().await.unwrap();
    rig.memory.offer(&events(1, 2)[1..]).await.unwrap();
    let handle = rig.start(Script::default(), calls);
    rig.until(|seen| seen.recorded.len() == 2).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(15), "after {took:?} the abandoned call may still run");
    rig.finish(handle).await;
    rig.assert_order(1, 2);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_is_leased_again_only_after_its_time_out() {
    let rig = Rig::new();
    rig.memory.offer(&events(3, 2)).await.unwrap();
    let script = Script {
        call: Box::new(|id, _| if id == "k001-0000" { Reply::hangs() } else { Reply::good(10) }),
        ..Script::default()
    };
    let calls = calls::Options { timeout_ms: 15_000, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.len() == 4).await;
    handle.abandon().cancel();
    handle.join().await.unwrap();
    assert_eq!(rig.leftover().await, 2);
    let figures = rig.guard.lock().unwrap().figures(tokio::time::Instant::now().into_std());
    assert_eq!(figures.under_way, 0, "the next engine has the whole limit");
    let early = rig.memory.lease(10, Duration::from_secs(14)).await.unwrap();
    assert_eq!(early.len(), 0, "its call may still have its effect");
    let again = rig.memory.lease(10, Duration::from_secs(2)).await.unwrap();
    let ids: Vec<_> = again.iter().map(crate::rig::id_of).collect();
    assert_eq!(ids, ["k001-0000", "k001-0001"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_lease_was_lost_is_not_called() {
    let rig = Rig::new();
    rig.memory.offer(&events(1, 2)).await.unwrap();
    let script = Script {
        call: Box::new(|_, attempt| if attempt == 1 { Reply::failed(10) } else { Reply::good(10) }),
        ..Script::default()
    };
    let calls = calls::Options {
        backoff_min_ms: 3_600_000,
        backoff_max_ms: 3_600_000,
        ..calls::Options::default()
    };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.called.len() == 1).await;
    // Another worker has it by now.
    take_over(&rig.memory, &first_leases(2));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rig.seen.lock().unwrap().called.len(), 1);
    rig.shutdown.cancel();
    handle.join().await.unwrap();
}
