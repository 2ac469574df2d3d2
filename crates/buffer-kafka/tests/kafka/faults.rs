//! The broker dies, forgets, refuses: nothing that was accepted is lost, and nothing is promised that
//! is not kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::topic::{PATIENCE, admin, events, ids, make, options, receipts, take, until};
use buffer::{Buffer, Class, Classify, Error};
use buffer_kafka::{KafkaBuffer, Options, inspect};
use rdkafka::ClientConfig;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer};
use testbed::Kafka;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

/// Offers and settles all the time; the broker is killed and started again in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_while_it_is_written_to_and_read_from_loses_nothing_it_confirmed() {
    let kafka = Arc::new(Kafka::start().unwrap());
    let options = Options { timeout_ms: 3_000, ..options(&kafka.address(), 4) };
    let buffer = Arc::new(KafkaBuffer::open(options.clone()).await.unwrap());
    let done = Arc::new(Mutex::new(BTreeSet::new()));
    let stop = Arc::new(AtomicBool::new(false));

    let offering = tokio::spawn({
        let (buffer, stop) = (Arc::clone(&buffer), Arc::clone(&stop));
        async move {
            let (mut confirmed, mut refused) = (BTreeSet::new(), 0);
            for batch in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return (confirmed, refused);
                }
                let batch = events(batch * 20..batch * 20 + 20);
                match buffer.offer(&batch).await {
                    Ok(()) => confirmed.extend(batch.iter().map(|e| e.id().to_vec())),
                    Err(error) => {
                        assert_eq!(error.class(), Class::Retryable, "{error}");
                        refused += 1;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            unreachable!("it goes on until it is stopped")
        }
    });
    let working = tokio::spawn({
        let (buffer, done) = (Arc::clone(&buffer), Arc::clone(&done));
        async move {
            loop {
                let Ok(leased) = buffer.lease(50, Duration::from_millis(100)).await else {
                    continue;
                };
                let settled = leased.iter().map(|envelope| envelope.event.id().to_vec());
                done.lock().unwrap().extend(settled);
                buffer.ack(&receipts(&leased)).await.unwrap();
            }
        }
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let broker = Arc::clone(&kafka);
        tokio::task::spawn_blocking(move || {
            broker.kill();
            broker.start_again().unwrap();
        })
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::SeqCst);
    let (confirmed, refused) = offering.await.unwrap();
    assert!(confirmed.len() > 200, "{} confirmed, {refused} refused", confirmed.len());
    let missing = || async { confirmed.difference(&done.lock().unwrap()).count() };
    until("all that was confirmed is done", missing, |missing| *missing == 0).await;
    let depth = || async { buffer.depth().await };
    let is_empty = |depth: &Result<buffer::Depth, Error>| {
        depth.as_ref().is_ok_and(|depth| depth.ready + depth.leased == 0)
    };
    until("nothing is left", depth, is_empty).await.unwrap();
    working.abort();
    // What was done before, during and after stays done.
    buffer.close().await.unwrap();
    let again = KafkaBuffer::open(options).await.unwrap();
    assert!(again.lease(10, Duration::from_secs(3)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_it_is_told_in_time_and_leases_live_on() {
    let kafka = Kafka::start().unwrap();
    // Away for less than a session: past that, what is held would be another's. And for less than a lease:
    // past that, what is taken next need not be what was released.
    let options = Options { timeout_ms: 3_000, session_ms: 60_000, ..options(&kafka.address(), 2) };
    let options = Options { lease_ms: 60_000, ..options };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..10)).await.unwrap();
    let held = take(&buffer, 10).await;
    kafka.kill();
    let told = tokio::time::timeout(Duration::from_secs(20), buffer.offer(&events(10..11))).await;
    let error = told.expect("it is told in time").unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let opened =
        tokio::time::timeout(Duration::from_secs(20), KafkaBuffer::open(options.clone())).await;
    assert!(matches!(opened.expect("it is told in time").err(), Some(Error::Unavailable(_))));
    let lazy = KafkaBuffer::open(Options { lazy: true, ..options }).await.unwrap();
    assert!(!lazy.kind().durable, "nothing is promised of what can't be seen");
    // What is held here needs no broker.
    assert_eq!(buffer.release(&receipts(&held[..1]), Duration::ZERO).await.unwrap(), 1);
    assert_eq!(take(&buffer, 1).await[0].attempt, 2);
    assert_eq!(buffer.ack(&receipts(&held[1..])).await.unwrap(), 9);
    let burial = [(held[0].receipt, "bad".to_owned())];
    assert_eq!(buffer.bury(&burial).await.unwrap(), 0, "it is leased anew");

    kafka.start_again().unwrap();
    let more = events(20..21);
    until("it answers", || buffer.offer(&more), Result::is_ok).await.unwrap();
    let depth = until("it answers", || lazy.depth(), Result::is_ok).await.unwrap();
    assert!(lazy.kind().durable && depth.ready >= 2, "{depth:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burial_that_is_not_durable_moves_nothing() {
    let kafka = Kafka::start().unwrap();
    // Away for less than a session: past that, what is held would be another's.
    let options = Options { timeout_ms: 3_000, session_ms: 60_000, ..options(&kafka.address(), 1) };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..2)).await.unwrap();
    let held = take(&buffer, 2).await;
    kafka.kill();
    let burial = [(held[0].receipt, "bad".to_owned())];
    assert!(buffer.bury(&burial).await.is_err());
    assert_eq!(buffer.ack(&receipts(&held[1..])).await.unwrap(), 1);
    kafka.start_again().unwrap();
    let look = || async { inspect::depth(&options).await };
    let one = |depth: &Result<buffer::Depth, Error>| {
        depth.as_ref().is_ok_and(|depth| (depth.ready, depth.dead) == (1, 0))
    };
    until("the other one is committed", look, one).await.unwrap();
    let again = take(&buffer, 1).await;
    assert_eq!((ids(&again), again[0].attempt), (vec!["id-0".to_owned()], 2));
    let burial = [(again[0].receipt, "bad".to_owned())];
    assert_eq!(buffer.bury(&burial).await.unwrap(), 1);
    let none = |depth: &Result<buffer::Depth, Error>| {
        depth.as_ref().is_ok_and(|depth| (depth.ready, depth.dead) == (0, 1))
    };
    until("the burial is committed", look, none).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_may_delete_what_is_not_settled_is_not_called_durable() {
    let ours = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(ours.clone()).await.unwrap();
    let found = inspect::durability(&ours).await.unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.retention_ms, found.retention_bytes), (Some(-1), Some(-1)));
    assert!(found.warnings[0].starts_with("REPLICATION FACTOR 1"), "{:?}", found.warnings);
    let kind = buffer.kind();
    assert!(kind.durable && kind.shared && kind.survives.contains("NOT THE LOSS OF ITS DISK"));
    for (settings, expect) in [
        (&[("retention.ms", "604800000"), ("retention.bytes", "-1")][..], "retention.ms=-1"),
        (&[("retention.ms", "-1"), ("retention.bytes", "1000000")][..], "retention.bytes=-1"),
        (&[("cleanup.policy", "compact")][..], "cleanup.policy=delete"),
    ] {
        let theirs = options(&kafka().address(), 1);
        make(&kafka().address(), &theirs.topic, 1, settings).await;
        let kind = KafkaBuffer::open(theirs.clone()).await.unwrap().kind();
        assert!(!kind.durable, "{settings:?}: {kind:?}");
        let problems = inspect::durability(&theirs).await.unwrap().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(expect), "{problems:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settled_records_are_deleted_where_that_is_asked_for() {
    let options = Options { delete_settled: true, ..options(&kafka().address(), 1) };
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..30)).await.unwrap();
    let leased = take(&buffer, 30).await;
    buffer.ack(&receipts(&leased[..20])).await.unwrap();
    let outside: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", kafka().address()).create().unwrap();
    let range = || async { outside.fetch_watermarks(&options.topic, 0, PATIENCE).unwrap() };
    until("they are deleted", range, |range| *range == (20, 30)).await;
    assert_eq!(buffer.ack(&receipts(&leased[20..])).await.unwrap(), 10);
    assert_eq!(buffer.depth().await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_from_the_topic_is_passed_over_and_the_rest_comes() {
    let options = options(&kafka().address(), 1);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&events(0..30)).await.unwrap();
    let leased = take(&buffer, 5).await;
    buffer.ack(&receipts(&leased)).await.unwrap();
    buffer.close().await.unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(&options.topic, 0, rdkafka::Offset::Offset(12)).unwrap();
    admin(&kafka().address()).delete_records(&list, &AdminOptions::new()).await.unwrap();
    let buffer = KafkaBuffer::open(options).await.unwrap();
    assert_eq!(buffer.depth().await.unwrap().ready, 18);
    let came = take(&buffer, 18).await;
    assert_eq!(ids(&came), (12..30).map(|n| format!("id-{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_full_stops_reading_and_goes_on_when_it_has_room() {
    let options = Options { in_flight_max: 50, ..options(&kafka().address(), 1) };
    let buffer = KafkaBuffer::open(options).await.unwrap();
    for batch in 0..20 {
        buffer.offer(&events(batch * 100..batch * 100 + 100)).await.unwrap();
    }
    // Reading stops at about the bound: what was on its way then may come still.
    let first = take(&buffer, 1).await;
    let mut held = Vec::new();
    loop {
        let more = buffer.lease(10_000, Duration::from_millis(500)).await.unwrap();
        if more.is_empty() {
            break;
        }
        held.extend(more);
    }
    assert!(held.len() < 1_900, "{} were read past one that is not done", held.len());
    let mut came = ids(&first);
    came.extend(ids(&held));
    assert_eq!(buffer.ack(&receipts(&first)).await.unwrap(), 1);
    assert_eq!(buffer.ack(&receipts(&held)).await.unwrap(), held.len());
    while came.len() < 2_000 {
        let more = take(&buffer, 1).await;
        came.extend(ids(&more));
        assert_eq!(buffer.ack(&receipts(&more)).await.unwrap(), 1);
    }
    assert!(came == (0..2_000).map(|n| format!("id-{n}")).collect::<Vec<_>>(), "out of order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_is_refused_and_never_printed() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                username=\"admin\" password=\"adm1n\" user_admin=\"adm1n\" user_fds=\"s3cret\";";
    let kafka = Kafka::start_with(&[
        ("listeners", "SASL://{address},CONTROLLER://{controller}"),
        ("advertised.listeners", "SASL://{address}"),
        ("listener.security.protocol.map", "SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("inter.broker.listener.name", "SASL"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
        ("listener.name.sasl.plain.sasl.jaas.config", jaas),
    ])
    .unwrap();
    let with = |password: &str| {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Options {
            timeout_ms: 3_000,
            security: vec![
                set("security.protocol", "sasl_plaintext"),
                set("sasl.mechanism", "PLAIN"),
                set("sasl.username", "fds"),
                set("sasl.password", password),
            ],
            ..options(&kafka.address(), 1)
        }
    };
    let wrong = with("wr0ng");
    let refused = KafkaBuffer::open(wrong.clone()).await.err().unwrap();
    let said = format!("{refused} {refused:?} {wrong:?}");
    assert!(said.contains("sasl.password") && !said.contains("wr0ng"), "{said}");
    let buffer = KafkaBuffer::open(with("s3cret")).await.unwrap();
    buffer.offer(&events(0..3)).await.unwrap();
    assert_eq!(take(&buffer, 3).await.len(), 3);
}
