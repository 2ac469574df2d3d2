//! `buffer migrate`: a pipeline moves to another buffer under load.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::generator::{EventTime, Generator, Options};
use model::clock::{Clock, System};
use model::{Event, Payment};
use serde_json::Value;
use testbed::{Postgres, Redis};

use super::running::{PATIENCE, Serving, Worker, binary, count, done, json, ran, run, wait};

/// Posted together.
const BATCH: usize = 20;
const EVERY: Duration = Duration::from_millis(10);

/// One producer that posts to several servers in turn: a batch that is refused is posted again until it is
/// accepted, before the next one is.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    addresses: Addresses,
    thread: JoinHandle<Vec<Event>>,
}

/// Where a producer posts to. A server that is started again has another address.
pub(crate) type Addresses = Arc<Mutex<Vec<String>>>;

impl Load {
    pub(crate) fn start(addresses: Vec<String>) -> Self {
        Self::resumed(addresses, &[])
    }

    /// Where it posts to from its next request on.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The same, after these were accepted.
    pub(crate) fn resumed(addresses: Vec<String>, before: &[Event]) -> Self {
        let skipped = before.len();
        let stop = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (stop.clone(), accepted.clone());
        let addresses = Arc::new(Mutex::new(addresses));
        let to = addresses.clone();
        let thread = std::thread::spawn(move || wait(post(to, skipped, stopped, counted)));
        Self { stop, accepted, addresses, thread }
    }

    /// Waits until so many were accepted.
    pub(crate) fn until(&self, events: usize) {
        let end = Instant::now() + PATIENCE;
        while self.accepted.load(Ordering::SeqCst) < events {
            assert!(Instant::now() < end, "{events} are never accepted");
            std::thread::sleep(EVERY);
        }
    }

    /// Stops, and returns what was accepted, in order.
    pub(crate) fn accepted(self) -> Vec<Event> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

async fn post(
    addresses: Addresses,
    skipped: usize,
    stop: Arc<AtomicBool>,
    counted: Arc<AtomicUsize>,
) -> Vec<Event> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let options = Options { users: 60, fraud_share: 0.05, ..Options::default() };
    let mut generator = Generator::new(&options).unwrap();
    let time = EventTime { start_ms: System.now_ms() - 20 * 86_400_000, speed: 1.0 };
    let mut accepted: Vec<Event> = Vec::new();
    let at = |n: usize| time.at(Duration::from_secs(3 * n as u64));
    for n in 0..skipped {
        generator.event(at(n));
    }
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let made = skipped + accepted.len();
        let batch: Vec<Event> = (made..made + BATCH).map(|n| generator.event(at(n)).0).collect();
        let lines = batch.iter().map(|event| [event.payload(), b"\n"].concat()).collect::<Vec<_>>();
        for at in round.. {
            let url = {
                let addresses = addresses.lock().unwrap();
                format!("{}/v1/events", addresses[at % addresses.len()])
            };
            let request = client.post(&url).header("content-type", "application/x-ndjson");
            // A server that is killed gives no answer, whether or not it accepted the batch.
            match request.body(lines.concat()).send().await {
                Ok(answer) if answer.status() == 202 => break,
                Ok(answer) if [429, 503].contains(&answer.status().as_u16()) => {}
                Ok(other) => panic!("{}: {}", other.status(), other.text().await.unwrap()),
                Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
        accepted.extend(batch);
        counted.store(accepted.len(), Ordering::SeqCst);
        tokio::time::sleep(EVERY).await;
    }
    accepted
}

/// Verdicts by `tx_id`, of the payments in this order.
pub(crate) fn verdicts(accepted: &[Event]) -> BTreeMap<String, Vec<String>> {
    let payments: Vec<Payment<'_>> = accepted
        .iter()
        .map(|event| Payment::parse(event.payload(), System.now_ms()).unwrap())
        .collect();
    let verdicts = fraud::verdicts(&payments, &fraud::Ruleset::default()).unwrap();
    let named = payments.iter().zip(verdicts).map(|(payment, hits)| {
        let names = hits.iter().map(|hit| hit.rule.name().to_owned()).collect();
        (payment.tx_id.to_string(), names)
    });
    named.collect()
}

/// Leads it to the end, and asserts that nothing is missing or double.
pub(crate) fn lead(dir: &Path, args: &[&str], share: u64, left: Option<&str>) {
    let args = [&["buffer", "migrate", "--json"], args].concat();
    let ran = run(dir, &args);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&said["share"], &said["phase"]), (&share.into(), &"open".into()), "{said}");
    assert_eq!((&said["missing"], &said["double"]), (&0.into(), &0.into()), "{said}");
    if let Some(left) = left {
        assert_eq!(said["pending"][left], 0, "{said}");
    }
    assert!(said["accounted"].as_u64() >= said["accepted"].as_u64(), "{said}");
}

fn offered(dir: &Path) -> (u64, u64) {
    let said = json(dir, &["buffer", "migrate", "--status", "--json"]);
    let processes = said["processes"].as_array().unwrap();
    let sum = |side: &str| processes.iter().map(|p| p["offered"][side].as_u64().unwrap()).sum();
    (sum("source"), sum("target"))
}

#[test]
fn a_pipeline_on_one_machine_moves_to_another_journal_and_back_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let configure = |text: &str| std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    let ran = run(dir.path(), &["buffer", "migrate"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("there is no next_buffer"), "{}", ran.stderr);

    configure("next_buffer = \"journal:{data}/next\"\n");
    done(dir.path(), &["store", "migrate"]);
    let ran = run(dir.path(), &["buffer", "migrate"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("no running process has joined this migration"),
        "{}",
        ran.stderr
    );
    let ran = run(dir.path(), &["buffer", "migrate", "--to", "journal:elsewhere"]);
    assert!(ran.code == 2 && ran.stderr.contains("--to is journal:elsewhere"), "{}", ran.stderr);
    let ran = run(dir.path(), &["buffer", "migrate", "--stages", "50,10"]);
    assert!(ran.code == 2 && ran.stderr.contains("must go up"), "{}", ran.stderr);
    let ran = run(dir.path(), &["buffer", "migrate", "--share", "101"]);
    assert!(ran.code == 2 && ran.stderr.contains("101 is no share"), "{}", ran.stderr);

    let serving = Serving::start(dir.path(), &[]);
    let load = Load::start(vec![serving.address.clone()]);
    load.until(10 * BATCH);
    lead(dir.path(), &["--share", "50"], 50, None);
    let end = Instant::now() + PATIENCE;
    loop {
        let (to_old, to_new) = offered(dir.path());
        if to_old > 100 && to_new > 20 {
            break;
        }
        assert!(Instant::now() < end, "{to_old} to the old one, {to_new} to the new");
    }
    lead(dir.path(), &["--rollback"], 0, Some("target"));
    lead(dir.path(), &["--pause", "0"], 100, Some("source"));
    let accepted = load.accepted();
    serving.until("buffer_size{buffer=\"moving\"}", 0.0);
    lead(dir.path(), &["--status"], 100, Some("source"));
    assert!(serving.terminate().0.success());

    let store = dir.path().join("data/forebay.db");
    let distinct = "SELECT count(DISTINCT tx_id) FROM transactions";
    assert_eq!(count(&store, distinct), i64::try_from(accepted.len()).unwrap());
    assert_eq!(flags(&store), verdicts(&accepted));
    // The new one alone is whole.
    configure("buffer = \"journal:{data}/next\"\n");
    assert_eq!(json(dir.path(), &["buffer", "stat", "--json"])["pending"], 0);
    let (ended, printed) = Serving::start(dir.path(), &[]).terminate();
    assert!(ended.success() && !printed.contains("ANOTHER BUFFER"), "{printed}");
    configure("");
    refuses_the_left_one(dir.path());
    assert_eq!(json(dir.path(), &["buffer", "stat", "--json"])["pending"], 0);

    // What it holds is settled where both are set as they were.
    configure("next_buffer = \"journal:{data}/next\"\n");
    done(dir.path(), &["replay", "more.ndjson", "--to", "journal:data/buffer"]);
    assert_eq!(json(dir.path(), &["buffer", "stat", "--json"])["pending"], 20);
    let serving = Serving::start(dir.path(), &[]);
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 20.0);
    assert!(serving.terminate().0.success());
    assert_eq!(json(dir.path(), &["buffer", "stat", "--json"])["pending"], 0);
    assert_eq!(count(&store, distinct), i64::try_from(accepted.len()).unwrap() + 20);

    // The other way out: it is the buffer where the move ended, under a new address.
    configure("");
    done(dir.path(), &["buffer", "migrate", "--ended-here"]);
    done(dir.path(), &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    assert!(Serving::start(dir.path(), &[]).terminate().0.success());
}

/// Each way to offer to the buffer that a move left is refused, and names the ways out.
fn refuses_the_left_one(dir: &Path) {
    let more = done(dir, &["generate", "--count", "20", "--run", "more"]);
    std::fs::write(dir.join("more.ndjson"), more).unwrap();
    for args in [
        &["config", "check", "--set", "http.bind=127.0.0.1:0"][..],
        &["serve", "--bind", "127.0.0.1:0"],
        &["serve", "--bind", "127.0.0.1:0", "--roles", "api"],
        &["replay", "more.ndjson"],
        &["replay", "more.ndjson", "--drain"],
        &["generate", "--count", "20", "--to", "journal:data/buffer"],
        &["dead", "replay", "--all"],
    ] {
        let ran = run(dir, args);
        assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
        for told in
            ["cannot use journal:", "data/next. To settle", "next_buffer as they", "--ended-here"]
        {
            assert!(ran.stderr.contains(told), "{args:?}: {told}: {}", ran.stderr);
        }
    }
}

/// What the store says of each payment.
fn flags(store: &Path) -> BTreeMap<String, Vec<String>> {
    let store = rusqlite::Connection::open(store).unwrap();
    let mut rows = store.prepare("SELECT tx_id, fraud_rules FROM transactions").unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let rules: String = row.get(1)?;
        Ok((row.get(0)?, serde_json::from_str(&rules).unwrap()))
    };
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn four_processes_move_from_a_list_to_a_stream_and_each_card_stays_in_order() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "buffer = \"{0}?list=tx_queue\"\nnext_buffer = \"{0}?stream=tx_stream&group=fds\"\n\
         store = \"{1}\"\n[cards]\nkey_file = \"key\"\n",
        redis.url(),
        postgres.url()
    );
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    done(dir.path(), &["store", "migrate"]);
    let _workers = [Worker::start(dir.path()), Worker::start(dir.path())];
    let apis = [(); 2].map(|()| Serving::start(dir.path(), &["--roles", "api"]));
    let load = Load::start(apis.iter().map(|api| api.address.clone()).collect());
    // A leader that is ended is taken up by the next one.
    let mut leader = binary(dir.path(), &["buffer", "migrate", "--pause", "60"]);
    let leader = leader.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + PATIENCE;
    while json(dir.path(), &["buffer", "migrate", "--status", "--json"])["share"] != 10 {
        assert!(Instant::now() < end, "it never comes to 10 %");
    }
    let id = rustix::process::Pid::from_child(&leader);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let ended = ran(&leader.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    // One more joins on the way, one leaves.
    let joined = Worker::start(dir.path());
    lead(dir.path(), &["--pause", "0"], 100, Some("source"));
    assert!(joined.terminate().success());
    let accepted = load.accepted();
    let end = Instant::now() + PATIENCE;
    let total = accepted.len().to_string();
    loop {
        let rows = postgres.query("SELECT count(*)::text FROM fds.transactions").unwrap();
        if rows[0][0].as_deref() == Some(&total) {
            break;
        }
        assert!(Instant::now() < end, "{rows:?} settled of {total}");
        std::thread::sleep(Duration::from_millis(50));
    }
    lead(dir.path(), &["--status"], 100, Some("source"));
    let rows = "SELECT tx_id, array_to_json(fraud_rules)::text FROM fds.transactions";
    let settled: BTreeMap<String, Vec<String>> = postgres
        .query(rows)
        .unwrap()
        .into_iter()
        .map(|row| {
            let [id, rules] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
            (id, serde_json::from_str(&rules).unwrap())
        })
        .collect();
    let expected = verdicts(&accepted);
    let flagged = expected.values().filter(|rules| !rules.is_empty()).count();
    assert!(flagged > 10, "only {flagged} flagged: too few to compare");
    assert_eq!(settled, expected);
    for api in apis {
        assert!(api.terminate().0.success());
    }
    // The list was left, however it is spelled.
    let list = redis.url().replace("127.0.0.1", "localhost");
    let text = format!(
        "buffer = \"{list}?list=tx_queue\"\nstore = \"{}\"\n[cards]\nkey_file = \"key\"\n",
        postgres.url()
    );
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    for args in [&["config", "check"][..], &["serve", "--roles", "api"]] {
        let ran = run(dir.path(), &[args, &["--set", "http.bind=127.0.0.1:0"]].concat());
        assert_eq!(ran.code, 1, "{args:?}: {}{}", ran.stdout, ran.stderr);
        let told = ran.stderr.contains("cannot use redis://127.0.0.1:")
            && ran.stderr.contains("?stream=tx_stream&group=fds. To settle");
        assert!(told, "{args:?}: {}", ran.stderr);
    }
}
