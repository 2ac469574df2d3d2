//! Many calls at once, one at a time for a key.

use std::time::Duration;

use buffer::Buffer;
use engine::calls::{self, Admission, Outcome};

use super::rig::{Reply, Rig, Script};
use crate::rig::events;

fn latency_ms(id: &str, attempt: u32) -> u64 {
    let sum: u64 = id.bytes().map(u64::from).sum();
    1 + (sum * 7919 + u64::from(attempt) * 104_729) % 400
}

#[tokio::test(start_paused = true)]
async fn each_key_stays_in_order_while_keys_finish_out_of_order() {
    let rig = Rig::new();
    rig.memory.offer(&events(50, 20)).await.unwrap();
    let script = Script {
        call: Box::new(|id, attempt| Reply::good(latency_ms(id, attempt))),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let summary = rig.finish(handle).await;
    assert_eq!(summary.counts.settled, 1000);
    rig.assert_order(50, 20);
    let recorded = rig.seen.lock().unwrap().recorded.clone();
    let mut by_round = recorded.clone();
    by_round.sort_by_key(|id| id.split('-').nth(1).unwrap().to_owned());
    assert_ne!(recorded, by_round, "a key waited for another");
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_are_under_way_as_allowed_and_take_the_time_of_one() {
    let rig = Rig::new();
    rig.memory.offer(&events(1000, 1)).await.unwrap();
    let calls = calls::Options { calls_max: 500, ..calls::Options::default() };
    let handle = rig.start(Script::default(), calls);
    rig.until(|seen| seen.recorded.len() == 1000).await;
    let elapsed = rig.elapsed();
    assert!(elapsed < Duration::from_millis(110), "two rounds of 50 ms took {elapsed:?}");
    assert_eq!(rig.seen.lock().unwrap().under_way_max, 500);
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_come_together_are_recorded_in_one_transaction() {
    let rig = Rig::new();
    rig.memory.offer(&events(400, 1)).await.unwrap();
    let records = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = records.clone();
    let spread = |id: &str| id.bytes().map(u64::from).sum::<u64>() % 4;
    let script = Script {
        call: Box::new(move |id, _| Reply::good(50 + spread(id))),
        record: Box::new(move |ids| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(vec![Outcome::Settled; ids.len()])
        }),
        ..Script::default()
    };
    let calls = calls::Options { calls_max: 400, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.len() == 400).await;
    assert!(rig.elapsed() < Duration::from_millis(110), "{:?}", rig.elapsed());
    let records = records.load(std::sync::atomic::Ordering::SeqCst);
    assert!(records <= 4, "{records} transactions");
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_later_keeps_its_key_and_no_slot() {
    let rig = Rig::new();
    rig.memory.offer(&events(3, 2)).await.unwrap();
    let first = std::sync::atomic::AtomicBool::new(true);
    let script = Script {
        record: Box::new(move |ids| {
            let outcome = |id: &String| match id.as_str() {
                "k000-0000" if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
                    Outcome::Later(Duration::from_secs(10))
                }
                _ => Outcome::Settled,
            };
            Ok(ids.iter().map(outcome).collect())
        }),
        ..Script::default()
    };
    let calls = calls::Options { calls_max: 1, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.recorded.len() == 4).await;
    assert!(rig.elapsed() < Duration::from_secs(2), "the other keys did not wait");
    assert!(!rig.seen.lock().unwrap().called.contains(&"k000-0001".to_owned()), "its key waits");
    rig.finish(handle).await;
    assert!(rig.elapsed() >= Duration::from_secs(10));
    rig.assert_order(3, 2);
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_call_or_is_parked_leaves_the_buffer() {
    let rig = Rig::new();
    rig.memory.offer(&events(4, 1)).await.unwrap();
    let script = Script {
        admit: Box::new(|ids| {
            let admission = |id: &String| match id.as_str() {
                "k000-0000" => Admission::Done(Outcome::Duplicate),
                "k001-0000" => Admission::Done(Outcome::Rejected("no such member".to_owned())),
                _ => Admission::Call,
            };
            Ok(ids.iter().map(admission).collect())
        }),
        record: Box::new(|ids| Ok(vec![Outcome::Parked; ids.len()])),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.duplicates, counts.dead), (2, 1, 1));
    assert_eq!(rig.dead().await, ["k001-0000"]);
    let called = rig.seen.lock().unwrap().called.clone();
    assert_eq!(called, ["k002-0000", "k003-0000"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_that_is_not_below_lease_and_drain_starts_nothing() {
    let rig = Rig::new();
    let calls = calls::Options { timeout_ms: 20_000, ..calls::Options::default() };
    let error = rig.try_start(Script::default(), calls, super::rig::options()).err().unwrap();
    assert_eq!(error.to_string(), "timeout_ms: must be 1 to 19999, not 20000");
    let calls = calls::Options { calls_max: 10_001, ..calls::Options::default() };
    for (held_max, most) in [(20_000, 10_000), (8_000, 8_000)] {
        let options = engine::Options { held_max, ..super::rig::options() };
        let error = rig.try_start(Script::default(), calls.clone(), options).err().unwrap();
        assert_eq!(error.to_string(), format!("calls_max: must be 1 to {most}, not 10001"));
    }
}
