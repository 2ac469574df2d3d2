//! `buffer migrate` away from a topic that others write to in transactions.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::generator::{EventTime, Generator, Options};
use model::clock::{Clock, System};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use testbed::{Kafka, Postgres};

use super::running::{PATIENCE, Serving, Worker, binary, done, ran};

/// Writes payments in transactions, of which the last is aborted.
fn write(kafka: &Kafka, topic: &str, transactions: &[usize]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.address())
        .set("transactional.id", "foreign")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let mut generator = Generator::new(&Options::default()).unwrap();
    let time = EventTime { start_ms: System.now_ms() - 86_400_000, speed: 1.0 };
    let mut second = 0;
    for (n, size) in transactions.iter().enumerate() {
        producer.begin_transaction().unwrap();
        for _ in 0..*size {
            second += 3;
            let (event, _) = generator.event(time.at(Duration::from_secs(second)));
            let record = BaseRecord::to(topic).key(event.key()).payload(event.payload());
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        match n + 1 == transactions.len() {
            false => producer.commit_transaction(PATIENCE).unwrap(),
            true => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
}

fn count(postgres: &Postgres, table: &str) -> usize {
    let rows = postgres.query(&format!("SELECT count(*)::text FROM fds.{table}")).unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

#[test]
fn a_move_drains_and_counts_a_topic_that_is_written_in_transactions() {
    let kafka = Kafka::start().unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "buffer = \"{0}/old?group=fds&partitions=1\"\nnext_buffer = \"{0}/new?group=fds&partitions=1\"\n\
         store = \"{1}\"\n[cards]\nkey_file = \"key\"\n",
        kafka.url(),
        postgres.url()
    );
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    done(dir.path(), &["store", "migrate"]);
    // Nobody reads before the move has begun: 6 events, 4 aborted records, and 4 control records.
    let api = Serving::start(dir.path(), &["--roles", "api"]);
    write(&kafka, "old", &[2, 3, 1, 4]);
    let mut leader = binary(dir.path(), &["buffer", "migrate", "--pause", "0", "--json"]);
    let leader = leader.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while count(&postgres, "buffer_moves") == 0 {
        assert!(Instant::now() < end, "the move never begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = Worker::start(dir.path());
    let ended = ran(&leader.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(said["share"], 100, "{said}");
    assert_eq!(said["pending"], serde_json::json!({ "source": 0, "target": 0 }), "{said}");
    assert_eq!((&said["accepted"], &said["accounted"]), (&6.into(), &6.into()), "{said}");
    assert_eq!((&said["missing"], &said["empty_places"]), (&0.into(), &8.into()), "{said}");
    assert_eq!(count(&postgres, "transactions"), 6);
    let told = done(dir.path(), &["buffer", "migrate", "--status"]);
    assert!(told.contains("Audit: 6 accepted since it began; 0 missing, 0 settled"), "{told}");
    assert!(told.contains("8 offsets of Kafka counted as held"), "{told}");
    assert!(worker.terminate().success());
    assert!(api.terminate().0.success());
}
