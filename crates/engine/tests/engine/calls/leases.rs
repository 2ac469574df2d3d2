//! Leases that end or cannot be asked for, acks and burials that fail: each key stays in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use buffer::{Buffer, Kind, memory};
use engine::calls::{self, Outcome};

use super::rig::{Reply, Rig, Script, open_guard};
use crate::faulty::{Faults, Faulty};
use crate::lost::{first_leases, take_over};
use crate::rig::events;

/// As on Kafka, where a rebalance takes a partition though its leases have not ended.
#[tokio::test(start_paused = true)]
async fn an_event_that_another_process_was_given_is_not_called_though_its_lease_has_not_ended() {
    let mut rig = Rig::new();
    let kind = Kind { shared: true, counts_leases: false, ..rig.memory.kind() };
    let faults = Faults { kind: Some(kind), ..Faults::default() };
    rig.buffer = Some(Arc::new(Faulty(rig.memory.clone(), faults)));
    rig.memory.offer(&events(1, 3)).await.unwrap();
    let script = Script { call: Box::new(|_, _| Reply::good(1_000)), ..Script::default() };
    // A process that has just got the part of a buffer waits for one time-out.
    let calls = calls::Options { timeout_ms: 1_500, ..calls::Options::default() };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.called.len() == 1).await;
    take_over(&rig.memory, &first_leases(3));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.seen.lock().unwrap().called.len(), 1);
    rig.shutdown.cancel();
    handle.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_lease_may_have_ended_is_not_called_while_the_buffer_does_not_answer() {
    let mut rig = Rig::new();
    let buffer = Arc::new(Faulty(rig.memory.clone(), Faults::default()));
    rig.buffer = Some(buffer.clone());
    rig.memory.offer(&events(1, 1)).await.unwrap();
    let script = Script {
        call: Box::new(|_, attempt| if attempt == 1 { Reply::failed(10) } else { Reply::good(10) }),
        ..Script::default()
    };
    let calls = calls::Options {
        backoff_min_ms: 60_000,
        backoff_max_ms: 60_000,
        ..calls::Options::default()
    };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.called.len() == 1).await;
    buffer.1.extend.store(usize::MAX, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.seen.lock().unwrap().called.len(), 1);
    buffer.1.extend.store(0, Ordering::SeqCst);
    rig.until(|seen| seen.called.len() == 2).await;
    rig.finish(handle).await;
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_fails_is_tried_until_it_is_done() {
    let mut rig = Rig::new();
    let faults = Faults { ack: 5.into(), ..Faults::default() };
    rig.buffer = Some(Arc::new(Faulty(rig.memory.clone(), faults)));
    rig.memory.offer(&events(10, 3)).await.unwrap();
    let handle = rig.start(Script::default(), calls::Options::default());
    let counts = rig.finish(handle).await.counts;
    assert_eq!((counts.settled, counts.redelivered), (30, 0));
    assert_eq!(rig.seen.lock().unwrap().called.len(), 30);
    rig.assert_order(10, 3);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_room_among_the_dead_letters_keeps_its_key_and_no_other() {
    let options = memory::Options { dead_max: 0, ..memory::Options::default() };
    let rig = Rig::of(open_guard(), options);
    rig.memory.offer(&events(5, 2)).await.unwrap();
    let script = Script {
        record: Box::new(|ids| {
            let outcome = |id: &String| match id.as_str() {
                "k003-0000" => Outcome::Rejected("it is never taken".to_owned()),
                _ => Outcome::Settled,
            };
            Ok(ids.iter().map(outcome).collect())
        }),
        ..Script::default()
    };
    let handle = rig.start(script, calls::Options::default());
    rig.until(|seen| seen.recorded.len() == 8).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!rig.seen.lock().unwrap().called.contains(&"k003-0001".to_owned()));
    handle.abandon().cancel();
    handle.join().await.unwrap();
    assert_eq!(rig.leftover().await, 2);
}

/// The worker stood still beyond its leases, leased the same events again, and then noticed.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_leased_before_earlier_ones_are_released_waits_for_them() {
    let mut rig = Rig::new();
    let faults = Faults { release_takes: Duration::from_secs(1), ..Faults::default() };
    rig.buffer = Some(Arc::new(Faulty(rig.memory.clone(), faults)));
    rig.memory.offer(&events(1, 3)).await.unwrap();
    let script = Script {
        call: Box::new(|id, attempt| {
            if id == "k000-0000" && attempt == 1 { Reply::failed(10) } else { Reply::good(10) }
        }),
        ..Script::default()
    };
    let calls = calls::Options {
        backoff_min_ms: 60_000,
        backoff_max_ms: 60_000,
        ..calls::Options::default()
    };
    let handle = rig.start(script, calls);
    rig.until(|seen| seen.called.len() == 1).await;
    rig.memory.release(&first_leases(3), Duration::ZERO).await.unwrap();
    // One after the other, so that some are leased while the others are on their way back.
    for at in 3..60 {
        rig.memory.offer(&events(1, at + 1)[at..]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let counts = rig.finish(handle).await.counts;
    assert_eq!(counts.settled, 60);
    rig.assert_order(1, 60);
}
