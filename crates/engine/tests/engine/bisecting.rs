//! One bad event costs the batch it is in a few more transactions, and nothing else.

use engine::{Failure, Options};

use crate::rig::{Rig, Step, events, holds, one_lane};

const BAD: &str = "k050-0007";

#[tokio::test(start_paused = true)]
async fn one_bad_row_in_a_thousand_is_found_and_the_others_are_settled() {
    let rig = Rig::new();
    rig.offer(&events(100, 10)).await;
    let handle = rig.start(one_lane(), |batch| match holds(batch, BAD) {
        true => Step::Fail(Failure::Rejected("value out of range".to_owned())),
        false => Step::Settle,
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (999, 1));
    let dead = rig.dead().await;
    assert_eq!((dead[0].event.id(), &*dead[0].reason), (BAD.as_bytes(), "value out of range"));

    let mut expected: Vec<String> = Vec::new();
    let all = events(100, 10);
    expected.extend(all.iter().map(|e| String::from_utf8_lossy(e.id()).into_owned()));
    expected.retain(|id| id != BAD);
    assert_eq!(rig.ledger.settled(), expected, "the others keep their order");
    // 1000, then at most two halves on each of ten levels.
    assert!(rig.ledger.calls().len() <= 21, "{} calls", rig.ledger.calls().len());
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_that_only_fails_is_found_as_well() {
    let rig = Rig::new();
    rig.offer(&events(100, 10)).await;
    let handle = rig.start(one_lane(), |batch| match holds(batch, BAD) {
        true => Step::Fail(Failure::Retryable("no answer".to_owned())),
        false => Step::Settle,
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (999, 1));
    let alone = rig.ledger.calls().iter().filter(|call| **call == [BAD]).count();
    assert_eq!(alone, 5, "alone it has all its attempts");
    assert_eq!(rig.dead().await[0].reason, "failed 5 times: no answer");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_panics_is_buried_and_the_lane_is_rebuilt_each_time() {
    let rig = Rig::new();
    rig.offer(&events(100, 10)).await;
    let handle = rig.start(Options { attempts_max: 2, ..one_lane() }, |batch| {
        if holds(batch, BAD) { Step::Panic("index out of bounds") } else { Step::Settle }
    });
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (999, 1));
    let panics = rig.ledger.calls().iter().filter(|call| call.iter().any(|id| id == BAD)).count();
    let lanes_made = rig.ledger.lanes_made.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(lanes_made, 1 + panics);
    assert_eq!(summary.counts.failed, panics as u64);
    let reason = &rig.dead().await[0].reason;
    assert_eq!(reason, "failed 2 times: the handler panicked: index out of bounds");
}

#[tokio::test(start_paused = true)]
async fn rows_the_handler_rejects_by_itself_cost_no_further_call() {
    let rig = Rig::new();
    rig.offer(&events(10, 10)).await;
    let bad = ["k003-0001", "k003-0002", "k009-0009"].map(str::to_owned);
    let rejected = bad.to_vec();
    let handle = rig.start(one_lane(), move |_| Step::Reject(rejected.clone()));
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (97, 3));
    assert_eq!(rig.ledger.calls().len(), 1);
    let dead = rig.dead().await;
    assert!(dead.iter().zip(&bad).all(|(letter, id)| letter.event.id() == id.as_bytes()));
    assert!(dead.iter().all(|letter| letter.reason == "as scripted"));
}

#[tokio::test(start_paused = true)]
async fn when_every_row_is_bad_every_row_is_buried() {
    let rig = Rig::new();
    rig.offer(&events(8, 8)).await;
    let handle = rig.start(one_lane(), |_| Step::Fail(Failure::Rejected("no".to_owned())));
    let summary = rig.finish(handle).await;
    assert_eq!((summary.counts.settled, summary.counts.dead), (0, 64));
}
