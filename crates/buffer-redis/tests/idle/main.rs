//! What queues cost that do nothing, and what is left of them once they are closed. The figures are those of the whole
//! process, so these tests have a binary of their own and run one after the other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../redis/place.rs"]
mod place;

use std::sync::Arc;
use std::time::{Duration, Instant};

use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer};
use model::clock::{Clock, System};
use testbed::{Redis, RedisCluster, stalls};
use tokio::sync::{Mutex, mpsc};

use crate::place::{events, options, receipts, take};

const QUEUES: usize = 100;
/// For how long idle queues are watched.
const WATCHED: Duration = Duration::from_secs(10);
/// When leases that find nothing end, as the engine's do: together.
const LEASES_END_EVERY: Duration = Duration::from_millis(300);
/// How long first events are sent: one to each queue.
const LISTENED: Duration = Duration::from_secs(2);
/// What they use of a core at most, in percent: 2 in a release build. Without optimisation it is more.
const SHARE_MAX: f64 = if cfg!(debug_assertions) { 5.0 } else { 2.0 };
/// How long one waits at most on a machine that keeps no thread waiting.
const FIRST_MAX: Duration = Duration::from_millis(20);

static ALONE: Mutex<()> = Mutex::const_new(());

/// The processor time that a process has used, in ticks of 10 ms.
fn ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// How much of one core was used in the meantime, in percent.
fn percent(ticks: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(ticks).unwrap()) / time.as_secs_f64()
}

fn figure(redis: &Redis, section: &str, name: &str) -> u64 {
    place::info(redis, section, name)
}

/// Leases for ever, and says when each event came.
fn consume(buffer: Arc<RedisBuffer>, came: mpsc::UnboundedSender<Instant>) {
    tokio::spawn(async move {
        loop {
            let wait = System.until_next(LEASES_END_EVERY) + LEASES_END_EVERY / 3;
            // The server goes before this task.
            let Ok(leased) = buffer.lease(10, wait).await else { return };
            if !leased.is_empty() {
                let _ = came.send(Instant::now());
                buffer.ack(&receipts(&leased)).await.unwrap();
            }
        }
    });
}

async fn open(options: &Options) -> Arc<RedisBuffer> {
    Arc::new(RedisBuffer::open(options.clone()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_idle_lists_cost_next_to_nothing_and_learn_of_a_first_event_in_time() {
    let _alone = ALONE.lock().await;
    let redis = Redis::start().unwrap();
    let server = redis.process_id().unwrap().to_string();
    let (came, mut comes) = mpsc::unbounded_channel();
    let mut names = Vec::new();
    for _ in 0..QUEUES {
        let options = Options { member_ms: 10_000, ..options(&redis.address(), false, 16) };
        consume(open(&options).await, came.clone());
        names.push(options.name);
    }
    assert!(figure(&redis, "clients", "connected_clients") <= 8, "queues share connections");
    // All have found out that there is nothing.
    tokio::time::sleep(Duration::from_millis(200)).await;

    let commands = figure(&redis, "stats", "total_commands_processed");
    let (before, server_before, began) = (ticks("self"), ticks(&server), Instant::now());
    tokio::time::sleep(WATCHED).await;
    let time = began.elapsed();
    let own = percent(ticks("self") - before, time);
    let servers = percent(ticks(&server) - server_before, time);
    let commands = figure(&redis, "stats", "total_commands_processed") - commands;
    println!("{own:.1}% of a core here, {servers:.1}% in redis-server, {commands} commands");

    let mut waits = Vec::new();
    let watching = tokio::task::spawn_blocking(|| {
        stalls::during(|| {
            std::thread::sleep(LISTENED);
            Ok(())
        })
    });
    for name in &names {
        let began = Instant::now();
        redis.call(&["LPUSH", name, r#"{"tx_id":"1","card_number":"c"}"#]).unwrap();
        waits.push(comes.recv().await.unwrap().saturating_duration_since(began));
        // Not in step with the poll.
        tokio::time::sleep(Duration::from_millis(17)).await;
    }
    let ((), stalls) = watching.await.unwrap().unwrap();
    waits.sort_unstable();
    let (median, most) = (waits[QUEUES / 2], waits[QUEUES - 2]);
    println!("a first event waits {median:?} (median), {most:?} (p99); {stalls}");
    assert!(own <= SHARE_MAX, "{own:.1}% of a core");
    // What keeps a thread waiting that asks for nothing else keeps an event waiting, too.
    assert!(median <= FIRST_MAX + stalls.late(90), "{waits:?}; {stalls}");
    assert!(most <= FIRST_MAX + stalls.late(100), "{waits:?}; {stalls}");
}

/// Queues of a cluster of three masters lie on all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resting_lists_of_a_cluster_are_looked_at_together_on_each_node() {
    const LISTS: usize = 45;
    const SECONDS: u64 = 2;
    let _alone = ALONE.lock().await;
    let cluster = RedisCluster::start().unwrap();
    let (came, mut comes) = mpsc::unbounded_channel();
    let mut names = Vec::new();
    for _ in 0..LISTS {
        let options = Options {
            server: place::cluster(&cluster),
            member_ms: 30_000,
            ..options("127.0.0.1:1", false, 4)
        };
        consume(open(&options).await, came.clone());
        names.push(options.name);
    }
    // All have found out that there is nothing, and it is known which node holds which of them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let reads = || {
        let of = |node| figure(cluster.node(node), "stats", "total_reads_processed");
        (0..3).map(of).collect::<Vec<_>>()
    };
    let before = reads();
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let read: Vec<u64> = reads().iter().zip(before).map(|(now, then)| now - then).collect();
    println!("{read:?} reads by the masters in {SECONDS} s");
    // A look every 12 ms, and a few in which lists ask for the memory. Asked one by one they were 260 to 350.
    let most = 120 * SECONDS;
    assert!(read.iter().all(|reads| (SECONDS..=most).contains(reads)), "{read:?}, at most {most}");

    let mut waits = Vec::new();
    for name in &names {
        let master = cluster.node(cluster.master_of(name).unwrap());
        let began = Instant::now();
        master.call(&["LPUSH", name, r#"{"tx_id":"1","card_number":"c"}"#]).unwrap();
        waits.push(comes.recv().await.unwrap().saturating_duration_since(began));
    }
    waits.sort_unstable();
    println!("a first event waits {:?} (median)", waits[LISTS / 2]);
    assert!(waits[LISTS / 2] <= Duration::from_millis(20), "{waits:?}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Connections of Redis, descriptors and tasks of this process, once they are as few as these.
async fn settled(redis: &Redis, most: (u64, usize, usize)) -> (u64, usize, usize) {
    let deadline = Instant::now() + place::PATIENCE;
    loop {
        let now = (figure(redis, "clients", "connected_clients"), descriptors(), tasks());
        let few = now.0 <= most.0 && now.1 <= most.1 && now.2 <= most.2;
        if few || Instant::now() > deadline {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Opens a buffer, takes an event through it, and closes it.
async fn use_once(redis: &Redis, turn: usize) {
    let options = options(&redis.address(), turn % 2 == 1, 4);
    let buffer = RedisBuffer::open(options).await.unwrap();
    buffer.offer(&events(0..1)).await.unwrap();
    let leased = take(&buffer, 1).await;
    assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 1);
    assert!(buffer.lease(1, Duration::from_millis(20)).await.unwrap().is_empty());
    buffer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_opened_used_and_closed_one_after_the_other_leave_nothing_behind() {
    let _alone = ALONE.lock().await;
    let redis = Redis::start().unwrap();
    let nothing = settled(&redis, (1, usize::MAX, usize::MAX)).await;
    for turn in 0..100 {
        use_once(&redis, turn).await;
    }
    let left = settled(&redis, nothing).await;
    assert!(
        left.0 <= nothing.0 && left.1 <= nothing.1 && left.2 <= nothing.2,
        "{nothing:?} {left:?}"
    );

    // The same beside one that stays.
    let stays = RedisBuffer::open(options(&redis.address(), true, 4)).await.unwrap();
    for turn in 0..8 {
        use_once(&redis, turn).await;
    }
    // What was closed last is gone by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let warm = settled(&redis, (u64::MAX, usize::MAX, usize::MAX)).await;
    for turn in 0..100 {
        use_once(&redis, turn).await;
    }
    let left = settled(&redis, warm).await;
    assert!(left.0 <= warm.0 && left.1 <= warm.1 && left.2 <= warm.2, "{warm:?} {left:?}");
    stays.close().await.unwrap();
}
