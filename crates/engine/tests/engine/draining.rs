//! A stopping engine finishes what it holds, in time, and gives back the rest.

use std::time::Duration;

use engine::{Failure, Options};
use tokio::time::{Instant, sleep};

use crate::rig::{Rig, Step, events, one_lane};

fn small() -> Options {
    Options { batch_max: 10, held_max: 50, drain_timeout_ms: 2500, ..one_lane() }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_finished_in_time_goes_back_to_the_buffer() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let handle = rig.start(small(), |_| Step::SettleAfter(Duration::from_secs(1)));
    sleep(Duration::from_millis(500)).await;
    rig.shutdown.cancel();
    let stopping = Instant::now();
    let summary = handle.join().await.unwrap();
    // Batches end after 1, 2 and 3 s; the drain is over after 0.5 + 2.5 s, in the fourth at most.
    assert!((20..=30).contains(&summary.counts.settled), "{summary:?}");
    assert_eq!(summary.counts.settled + summary.released, 50, "all that was held");
    assert_eq!(rig.depth().await, (100 - summary.counts.settled, 0));
    let took = stopping.elapsed();
    assert!(took < Duration::from_millis(2700), "the drain took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_can_be_finished_in_time_is() {
    let rig = Rig::new();
    rig.offer(&events(10, 2)).await;
    let handle = rig.start(small(), |_| Step::SettleAfter(Duration::from_secs(1)));
    sleep(Duration::from_millis(500)).await;
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.counts.settled, summary.released), (20, 0));
    assert!(rig.elapsed() < Duration::from_millis(2200), "it need not wait for its timeout");
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_leased_once_told_to_stop() {
    let rig = Rig::new();
    let handle = rig.start(small(), |_| Step::Settle);
    sleep(Duration::from_secs(1)).await;
    rig.shutdown.cancel();
    // A lease under way ends by then.
    sleep(Duration::from_millis(400)).await;
    rig.offer(&events(10, 1)).await;
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.counts.settled, rig.depth().await), (0, (10, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_does_not_hold_up_the_end() {
    let rig = Rig::new();
    rig.offer(&events(10, 1)).await;
    let handle = rig.start(small(), |_| Step::SettleAfter(Duration::from_secs(1_000_000)));
    sleep(Duration::from_secs(1)).await;
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.counts.settled, summary.released), (0, 10));
    assert_eq!(rig.depth().await, (10, 0));
    assert!(rig.elapsed() < Duration::from_secs(4), "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_waits_for_its_store_gives_back_at_the_end() {
    let rig = Rig::new();
    rig.offer(&events(10, 1)).await;
    let handle =
        rig.start(small(), |_| Step::Fail(Failure::Unavailable("connection refused".to_owned())));
    sleep(Duration::from_secs(60)).await;
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.released, summary.counts.dead), (10, 0));
    assert_eq!(rig.depth().await, (10, 0));
}

#[tokio::test(start_paused = true)]
async fn another_engine_settles_what_the_first_gave_back() {
    let mut rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let first = rig.start(small(), |_| Step::SettleAfter(Duration::from_secs(1)));
    sleep(Duration::from_millis(500)).await;
    rig.shutdown.cancel();
    let given_back = first.join().await.unwrap().released;
    rig.shutdown = tokio_util::sync::CancellationToken::new();
    let second = rig.start(Options { lanes: 3, ..Options::default() }, |_| Step::Settle);
    let summary = rig.finish(second).await;
    assert_eq!(summary.counts.redelivered, given_back);
    rig.ledger.assert_order(10, 10);
}

#[tokio::test(start_paused = true)]
async fn drained_waits_for_what_is_held_and_not_only_for_what_is_ready() {
    let rig = Rig::new();
    rig.offer(&events(10, 1)).await;
    let handle = rig.start(one_lane(), |_| Step::SettleAfter(Duration::from_secs(3)));
    handle.drained().await;
    assert!(rig.elapsed() >= Duration::from_secs(3));
    assert_eq!(handle.stats().counts().settled, 10);
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_abandoned_gives_back_at_once() {
    let rig = Rig::new();
    rig.offer(&events(10, 1)).await;
    let handle = rig.start(small(), |_| Step::SettleAfter(Duration::from_secs(1_000_000)));
    sleep(Duration::from_secs(1)).await;
    rig.shutdown.cancel();
    handle.abandon().cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.counts.settled, summary.released), (0, 10));
    // A lease under way is waited for.
    assert!(rig.elapsed() <= Duration::from_millis(1400), "{:?}", rig.elapsed());
}
