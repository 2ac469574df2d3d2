//! What may pass is tried again: for ever when nobody is to blame, `attempts_max` times otherwise.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::{Failure, Options};
use tokio::time::Instant;

use crate::rig::{Rig, Step, events, one_lane};

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_alone_is_buried_after_attempts_max() {
    let rig = Rig::new();
    rig.offer(&events(1, 1)).await;
    let handle = rig.start(Options { attempts_max: 3, ..one_lane() }, |_| {
        Step::Fail(Failure::Retryable("deadlock".to_owned()))
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.dead, summary.counts.failed), (1, 3));
    assert_eq!(rig.ledger.calls().len(), 3);
    let dead = rig.dead().await;
    assert_eq!((&*dead[0].reason, dead[0].attempts), ("failed 3 times: deadlock", 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_succeeds_at_the_last_attempt_is_settled() {
    let rig = Rig::new();
    rig.offer(&events(1, 1)).await;
    let calls = AtomicUsize::new(0);
    let handle = rig.start(Options { attempts_max: 3, ..one_lane() }, move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Step::Fail(Failure::Retryable("deadlock".to_owned())),
            _ => Step::Settle,
        }
    });
    assert_eq!(rig.finish(handle).await.counts.settled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_whole_batch_that_fails_once_is_not_taken_apart() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let calls = AtomicUsize::new(0);
    let handle = rig.start(one_lane(), move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Step::Fail(Failure::Retryable("deadlock".to_owned())),
        _ => Step::Settle,
    });
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
    let sizes: Vec<usize> = rig.ledger.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [100, 100]);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_buries_nothing_and_loses_no_order() {
    let rig = Rig::with_lease_ms(1000);
    rig.offer(&events(20, 30)).await;
    let back_at = Instant::now() + Duration::from_secs(3600);
    let options = Options { lanes: 4, lease_ms: 1000, ..Options::default() };
    let handle = rig.start(options, move |_| match Instant::now() < back_at {
        true => Step::Fail(Failure::Unavailable("connection refused".to_owned())),
        false => Step::Settle,
    });
    let summary = rig.finish(handle).await;
    rig.ledger.assert_order(20, 30);
    assert_eq!((summary.counts.settled, summary.counts.dead), (600, 0));
    assert_eq!(summary.counts.redelivered, 0, "leases must be kept alive meanwhile");
    assert!(summary.counts.failed > 1000, "an hour of tries, not {}", summary.counts.failed);
    let late = rig.elapsed() - Duration::from_secs(3600);
    assert!(late < Duration::from_secs(7), "it came back {late:?} late");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_makes_duplicates_and_not_double_effects() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let calls = AtomicUsize::new(0);
    let handle = rig.start(one_lane(), move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Step::SettleUnheard(Failure::Unavailable("connection reset".to_owned())),
        _ => Step::Settle,
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.duplicates), (0, 100));
    rig.ledger.assert_order(10, 10);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_stops_the_engine_and_gives_everything_back() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let options = Options { lanes: 2, batch_max: 10, held_max: 50, ..Options::default() };
    let handle = rig
        .start(options, |_| Step::Fail(Failure::Fatal("schema version 9 is unknown".to_owned())));
    let drained = handle.drained();
    let error = handle.join().await.unwrap_err();
    assert_eq!(error.to_string(), "the test pipeline stopped: schema version 9 is unknown");
    assert_eq!(model::Classify::class(&error), model::Class::Fatal);
    assert_eq!(rig.depth().await, (100, 0), "nothing acked, nothing held");
    drained.await;
    assert!(rig.elapsed() < Duration::from_secs(1), "it took {:?} to stop", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_lanes_fatal_failure_does_not_wait_for_another_lane_that_hangs() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let calls = AtomicUsize::new(0);
    let handle =
        rig.start(Options::default(), move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Step::SettleAfter(Duration::from_secs(1_000_000)),
            _ => Step::Fail(Failure::Fatal("the disk is gone".to_owned())),
        });
    handle.join().await.unwrap_err();
    assert_eq!(rig.depth().await, (100, 0));
    assert!(rig.elapsed() < Duration::from_secs(1), "it took {:?} to stop", rig.elapsed());
}
