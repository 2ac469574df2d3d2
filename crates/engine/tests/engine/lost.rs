//! A lease that another worker took while this one waited for a refused event of its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use buffer::memory::Memory;
use buffer::{Buffer, Envelope, Receipt};
use engine::{Failure, Options};
use futures_util::FutureExt;
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, holds, id_of, one_lane};

/// Another worker leases all events of `k000`, whose first leases end.
pub(crate) fn take_over(memory: &Memory, leased: &[Receipt]) -> Vec<Envelope> {
    let hour = Duration::from_secs(3600);
    // Nothing else runs in between: no future of the memory buffer has to wait here.
    memory.release(leased, Duration::ZERO).now_or_never().unwrap().unwrap();
    let taken = memory.lease(leased.len(), Duration::ZERO).now_or_never().unwrap().unwrap();
    let receipts: Vec<Receipt> = taken.iter().map(|envelope| envelope.receipt).collect();
    memory.extend(&receipts, hour).now_or_never().unwrap().unwrap();
    assert!(taken.iter().all(|envelope| envelope.event.key() == b"k000"));
    assert_eq!(taken.len(), leased.len());
    taken
}

/// The receipts of the first lease of each of the first `count` events.
pub(crate) fn first_leases(count: u64) -> Vec<Receipt> {
    (1..=count).map(|seq| Receipt { seq, epoch: 1 }).collect()
}

async fn give_back(memory: &Memory, taken: &[Envelope]) {
    let receipts: Vec<Receipt> = taken.iter().map(|envelope| envelope.receipt).collect();
    assert_eq!(memory.release(&receipts, Duration::ZERO).await.unwrap(), taken.len());
}

fn of_k001(settled: &[String]) -> bool {
    settled.iter().all(|id| id.starts_with("k001"))
}

/// The store fails the first event with `first`. Another worker takes all leases in the last try of it.
async fn a_burial_passed_over_keeps_order(first: fn() -> Failure, attempts_max: usize) {
    let rig = Rig::new();
    let (refuses, calls) = (Arc::new(AtomicBool::new(true)), AtomicUsize::new(0));
    let taken: Arc<std::sync::Mutex<Vec<Envelope>>> = Arc::default();
    let (script_refuses, script_taken) = (Arc::clone(&refuses), Arc::clone(&taken));
    let memory = Arc::clone(&rig.memory);
    rig.offer(&events(1, 6)).await;
    let handle = rig.start(one_lane(), move |batch| {
        if !holds(batch, "k000-0000") || !script_refuses.load(Ordering::SeqCst) {
            return Step::Settle;
        }
        let alone = batch.len() == 1;
        if alone && calls.fetch_add(1, Ordering::SeqCst) + 1 == attempts_max {
            *script_taken.lock().unwrap() = take_over(&memory, &first_leases(6));
        }
        Step::Fail(first())
    });
    sleep(Duration::from_millis(1)).await;
    rig.offer(&events(2, 1)[1..]).await;
    sleep(Duration::from_secs(60)).await;
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert_eq!(taken.len(), 6, "the lease was lost in the last try");
    let settled = rig.ledger.settled();
    assert!(of_k001(&settled), "settled ahead of an event that another worker holds: {settled:?}");
    assert_eq!((rig.dead().await.len(), rig.depth().await), (0, (0, 6)));
    refuses.store(false, Ordering::SeqCst);
    give_back(&rig.memory, &taken).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (7, 0));
    let of_k000: Vec<String> =
        rig.ledger.settled().into_iter().filter(|id| id.starts_with("k000")).collect();
    assert_eq!(of_k000, (0..6).map(|n| format!("k000-{n:04}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_refused_event_is_let_go_when_the_burial_is_passed_over() {
    let refused = || Failure::Refused("no [SQLSTATE AB123]".to_owned());
    let attempts_max = usize::try_from(Options::default().attempts_max).unwrap();
    a_burial_passed_over_keeps_order(refused, attempts_max).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_rejected_event_is_let_go_when_the_burial_is_passed_over() {
    a_burial_passed_over_keeps_order(|| Failure::Rejected("no".to_owned()), 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_another_worker_has_buried_meanwhile_is_not_settled() {
    let rig = Rig::new();
    rig.offer(&events(1, 6)).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let script_refuses = Arc::clone(&refuses);
    let handle = rig.start(one_lane(), move |batch| {
        let bad = |envelope: &Envelope| id_of(envelope) == "k000-0000";
        if batch.iter().any(bad) && script_refuses.load(Ordering::SeqCst) {
            return Step::Fail(Failure::Refused("no [SQLSTATE AB123]".to_owned()));
        }
        Step::Settle
    });
    sleep(Duration::from_secs(60)).await;
    assert_eq!(handle.stats().refused_waiting(), 1);
    let taken = take_over(&rig.memory, &first_leases(6));
    let burial = (taken[0].receipt, "no".to_owned());
    assert_eq!(rig.memory.bury(&[burial]).await.unwrap(), 1);
    refuses.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(rig.ledger.settled().is_empty(), "another worker has them");
    assert_eq!(handle.stats().refused_waiting(), 0);
    give_back(&rig.memory, &taken[1..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, rig.dead().await.len()), (5, 1));
    let expected: Vec<String> = (1..6).map(|n| format!("k000-{n:04}")).collect();
    assert_eq!(rig.ledger.settled(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_back_settles_before_later_events_after_a_lease_before_it_was_lost() {
    let rig = Rig::new();
    rig.offer(&events(1, 6)).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let script_refuses = Arc::clone(&refuses);
    let options = Options { held_max: 6, batch_max: 6, ..one_lane() };
    let handle = rig.start(options, move |batch| {
        if holds(batch, "k000-0000") && script_refuses.load(Ordering::SeqCst) {
            return Step::Fail(Failure::Refused("no [SQLSTATE AB123]".to_owned()));
        }
        Step::Settle
    });
    // The first waits alone, and those behind it fill the room.
    while rig.depth().await != (5, 1) {
        assert!(rig.elapsed() < Duration::from_secs(60), "given back: {:?}", rig.depth().await);
        sleep(Duration::from_millis(1)).await;
    }
    // The lease of the first is lost while the others are away, and a later event comes.
    assert_eq!(rig.memory.release(&first_leases(1), Duration::ZERO).await.unwrap(), 1);
    refuses.store(false, Ordering::SeqCst);
    rig.offer(&events(1, 7)[6..]).await;
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (7, 0));
    rig.ledger.assert_order(1, 7);
}
