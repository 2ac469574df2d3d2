//! A topic of others: Forebay makes nothing, writes nothing into it, and buries into a topic that the
//! URL names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::topic::{
    Foreign, PATIENCE, admin, event, highs, ids, led, make, options, receipts, take, until,
};
use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Order, Subject};
use buffer::{Buffer, Class, Classify, DeadLetters, Depth, Envelope, Error, Kind, Receipt};
use buffer_kafka::{KafkaBuffer, Mode, Options, Start, inspect};
use model::Event;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testbed::Kafka;
use tokio::sync::OnceCell;

/// As of the topics of ours.
const LIMITS: Limits = Limits { events_max: 500, lease_ms: 1_000, dead_max: 10 };
const FOREVER: &[(&str, &str)] = &[("retention.ms", "-1")];
const COMPACTED: &[(&str, &str)] = &[("cleanup.policy", "compact")];

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

/// A source that nobody else has; neither of its topics is there.
fn missing() -> Options {
    let options = options(&kafka().address(), 1);
    let dead = Some(format!("{}-letters", options.topic));
    Options { mode: Mode::Source, dead, ..options }
}

/// A source that nobody else has, with this many partitions.
async fn source(partitions: i32) -> Options {
    let options = missing();
    make(&kafka().address(), &options.topic, partitions, FOREVER).await;
    make(&kafka().address(), &options.dead_topic(), 1, COMPACTED).await;
    options
}

fn json(id: &str, card: &str) -> String {
    format!(r#"{{"tx_id":"{id}","card_number":"{card}"}}"#)
}

/// A buffer whose events another producer sends: what the suite offers goes to it.
struct Fed {
    buffer: KafkaBuffer,
    producer: BaseProducer,
    topic: String,
}

#[async_trait]
impl Buffer for Fed {
    async fn offer(&self, events: &[Event]) -> Result<(), Error> {
        for event in events {
            let id = Header { key: "forebay-id", value: Some(event.id()) };
            let mut record = BaseRecord::to(&self.topic)
                .payload(event.payload())
                .headers(OwnedHeaders::new().insert(id));
            record.key = Some(event.key()).filter(|key| !key.is_empty());
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        tokio::task::block_in_place(|| self.producer.flush(PATIENCE).unwrap());
        Ok(())
    }

    async fn lease(&self, max: usize, wait: Duration) -> Result<Vec<Envelope>, Error> {
        self.buffer.lease(max, wait).await
    }

    async fn ack(&self, receipts: &[Receipt]) -> Result<usize, Error> {
        self.buffer.ack(receipts).await
    }

    async fn release(&self, receipts: &[Receipt], delay: Duration) -> Result<usize, Error> {
        self.buffer.release(receipts, delay).await
    }

    async fn bury(&self, burials: &[(Receipt, String)]) -> Result<usize, Error> {
        self.buffer.bury(burials).await
    }

    async fn extend(&self, receipts: &[Receipt], by: Duration) -> Result<usize, Error> {
        self.buffer.extend(receipts, by).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.buffer.depth().await
    }

    fn kind(&self) -> Kind {
        self.buffer.kind()
    }

    fn dead_letters(&self) -> &dyn DeadLetters {
        self.buffer.dead_letters()
    }

    async fn close(&self) -> Result<(), Error> {
        self.buffer.close().await
    }
}

struct Source {
    partitions: i32,
    options: OnceCell<Options>,
}

impl Source {
    fn new(partitions: i32) -> Self {
        Self { partitions, options: OnceCell::new() }
    }

    async fn open_with(&self, lease_ms: i64) -> Arc<dyn Buffer> {
        let options = self.options.get_or_init(|| source(self.partitions)).await;
        let dead_max = LIMITS.dead_max;
        let options = Options { lease_ms, dead_max, drain_ms: 0, ..options.clone() };
        let producer =
            ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
        let topic = options.topic.clone();
        Arc::new(Fed { buffer: KafkaBuffer::open(options).await.unwrap(), producer, topic })
    }
}

#[async_trait]
impl Subject for Source {
    async fn open(&self) -> Arc<dyn Buffer> {
        self.open_with(i64::try_from(LIMITS.lease_ms).unwrap()).await
    }

    async fn open_with_long_leases(&self) -> Arc<dyn Buffer> {
        self.open_with(30_000).await
    }

    async fn advance(&self, by_ms: u64) {
        tokio::time::sleep(Duration::from_millis(by_ms)).await;
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        let order = if self.partitions == 1 { Order::Whole } else { Order::WithinKeys };
        Lacks { order, offers: true, erasing: true, ..Lacks::default() }
    }

    async fn erase(&self) -> Result<(), Error> {
        let options = self.options.get_or_init(|| source(self.partitions)).await;
        buffer_kafka::erase(options).await
    }
}

mod one_partition {
    use super::*;
    buffer::conformance!(durable source Source::new(1));
}

/// librdkafka's default partitioner puts keys into other partitions than ours does.
mod many_partitions {
    use super::*;
    buffer::conformance!(durable source Source::new(8));
}

fn topics() -> BTreeSet<String> {
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
    let told = outside.fetch_metadata(None, PATIENCE).unwrap();
    told.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_makes_no_topic_and_says_how_to_make_the_one_for_its_dead_letters() {
    let options = missing();
    let refused = async || {
        let open = KafkaBuffer::open(options.clone()).await.err().unwrap();
        let look = inspect::durability(&options).await.unwrap_err();
        assert!(matches!(open, Error::Open(_)), "{open:?}");
        assert_eq!(open.to_string(), look.to_string());
        open.to_string()
    };
    let said = refused().await;
    assert!(said.contains("there is no such topic; correct its name"), "{said}");
    make(&kafka().address(), &options.topic, 1, FOREVER).await;
    let said = refused().await;
    let command = format!(
        "`kafka-topics.sh --bootstrap-server {} --create --topic {} --partitions 1 --config \
         cleanup.policy=compact`",
        kafka().address(),
        options.dead_topic()
    );
    assert!(said.contains(&command), "{said}");
    assert!(!topics().contains(&options.dead_topic()));
    make(&kafka().address(), &options.dead_topic(), 1, COMPACTED).await;
    KafkaBuffer::open(options.clone()).await.unwrap();
    assert!(!topics().contains(&format!("{}.dead", options.topic)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_into_the_topic_of_others_and_letters_go_to_the_named_topic() {
    let options = source(4).await;
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    for n in 0..40 {
        let card = format!("card-{}", n % 3);
        foreign.send(&options.topic, None, Some(n % 4), &json(&format!("f-{n:02}"), &card));
    }
    let refused = buffer.offer(&[event("own", "card-1")]).await.unwrap_err();
    assert_eq!(refused.class(), Class::Rejected);
    let expected = format!(
        "cannot offer into the topic {}: it belongs to other producers (mode=source); send the events \
         with a producer of that topic",
        options.topic
    );
    assert_eq!(refused.to_string(), expected);

    let leased = take(&buffer, 40).await;
    let burial = [(leased[0].receipt, "bad".to_owned())];
    assert_eq!(buffer.bury(&burial).await.unwrap(), 1);
    assert_eq!(buffer.ack(&receipts(&leased[1..])).await.unwrap(), 39);
    let letters = buffer.dead_letters();
    let listed = letters.list(0, 10).await.unwrap();
    assert_eq!((listed.len(), &listed[0].event), (1, &leased[0].event));
    let refused = letters.replay(&[listed[0].seq]).await.unwrap_err();
    assert_eq!(refused.class(), Class::Rejected);
    assert!(refused.to_string().contains("drop the letters with `forebay dead drop`"), "{refused}");
    let depth = || async { inspect::depth(&options).await.unwrap() };
    until("all is committed", depth, |depth| (depth.ready, depth.dead) == (0, 1)).await;
    assert_eq!(letters.drop_letters(&[listed[0].seq]).await.unwrap(), 1);
    assert_eq!(depth().await.dead, 0);

    // Only what its producer sent.
    assert_eq!(highs(&kafka().address(), &options.topic, 4), [10; 4]);
    buffer.close().await.unwrap();
    let again = KafkaBuffer::open(options).await.unwrap();
    assert!(again.lease(10, Duration::from_secs(3)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_several_partitions_has_the_order_of_each_and_no_owner() {
    let options = Options { lease_ms: 60_000, ..source(3).await };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    for n in 0..30 {
        foreign.send(&options.topic, Some("x"), Some(n % 3), &json(&format!("{n:02}"), "card"));
    }
    let partition = |envelope: &Envelope| envelope.receipt.seq >> 48;
    let mut leased: Vec<Envelope> = Vec::new();
    while leased.last().is_none_or(|last| partition(last) != 0) {
        leased.extend(take(&buffer, 1).await);
    }
    // The first of partition 0 is delayed: its later ones wait, those of other partitions do not.
    let delayed = leased.pop().unwrap();
    buffer.release(&[delayed.receipt], Duration::from_secs(3)).await.unwrap();
    while leased.len() < 30 {
        leased.extend(take(&buffer, 1).await);
    }
    let all: BTreeSet<String> = ids(&leased).into_iter().collect();
    assert_eq!(all, (0..30).map(|n| format!("{n:02}")).collect());
    for number in 0..3 {
        let own = leased.iter().filter(|envelope| partition(envelope) == number);
        let seqs: Vec<u64> = own.map(|envelope| envelope.receipt.seq).collect();
        assert!(seqs.is_sorted(), "{number}: {seqs:?}");
    }
    // What was known of the key is read again at each lease: another process may have its events.
    let terms: Vec<u64> = leased.iter().map(|envelope| envelope.term).collect();
    assert!(terms[0] > 0 && terms.is_sorted_by(|one, next| one < next), "{terms:?}");
    assert!(leased.iter().all(|envelope| envelope.shard.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_source_and_each_event_is_done_once_in_order_of_its_partition() {
    let options = source(4).await;
    let first = KafkaBuffer::open(options.clone()).await.unwrap();
    let second = KafkaBuffer::open(options.clone()).await.unwrap();
    // Both join before there is anything to do.
    for buffer in [&first, &second] {
        assert!(buffer.lease(1, Duration::from_secs(4)).await.unwrap().is_empty());
    }
    let foreign = Foreign::new(&kafka().address());
    for n in 0..80 {
        foreign.send(&options.topic, None, Some(n % 4), &json(&format!("{n:02}"), "card"));
    }
    let mut done: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut shares = [0, 0];
    while shares[0] + shares[1] < 80 {
        for (buffer, share) in [&first, &second].into_iter().zip(&mut shares) {
            let leased = buffer.lease(7, Duration::from_millis(100)).await.unwrap();
            for envelope in &leased {
                let seq = envelope.receipt.seq;
                done.entry(seq >> 48).or_default().push(seq);
            }
            *share += leased.len();
            assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), leased.len());
        }
    }
    assert!(shares.iter().all(|share| *share >= 20), "{shares:?}");
    for seqs in done.values() {
        assert!(seqs.len() == 20 && seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
    }
    assert_eq!(highs(&kafka().address(), &options.topic, 4), [20; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_share_a_topic_of_dead_letters_each_see_their_own() {
    let one = source(1).await;
    let other = Options { dead: one.dead.clone(), ..missing() };
    make(&kafka().address(), &other.topic, 1, FOREVER).await;
    let foreign = Foreign::new(&kafka().address());
    let mut buffers = Vec::new();
    for options in [&one, &other] {
        foreign.send(&options.topic, None, None, &json("same", "card"));
        let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
        let leased = take(&buffer, 1).await;
        let burial = [(leased[0].receipt, options.topic.clone())];
        assert_eq!(buffer.bury(&burial).await.unwrap(), 1);
        buffers.push(buffer);
    }
    for (options, buffer) in [&one, &other].into_iter().zip(&buffers) {
        let letters = buffer.dead_letters().list(0, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].reason, options.topic);
        assert_eq!(buffer.depth().await.unwrap().dead, 1);
    }
    let letters = buffers[0].dead_letters();
    let theirs = buffers[1].dead_letters().list(0, 1).await.unwrap()[0].seq;
    assert_eq!(letters.drop_letters(&[theirs]).await.unwrap(), 0, "it is not ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_ours_does_not_replay_the_letters_of_a_source_that_lie_in_its_topic() {
    let own = options(&kafka().address(), 1);
    let ours = KafkaBuffer::open(own.clone()).await.unwrap();
    ours.offer(&[event("ours", "card")]).await.unwrap();
    let others = Options { dead: Some(own.dead_topic()), ..missing() };
    make(&kafka().address(), &others.topic, 1, FOREVER).await;
    Foreign::new(&kafka().address()).send(&others.topic, None, None, &json("theirs", "card"));
    let theirs = KafkaBuffer::open(others).await.unwrap();
    let mut seqs = Vec::new();
    for (buffer, id) in [(&theirs, "theirs"), (&ours, "ours")] {
        let burial = [(take(buffer, 1).await[0].receipt, id.to_owned())];
        assert_eq!(buffer.bury(&burial).await.unwrap(), 1);
        let letters = buffer.dead_letters().list(0, 10).await.unwrap();
        let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
        assert_eq!(reasons, [id]);
        seqs.push(letters[0].seq);
    }
    let letters = ours.dead_letters();
    assert_eq!(letters.drop_letters(&seqs[..1]).await.unwrap(), 0, "it is the source's");
    assert_eq!(letters.replay(&seqs).await.unwrap(), 1, "its own alone");
    assert_eq!(theirs.dead_letters().list(0, 10).await.unwrap().len(), 1);
    assert_eq!(ours.depth().await.unwrap().dead, 0);
}

/// What its owner alone can change is said, and is nothing that this side could mend.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_deletes_its_records_after_a_time_is_not_called_durable() {
    let options = missing();
    make(&kafka().address(), &options.topic, 1, &[("retention.ms", "604800000")]).await;
    make(&kafka().address(), &options.dead_topic(), 1, COMPACTED).await;
    let found = inspect::durability(&options).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(!found.durable && found.retention_ms == Some(604_800_000), "{found:?}");
    assert!(found.warnings[0].contains("retention.ms 604800000"), "{:?}", found.warnings);
    let kind = KafkaBuffer::open(options.clone()).await.unwrap().kind();
    assert!(!kind.durable && kind.survives.contains("the owner of the topic"), "{kind:?}");

    // What lies in our own hands is still a problem.
    let losing = Options { dead: Some(format!("{}-lost", options.topic)), ..options };
    let week = [("retention.ms", "604800000")];
    make(&kafka().address(), &losing.dead_topic(), 1, &week).await;
    let problems = inspect::durability(&losing).await.unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains(&losing.dead_topic()), "{problems:?}");
}

/// Records of a new partition come before its consumers know of it.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_partition_that_is_added_nothing_is_passed_over_though_a_group_began_at_the_end() {
    let options = Options { start: Start::Latest, ..source(1).await };
    let foreign = Foreign::new(&kafka().address());
    foreign.send(&options.topic, None, Some(0), &json("before", "card"));
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    assert!(buffer.lease(1, Duration::from_secs(2)).await.unwrap().is_empty());
    let grown = NewPartitions::new(&options.topic, 2);
    admin(&kafka().address()).create_partitions([&grown], &AdminOptions::new()).await.unwrap();
    let two = || async { led(&kafka().address(), &options.topic) };
    until("the partition is there", two, |count| *count == 2).await;
    let foreign = Foreign::new(&kafka().address());
    for n in 0..5 {
        foreign.send(&options.topic, None, Some(1), &json(&format!("new-{n}"), "card"));
    }
    // A process that begins now and one that was there before agree.
    let seen = inspect::depth(&options).await.unwrap();
    assert_eq!(seen.ready, 5, "{seen:?}");
    let late = KafkaBuffer::open(options.clone()).await.unwrap();
    assert_eq!(late.depth().await.unwrap().ready, 5);
    let leased = take(&buffer, 5).await;
    assert_eq!(ids(&leased), (0..5).map(|n| format!("new-{n}")).collect::<Vec<_>>());
}
