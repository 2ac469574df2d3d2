//! What is asked of Redis: which commands, and how many of them.

use std::collections::BTreeMap;

use crate::place;
use crate::place::{events, ids, info, options, receipts, until};
use buffer::Buffer;
use buffer_redis::{Options, Poll, RedisBuffer};
use testbed::Redis;

/// How often each command was run, in scripts too.
fn calls(redis: &Redis) -> BTreeMap<String, u64> {
    let stats = redis.call(&["INFO", "commandstats"]).unwrap();
    let figure = |line: &str| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), figures.split(',').next()?.parse::<u64>().ok()?))
    };
    stats.text().unwrap().lines().filter_map(figure).collect()
}

/// Commands that keep a connection until something comes. Those that read streams are not among them: they do so only
/// where they are told to, which is seen in the number of clients that are blocked.
const BLOCKING: [&str; 8] =
    ["blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_stream_whose_poll_is_blocking_keeps_a_connection_until_something_comes() {
    for (stream, poll) in [
        (true, Poll::NonBlocking),
        (true, Poll::Blocking),
        (false, Poll::NonBlocking),
        (false, Poll::Blocking),
    ] {
        let redis = Redis::start().unwrap();
        let options = Options { poll, ..options(&redis.address(), stream, 4) };
        let blocks = stream && poll == Poll::Blocking;
        let consumer = RedisBuffer::open(options.clone()).await.unwrap();
        let producer = RedisBuffer::open(options).await.unwrap();
        let looks = |calls: BTreeMap<String, u64>| {
            ["evalsha", "exists", "xread"].iter().filter_map(|name| calls.get(*name)).sum::<u64>()
        };
        let before = looks(calls(&redis));
        let (leased, ()) = tokio::join!(consumer.lease(10, 2 * place::PATIENCE), async {
            let look = || async {
                let blocked = info(&redis, "clients", "blocked_clients");
                assert!(blocks || blocked == 0, "stream {stream}, {poll:?}: {blocked} blocked");
                (blocked, looks(calls(&redis)) - before)
            };
            let waits = until("it waits", look, |(blocked, looks)| {
                // Of one that polls, long enough to see that it does so and nothing else.
                if blocks { *blocked > 0 } else { *looks > 20 }
            });
            waits.await;
            producer.offer(&events(0..1)).await.unwrap();
        });
        assert_eq!(ids(&leased.unwrap()), ["id-0"]);
        let used = || async {
            let calls = calls(&redis);
            BLOCKING.into_iter().filter(|name| calls.contains_key(*name)).collect::<Vec<_>>()
        };
        assert_eq!(used().await, Vec::<&str>::new(), "stream {stream}, {poll:?}");
        if !blocks {
            assert_eq!(info(&redis, "clients", "blocked_clients"), 0);
        }
    }
}

/// How many commands it takes to ack a whole lease of this many events: the fewest of some times,
/// for a beat or a look at the memory may lie between the two readings.
async fn ack_cost(redis: &Redis, buffer: &RedisBuffer, count: usize) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..6 {
        buffer.offer(&events(0..count)).await.unwrap();
        let leased = buffer.lease(count, place::PATIENCE).await.unwrap();
        assert_eq!(leased.len(), count, "one lease has them all");
        let before: u64 = calls(redis).values().sum();
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), count);
        let after: u64 = calls(redis).values().sum();
        fewest = fewest.min(after - before);
    }
    fewest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_ack_a_whole_lease_of_a_list_takes_as_many_commands_for_a_thousand_events_as_for_ten() {
    let redis = Redis::start().unwrap();
    let hour = 3_600_000;
    let options = options(&redis.address(), false, 16);
    let options = Options { member_ms: hour, lease_ms: hour, ..options };
    let buffer = RedisBuffer::open(options).await.unwrap();
    let ten = ack_cost(&redis, &buffer, 10).await;
    let thousand = ack_cost(&redis, &buffer, 1_000).await;
    assert_eq!(thousand, ten);
    assert!(thousand < 20, "{thousand} commands");
}

/// How often something was put on a list.
fn pushes(redis: &Redis) -> u64 {
    let calls = calls(redis);
    let names = ["lpush", "rpush", "lpushx", "rpushx", "lmove", "rpoplpush", "linsert"];
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_an_offer_to_a_list_are_pushed_together() {
    let redis = Redis::start().unwrap();
    let buffer = RedisBuffer::open(options(&redis.address(), false, 16)).await.unwrap();
    // Redis knows the script after this.
    buffer.offer(&events(0..100)).await.unwrap();
    let mut pushed = Vec::new();
    for count in [100, 1_000] {
        let before = pushes(&redis);
        buffer.offer(&events(0..count)).await.unwrap();
        pushed.push(pushes(&redis) - before);
    }
    assert_eq!(pushed[1], pushed[0], "a larger offer takes no more of them");
    assert!(pushed[0] < 10, "{} pushes for a hundred events", pushed[0]);
    assert_eq!(buffer.depth().await.unwrap().ready, 1_200);
}
