//! `forebay dead replay`, killed at each of its steps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use buffer::Buffer;
use buffer::foreign::Fields;
use buffer_kafka::KafkaBuffer;
use buffer_sqs::{Credentials, SqsBuffer};
use model::Event;
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Kafka, Moment, Protocol, Sqs, Tap, forget_settings};

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Letters of each round: more than two requests of SQS take.
const LETTERS: usize = 25;

/// A command under way, and at which of its requests it is to be killed.
struct Doomed {
    child: Option<Child>,
    /// `KILL`, or a signal after which it may end in good order.
    signal: Signal,
    moment: Moment,
    /// Requests that it may still make.
    left: usize,
}

/// A tap that kills a command at one of its requests.
struct Killer {
    tap: Tap,
    doomed: Arc<Mutex<Doomed>>,
}

impl Killer {
    /// Only requests for which `counts` says so count.
    fn start(protocol: Protocol, counts: fn(&[u8]) -> bool) -> Self {
        let doomed = Doomed { child: None, signal: Signal::KILL, moment: Moment::Asked, left: 0 };
        let doomed = Arc::new(Mutex::new(doomed));
        let orders = Arc::clone(&doomed);
        let hook = move |moment, request: &[u8]| {
            let mut doomed = orders.lock().unwrap();
            let doomed = &mut *doomed;
            if doomed.child.is_none() || doomed.moment != moment || !counts(request) {
                return true;
            }
            if doomed.left > 0 {
                doomed.left -= 1;
                return true;
            }
            let child = doomed.child.as_mut().unwrap();
            kill_process(Pid::from_child(child), doomed.signal).unwrap();
            if doomed.signal != Signal::KILL {
                doomed.left = usize::MAX;
                // The process hears of the signal first, and of the answer then.
                std::thread::sleep(Duration::from_millis(200));
                return true;
            }
            child.wait().unwrap();
            doomed.child = None;
            false
        };
        Self { tap: Tap::start(protocol, hook).unwrap(), doomed }
    }

    /// Runs the command, and kills it at its request of this number. False if it made fewer.
    fn run(&self, mut command: Command, moment: Moment, number: usize) -> bool {
        {
            let mut doomed = self.doomed.lock().unwrap();
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            *doomed = Doomed { child: Some(child), signal: Signal::KILL, moment, left: number };
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let mut doomed = self.doomed.lock().unwrap();
            let Some(child) = &mut doomed.child else { return true };
            if let Some(status) = child.try_wait().unwrap() {
                doomed.child = None;
                assert!(status.success(), "{status}");
                return false;
            }
            assert!(Instant::now() < end, "the command does not end");
            drop(doomed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Runs the command, and asks it to end at its request of this number. It must not end well.
fn terminate(killer: &Killer, mut command: Command, number: usize) {
    let mut doomed = killer.doomed.lock().unwrap();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let moment = Moment::Answered;
    *doomed = Doomed { child: Some(child), signal: Signal::TERM, moment, left: number };
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = doomed.child.as_mut().unwrap().try_wait().unwrap() {
            doomed.child = None;
            assert_eq!(status.code(), Some(1), "{status}");
            return;
        }
        drop(doomed);
        assert!(Instant::now() < end, "the command does not end");
        std::thread::sleep(Duration::from_millis(5));
        doomed = killer.doomed.lock().unwrap();
    }
}

fn forebay(buffer: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    forget_settings(&mut command);
    command
        .args(args)
        .args(["--buffer", buffer])
        .env("FOREBAY_LOG", "warn")
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret");
    command
}

/// Runs a command to its good end; returns what it printed.
fn done(buffer: &str, args: &[&str]) -> String {
    let ended = forebay(buffer, args).output().unwrap();
    let told = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
    assert!(ended.status.success(), "{args:?}: {told}");
    told
}

fn id(n: usize) -> String {
    format!("id-{n:02}")
}

fn all() -> BTreeSet<String> {
    (0..LETTERS).map(id).collect()
}

async fn offer(buffer: &dyn Buffer) {
    let event = |n| Event::new(id(n).as_bytes(), format!("key-{n}").as_bytes(), b"{}").unwrap();
    buffer.offer(&(0..LETTERS).map(event).collect::<Vec<_>>()).await.unwrap();
}

/// Leases until nothing comes for a while, and lets `end` end what came. Returns the ids, each once.
async fn take(buffer: &dyn Buffer, least: usize, bury: bool) -> BTreeSet<String> {
    let (mut ids, end) = (BTreeSet::new(), Instant::now() + PATIENCE);
    loop {
        let wait = Duration::from_millis(300);
        let leased = buffer.lease(LETTERS, wait).await.unwrap();
        if leased.is_empty() && (ids.len() >= least || Instant::now() >= end) {
            return ids;
        }
        for envelope in &leased {
            let id = String::from_utf8(envelope.event.id().to_vec()).unwrap();
            assert!(ids.insert(id.clone()), "{id} is an event twice");
        }
        let receipts = leased.iter().map(|envelope| envelope.receipt);
        if bury {
            let burials: Vec<_> = receipts.map(|receipt| (receipt, "bad".to_owned())).collect();
            assert_eq!(buffer.bury(&burials).await.unwrap(), leased.len());
        } else {
            buffer.ack(&receipts.collect::<Vec<_>>()).await.unwrap();
        }
    }
}

async fn letters(buffer: &dyn Buffer) -> Vec<(String, String)> {
    let letters = buffer.dead_letters().list(0, usize::MAX).await.unwrap();
    let id = |event: &Event| String::from_utf8(event.id().to_vec()).unwrap();
    letters.into_iter().map(|letter| (id(&letter.event), letter.reason)).collect()
}

/// One transaction: a killed replay leaves all letters, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_on_kafka_is_never_an_event_as_well_wherever_its_replay_is_killed() {
    // InitProducerId, AddPartitionsToTxn, Produce, EndTxn.
    let counts = |request: &[u8]| {
        let api = request.get(4..6).map(|key| u16::from_be_bytes([key[0], key[1]]));
        matches!(api, Some(0 | 22 | 24 | 26))
    };
    let killer = Killer::start(Protocol::Kafka, counts);
    let advertised = format!("PLAINTEXT://{}", killer.tap.address());
    let kafka = Kafka::start_with(&[("advertised.listeners", &advertised)]).unwrap();
    killer.tap.lead_to(&kafka.address());
    let url = format!("kafka://{}/payments?group=fds&partitions=3", killer.tap.address());
    let address = vec![killer.tap.address()];
    let options = buffer_kafka::Options {
        partitions: 3,
        ..buffer_kafka::Options::new(
            address,
            "payments",
            "fds",
            Fields::named("tx_id", "card_number"),
        )
    };
    let buffer = KafkaBuffer::open(options).await.unwrap();
    offer(&buffer).await;
    let mut left = Vec::new();
    for moment in [Moment::Asked, Moment::Answered] {
        for number in 0.. {
            assert_eq!(take(&buffer, LETTERS, true).await, all(), "what was offered comes once");
            let replay = forebay(&url, &["dead", "replay", "--all"]);
            let killed = killer.run(replay, moment, number);
            let there = letters(&buffer).await.len();
            assert!(there == LETTERS || there == 0, "{there} letters, {moment:?} {number}");
            left.push(there);
            let told = done(&url, &["dead", "replay", "--all"]);
            assert!(told.contains(&format!("{there} dead letters replayed")), "{told}");
            assert!(letters(&buffer).await.is_empty());
            if !killed {
                break;
            }
        }
    }
    assert!(left.len() > 8, "few steps were seen: {left:?}");
    assert_eq!(take(&buffer, LETTERS, false).await, all());
}

/// SQS has no such step: up to ten letters may be events as well, and the next look says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_on_sqs_is_seldom_an_event_as_well_and_then_says_so_wherever_its_replay_is_killed()
{
    let sqs = Arc::new(Sqs::start().unwrap());
    let mut rounds = Vec::new();
    for fifo in [false, true] {
        for moment in [Moment::Asked, Moment::Answered] {
            // The note, three requests that offer, three that delete, and one for the note.
            for number in 0..8 {
                rounds.push((fifo, moment, number));
            }
        }
    }
    let mut doubled = 0;
    // Most of a round is waiting.
    while !rounds.is_empty() {
        let some = rounds.split_off(rounds.len().saturating_sub(8));
        let rounds = some.into_iter().map(|(fifo, moment, number)| {
            let sqs = Arc::clone(&sqs);
            tokio::spawn(async move { killed_on_sqs(&sqs, fifo, moment, number).await })
        });
        for round in rounds.collect::<Vec<_>>() {
            doubled += round.await.unwrap();
        }
    }
    assert!(doubled > 0, "no round was killed between an offer and its deletion");
}

/// At a signal, all letters are shown again at once, whichever step is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_asked_to_end_hides_no_letter_on_sqs() {
    let sqs = Sqs::start().unwrap();
    let killer = Killer::start(Protocol::Http, |request| {
        let head = String::from_utf8_lossy(request);
        head.contains("AmazonSQS.ReceiveMessage") || head.contains("AmazonSQS.SendMessageBatch")
    });
    killer.tap.lead_to(&sqs.address());
    let buffer = SqsBuffer::open(sqs_options(&sqs, "ended")).await.unwrap();
    offer(&buffer).await;
    assert_eq!(take(&buffer, LETTERS, true).await, all());
    let url = sqs_url(&killer.tap.address(), "ended");
    let mut events = BTreeSet::new();
    // Each of four walks receives four times. Then come the note, and an offer.
    for (verb, number) in [("list", 1), ("replay", 5), ("replay", 13), ("replay", 17)] {
        let left = all().len() - events.len();
        let command = forebay(&url, &["dead", verb, "--all"]);
        tokio::task::block_in_place(|| terminate(&killer, command, number));
        assert_eq!(hidden(&sqs, "ended"), 0, "{verb} {number}");
        let offered = take(&buffer, 0, false).await;
        assert!(offered.is_disjoint(&events), "{offered:?} are events twice");
        events.extend(offered);
        let dead: BTreeSet<_> = letters(&buffer).await.into_iter().map(|(id, _)| id).collect();
        assert!(dead.is_disjoint(&events), "{verb} {number}");
        assert_eq!(dead.len() + events.len(), LETTERS, "{verb} {number}: {left} were there");
    }
    assert!((1..LETTERS).contains(&events.len()), "no replay was stopped half way");
}

fn sqs_url(address: &str, queue: &str) -> String {
    format!("sqs+http://{address}/123456789012/{queue}?region=us-east-1&create=true")
}

fn sqs_options(sqs: &Sqs, queue: &str) -> buffer_sqs::Options {
    let endpoint = format!("http://{}", sqs.address());
    buffer_sqs::Options {
        create: true,
        visibility_ms: 30_000,
        credentials: Some(Credentials {
            access_key: "AKIATEST".to_owned(),
            secret_key: "s3cret".to_owned(),
            session_token: None,
        }),
        ..buffer_sqs::Options::new(
            &endpoint,
            "123456789012",
            queue,
            "us-east-1",
            Fields::named("tx_id", "card_number"),
        )
    }
}

/// One round. Returns how many letters were events as well.
async fn killed_on_sqs(sqs: &Sqs, fifo: bool, moment: Moment, number: usize) -> usize {
    let counts = |request: &[u8]| {
        let head = String::from_utf8_lossy(request);
        head.contains("AmazonSQS.SendMessageBatch") || head.contains("AmazonSQS.DeleteMessageBatch")
    };
    let killer = Killer::start(Protocol::Http, counts);
    killer.tap.lead_to(&sqs.address());
    let kind = if fifo { ".fifo" } else { "" };
    let queue = format!("{moment:?}-{number}{kind}").to_lowercase();
    let buffer = SqsBuffer::open(sqs_options(sqs, &queue)).await.unwrap();
    offer(&buffer).await;
    assert_eq!(take(&buffer, LETTERS, true).await, all());

    let replay = forebay(&sqs_url(&killer.tap.address(), &queue), &["dead", "replay", "--all"]);
    let killed = tokio::task::block_in_place(|| killer.run(replay, moment, number));
    assert!(killed, "{queue}: the command ended first");
    let events = take(&buffer, 0, false).await;
    tokio::task::block_in_place(|| until_shown(sqs, &queue));
    let dead = letters(&buffer).await;
    let union = dead.iter().map(|(id, _)| id.clone()).chain(events.iter().cloned());
    assert_eq!(union.collect::<BTreeSet<_>>(), all(), "{queue}");
    let both = dead.iter().filter(|(id, _)| events.contains(id));
    let doubled = both.clone().count();
    assert!(doubled <= 10, "{queue}: {doubled} letters are events as well");
    for (id, reason) in both {
        assert!(reason.contains("was cut short"), "{queue}: {id} is an event as well: {reason}");
    }
    let near = sqs_url(&sqs.address(), &queue);
    tokio::task::block_in_place(|| {
        let told = done(&near, &["dead", "list"]);
        assert!(doubled == 0 || told.contains("may be in the buffer again"), "{queue}: {told}");
        done(&near, &["dead", "replay", "--all"]);
        assert_eq!(done(&near, &["dead", "list"]), "No dead letters.\n");
    });
    let again = take(&buffer, dead.len(), false).await;
    assert_eq!(again, dead.into_iter().map(|(id, _)| id).collect(), "{queue}");
    let depth = buffer.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.dead), (0, 0, 0), "{queue}");
    doubled
}

/// Waits until no dead letter is hidden: for some seconds at most.
fn until_shown(sqs: &Sqs, queue: &str) {
    let end = Instant::now() + Duration::from_secs(12);
    while hidden(sqs, queue) > 0 {
        assert!(Instant::now() < end, "{queue}: letters stay hidden");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many messages of the dead letters are hidden.
fn hidden(sqs: &Sqs, queue: &str) -> usize {
    let (name, fifo) = queue.split_once('.').map_or((queue, ""), |(name, _)| (name, ".fifo"));
    let url = format!("http://{}/123456789012/{name}-dead{fifo}", sqs.address());
    let asked = format!(r#"{{"QueueUrl":"{url}","AttributeNames":["All"]}}"#);
    let told: serde_json::Value =
        serde_json::from_str(&sqs.call("GetQueueAttributes", &asked).unwrap()).unwrap();
    let hidden = &told["Attributes"]["ApproximateNumberOfMessagesNotVisible"];
    hidden.as_str().unwrap().parse().unwrap()
}
