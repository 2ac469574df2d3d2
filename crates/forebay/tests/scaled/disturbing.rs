//! The ways things fail, each a few times over while payments are offered.

use std::time::{Duration, Instant};

use lab::sink::{Buffered, Http, Lines, Sink};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testbed::Fault;

use crate::audit;
use crate::foreign::Producer;
use crate::layout::{Layout, NAME};
use crate::load::Load;
use crate::process::Process;
use crate::rig::Rig;

/// Workers that run at once.
const WORKERS: usize = 3;
/// Payments settled between two faults of a broker.
const SETTLED_BETWEEN: usize = 500;

/// Offers into the buffer, lets `disturb` do its worst, and audits.
pub(crate) fn check(layout: Layout, disturb: Disturbance) {
    run(layout, Door::Buffer, disturb);
}

/// Offers to the buffer's own `forebay serve --roles api`, lets `disturb` do its worst, and audits.
pub(crate) fn check_over_http(layout: Layout, disturb: Disturbance) {
    run(layout, Door::Http, disturb);
}

/// Pushes plain JSON as a foreign producer does, lets `disturb` do its worst, and audits. Nothing may come
/// between the producer and Redis: it would not push again.
pub(crate) fn check_pushed(layout: Layout, disturb: Disturbance) {
    run(layout, Door::Source, disturb);
}

type Disturbance = fn(&mut Rig, &mut ChaCha8Rng, usize);

/// Where events are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Buffer,
    Http,
    /// The list or stream that foreign producers push to.
    Source,
}

fn run(layout: Layout, door: Door, disturb: Disturbance) {
    let seed = setting("TEST_SEED").unwrap_or_else(rand::random);
    let rounds = setting("TEST_ROUNDS").unwrap_or(4);
    println!("TEST_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(layout);
    let mut api = (door == Door::Http).then(|| rig.serve("api", &[]));
    for _ in 0..WORKERS {
        rig.add_worker();
    }
    joined(&mut rig, &runtime);
    let sink: Box<dyn Sink> = match (&mut api, door) {
        (Some(api), _) => Box::new(Http::new(&format!("http://{}", api.address())).unwrap()),
        (None, Door::Source) => {
            Box::new(Lines::new(Producer::connect(layout, &rig.addresses()[0])))
        }
        (None, _) => Box::new(Buffered::new(runtime.block_on(layout.open(&rig.addresses())))),
    };
    let load = Load::start(&runtime, sink, layout.payments(seed));
    // A first offer may take a second: nothing would be under way yet.
    load.until(layout.events_min() / 5);
    pause(&mut random, 300..600);
    disturb(&mut rig, &mut random, usize::try_from(rounds).unwrap());
    pause(&mut random, 300..600);
    load.until(layout.events_min());
    let offered = load.stop(&runtime);
    audit::check(&mut rig, &runtime, &offered);
    if let Some(mut api) = api {
        api.terminate();
    }
}

/// A number that whoever runs the tests has set.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a whole number"))
}

/// Waits until the workers are at work, each with shards of its own as far as there are as many: one that
/// starts while its servers are away waits for them, and that is not what is shown here.
pub(crate) fn joined(rig: &mut Rig, runtime: &tokio::runtime::Runtime) {
    rig.workers.iter_mut().for_each(|worker| drop(worker.address()));
    if !rig.layout.in_redis() {
        return;
    }
    let options = rig.layout.options(&rig.addresses());
    let workers = rig.workers.len();
    let busy = workers.min(usize::from(options.shards));
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = runtime.block_on(buffer_redis::inspect::distribution(&options));
        let at_work = seen.as_ref().is_ok_and(|seen| {
            let own = seen.members.iter().filter(|member| !member.shards.is_empty());
            seen.members.len() >= workers && own.count() >= busy
        });
        if at_work {
            return;
        }
        assert!(Instant::now() < end, "the workers do not join: {seen:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
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
    rig.offers_may_fail();
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
    rig.offers_may_fail();
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

/// The pipeline is paused, scaled and resumed, with a kill -9 of a worker between any two steps: the row is
/// written, read by one process and not yet by another, the engine asked to stop, lanes finished, events
/// released, the pipeline paused, or at work again with other lanes. While it is paused nothing settles,
/// whichever process dies and starts.
pub(crate) fn pipelines_changed(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    const NAME: &str = "consumer_batch";
    let kill = |rig: &mut Rig, random: &mut ChaCha8Rng| {
        let victim = random.random_range(0..rig.workers.len());
        rig.workers.swap_remove(victim).kill();
        rig.add_worker();
    };
    for round in 0..rounds.div_ceil(2) {
        let lanes = random.random_range(1..9).to_string();
        for change in [
            &["pause", NAME][..],
            &["scale", NAME, "--lanes", &lanes],
            &["resume", NAME],
            &["scale", NAME, "--configured"],
        ] {
            rig.verb(&[&["pipeline"], change].concat());
            // Each process reads the row within a second, and its engine ends a moment later.
            pause(random, 0..1_300);
            kill(rig, random);
            if change[0] == "pause" && round % 2 == 0 {
                rests(rig, random, kill);
            }
        }
    }
}

/// Waits until every live process is paused. From then on nothing settles, though a worker is killed and
/// another one starts.
fn rests(rig: &mut Rig, random: &mut ChaCha8Rng, kill: impl Fn(&mut Rig, &mut ChaCha8Rng)) {
    rig.workers.iter_mut().for_each(|worker| drop(worker.address()));
    let end = Instant::now() + Duration::from_secs(30);
    let states = |rig: &Rig| -> Vec<String> {
        let listed = rig.verb(&["pipeline", "list", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let processes = listed[0]["processes"].as_array().unwrap().iter();
        let live = processes.filter(|process| process["live"] == true);
        live.map(|process| process["state"].as_str().unwrap().to_owned()).collect()
    };
    while states(rig).iter().any(|state| state != "paused") {
        assert!(Instant::now() < end, "not paused: {:?}", states(rig));
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = settled(rig);
    kill(rig, random);
    rig.workers.iter_mut().for_each(|worker| drop(worker.address()));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(settled(rig), before, "a paused pipeline settles nothing");
}

fn settled(rig: &Rig) -> usize {
    let rows = rig.postgres.query("SELECT count(*) FROM fds.transactions").unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
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

/// kill -9 of the broker, or an orderly stop, while it is written to and read from; each time until more
/// is settled than was before.
pub(crate) fn broker_restarted(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    for round in 0..rounds.div_ceil(2) {
        settles_more(rig, SETTLED_BETWEEN);
        match round % 2 {
            0 => rig.kafka().kill(),
            _ => rig.kafka().stop(),
        }
        pause(random, 0..700);
        rig.kafka().start_again().unwrap();
    }
    settles_more(rig, SETTLED_BETWEEN);
}

/// Waits until so many more payments are settled.
fn settles_more(rig: &mut Rig, more: usize) {
    let (before, end) = (settled(rig), Instant::now() + Duration::from_secs(60));
    while settled(rig) < before + more {
        rig.workers.iter_mut().for_each(Process::must_live);
        assert!(Instant::now() < end, "only {} settled since {before}", settled(rig) - before);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every second a worker comes and another goes: in turn in good order and by kill -9. None is there for
/// longer than some seconds. `TEST_STORM_SECONDS` makes it longer.
pub(crate) fn members_storm(rig: &mut Rig, _: &mut ChaCha8Rng, _: usize) {
    let began = Instant::now();
    for second in 0..setting("TEST_STORM_SECONDS").unwrap_or(15) {
        rig.add_worker();
        let mut leaves = rig.workers.remove(0);
        match second % 2 {
            0 => leaves.terminate(),
            _ => leaves.kill(),
        }
        std::thread::sleep((began + Duration::from_secs(second + 1)) - Instant::now());
    }
}

/// The master that holds the buffer is killed; a replica takes over; it comes back as a replica.
pub(crate) fn masters_killed(rig: &mut Rig, random: &mut ChaCha8Rng, rounds: usize) {
    rig.offers_may_fail();
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
