//! One worker, two and four: how much each does, and that it comes to the same.

use std::time::Duration;

use lab::sink::Buffered;

use crate::layout::Layout;
use crate::load::{Load, Offered};
use crate::process::Process;
use crate::rig::Rig;
use crate::{audit, disturbing};

/// For how long events are offered to each number of workers.
const LOAD_FOR: Duration = Duration::from_millis(1_500);

#[test]
fn one_worker_two_and_four_on_redis_share_the_work_and_lose_and_repeat_nothing() {
    check(Layout::List);
}

#[test]
fn one_worker_two_and_four_on_kafka_share_the_work_and_lose_and_repeat_nothing() {
    check(Layout::Kafka);
}

#[test]
fn one_worker_two_and_four_on_sqs_share_the_work_and_lose_and_repeat_nothing() {
    check(Layout::Fifo);
}

fn check(layout: Layout) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(layout);
    let buffer = runtime.block_on(layout.open(&rig.addresses()));
    let mut all = Offered::default();
    for (seed, workers) in [(1, 1), (2, 2), (3, 4)] {
        while rig.workers.len() < workers {
            rig.add_worker();
        }
        disturbing::joined(&mut rig, &runtime);
        let before: Vec<usize> = rig.workers.iter_mut().map(Process::settled).collect();
        let sink = Box::new(Buffered::new(buffer.clone()));
        let load = Load::start(&runtime, sink, layout.payments(seed));
        std::thread::sleep(LOAD_FOR);
        load.until(layout.events_min() / 2);
        let offered = load.stop(&runtime);
        audit::wait_until_settled(&mut rig, &runtime, &*buffer);
        let (good, _) = audit::expected(&offered.accepted, &fraud::Ruleset::default());
        let shares = rig.shares(&before, good.len());
        println!("{layout:?}, {workers} workers settled {shares:?} of {}", good.len());
        assert_eq!(shares.iter().sum::<usize>(), good.len(), "each is settled by one of them");
        let busy = shares.iter().filter(|share| **share > 0).count();
        assert!(busy >= workers.min(2), "only {busy} of {workers} did anything: {shares:?}");
        all.add(offered);
    }
    audit::check(&mut rig, &runtime, &all);
    rig.workers.iter_mut().for_each(Process::terminate);
}
