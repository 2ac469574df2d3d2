//! A buffer that fails: what may pass is tried again, and nothing is lost or done twice.

use std::sync::Arc;
use std::time::Duration;

use buffer::Buffer;
use engine::{Failure, Options};

use crate::faulty::{Faults, Faulty};
use crate::rig::{Rig, Step, events, one_lane};

fn faulty(rig: &Rig, faults: Faults) -> Arc<Faulty> {
    Arc::new(Faulty(rig.memory.clone(), faults))
}

#[tokio::test(start_paused = true)]
async fn events_whose_ack_failed_come_again_and_are_found_to_be_duplicates() {
    let rig = Rig::with_lease_ms(1000);
    rig.offer(&events(10, 10)).await;
    let buffer = faulty(&rig, Faults { ack: 1.into(), ..Faults::default() });
    let options = Options { lease_ms: 1000, ..one_lane() };
    let handle = rig.start_with(options, buffer, None, |_| Step::Settle);
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.duplicates, counts.redelivered), (100, 100, 100));
    rig.ledger.assert_order(10, 10);
}

#[tokio::test(start_paused = true)]
async fn a_burial_that_fails_is_tried_until_it_is_done() {
    let rig = Rig::new();
    rig.offer(&events(1, 2)).await;
    let buffer = faulty(&rig, Faults { bury: 3.into(), ..Faults::default() });
    let handle = rig.start_with(one_lane(), buffer, None, |batch| match batch.len() {
        1 if batch[0].event.id() == b"k000-0001" => Step::Settle,
        _ => Step::Fail(Failure::Rejected("bad".to_owned())),
    });
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.dead), (1, 1));
    assert_eq!(rig.dead().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_cannot_be_leased_from_is_tried_until_it_can() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let buffer = faulty(&rig, Faults { lease: 20.into(), ..Faults::default() });
    let handle = rig.start_with(Options::default(), buffer, None, |_| Step::Settle);
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_buffer_stops_the_engine() {
    let rig = Rig::new();
    let buffer = faulty(&rig, Faults { corrupt: 1.into(), ..Faults::default() });
    let handle = rig.start_with(Options::default(), buffer, None, |_| Step::Settle);
    let error = handle.join().await.unwrap_err();
    let expected = "the pipeline stopped because of its buffer: the buffer is damaged: segment 7";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_closes_under_the_engine_lets_it_finish() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let handle = rig.start(one_lane(), |_| Step::SettleAfter(Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.memory.close().await.unwrap();
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}
