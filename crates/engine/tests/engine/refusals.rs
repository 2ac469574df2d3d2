//! A store that refuses an event may refuse this row or every row. An event that is refused alone
//! waits, blocks only its own key, and is buried only where the store takes others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use buffer::Envelope;
use engine::{Failure, Options};
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, holds, id_of, one_lane};

fn refuse() -> Step {
    Step::Fail(Failure::Refused("no [SQLSTATE AB123]".to_owned()))
}

fn refuse_if(bad: impl Fn(&Envelope) -> bool) -> impl Fn(&[Envelope]) -> Step {
    move |batch| if batch.iter().any(&bad) { refuse() } else { Step::Settle }
}

#[tokio::test(start_paused = true)]
async fn two_refused_events_are_buried_after_attempts_max_and_a_hundred_others_are_settled() {
    let rig = Rig::new();
    rig.offer(&events(102, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope).as_str() < "k002";
    let handle = rig.start(one_lane(), refuse_if(bad));
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 2));
    for letter in rig.dead().await {
        assert_eq!(letter.reason, "no [SQLSTATE AB123]; refused 5 times while others were written");
        let id = String::from_utf8_lossy(letter.event.id()).into_owned();
        let alone = rig.ledger.calls().iter().filter(|call| **call == [id.as_str()]).count();
        assert_eq!(alone, 5, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_every_event_for_an_hour_buries_none_and_keeps_order() {
    let rig = Rig::with_lease_ms(1000);
    rig.offer(&events(300, 4)).await;
    let granted = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&granted);
    let options = Options { lanes: 2, lease_ms: 1000, apart_max: 10, ..Options::default() };
    let handle = rig.start(options, move |_| match takes.load(Ordering::SeqCst) {
        true => Step::Settle,
        false => refuse(),
    });
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(handle.stats().refused_waiting(), 20, "the bound of both lanes");
    assert_eq!((handle.stats().counts().settled, rig.dead().await.len()), (0, 0));
    // 250 ms apart on average in each lane, and less than a hundred attempts to begin with.
    let calls = rig.ledger.calls().len();
    assert!((10_000..40_000).contains(&calls), "{calls} calls in an hour");
    granted.store(true, Ordering::SeqCst);
    let stats = handle.stats();
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (1200, 0));
    assert_eq!((summary.counts.redelivered, stats.refused_waiting()), (0, 0));
    rig.ledger.assert_order(300, 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_blocks_its_own_key_and_no_other_key_of_its_lane() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let calls = AtomicUsize::new(0);
    let handle = rig.start(Options { attempts_max: 50, ..one_lane() }, move |batch| {
        // The store takes this event when it is tried for the 40th time.
        let refused = holds(batch, "k003-0002") && calls.fetch_add(1, Ordering::SeqCst) < 40;
        if refused { refuse() } else { Step::Settle }
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 0));
    rig.ledger.assert_order(10, 10);
    let settled = rig.ledger.settled();
    let blocked: Vec<&str> = settled[92..].iter().map(|id| &id[..4]).collect();
    assert_eq!(blocked, ["k003"; 8], "all other keys are settled before: {settled:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_buried_event_is_settled_in_order_with_what_comes_later() {
    let rig = Rig::new();
    rig.offer(&events(4, 5)).await;
    let bad = |envelope: &Envelope| id_of(envelope) == "k002-0000";
    let handle = rig.start(one_lane(), refuse_if(bad));
    sleep(Duration::from_millis(1)).await;
    rig.offer(&events(4, 10)[20..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (39, 1));
    let k002: Vec<String> =
        rig.ledger.settled().into_iter().filter(|id| id.starts_with("k002")).collect();
    let expected: Vec<String> = (1..10).map(|n| format!("k002-{n:04}")).collect();
    assert_eq!(k002, expected);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_where_no_other_is_written_waits_until_one_is() {
    let rig = Rig::new();
    rig.offer(&events(1, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope) == "k000-0000";
    let handle = rig.start(one_lane(), refuse_if(bad));
    sleep(Duration::from_secs(600)).await;
    assert_eq!((handle.stats().refused_waiting(), rig.dead().await.len()), (1, 0));
    rig.offer(&events(2, 1)[1..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn more_refused_events_than_may_wait_are_all_buried_and_the_others_settled() {
    let rig = Rig::new();
    rig.offer(&events(300, 1)).await;
    let bad = |envelope: &Envelope| id_of(envelope).as_str() < "k200";
    let handle = rig.start(Options { apart_max: 16, ..one_lane() }, refuse_if(bad));
    let stats = handle.stats();
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (100, 200));
    assert_eq!(stats.refused_waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_alone_is_given_back_when_the_engine_stops() {
    let rig = Rig::new();
    rig.offer(&events(3, 3)).await;
    let handle = rig.start(one_lane(), |_| refuse());
    sleep(Duration::from_secs(60)).await;
    rig.shutdown.cancel();
    let summary = handle.join().await.unwrap();
    assert_eq!((summary.released, rig.depth().await), (9, (9, 0)));
    assert!(rig.dead().await.is_empty());
}
