//! PostgreSQL is away for longer than leases last, and workers go on holding what they have.

use std::time::{Duration, Instant};

use lab::sink::Buffered;

use crate::layout::Layout;
use crate::load::Load;
use crate::process::Process;
use crate::rig::Rig;
use crate::{audit, disturbing};

const WORKERS: usize = 3;
/// How long leases last here, and how long a worker may be silent: longer than a busy machine stands still.
const LEASE: Duration = Duration::from_millis(4_000);
const SILENT: Duration = Duration::from_millis(10_000);
/// Some more than three leases.
const AWAY: Duration = Duration::from_millis(13_000);
/// Payments offered before PostgreSQL goes, and after.
const BEFORE: usize = 1_000;
const AFTER: usize = 1_000;
/// What counts events that were leased before: in a worker, and in its buffer.
const AGAIN: [&str; 2] =
    ["redelivered_total{pipeline=\"consumer_batch\"}", "buffer_redis_redelivered_total"];

#[test]
fn while_postgres_is_away_for_three_leases_nothing_comes_again_and_then_all_is_settled() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(Layout::List);
    // Of an option that is there twice the last one holds.
    let times = format!("&member_ms={}&lease_ms={}", SILENT.as_millis(), LEASE.as_millis());
    let url = rig.buffer_url() + &times;
    for _ in 0..WORKERS {
        let worker = rig.serve_on(&url, "worker", &[]);
        rig.workers.push(worker);
    }
    disturbing::joined(&mut rig, &runtime);
    let buffer = runtime.block_on(rig.layout.open(&rig.addresses()));
    let sink = Box::new(Buffered::new(buffer.clone()));
    let load = Load::start(&runtime, sink, rig.layout.payments(1));
    load.until(BEFORE);
    rig.postgres.stop();
    load.until_more(AFTER);
    let offered = load.stop(&runtime);
    let back = Instant::now() + AWAY;
    while Instant::now() < back {
        rig.workers.iter_mut().for_each(Process::must_live);
        std::thread::sleep(Duration::from_millis(100));
    }
    // The workers have taken everything, and none of their leases has ended.
    let depth = runtime.block_on(buffer.depth()).unwrap();
    assert!(depth.ready == 0 && depth.leased > 0, "{depth:?}");
    rig.postgres.start_again().unwrap();
    audit::check(&mut rig, &runtime, &offered);
    let letters = runtime.block_on(buffer.dead_letters().list(0, usize::MAX)).unwrap();
    let attempts: Vec<u32> = letters.iter().map(|letter| letter.attempts).collect();
    assert!(attempts.iter().all(|attempt| *attempt == 1), "leased so often: {attempts:?}");
    for worker in &mut rig.workers {
        let again = AGAIN.map(|name| worker.count(name));
        assert_eq!(again, [0, 0], "what it held came again:\n{}", worker.log());
        worker.terminate();
    }
}
