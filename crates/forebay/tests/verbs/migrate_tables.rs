//! `buffer migrate`: two pipelines, the payments and a table, move at the same time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::{Postgres, Redis};

use super::migrate::{Addresses, Load, lead, verdicts};
use super::running::{PATIENCE, Serving, Worker, binary, done, json, run, wait};

/// Keys of rows: each is written again and again, with a version that grows.
const KEYS: u64 = 50;
/// Rows posted together.
const BATCH: u64 = 20;
const EVERY: Duration = Duration::from_millis(10);

/// One producer of rows. A batch that is refused is posted again, to the next server, until it is accepted.
struct Rows {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    addresses: Addresses,
    thread: JoinHandle<u64>,
}

impl Rows {
    fn start(addresses: Vec<String>) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), accepted.clone());
        let addresses = Arc::new(Mutex::new(addresses));
        let to = addresses.clone();
        let thread = std::thread::spawn(move || wait(post(to, stopped, counted)));
        Self { stop, accepted, addresses, thread }
    }

    fn until(&self, rows: usize) {
        let end = Instant::now() + PATIENCE;
        while self.accepted.load(Ordering::SeqCst) < rows {
            assert!(Instant::now() < end, "{rows} rows are never accepted");
            std::thread::sleep(EVERY);
        }
    }

    /// Stops. Returns how many rows were accepted: row `n` is of key `n % KEYS`, and has version `n`.
    fn accepted(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

async fn post(addresses: Addresses, stop: Arc<AtomicBool>, counted: Arc<AtomicUsize>) -> u64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut made, mut server) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let row = |n: u64| format!("{{\"id\":{},\"at\":{n},\"text\":\"row {n}\"}}\n", n % KEYS);
        let lines: String = (made..made + BATCH).map(row).collect();
        loop {
            server += 1;
            let url = {
                let addresses = addresses.lock().unwrap();
                format!("{}/v1/tables/prices", addresses[server % addresses.len()])
            };
            let request = client.post(&url).header("content-type", "application/x-ndjson");
            match request.body(lines.clone()).send().await.map(|answer| answer.status().as_u16()) {
                Ok(202) => break,
                // A server that was killed answers nothing: the batch goes to the other one.
                Ok(429 | 503) | Err(_) => tokio::time::sleep(EVERY).await,
                Ok(other) => panic!("{other}"),
            }
        }
        made += BATCH;
        counted.store(usize::try_from(made).unwrap(), Ordering::SeqCst);
        tokio::time::sleep(EVERY).await;
    }
    made
}

/// Both pipelines on lists of one Redis, on the way to streams. Each file spells the server in its own way.
struct Scene {
    _redis: Redis,
    postgres: Postgres,
    dir: tempfile::TempDir,
}

const FILES: [&str; 2] = ["forebay.toml", "other.toml"];

impl Scene {
    fn new() -> Self {
        let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
        let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let port = redis.address().rsplit_once(':').unwrap().1.to_owned();
        for (file, host, db) in [(FILES[0], "127.0.0.1", "/0"), (FILES[1], "LocalHost", "")] {
            let at = format!("redis://{host}:{port}{db}");
            let text = format!(
                "buffer = \"{at}?list=tx_queue&lease_ms=5000\"\n\
                 next_buffer = \"{at}?stream=tx_stream&group=fds&lease_ms=5000\"\n\
                 store = \"{}\"\n[cards]\nkey_file = \"key\"\n\
                 [[table]]\nname = \"prices\"\nkeys = [\"id\"]\nmode = \"upsert\"\nversion = \"at\"\n\
                 buffer = \"{at}?list=rows&lease_ms=5000\"\n\
                 next_buffer = \"{at}?stream=rows_stream&group=fds&lease_ms=5000\"\n\
                 columns = {{ id = \"bigint\", at = \"bigint\", text = \"text\" }}\ncreate = true\n\
                 linger_ms = 50\n",
                postgres.url()
            );
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        done(dir.path(), &["store", "migrate"]);
        Self { _redis: redis, postgres, dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn worker(&self, file: &str) -> Worker {
        Worker::start_with(self.path(), &["--config", file])
    }

    fn api(&self, file: &str) -> Serving {
        Serving::start(self.path(), &["--roles", "api", "--config", file])
    }

    /// What `config check` says of the old buffers alone.
    fn refused_alone(&self) -> String {
        let text = std::fs::read_to_string(self.path().join(FILES[1])).unwrap();
        let alone: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("next_buffer")).collect();
        std::fs::write(self.path().join("alone.toml"), alone.join("\n")).unwrap();
        let refused = run(self.path(), &["config", "check", "--config", "alone.toml"]);
        assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
        refused.stderr
    }

    /// Starts a leader beside the test.
    fn leader(&self, args: &[&str]) -> Child {
        let args = [&["buffer", "migrate", "--json"], args].concat();
        let mut leader = binary(self.path(), &args);
        leader.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn status(&self, of: &[&str]) -> Value {
        json(self.path(), &[&["buffer", "migrate", "--status", "--json"], of].concat())
    }

    /// Waits until both moves are in this phase on the way to this share.
    fn until(&self, phase: &str, share: u8) {
        let sql = format!(
            "SELECT count(*)::text FROM fds.buffer_moves WHERE phase = '{phase}' AND share = {share}"
        );
        let end = Instant::now() + PATIENCE;
        while self.postgres.query(&sql).unwrap()[0][0].as_deref() != Some("2") {
            assert!(Instant::now() < end, "they are never both in the phase {phase} to {share} %");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the killed processes are called in the reports of a pipeline, each behind a --forget.
    fn forget(&self, pipeline: &str, killed: &[u32]) -> Vec<String> {
        let sql = format!(
            "SELECT process FROM fds.buffer_move_processes WHERE name = '{pipeline}' AND NOT ended"
        );
        let all = self.postgres.query(&sql).unwrap().into_iter().map(|row| row[0].clone().unwrap());
        let is_killed = |name: &String| killed.iter().any(|id| name.contains(&format!(":{id}:")));
        all.filter(is_killed).flat_map(|name| ["--forget".to_owned(), name]).collect()
    }

    /// Every row of the table: version by key.
    fn rows(&self) -> BTreeMap<u64, u64> {
        let rows = self.postgres.query("SELECT id::text, at::text FROM prices").unwrap();
        rows.into_iter()
            .map(|row| {
                let [id, at] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
                (id.parse().unwrap(), at.parse().unwrap())
            })
            .collect()
    }

    /// Waits until the table has the last accepted row of each key.
    fn has_rows(&self, accepted: u64) {
        let last = |key: u64| (key, accepted - 1 - (accepted - 1 - key) % KEYS);
        let expected: BTreeMap<u64, u64> = (0..KEYS).map(last).collect();
        let end = Instant::now() + PATIENCE;
        while self.rows() != expected {
            assert!(Instant::now() < end, "{:?} and not {expected:?}", self.rows());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the store has these payments, each once, with the verdicts of one process.
    fn has_payments(&self, expected: &BTreeMap<String, Vec<String>>) {
        let flagged = expected.values().filter(|rules| !rules.is_empty()).count();
        assert!(flagged > 10, "only {flagged} flagged: too few to compare");
        let sql = "SELECT tx_id, array_to_json(fraud_rules)::text FROM fds.transactions";
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = self.postgres.query(sql).unwrap();
            if rows.len() >= expected.len() {
                let row = |row: Vec<Option<String>>| {
                    let [id, rules] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
                    (id, serde_json::from_str(&rules).unwrap())
                };
                let settled: BTreeMap<String, Vec<String>> = rows.into_iter().map(row).collect();
                assert_eq!(settled.len(), expected.len());
                let wrong = expected.iter().filter(|(id, rules)| settled.get(*id) != Some(rules));
                assert_eq!(wrong.count(), 0, "wrong verdicts of {}", expected.len());
                return;
            }
            assert!(Instant::now() < end, "{} settled of {}", rows.len(), expected.len());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

const TABLE: [&str; 2] = ["--table", "prices"];

/// Waits for a leader that moves all, and asserts that nothing is missing or double.
fn moved_all(leader: Child) -> Value {
    let ended = super::running::ran(&leader.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&said["share"], &said["phase"]), (&100.into(), &"open".into()), "{said}");
    assert_eq!((&said["missing"], &said["double"]), (&0.into(), &0.into()), "{said}");
    assert_eq!(said["pending"]["source"], 0, "{said}");
    said
}

#[test]
fn two_pipelines_move_at_once_and_neither_waits_for_the_other() {
    let scene = Scene::new();
    let workers = FILES.map(|file| scene.worker(file));
    let apis = FILES.map(|file| scene.api(file));
    let addresses: Vec<String> = apis.iter().map(|api| api.address.clone()).collect();
    let (payments, rows) = (Load::start(addresses.clone()), Rows::start(addresses));
    payments.until(200);
    rows.until(200);
    // One stays half moved while the other one goes to its end.
    lead(scene.path(), &["--share", "50"], 50, None);
    let said = moved_all(scene.leader(&[&TABLE[..], &["--pause", "0"]].concat()));
    assert!(said["accepted"].as_u64() > Some(200) && said["more_rows"] == 0, "{said}");
    assert_eq!(scene.status(&[])["share"], 50);
    assert_eq!(scene.status(&TABLE)["processes"].as_array().unwrap().len(), 4);
    // A second move of the same pipeline is refused.
    let file = std::fs::read_to_string(scene.path().join(FILES[0])).unwrap();
    let third = file.replace("stream=tx_stream", "stream=third");
    std::fs::write(scene.path().join("third.toml"), third).unwrap();
    let refused = run(scene.path(), &["buffer", "migrate", "--config", "third.toml"]);
    assert!(refused.code == 1 && refused.stderr.contains("is unfinished"), "{}", refused.stderr);
    // Both at once: the payments to their end, the table back.
    let leaders =
        [scene.leader(&["--pause", "0"]), scene.leader(&[&TABLE[..], &["--rollback"]].concat())];
    let [first, second] = leaders.map(|leader| leader.wait_with_output().unwrap());
    for (leader, share) in [(first, 100), (second, 0)] {
        let said: Value = serde_json::from_slice(&leader.stdout).unwrap();
        assert!(leader.status.success(), "{said}{}", String::from_utf8_lossy(&leader.stderr));
        assert_eq!((&said["share"], &said["phase"]), (&share.into(), &"open".into()), "{said}");
    }
    let (payments, rows) = (verdicts(&payments.accepted()), rows.accepted());
    scene.has_payments(&payments);
    scene.has_rows(rows);
    for api in apis {
        assert!(api.terminate().0.success());
    }
    for worker in workers {
        assert!(worker.terminate().success());
    }
    // The table is judged by its own move, which went back, and the payments by theirs.
    let said = scene.refused_alone();
    assert!(said.contains("list=tx_queue alone: the move from"), "{said}");
    assert!(!said.contains("list=rows alone"), "{said}");
}

/// In each phase of both moves a worker, an api and both commands are killed.
#[test]
fn processes_and_commands_that_are_killed_in_any_phase_of_two_moves_lose_nothing() {
    let scene = Scene::new();
    let mut workers = FILES.map(|file| scene.worker(file));
    let mut apis = FILES.map(|file| scene.api(file));
    let addresses: Vec<String> = apis.iter().map(|api| api.address.clone()).collect();
    let (payments, rows) = (Load::start(addresses.clone()), Rows::start(addresses));
    let pipelines: [(&str, &[&str]); 2] = [("payments", &[]), ("table:prices", &TABLE)];
    let mut before = 0;
    for (round, (phase, share)) in
        [("hold", 30), ("drain", 60), ("open", 100)].into_iter().enumerate()
    {
        before += 200;
        payments.until(before);
        rows.until(before);
        let victim = round % FILES.len();
        if phase == "hold" {
            // It confirms no hold, so that the phase lasts until it is killed.
            workers[victim].signal(Signal::STOP);
        }
        let text = share.to_string();
        let to = |of: &[&str]| scene.leader(&[of, &["--share", &text]].concat());
        let leaders = pipelines.map(|(_, of)| to(of));
        scene.until(phase, share);
        for mut leader in leaders {
            leader.kill().unwrap();
            leader.wait().unwrap();
        }
        let killed = [workers[victim].id(), apis[victim].id()];
        // Dropping kills.
        workers[victim] = scene.worker(FILES[victim]);
        apis[victim].kill();
        apis[victim] = scene.api(FILES[victim]);
        for addresses in [payments.addresses(), &rows.addresses] {
            addresses.lock().unwrap()[victim].clone_from(&apis[victim].address);
        }
        // Without it they are waited for.
        for (pipeline, of) in pipelines {
            let forget = scene.forget(pipeline, &killed);
            assert_eq!(forget.len(), 4, "both had joined {pipeline}: {forget:?}");
            let forget = forget.iter().map(String::as_str);
            let args: Vec<&str> =
                of.iter().copied().chain(forget).chain(["--share", &text]).collect();
            let ended = super::running::ran(&scene.leader(&args).wait_with_output().unwrap());
            let said: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
            assert_eq!(
                (&said["share"], &said["phase"]),
                (&share.into(), &"open".into()),
                "{}",
                ended.stderr
            );
            assert_eq!(said["double"], 0, "{said}");
            if of.is_empty() {
                assert!(ended.code == 0 && said["missing"] == 0, "{said}{}", ended.stderr);
            }
        }
    }
    let (payments, rows) = (verdicts(&payments.accepted()), rows.accepted());
    scene.has_payments(&payments);
    scene.has_rows(rows);
    for api in apis {
        assert!(api.terminate().0.success());
    }
    for worker in workers {
        assert!(worker.terminate().success());
    }
    let said = scene.refused_alone();
    for left in ["list=tx_queue alone", "list=rows alone", "migrate --table prices --rollback"] {
        assert!(said.contains(left), "{left}: {said}");
    }
}
