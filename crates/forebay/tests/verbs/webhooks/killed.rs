//! kill -9 of a worker with deliveries under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use testbed::{Postgres, Redis};

use super::super::running::{PATIENCE, Serving, done, json};
use super::super::tables::configure;
use super::receiver::Receiver;
use super::{SOON, event, post, start, webhook};

const KEYS: usize = 40;
const EVENTS: usize = 320;
/// How long the receiver takes for each answer: every key has a delivery under way all the time.
const LATENCY: Duration = Duration::from_millis(150);
const LINES: &str = "calls_max = 100\ntimeout_ms = 1000\n";

fn receiver() -> Receiver {
    Receiver::start_slow(LATENCY, |_, _| 200)
}

fn accept(serving: &Serving) {
    let events = (0..EVENTS).map(|n| event(n, n % KEYS) + "\n").collect();
    let (status, answer) = post(serving, "orders", "application/x-ndjson", events);
    assert_eq!((status, &answer["accepted"]), (202, &EVENTS.into()), "{answer}");
}

/// Each event was delivered, some twice: each time with the same id and bytes. Of the first deliveries, each was after
/// those of all earlier events of its key.
fn assert_each_in_order(receiver: &Receiver) {
    let mut seen = BTreeSet::new();
    let mut of_keys: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let all = receiver.all();
    for one in &all {
        let n: usize = one.id[2..].parse().unwrap();
        assert!(one.is_signed && one.body == event(n, n % KEYS), "{one:?}");
        if seen.insert(n) {
            of_keys.entry(n % KEYS).or_default().push(n);
        }
    }
    for (key, numbers) in of_keys {
        assert!(numbers.is_sorted(), "key {key} lost its order: {numbers:?}");
    }
    assert_eq!(seen.len(), EVENTS);
    assert!(all.len() > EVENTS, "no delivery was under way when the worker was killed");
}

#[test]
fn kill_9_of_a_worker_on_the_journal_loses_no_event_and_keeps_each_key_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver();
    configure(dir.path(), &webhook("orders", &receiver.url, &(LINES.to_owned() + SOON)));
    let mut serving = start(dir.path());
    accept(&serving);
    receiver.until(KEYS + 1);
    serving.kill();
    let serving = start(dir.path());
    receiver.until(EVENTS);
    serving.until("buffer_size{buffer=\"webhook:orders\"}", 0.0);
    assert_each_in_order(&receiver);
    assert!(serving.terminate().0.success());
}

#[test]
fn kill_9_of_one_of_two_workers_on_redis_loses_no_event_and_keeps_each_key_in_order() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver();
    let list =
        |name| format!("buffer = \"{}?list={name}&lease_ms=2000&member_ms=1000\"\n", redis.url());
    let orders = webhook("orders", &receiver.url, &(list("orders") + LINES + SOON));
    let store = format!("store = \"{}\"\n", postgres.url());
    configure(dir.path(), &(store + &list("payments") + &orders));
    done(dir.path(), &["store", "migrate"]);
    let (mut first, second) = (start(dir.path()), start(dir.path()));
    let end = Instant::now() + PATIENCE;
    let look = ["monitor", "--pipeline", "webhook:orders", "--once", "--json"];
    let shards = || -> Vec<usize> {
        let seen = json(dir.path(), &look);
        let members = seen["members"].as_array().unwrap().iter();
        members.map(|member| member["shards"].as_array().unwrap().len()).collect()
    };
    while shards() != [8, 8] {
        assert!(Instant::now() < end, "the shards are never shared: {:?}", shards());
        std::thread::sleep(Duration::from_millis(50));
    }
    accept(&first);
    receiver.until(KEYS + 1);
    first.kill();
    assert!(receiver.delivered().len() < EVENTS, "all were delivered before the worker was killed");
    receiver.until(EVENTS);
    second.until("buffer_size{buffer=\"webhook:orders\"}", 0.0);
    assert_each_in_order(&receiver);
    assert!(second.terminate().0.success());
}
