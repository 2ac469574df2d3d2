//! What is held stays held, and no more is held than may be.

use std::time::Duration;

use engine::Options;
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, one_lane};

#[tokio::test(start_paused = true)]
async fn leases_outlive_a_slow_batch_and_the_queue_behind_it() {
    let rig = Rig::with_lease_ms(300);
    rig.offer(&events(10, 10)).await;
    let options = Options { batch_max: 25, held_max: 100, lease_ms: 300, ..one_lane() };
    let handle = rig.start(options, |_| Step::SettleAfter(Duration::from_secs(5)));
    let summary = rig.finish(handle).await;
    assert_eq!(rig.ledger.calls().len(), 4, "each event was settled in one call");
    assert_eq!((summary.counts.settled, summary.counts.redelivered), (100, 0));
    assert_eq!(summary.counts.duplicates, 0);
    assert!(rig.elapsed() >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_held_than_may_be() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let options = Options { lanes: 2, batch_max: 10, held_max: 30, ..Options::default() };
    let handle = rig.start(options, |_| Step::SettleAfter(Duration::from_secs(10)));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.depth().await, (70, 30));
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_does_not_stop_the_other_lanes_while_there_is_room() {
    let rig = Rig::new();
    let options = Options { lanes: 8, batch_max: 10, ..Options::default() };
    let handle = rig.start(options, |batch| match batch[0].event.key() == b"k000" {
        true => Step::SettleAfter(Duration::from_secs(1000)),
        false => Step::Settle,
    });
    rig.offer(&events(1, 200)).await;
    sleep(Duration::from_secs(1)).await;
    let others: Vec<_> =
        events(100, 5).into_iter().filter(|event| event.key() != b"k000").collect();
    rig.offer(&others).await;
    sleep(Duration::from_secs(1)).await;
    let settled = rig.ledger.settled().len();
    assert!(settled > 300, "only {settled} of 495 were settled beside the slow key");
    rig.shutdown.cancel();
    handle.join().await.unwrap();
}
