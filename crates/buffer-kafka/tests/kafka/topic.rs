//! Where a test's buffer lies: a topic of its own in a broker of the test.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use buffer::foreign::Fields;
use buffer::{Buffer, Envelope, Receipt};
use buffer_kafka::Options;
use model::Event;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
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

/// An administrator of the broker.
pub(crate) fn admin(address: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", address).create().unwrap()
}

/// Makes a topic with these settings.
pub(crate) async fn make(address: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let made = admin(address).create_topics([&new], &AdminOptions::new()).await.unwrap();
    made[0].as_ref().unwrap();
    // Brokers tell of it a little later.
    let led = || async { led(address, name) };
    until("the topic has its leaders", led, |led| *led == partitions).await;
}

/// How many partitions of a topic have a leader.
pub(crate) fn led(address: &str, topic: &str) -> i32 {
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let told = outside.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = told.topics()[0].partitions().iter();
    i32::try_from(partitions.filter(|partition| partition.leader() >= 0).count()).unwrap()
}

/// The offset after the last record of each partition.
pub(crate) fn highs(address: &str, topic: &str, partitions: i32) -> Vec<i64> {
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let high = |partition| outside.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
    (0..partitions).map(high).collect()
}

/// A foreign producer: any client, which knows nothing of us.
pub(crate) struct Foreign(BaseProducer);

impl Foreign {
    pub(crate) fn new(address: &str) -> Self {
        Self::with(ClientConfig::new().set("bootstrap.servers", address))
    }

    pub(crate) fn with(config: &ClientConfig) -> Self {
        Self(config.create().unwrap())
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
