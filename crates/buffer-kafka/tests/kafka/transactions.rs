//! Offsets without a record: control records and aborted records of transactional producers, and what
//! compaction removed. They count as waiting only until a worker has read past them.

use std::sync::OnceLock;
use std::time::Duration;

use crate::topic::{Foreign, PATIENCE, ids, options, receipts, take, until};
use buffer::Buffer;
use buffer_kafka::{KafkaBuffer, Options, inspect};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testbed::Kafka;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

/// A producer that writes in transactions.
struct Transactional(BaseProducer);

impl Transactional {
    fn new(id: &str) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka().address())
            .set("transactional.id", id)
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        Self(producer)
    }

    /// Begins a transaction and writes one record for each id.
    fn write(&self, topic: &str, ids: &[&str]) {
        self.0.begin_transaction().unwrap();
        for id in ids {
            let json = format!(r#"{{"tx_id":"{id}","card_number":"card"}}"#);
            let record = BaseRecord::to(topic).partition(0).key("card").payload(&json);
            self.0.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.0.flush(PATIENCE).unwrap();
    }
}

/// Waits until the buffer and an observer both count nothing.
async fn until_empty(buffer: &dyn Buffer, options: &Options) {
    until(
        "the owner counts nothing",
        || buffer.depth(),
        |depth| depth.as_ref().is_ok_and(|depth| (depth.ready, depth.leased) == (0, 0)),
    )
    .await
    .unwrap();
    let seen = until(
        "an observer counts nothing",
        || inspect::depth(options),
        |depth| depth.as_ref().is_ok_and(|depth| (depth.ready, depth.leased) == (0, 0)),
    );
    assert_eq!(seen.await.unwrap().oldest_accepted_ms, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_transaction_leaves_nothing_waiting() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let producer = Transactional::new("commits");
    producer.write(&options.topic, &["a", "b", "c", "d", "e"]);
    assert_eq!(inspect::depth(&options).await.unwrap().ready, 0, "uncommitted records count");
    producer.0.commit_transaction(PATIENCE).unwrap();

    let leased = take(&buffer, 5).await;
    assert_eq!(ids(&leased), ["a", "b", "c", "d", "e"]);
    // While one event is held, the watermark stays below it and the control record is behind it.
    assert_eq!(buffer.ack(&receipts(&leased[1..])).await.unwrap(), 4);
    let one = |depth: &Result<buffer::Depth, _>| {
        depth.as_ref().is_ok_and(|depth| (depth.ready, depth.leased) == (0, 1))
    };
    until("the held event alone counts", || buffer.depth(), one).await.unwrap();
    assert_eq!(buffer.ack(&receipts(&leased[..1])).await.unwrap(), 1);
    until_empty(&buffer, &options).await;

    // Another process begins behind the control record and misses nothing that follows.
    buffer.close().await.unwrap();
    assert_eq!(inspect::depth(&options).await.unwrap().ready, 0);
    producer.write(&options.topic, &["f"]);
    producer.0.commit_transaction(PATIENCE).unwrap();
    let next = KafkaBuffer::open(options.clone()).await.unwrap();
    let leased = take(&next, 1).await;
    assert_eq!(ids(&leased), ["f"]);
    assert_eq!(next.ack(&receipts(&leased)).await.unwrap(), 1);
    until_empty(&next, &options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_transaction_leaves_nothing_waiting_and_hides_nothing_behind_it() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let producer = Transactional::new("aborts");
    producer.write(&options.topic, &["gone-1", "gone-2", "gone-3"]);
    producer.0.abort_transaction(PATIENCE).unwrap();
    assert!(buffer.lease(10, Duration::from_millis(200)).await.unwrap().is_empty());
    until_empty(&buffer, &options).await;

    Foreign::new(&kafka().address()).send(
        &options.topic,
        Some("card"),
        Some(0),
        r#"{"tx_id":"kept","card_number":"card"}"#,
    );
    producer.write(&options.topic, &["gone-4"]);
    producer.0.abort_transaction(PATIENCE).unwrap();
    let leased = take(&buffer, 1).await;
    assert_eq!(ids(&leased), ["kept"]);
    assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 1);
    until_empty(&buffer, &options).await;
}
