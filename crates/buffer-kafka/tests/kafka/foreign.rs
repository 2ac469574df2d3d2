//! Foreign producers send plain JSON by any client; each key's events end up with one process.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use crate::topic::{Foreign, PATIENCE, event, events, ids, options, receipts, take, until};
use buffer::Buffer;
use buffer::conformance::foreign as contract;
use buffer_kafka::{KafkaBuffer, Options, Start, inspect};
use testbed::Kafka;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_producers_send_comes_in_order_beside_our_own_offers() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    for n in 0..20 {
        let json = format!(r#"{{"tx_id":"f-{n:02}","card_number":"card-{}"}}"#, n % 5);
        let key = format!("card-{}", n % 5);
        foreign.send(&options.topic, (n % 2 == 0).then_some(key.as_str()), None, &json);
    }
    assert_eq!(buffer.depth().await.unwrap().ready, 20);
    let leased = take(&buffer, 20).await;
    assert_eq!(ids(&leased), (0..20).map(|n| format!("f-{n:02}")).collect::<Vec<_>>());
    assert_eq!(leased[7].event.key(), b"card-2");
    assert_eq!(leased[7].event.payload(), br#"{"tx_id":"f-07","card_number":"card-2"}"#);
    assert!(leased[7].accepted_at_ms > 1_700_000_000_000);

    buffer.offer(&[event("own", "card-2")]).await.unwrap();
    foreign.send(&options.topic, None, None, r#"{"tx_id":"after","card_number":"card-2"}"#);
    assert_eq!(ids(&take(&buffer, 2).await), ["own", "after"]);
    assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 20);
    assert_eq!(buffer.depth().await.unwrap().leased, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_vector_of_foreign_events_has_the_id_and_key_of_the_contract() {
    let options = Options { fields: contract::fields(), ..options(&kafka().address(), 2) };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    let vectors = contract::vectors();
    for vector in &vectors {
        foreign.send_bytes(&options.topic, None, None, &vector.payload);
    }
    let leased = take(&buffer, vectors.len()).await;
    let came: Vec<_> = leased.into_iter().map(|envelope| envelope.event).collect();
    contract::check(&vectors, &came);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_delivered_too_and_stops_nobody() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    let long_id = format!(r#"{{"tx_id":"{}"}}"#, "x".repeat(65));
    let long = format!(r#"{{"tx_id":"long","x":"{}"}}"#, "y".repeat(70_000));
    let junk = ["not json", "[1,2]", r#"{"tx_id":""}"#, r#"{"tx_id":null}"#, "", &long_id];
    for text in junk {
        foreign.send(&options.topic, None, None, text);
        foreign.send(&options.topic, None, None, &format!(r#"{{"tx_id":"after {}"}}"#, text.len()));
    }
    foreign.send(&options.topic, None, None, &long);
    let leased = take(&buffer, 2 * junk.len() + 1).await;
    for (pair, text) in leased.chunks(2).zip(junk) {
        let id = String::from_utf8_lossy(pair[0].event.id()).into_owned();
        assert!(id.starts_with("unread-"), "{id}");
        assert_eq!((pair[0].event.key(), pair[0].event.payload()), (&b""[..], text.as_bytes()));
        assert_eq!(ids(&pair[1..]), [format!("after {}", text.len())]);
    }
    // Without a payload it is a letter all the same, and not the end of one.
    let empty = &leased[8];
    assert!(empty.event.payload().is_empty());
    let burial = [(empty.receipt, "nothing in it".to_owned())];
    assert_eq!(buffer.bury(&burial).await.unwrap(), 1);
    let letters = buffer.dead_letters().list(0, 10).await.unwrap();
    assert_eq!((letters.len(), &letters[0].event), (1, &empty.event));
    let last = &leased[2 * junk.len()].event;
    assert_eq!((last.id(), last.payload()), (&b"long"[..], &long.as_bytes()[..65_536]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_twice_is_delivered_as_it_was_sent_and_is_no_payment() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let json = r#"{"tx_id":"a","card_number":"4000123412341234","user_id":"u","tier":"vip",
        "amount":1,"merchant":"m","category":"c","created_at":1777595400000,"order":1}"#;
    model::Payment::parse(json.as_bytes(), 1_777_595_400_000).unwrap();
    let twice = json.replace("\"order\":1", "\"order\":1,\"order\":2");
    Foreign::new(&kafka().address()).send(&options.topic, None, None, &twice);
    let leased = take(&buffer, 1).await;
    assert_eq!(leased[0].event.payload(), twice.as_bytes());
    let reject = model::Payment::parse(leased[0].event.payload(), 1_777_595_400_000).unwrap_err();
    assert!(reject.to_string().starts_with("event: gives a field twice"), "{reject}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_spread_over_partitions_by_its_producer_comes_in_one_order_from_one_partition() {
    let options = options(&kafka().address(), 4);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let foreign = Foreign::new(&kafka().address());
    for n in 0..40 {
        let json = format!(r#"{{"tx_id":"f-{n:02}","card_number":"card-{}"}}"#, n % 3);
        foreign.send(&options.topic, None, Some(n % 4), &json);
    }
    let leased = take(&buffer, 40).await;
    let all: BTreeSet<String> = ids(&leased).into_iter().collect();
    assert_eq!(all, (0..40).map(|n| format!("f-{n:02}")).collect());
    for card in 0..3 {
        let key = format!("card-{card}").into_bytes();
        let places: BTreeSet<u64> = leased
            .iter()
            .filter(|envelope| envelope.event.key() == key)
            .map(|envelope| envelope.receipt.seq >> 48)
            .collect();
        assert_eq!(places.len(), 1, "{places:?}");
    }
    assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 40);
    let depth = || async { buffer.depth().await.unwrap() };
    until("nothing is left", depth, |depth| (depth.ready, depth.leased) == (0, 0)).await;
    // None of it comes again, neither copy nor original.
    buffer.close().await.unwrap();
    let again = KafkaBuffer::open(options).await.unwrap();
    assert!(again.lease(10, Duration::from_secs(3)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_events_shows_all_of_them_and_changes_nothing() {
    // Looking takes a while on a slow machine, and what is leased is to stay so.
    let options = Options { lease_ms: 600_000, ..options(&kafka().address(), 3) };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..300)).await.unwrap();
    let leased = take(&buffer, 10).await;
    buffer.ack(&receipts(&leased[..4])).await.unwrap();
    let burial = [(leased[4].receipt, "bad".to_owned())];
    buffer.bury(&burial).await.unwrap();
    let look = || async { inspect::depth(&options).await.unwrap() };
    until("it is committed", look, |depth| (depth.ready, depth.dead) == (295, 1)).await;
    let mut held: Vec<inspect::Held> = Vec::new();
    loop {
        let from = held.last().map_or(0, |last| last.seq + 1);
        let page = inspect::events(&options, from, 37).await.unwrap();
        if page.is_empty() {
            break;
        }
        held.extend(page);
    }
    assert!(held.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let names: BTreeSet<String> =
        held.iter().map(|h| String::from_utf8_lossy(h.event.id()).into_owned()).collect();
    let gone: BTreeSet<String> = ids(&leased[..5]).into_iter().collect();
    let all: BTreeSet<String> = (0..300).map(|n| format!("id-{n}")).collect();
    assert_eq!(names, all.difference(&gone).cloned().collect());
    let letters = inspect::dead(&options).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "bad"));
    assert_eq!(buffer.depth().await.unwrap().leased, 5);
    assert_eq!(inspect::partitions(&options).await.unwrap(), 3);
    let nowhere = Options { topic: "nowhere".to_owned(), ..options };
    let refused = inspect::depth(&nowhere).await.unwrap_err().to_string();
    assert!(refused.contains("there is no topic nowhere yet"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_where_it_was_told_whenever_its_first_worker_comes() {
    let options = options(&kafka().address(), 2);
    let first = KafkaBuffer::open(options.clone()).await.unwrap();
    first.offer(&events(0..10)).await.unwrap();
    let late = Options { group: "late".to_owned(), start: Start::Latest, ..options.clone() };
    let late = KafkaBuffer::open(late).await.unwrap();
    assert_eq!(late.depth().await.unwrap().ready, 0);
    first.offer(&events(10..15)).await.unwrap();
    let came: BTreeSet<String> = ids(&take(&late, 5).await).into_iter().collect();
    assert_eq!(came, (10..15).map(|n| format!("id-{n}")).collect());
    let early = Options { group: "early".to_owned(), ..options };
    let early = KafkaBuffer::open(early).await.unwrap();
    assert_eq!(take(&early, 15).await.len(), 15);
}

/// The dead letter of such a record does not show the fault: its payload is cut off or empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_long_or_a_tombstone_is_buried_with_that_as_its_reason() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let options = options(&kafka().address(), 3);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
    let long = format!(r#"{{"tx_id":"long","card_number":"c","x":"{}"}}"#, "y".repeat(70_000));
    let records = [Some(long.as_str()), None, Some("")];
    for (n, value) in records.iter().enumerate() {
        let mut record = BaseRecord::<str, str>::to(&options.topic).key("card");
        record.payload = *value;
        record.partition = Some(i32::try_from(n).unwrap());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let leased = take(&buffer, 3).await;
    // As the handler of payments says it.
    let why = |e: &buffer::Envelope| {
        model::Payment::parse(e.event.payload(), e.accepted_at_ms).unwrap_err().to_string()
    };
    let burials: Vec<_> = leased.iter().map(|e| (e.receipt, why(e))).collect();
    assert_eq!(buffer.bury(&burials).await.unwrap(), 3);
    let letters = inspect::dead(&options).await.unwrap();
    let reasons: BTreeSet<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    let bytes = long.len();
    let expected = [
        format!(
            "payload: {bytes} bytes are longer than 64 KiB (65536 bytes), the most an event may have; cut off"
        ),
        "payload: the record is a tombstone: it has no value, and tells Kafka to delete its key. Send each \
         event as a record's value"
            .to_owned(),
        "event: is empty; send one JSON object".to_owned(),
    ];
    assert_eq!(reasons, expected.iter().map(String::as_str).collect());
}
