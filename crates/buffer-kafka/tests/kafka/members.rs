//! Several processes lease from one topic: each partition has one owner at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::topic;
use crate::topic::{ids, options, receipts, take, until};
use buffer::{Buffer, Envelope};
use buffer_kafka::{KafkaBuffer, Options};
use model::Event;
use testbed::Kafka;
use tokio::task::JoinHandle;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::start().unwrap())
}

const KEYS: usize = 40;
const ROUNDS: usize = 200;

/// The order events must be done in, and who does what: told by every process as it works.
#[derive(Default)]
struct Ledger {
    /// Which number of each key is to be done next.
    next: BTreeMap<Vec<u8>, usize>,
    /// The terms under which a process did a key's events, in turn.
    terms: BTreeMap<Vec<u8>, Vec<(usize, u64)>>,
    done: BTreeSet<Vec<u8>>,
    wrong: Vec<String>,
}

impl Ledger {
    fn end(&mut self, who: usize, envelopes: &[Envelope]) {
        for envelope in envelopes {
            let key = envelope.event.key().to_vec();
            let turns = self.terms.entry(key.clone()).or_default();
            if turns.last() != Some(&(who, envelope.term)) {
                turns.push((who, envelope.term));
            }
            let n: usize = String::from_utf8_lossy(envelope.event.payload()).parse().unwrap();
            let next = self.next.entry(key).or_default();
            if n > *next {
                let key = String::from_utf8_lossy(envelope.event.key()).into_owned();
                self.wrong.push(format!("{key}: {n} was done by {who} while {next} was next"));
            }
            *next = (*next).max(n + 1);
            self.done.insert(envelope.event.id().to_vec());
        }
    }
}

/// A process: leases, works a little, acks.
fn work(who: usize, buffer: &Arc<KafkaBuffer>, ledger: &Arc<Mutex<Ledger>>) -> JoinHandle<()> {
    let (buffer, ledger) = (Arc::clone(buffer), Arc::clone(ledger));
    tokio::spawn(async move {
        loop {
            let Ok(leased) = buffer.lease(20, Duration::from_millis(50)).await else { continue };
            tokio::time::sleep(Duration::from_millis(3)).await;
            ledger.lock().unwrap().end(who, &leased);
            buffer.ack(&receipts(&leased)).await.unwrap();
        }
    })
}

fn batch(round: usize) -> Vec<Event> {
    (0..KEYS)
        .map(|key| {
            let id = format!("{key}-{round}");
            let key = format!("key-{key}");
            Event::new(id.as_bytes(), key.as_bytes(), round.to_string().as_bytes()).unwrap()
        })
        .collect()
}

/// Every second another one comes, and one goes: in turn in good order and in the middle of its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_members_nothing_is_lost_and_each_key_stays_in_order() {
    let options = options(&kafka().address(), 8);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let open = || async { Arc::new(KafkaBuffer::open(options.clone()).await.unwrap()) };
    let producer = open().await;
    let offering = tokio::spawn({
        let producer = Arc::clone(&producer);
        async move {
            for round in 0..ROUNDS {
                producer.offer(&batch(round)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let stays = open().await;
    let steady = work(0, &stays, &ledger);
    let mut guests = Vec::new();
    for who in 1..=10 {
        let buffer = open().await;
        let worker = work(who, &buffer, &ledger);
        guests.push((buffer, worker));
        tokio::time::sleep(Duration::from_secs(1)).await;
        if guests.len() > 2 {
            let (buffer, worker) = guests.remove(0);
            worker.abort();
            let _ = worker.await;
            if who % 2 == 0 {
                buffer.close().await.unwrap();
            }
            drop(buffer);
        }
    }
    offering.await.unwrap();
    let done = || async { ledger.lock().unwrap().done.len() };
    until("all is done", done, |done| *done == ROUNDS * KEYS).await;
    let held = || async { producer.depth().await.unwrap() };
    until("nothing is held", held, |depth| depth.ready + depth.leased == 0).await;
    steady.abort();
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.wrong, Vec::<String>::new());
    let owners: BTreeSet<usize> = ledger.terms.values().flatten().map(|(who, _)| *who).collect();
    assert!(owners.len() > 3, "only {owners:?} did anything");
    // Whoever gets a key again after another had it gets it under another term.
    for turns in ledger.terms.values() {
        let unlike: BTreeSet<_> = turns.iter().collect();
        assert_eq!(unlike.len(), turns.len(), "a term came twice: {turns:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_goes_is_finished_first_and_committed_before_another_has_it() {
    let options = Options { drain_ms: 20_000, ..options(&kafka().address(), 2) };
    let first = Arc::new(KafkaBuffer::open(options.clone()).await.unwrap());
    first.offer(&topic::events(0..100)).await.unwrap();
    let held = take(&*first, 100).await;
    let second = KafkaBuffer::open(options).await.unwrap();
    // It joins, and one partition is to be its own; but all of both is held.
    assert!(second.lease(10, Duration::from_secs(3)).await.unwrap().is_empty());
    assert_eq!(
        first.ack(&receipts(&held)).await.unwrap(),
        100,
        "what is held can be acked meanwhile"
    );
    assert!(second.lease(10, Duration::from_secs(3)).await.unwrap().is_empty(), "none comes twice");
    first.offer(&topic::events(100..200)).await.unwrap();
    let (mine, theirs) = tokio::join!(
        first.lease(200, Duration::from_secs(10)),
        second.lease(200, Duration::from_secs(10))
    );
    assert!(!mine.unwrap().is_empty() && !theirs.unwrap().is_empty(), "each has one partition");
}

/// A worker in a process of its own, which does what it is told line by line.
struct Process {
    child: Child,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Process {
    fn start(options: &Options) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "members::a_worker_that_is_told"])
            .env("WORKER_OF", format!("{} {}", options.brokers[0], options.topic))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, told, said: BufReader::new(said) }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.told, "{line}").unwrap();
    }

    /// What comes after this word, when it has been said.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended before it said {word}");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other tests start as a process of its own; by itself it has nothing to do.
#[test]
fn a_worker_that_is_told() {
    let Ok(of) = std::env::var("WORKER_OF") else { return };
    let (broker, topic) = of.split_once(' ').unwrap();
    let options = Options { topic: topic.to_owned(), ..options(broker, 4) };
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let buffer = KafkaBuffer::open(options).await.unwrap();
        let mut held = Vec::new();
        for line in std::io::stdin().lines() {
            let line = line.unwrap();
            let said = match line.split_once(' ') {
                Some(("take", count)) => {
                    held = take(&buffer, count.parse().unwrap()).await;
                    format!("TOOK {}", held.len())
                }
                Some(("ack", count)) => {
                    let count: usize = count.parse().unwrap();
                    let some: Vec<_> = held.drain(..count).collect();
                    let names = ids(&some).join(",");
                    let acked = buffer.ack(&receipts(&some)).await.unwrap();
                    format!("ACKED {acked} {names}")
                }
                _ => panic!("{line}"),
            };
            println!("{said}");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_held_comes_again_and_nothing_else_is_lost() {
    let options = options(&kafka().address(), 4);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&topic::events(0..100)).await.unwrap();
    let mut worker = Process::start(&options);
    worker.tell("take 60");
    worker.hear("TOOK");
    worker.tell("ack 25");
    let acked = worker.hear("ACKED 25");
    worker.signal("-KILL");
    let mut done: BTreeSet<String> = acked.split(',').map(str::to_owned).collect();
    while done.len() < 100 {
        let leased = take(&buffer, 1).await;
        done.extend(ids(&leased));
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), 1);
    }
    assert_eq!(done, (0..100).map(|n| format!("id-{n}")).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_is_fenced_and_its_receipts_do_nothing() {
    let options = options(&kafka().address(), 4);
    let buffer = KafkaBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&topic::events(0..20)).await.unwrap();
    let mut worker = Process::start(&options);
    worker.tell("take 20");
    worker.hear("TOOK 20");
    worker.signal("-STOP");
    let taken = take(&buffer, 20).await;
    worker.tell("ack 20");
    worker.signal("-CONT");
    assert!(worker.hear("ACKED").starts_with("0 "), "a stale receipt did something");
    assert_eq!(buffer.ack(&receipts(&taken)).await.unwrap(), 20);
    // It is a member again, with what is new.
    buffer.offer(&topic::events(20..100)).await.unwrap();
    worker.tell("take 5");
    worker.hear("TOOK 5");
}
