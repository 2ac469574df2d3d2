//! The Kafka backend against the conformance suite. With one partition it is a total order and passes
//! all of it; with several, what it promises is each key's order.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Order, Subject};
use buffer::foreign::Fields;
use buffer::{Buffer, Error};
use buffer_kafka::{KafkaBuffer, Options};
use model::Event;
use testbed::Kafka;
use tokio::sync::OnceCell;

/// Real time passes here: long enough that a slow machine does not expire a lease by itself.
const LIMITS: Limits = Limits { events_max: 500, lease_ms: 1_000, dead_max: 10 };

/// One broker for all; each subject has a topic of its own in it.
fn broker() -> String {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap()).address()
}

/// The first group of all waits for the broker to make the topic of offsets, for longer than the
/// suite waits for anything: somebody else's group waits for it, once.
async fn warm_up() {
    static WARM: OnceCell<()> = OnceCell::const_new();
    let first = || async {
        let options =
            Options::new(vec![broker()], "first", "forebay", Fields::named("tx_id", "card_number"));
        let buffer = KafkaBuffer::open(options).await.unwrap();
        buffer.offer(&[Event::new(b"first", b"", b"").unwrap()]).await.unwrap();
        while buffer.lease(1, Duration::from_secs(1)).await.unwrap().is_empty() {}
        buffer.close().await.unwrap();
    };
    WARM.get_or_init(first).await;
}

struct InKafka(Options);

impl InKafka {
    fn new(partitions: u16) -> Self {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let name = format!("tx-{}", NAMES.fetch_add(1, Ordering::Relaxed));
        let options =
            Options::new(vec![broker()], &name, "forebay", Fields::named("tx_id", "card_number"));
        Self(Options {
            partitions,
            events_max: LIMITS.events_max,
            lease_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            dead_max: LIMITS.dead_max,
            // What a test holds when it ends is given up at once.
            drain_ms: 0,
            ..options
        })
    }
}

#[async_trait]
impl Subject for InKafka {
    async fn open(&self) -> Arc<dyn Buffer> {
        warm_up().await;
        Arc::new(KafkaBuffer::open(self.0.clone()).await.unwrap())
    }

    async fn open_with_long_leases(&self) -> Arc<dyn Buffer> {
        warm_up().await;
        let options = Options { lease_ms: 30_000, ..self.0.clone() };
        Arc::new(KafkaBuffer::open(options).await.unwrap())
    }

    async fn advance(&self, by_ms: u64) {
        tokio::time::sleep(Duration::from_millis(by_ms)).await;
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        let order = if self.0.partitions == 1 { Order::Whole } else { Order::WithinKeys };
        // Consumer groups of others may read the topic.
        Lacks { order, erasing: true, ..Lacks::default() }
    }

    async fn erase(&self) -> Result<(), Error> {
        buffer_kafka::erase(&self.0).await
    }
}

mod one_partition {
    use super::*;
    buffer::conformance!(durable InKafka::new(1));
}

mod many_partitions {
    use super::*;
    buffer::conformance!(durable InKafka::new(8));
}
