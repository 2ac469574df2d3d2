//! Where a test's buffer lies: a name of its own in a Redis of the test.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use buffer::foreign::Fields;
use buffer::{Buffer, Envelope, Receipt};
use buffer_redis::{Options, Server, inspect};
use model::Event;
use testbed::Redis;

/// How long anything that must come is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn server(address: &str) -> Server {
    let (host, port) = address.rsplit_once(':').unwrap();
    Server {
        addresses: vec![(host.to_owned(), port.parse().unwrap())],
        cluster: false,
        tls: false,
        db: 0,
        user: None,
        password: None,
    }
}

/// All nodes of a cluster.
pub(crate) fn cluster(cluster: &testbed::RedisCluster) -> Server {
    let nodes = cluster.addresses();
    let address = |node: &String| {
        let (host, port) = node.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    };
    Server { addresses: nodes.iter().map(address).collect(), cluster: true, ..server(&nodes[0]) }
}

/// Options with short times, under a name nobody else has.
pub(crate) fn options(address: &str, stream: bool, shards: u16) -> Options {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let name = format!("place-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    let options = if stream {
        Options::stream(server(address), &name, "forebay", Fields::named("tx_id", "card_number"))
    } else {
        Options::list(server(address), &name, Fields::named("tx_id", "card_number"))
    };
    Options { shards, lease_ms: 5_000, member_ms: 1_000, events_max: 100_000, ..options }
}

pub(crate) fn event(id: &str, key: &str) -> Event {
    Event::new(id.as_bytes(), key.as_bytes(), b"{}").unwrap()
}

pub(crate) fn events(range: std::ops::Range<usize>) -> Vec<Event> {
    range.map(|n| event(&format!("id-{n}"), &format!("key-{}", n % 7))).collect()
}

pub(crate) fn ids(envelopes: &[Envelope]) -> Vec<String> {
    envelopes.iter().map(|e| String::from_utf8_lossy(e.event.id()).into_owned()).collect()
}

pub(crate) fn receipts(envelopes: &[Envelope]) -> Vec<Receipt> {
    envelopes.iter().map(|envelope| envelope.receipt).collect()
}

/// Leases exactly `count` events; errors in between are passed over.
pub(crate) async fn take(buffer: &dyn Buffer, count: usize) -> Vec<Envelope> {
    let (deadline, mut taken) = (Instant::now() + PATIENCE, Vec::new());
    while taken.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} events came", taken.len());
        match buffer.lease(count - taken.len(), Duration::from_millis(200)).await {
            Ok(leased) => taken.extend(leased),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    taken
}

/// Asks until the answer is as it must be.
pub(crate) async fn until<T, F: Future<Output = T>>(
    what: &str,
    ask: impl Fn() -> F,
    is: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One figure of what Redis tells of itself.
pub(crate) fn info(redis: &Redis, section: &str, name: &str) -> u64 {
    let text = redis.call(&["INFO", section]).unwrap();
    let figure = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.parse::<u64>().ok();
    text.text().unwrap().lines().find_map(figure).unwrap()
}

/// How many shards each member owns, the fewest first.
pub(crate) async fn owned(options: &Options) -> Vec<usize> {
    let mut owned: Vec<usize> = inspect::distribution(options)
        .await
        .unwrap()
        .members
        .iter()
        .map(|member| member.shards.len())
        .collect();
    owned.sort_unstable();
    owned
}
