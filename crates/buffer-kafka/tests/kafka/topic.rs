//! Where a test's buffer lies: a topic of its own in a broker of the test.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use buffer::foreign::Fields;
use buffer::{Buffer, Envelope, Receipt};
use buffer_kafka::Options;
use model::Event;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// How long anything that must come is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Options with short times, in a topic nobody else has.
pub(crate) fn options(address: &str, partitions: u16) -> Options {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let name = format!("topic-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    Options {
        partitions,
        lease_ms: 5_000,
        session_ms: 2_000,
        drain_ms: 1_000,
        events_max: 100_000,
        ..Options::new(
            vec![address.to_owned()],
            &name,
            "forebay",
            Fields::named("tx_id", "card_number"),
        )
    }
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

/// A foreign producer: any client, which knows nothing of us.
pub(crate) struct Foreign(BaseProducer);

impl Foreign {
    pub(crate) fn new(address: &str) -> Self {
        let made = ClientConfig::new().set("bootstrap.servers", address).create();
        Self(made.unwrap())
    }

    /// Sends JSON: with a key or without, to a partition or wherever the client likes.
    pub(crate) fn send(&self, topic: &str, key: Option<&str>, partition: Option<i32>, json: &str) {
        self.send_bytes(topic, key, partition, json.as_bytes());
    }

    /// Sends any bytes.
    pub(crate) fn send_bytes(
        &self,
        topic: &str,
        key: Option<&str>,
        partition: Option<i32>,
        payload: &[u8],
    ) {
        let mut record = BaseRecord::<str, [u8]>::to(topic).payload(payload);
        record.partition = partition;
        record.key = key;
        self.0.send(record).map_err(|(error, _)| error).unwrap();
        self.0.flush(PATIENCE).unwrap();
    }
}
