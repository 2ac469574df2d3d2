//! A topic is read from a time on, without a group: nothing is left behind, and nothing is passed over
//! silently.

use std::sync::OnceLock;
use std::time::Duration;

use crate::topic::{PATIENCE, admin, highs, make, options, until};
use buffer::Error;
use buffer_kafka::Options;
use buffer_kafka::reading::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Record, Records, Until, from_time,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use testbed::Kafka;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

/// A topic of others with this many partitions.
async fn topic(partitions: i32) -> Options {
    let options = options(&kafka().address(), 1);
    make(&kafka().address(), &options.topic, partitions, &[("retention.ms", "-1")]).await;
    options
}

/// Its producer.
struct Sender<'a> {
    producer: BaseProducer,
    topic: &'a str,
}

impl<'a> Sender<'a> {
    fn new(options: &'a Options) -> Self {
        Self::with(options, &[])
    }

    fn with(options: &'a Options, settings: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka().address());
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Self { producer: config.create().unwrap(), topic: &options.topic }
    }

    /// Sends a record of this time.
    fn send(&self, partition: i32, at_ms: i64, value: &[u8]) {
        let record = BaseRecord::<[u8], [u8]>::to(self.topic)
            .partition(partition)
            .timestamp(at_ms)
            .key(b"key")
            .payload(value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

async fn next(records: &mut Records) -> Result<Option<Vec<Record>>, Error> {
    tokio::time::timeout(PATIENCE, records.next()).await.expect("it comes in time")
}

/// All records up to the end.
async fn all(options: &Options, since_ms: i64) -> Vec<Record> {
    let mut records = from_time(options, since_ms, Until::End).await.unwrap();
    let mut all = Vec::new();
    while let Some(batch) = next(&mut records).await.unwrap() {
        assert!(!batch.is_empty());
        all.extend(batch);
    }
    all
}

fn places(records: &[Record]) -> Vec<(i32, i64, i64)> {
    let mut places: Vec<_> =
        records.iter().map(|one| (one.partition, one.offset, one.at_ms)).collect();
    places.sort_by_key(|(partition, ..)| *partition);
    places
}

fn groups() -> Vec<String> {
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
    let told = outside.fetch_group_list(None, PATIENCE).unwrap();
    told.groups().iter().map(|group| group.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_from_a_time_to_the_end_it_has_and_nothing_is_left_behind() {
    let options = topic(3).await;
    let sender = Sender::new(&options);
    for n in 0..10 {
        sender.send(0, 1_000 + n * 100, b"zero");
        sender.send(1, 5_000 + n, b"one");
    }
    sender.flush();
    let of_zero = |from: i64| (from..10).map(|n| (0, n, 1_000 + n * 100)).collect::<Vec<_>>();
    let of_one: Vec<_> = (0..10).map(|n| (1, n, 5_000 + n)).collect();
    // Before the first, the exact time of a record, between two, behind the last of one and of all.
    for (since_ms, expect) in [
        (i64::MIN, [of_zero(0), of_one.clone()].concat()),
        (0, [of_zero(0), of_one.clone()].concat()),
        (1_500, [of_zero(5), of_one.clone()].concat()),
        (1_501, [of_zero(6), of_one.clone()].concat()),
        (2_000, of_one.clone()),
        (5_009, vec![(1, 9, 5_009)]),
        (5_010, Vec::new()),
        (i64::MAX, Vec::new()),
    ] {
        assert_eq!(places(&all(&options, since_ms).await), expect, "{since_ms}");
    }
    let read = all(&options, 5_009).await;
    let (key, value) = (read[0].key.as_deref(), read[0].value.as_deref());
    assert_eq!((key, value), (Some(&b"key"[..]), Some(&b"one"[..])));

    // What comes after the call is not read.
    let mut records = from_time(&options, 0, Until::End).await.unwrap();
    sender.send(0, 9_000, b"late");
    sender.send(2, 9_000, b"late");
    sender.flush();
    let mut count = 0;
    while let Some(batch) = next(&mut records).await.unwrap() {
        count += batch.len();
    }
    assert_eq!(count, 20);
    assert_eq!(highs(&kafka().address(), &options.topic, 3), [11, 10, 1]);
    assert_eq!(groups(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_aborted_and_of_open_transactions_do_not_come() {
    let options = topic(1).await;
    let sender = Sender::with(&options, &[("transactional.id", "reading")]);
    sender.producer.init_transactions(PATIENCE).unwrap();
    for (value, commits) in [("a", true), ("gone", false), ("b", true)] {
        sender.producer.begin_transaction().unwrap();
        sender.send(0, 1_000, value.as_bytes());
        sender.flush();
        match commits {
            true => sender.producer.commit_transaction(PATIENCE).unwrap(),
            false => sender.producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    sender.producer.begin_transaction().unwrap();
    sender.send(0, 1_000, b"open");
    sender.flush();
    let read = all(&options, 0).await;
    let values: Vec<_> = read.into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [b"a", b"b"]);
    // A last offset that is no record ends it, too.
    sender.producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(all(&options, 0).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_refused_and_not_made() {
    let options = Options { topic: "nowhere".to_owned(), ..options(&kafka().address(), 1) };
    let refused = from_time(&options, 0, Until::Dropped).await.unwrap_err();
    assert!(refused.to_string().contains("there is no such topic"), "{refused}");
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
    let told = outside.fetch_metadata(None, PATIENCE).unwrap();
    assert!(told.topics().iter().all(|topic| topic.name() != "nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_topic_and_reads_a_partition_that_is_added_from_its_first_record() {
    let options = topic(1).await;
    let sender = Sender::new(&options);
    sender.send(0, 1_000, b"before");
    sender.flush();
    // From behind the last record on.
    let mut records = from_time(&options, 2_000, Until::Dropped).await.unwrap();
    sender.send(0, 1_500, b"after");
    sender.flush();
    let batch = next(&mut records).await.unwrap().unwrap();
    assert_eq!(places(&batch), [(0, 1, 1_500)]);
    let grown = NewPartitions::new(&options.topic, 2);
    admin(&kafka().address()).create_partitions([&grown], &AdminOptions::new()).await.unwrap();
    // A client that begins now knows both.
    let sent = || async {
        let sender = Sender::new(&options);
        let record = BaseRecord::<[u8], [u8]>::to(&options.topic).partition(1).payload(b"new");
        sender.producer.send(record).is_ok() && sender.producer.flush(PATIENCE).is_ok()
    };
    until("the new partition takes a record", sent, |sent| *sent).await;
    let batch = next(&mut records).await.unwrap().unwrap();
    assert_eq!((batch[0].partition, batch[0].offset), (1, 0));
    sender.send(0, 3_000, b"last");
    sender.flush();
    let batch = next(&mut records).await.unwrap().unwrap();
    assert_eq!(places(&batch), [(0, 2, 3_000)]);
}

/// A caller that stands still holds reading up, in bounded memory; Kafka deletes meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_before_it_is_read_is_an_error_that_counts_it() {
    let options = topic(1).await;
    let sender = Sender::with(&options, &[("queue.buffering.max.kbytes", "200000")]);
    let count = 6_000;
    for n in 0..count {
        sender.send(0, 1_000 + n, &[7; 10_000]);
    }
    sender.flush();
    let mut records = from_time(&options, 0, Until::End).await.unwrap();
    let first = next(&mut records).await.unwrap().unwrap();
    let bytes: usize = first.iter().map(|record| record.value.as_ref().unwrap().len()).sum();
    assert!(first.len() <= BATCH_RECORDS_MAX && bytes <= BATCH_BYTES_MAX + 10_000);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&options.topic, 0, Offset::Offset(count - 1)).unwrap();
    // Not before the client has fetched as far ahead as it may.
    tokio::time::sleep(Duration::from_secs(2)).await;
    admin(&kafka().address()).delete_records(&list, &AdminOptions::new()).await.unwrap();
    let mut read = i64::try_from(first.len()).unwrap();
    let said = loop {
        match next(&mut records).await {
            Ok(batch) => read += i64::try_from(batch.expect("it does not end").len()).unwrap(),
            Err(error) => break error.to_string(),
        }
    };
    assert!(read < count - 1, "all of it was fetched ahead");
    let lost = format!(
        "{} offsets of topic {}, partition 0, from {read} on were deleted before they were read",
        count - 1 - read,
        options.topic
    );
    assert!(said.contains(&lost), "{said}; expected {lost}");
    assert_eq!(next(&mut records).await.unwrap(), None);
}
