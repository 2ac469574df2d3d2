//! Several queues on one Redis share connections, background tasks and one poll, and stay out of each other's way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place;
use crate::place::{PATIENCE, events, ids, info, options, receipts, take, until};
use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer};
use testbed::{Redis, RedisCluster};

/// Longer than a look takes, and far shorter than any queue waits for another.
const SOON: Duration = Duration::from_secs(2);

async fn open_all(options: &[Options]) -> Vec<Arc<RedisBuffer>> {
    let mut all = Vec::new();
    for options in options {
        all.push(Arc::new(RedisBuffer::open(options.clone()).await.unwrap()));
    }
    all
}

/// Waits until all find that there is nothing.
async fn rest(buffers: &[Arc<RedisBuffer>]) {
    for buffer in buffers {
        assert!(buffer.lease(1, Duration::from_millis(50)).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_queues_use_as_many_connections_as_four() {
    for stream in [false, true] {
        let redis = Redis::start().unwrap();
        let all: Vec<_> = (0..40).map(|_| options(&redis.address(), stream, 4)).collect();
        let four = open_all(&all[..4]).await;
        rest(&four).await;
        let few = info(&redis, "clients", "connected_clients");
        let others = open_all(&all[4..]).await;
        rest(&others).await;
        assert_eq!(info(&redis, "clients", "connected_clients"), few, "stream {stream}");
    }
}

/// What one queue is sent wakes it, whoever sent it, and no other queue is given it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_queues_that_rest_the_one_that_is_sent_something_wakes() {
    let redis = Redis::start().unwrap();
    let cluster = RedisCluster::start().unwrap();
    let mut all = Vec::new();
    for stream in [false, true] {
        all.extend((0..8).map(|_| options(&redis.address(), stream, 4)));
        let on_cluster = options(&redis.address(), stream, 4);
        let server = place::cluster(&cluster);
        all.extend((0..4).map(|n| Options {
            name: format!("{}-{n}", on_cluster.name),
            server: server.clone(),
            ..on_cluster.clone()
        }));
    }
    let consumers = open_all(&all).await;
    let producers = open_all(&all).await;
    rest(&consumers).await;
    for (n, producer) in producers.iter().enumerate() {
        let waiting: Vec<_> = consumers
            .iter()
            .map(|consumer| {
                let consumer = Arc::clone(consumer);
                tokio::spawn(async move { consumer.lease(9, PATIENCE).await.unwrap() })
            })
            .collect();
        // Most of them rest by now.
        tokio::time::sleep(Duration::from_millis(40)).await;
        producer.offer(&events(n..n + 1)).await.unwrap();
        let mut waiting = waiting;
        let its = tokio::time::timeout(SOON, waiting.remove(n)).await.expect("it wakes soon");
        let leased = its.unwrap();
        assert_eq!(ids(&leased), [format!("id-{n}")]);
        assert_eq!(consumers[n].ack(&receipts(&leased)).await.unwrap(), 1);
        assert!(waiting.iter().all(|other| !other.is_finished()), "another was given something");
        for other in waiting {
            other.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_waits_for_replicas_holds_up_no_other_queue() {
    let redis = Redis::start().unwrap();
    let one = options(&redis.address(), false, 4);
    // No replica ever comes: each of its offers waits for a second.
    let waits: Vec<_> = (0..4)
        .map(|n| Options { name: format!("waits-{n}"), wait_replicas: 1, ..one.clone() })
        .collect();
    let other = RedisBuffer::open(one.clone()).await.unwrap();
    for waits in open_all(&waits).await {
        tokio::spawn(async move {
            loop {
                let _ = waits.offer(&events(0..1)).await;
            }
        });
    }
    let blocked = || async { info(&redis, "clients", "blocked_clients") };
    until("they wait", blocked, |blocked| *blocked == 4).await;
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let began = Instant::now();
        other.offer(&events(round..round + 1)).await.unwrap();
        let leased = take(&other, 1).await;
        assert_eq!(other.ack(&receipts(&leased)).await.unwrap(), 1);
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_millis(700), "it took {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_redis_was_killed_all_queues_go_on_over_as_few_connections() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let all: Vec<_> = (0..12).map(|n| options(&redis.address(), n % 2 == 1, 4)).collect();
    let buffers = open_all(&all).await;
    rest(&buffers).await;
    let few = info(&redis, "clients", "connected_clients");
    redis.kill();
    // One that rests says so as well.
    for buffer in &buffers {
        let lease = || buffer.lease(1, Duration::from_millis(100));
        until("a lease fails", lease, Result::is_err).await.unwrap_err();
    }
    redis.start_again().unwrap();
    for (n, buffer) in buffers.iter().enumerate() {
        let event = events(n..n + 1);
        until("it takes events", || buffer.offer(&event), Result::is_ok).await.unwrap();
        assert_eq!(ids(&take(&**buffer, 1).await)[0], format!("id-{n}"));
    }
    let now = info(&redis, "clients", "connected_clients");
    assert!(now <= few, "{now} connections, {few} before");
}
