//! One key's events are settled in order, whatever fails and however many lanes there are.

use std::sync::Mutex;

use engine::{Failure, Options};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::rig::{Rig, Step, events};

async fn order_holds(lanes: usize, seed: u64) {
    let rig = Rig::with_lease_ms(1000);
    let rng = Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed));
    let options = Options {
        lanes,
        batch_max: 16,
        held_max: 100,
        lease_ms: 1000,
        attempts_max: 1000,
        apart_max: 5,
        ..Options::default()
    };
    let handle = rig.start(options, move |_| {
        let why = || "as drawn".to_owned();
        match rng.lock().unwrap().random_range(0..20) {
            0 => Step::Fail(Failure::Unavailable(why())),
            1 => Step::Fail(Failure::Retryable(why())),
            2 => Step::SettleUnheard(Failure::Retryable(why())),
            3 => Step::SettleUnheard(Failure::Unavailable(why())),
            4 => Step::Panic("as drawn"),
            5 | 6 => Step::Fail(Failure::Refused(why())),
            _ => Step::Settle,
        }
    });
    for chunk in events(37, 60).chunks(113) {
        rig.offer(chunk).await;
        tokio::task::yield_now().await;
    }
    let summary = rig.finish(handle).await;
    rig.ledger.assert_order(37, 60);
    let counts = summary.counts;
    assert_eq!(counts.settled + counts.duplicates, 37 * 60, "seed {seed}: {counts:?}");
    assert!(counts.duplicates > 0 && counts.failed > 0, "seed {seed}: nothing went wrong");
    assert_eq!((counts.dead, counts.redelivered), (0, 0), "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn order_holds_in_one_lane_through_random_failures() {
    order_holds(1, 1).await;
    order_holds(1, 2).await;
}

#[tokio::test(start_paused = true)]
async fn order_holds_in_two_lanes_through_random_failures() {
    order_holds(2, 3).await;
    order_holds(2, 4).await;
}

#[tokio::test(start_paused = true)]
async fn order_holds_in_eight_lanes_through_random_failures() {
    order_holds(8, 5).await;
    order_holds(8, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_in_eight_lanes_at_full_speed() {
    let rig = Rig::new();
    let handle = rig.start(Options { lanes: 8, ..Options::default() }, |_| Step::Settle);
    for chunk in events(500, 40).chunks(777) {
        rig.offer(chunk).await;
    }
    let summary = rig.finish(handle).await;
    assert_eq!(summary.counts.settled, 20_000);
    rig.ledger.assert_order(500, 40);
}

#[tokio::test(start_paused = true)]
async fn events_without_a_key_are_settled_too() {
    let rig = Rig::new();
    let handle = rig.start(Options { lanes: 4, ..Options::default() }, |_| Step::Settle);
    let events: Vec<_> = (0..100)
        .map(|n| model::Event::new(format!("id{n}").as_bytes(), b"", b"").unwrap())
        .collect();
    rig.offer(&events).await;
    assert_eq!(rig.finish(handle).await.counts.settled, 100);
}
