//! A lane takes what is there, and waits a little for more when that is not much.

use std::time::Duration;

use engine::Options;
use tokio::time::sleep;

use crate::rig::{Rig, Step, events, one_lane};

async fn sizes_of_two_offers_apart(apart: Duration, linger_ms: u64) -> Vec<usize> {
    let rig = Rig::new();
    let handle = rig.start(Options { linger_ms, ..one_lane() }, |_| Step::Settle);
    let events = events(2, 1);
    rig.offer(&events[..1]).await;
    sleep(apart).await;
    rig.offer(&events[1..]).await;
    rig.finish(handle).await;
    rig.ledger.calls().iter().map(Vec::len).collect()
}

#[tokio::test(start_paused = true)]
async fn events_that_come_within_the_linger_share_a_batch() {
    let apart = Duration::from_millis(5);
    assert_eq!(sizes_of_two_offers_apart(apart, 10).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn without_a_linger_nothing_waits() {
    let apart = Duration::from_millis(5);
    assert_eq!(sizes_of_two_offers_apart(apart, 0).await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_linger_ends() {
    let apart = Duration::from_millis(50);
    assert_eq!(sizes_of_two_offers_apart(apart, 10).await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_settled_in_full_batches() {
    let rig = Rig::new();
    rig.offer(&events(50, 50)).await;
    let handle = rig.start(one_lane(), |_| Step::Settle);
    rig.finish(handle).await;
    let sizes: Vec<usize> = rig.ledger.calls().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
}

#[tokio::test(start_paused = true)]
async fn latency_is_measured_from_accepted_to_settled() {
    let rig = Rig::new();
    rig.offer(&events(10, 1)).await;
    sleep(Duration::from_millis(400)).await;
    let handle = rig.start(Options { linger_ms: 0, ..one_lane() }, |_| {
        Step::SettleAfter(Duration::from_millis(100))
    });
    let stats = handle.stats();
    rig.finish(handle).await;
    assert_eq!((stats.latency().count(), stats.latency().max_ms()), (10, 500));
    assert_eq!(stats.latency().quantile_ms(0.5), 500);
}

#[tokio::test]
async fn options_out_of_bounds_start_nothing() {
    let rig = Rig::new();
    let service = engine::Service {
        buffer: rig.memory.clone(),
        handler: std::sync::Arc::new(Never).into(),
        completions: None,
        clock: std::sync::Arc::new(model::clock::System),
        seed: 0,
        shutdown: rig.shutdown.clone(),
    };
    let error = service.start(Options { batch_max: 0, ..Options::default() }).err().unwrap();
    assert_eq!(error.to_string(), "batch_max: must be 1 to 100000, not 0");
}

struct Never;

impl engine::Handler for Never {
    fn pipeline(&self) -> &str {
        "never"
    }

    fn lane(&self) -> Box<dyn engine::Lane> {
        panic!("no lane should have been made")
    }
}
