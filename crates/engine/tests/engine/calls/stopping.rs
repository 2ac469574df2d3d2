//! What a stop finishes, and what it gives back.

use std::time::Duration;

use buffer::Buffer;
use engine::calls;

use super::rig::{Reply, Rig, Script};
use crate::lost::{first_leases, take_over};
use crate::rig::events;

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_held_and_gives_back_what_waits() {
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
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.counts.settled, summary.released), (18, 0));
    assert_eq!(rig.leftover().await, 2, "an event that waits for an hour, and the one behind it");
    assert_eq!(rig.seen.lock().unwrap().overlaps, 0);
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
