//! The ways things fail, each a few times over while payments are offered.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testbed::Fault;

use crate::audit;
use crate::layout::{Layout, NAME};
use crate::load::Load;
use crate::rig::Rig;

/// Workers that run at once.
const WORKERS: usize = 3;

/// Offers, lets `disturb` do its worst, and audits.
pub(crate) fn check(layout: Layout, disturb: fn(&mut Rig, &mut ChaCha8Rng, usize)) {
    let setting = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a whole number"))
    };
    let seed = setting("TEST_SEED").unwrap_or_else(rand::random);
    let rounds = setting("TEST_ROUNDS").unwrap_or(4);
    println!("TEST_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(layout);
    for _ in 0..WORKERS {
        rig.add_worker();
    }
    // A worker whose servers are away while it starts ends, and says so; that is not what is shown here.
    let options = layout.options(&rig.addresses());
    let end = Instant::now() + Duration::from_secs(30);
    while runtime
        .block_on(buffer_redis::inspect::distribution(&options))
        .is_ok_and(|seen| seen.members.len() < WORKERS)
    {
        assert!(Instant::now() < end, "the workers do not join");
        std::thread::sleep(Duration::from_millis(50));
    }
    let load = Load::start(&runtime, layout.options(&rig.addresses()), seed);
    pause(&mut random, 300..600);
    disturb(&mut rig, &mut random, usize::try_from(rounds).unwrap());
    pause(&mut random, 300..600);
    let accepted = load.accepted(&runtime);
    assert!(accepted.len() > 1_000, "only {} accepted: too few", accepted.len());
    audit::check(&mut rig, &runtime, &accepted);
}

/// kill -9 of a worker, and a new one in its place some time later.
pub(crate) fn workers_killed(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    for _ in 0..rounds * 2 {
        let victim = random.random_range(0..rig.workers.len());
        rig.workers.swap_remove(victim).kill();
        pause(random, 0..400);
        rig.add_worker();
        pause(random, 100..900);
    }
}

/// kill -9 of Redis (every write is in its AOF), or an orderly stop.
pub(crate) fn redis_restarted(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    for round in 0..rounds {
        match round % 2 {
            0 => rig.redis().kill(),
            _ => rig.redis().stop(),
        }
        pause(random, 0..700);
        rig.redis().start_again().unwrap();
        pause(random, 300..900);
    }
}

/// Replies that never come, replies that come late, connections that are cut, or that are there and
/// carry nothing.
pub(crate) fn replies_lost(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    let proxy = rig.proxy.as_ref().unwrap();
    for _ in 0..rounds {
        for fault in [
            Fault::DropReplies,
            Fault::Delay(Duration::from_millis(random.random_range(20..200))),
            Fault::HalfOpen,
            Fault::Refuse,
        ] {
            proxy.set(fault);
            pause(random, 50..500);
            proxy.set(Fault::None);
            proxy.cut();
            pause(random, 50..400);
        }
    }
}

/// PostgreSQL stopped, or killed, in the middle of batches.
pub(crate) fn postgres_restarted(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    for round in 0..rounds {
        match round % 2 {
            0 => rig.postgres.stop(),
            _ => rig.postgres.kill(),
        }
        pause(random, 0..700);
        rig.postgres.start_again().unwrap();
        pause(random, 300..900);
    }
}

/// One worker after the other is told to end, with its successor started first.
pub(crate) fn workers_rolled(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    rig.add_worker();
    for _ in 0..rounds {
        rig.add_worker();
        pause(random, 0..400);
        rig.workers.remove(0).terminate();
    }
}

/// The master that holds the buffer is killed; a replica takes over; it comes back as a replica.
pub(crate) fn masters_killed(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    for _ in 0..rounds.div_ceil(2) {
        let node = rig.cluster().kill_master_of(NAME).unwrap();
        pause(random, 5_000..6_000);
        rig.cluster().start_again(node).unwrap();
        pause(random, 2_000..3_000);
    }
}

fn pause(random: &mut ChaCha8Rng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(random.random_range(ms)));
}
