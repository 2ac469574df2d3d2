//! Tables are added and removed by SIGHUP while rows are sent, and processes are killed at any moment of it.
//!
//! A row of a key has the next version. Each batch is one row, and a trigger logs each write that has an
//! effect: so the log of a key must hold each accepted version, once, in order. `TEST_SEED` repeats a choice of
//! moments, `TEST_ROUNDS` changes tables for longer.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use tempfile::TempDir;
use testbed::{Postgres, Redis};

use crate::process::Process;
use crate::rig::binary;

const TABLES: [&str; 2] = ["prices", "costs"];
/// Keys of each table, with a producer each.
const KEYS: usize = 3;
const EVERY: Duration = Duration::from_millis(4);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const WORKERS: usize = 3;

/// Where the tables lie, and what their log says.
enum Ledger {
    Postgres(Box<Postgres>),
    Sqlite(PathBuf),
}

/// The versions that had an effect, by table and key, in order.
type Effects = BTreeMap<(String, String), Vec<i64>>;

impl Ledger {
    /// Makes the tables, their logs and the triggers that write those.
    fn prepare(&self) {
        for table in TABLES {
            let columns = "(sku text PRIMARY KEY, price bigint, version bigint NOT NULL)";
            match self {
                Self::Postgres(postgres) => postgres
                    .execute(&format!(
                        "CREATE TABLE {table} {columns};
                         CREATE TABLE {table}_log (id bigserial PRIMARY KEY, sku text, version bigint);
                         CREATE FUNCTION {table}_logged() RETURNS trigger LANGUAGE plpgsql AS $$
                         BEGIN INSERT INTO {table}_log (sku, version) VALUES (NEW.sku, NEW.version);
                         RETURN NULL; END $$;
                         CREATE TRIGGER logged AFTER INSERT OR UPDATE ON {table}
                         FOR EACH ROW EXECUTE FUNCTION {table}_logged()"
                    ))
                    .unwrap(),
                Self::Sqlite(path) => {
                    let log = format!(
                        "BEGIN INSERT INTO {table}_log (sku, version) VALUES (NEW.sku, NEW.version); END"
                    );
                    let sql = format!(
                        "CREATE TABLE {table} {columns};
                         CREATE TABLE {table}_log (id integer PRIMARY KEY, sku text, version bigint);
                         CREATE TRIGGER {table}_made AFTER INSERT ON {table} {log};
                         CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} {log}"
                    );
                    Connection::open(path).unwrap().execute_batch(&sql).unwrap();
                }
            }
        }
    }

    fn effects(&self) -> Effects {
        let mut effects = Effects::new();
        for table in TABLES {
            let sql = format!("SELECT sku, version FROM {table}_log ORDER BY id");
            let rows: Vec<(String, i64)> = match self {
                Self::Postgres(postgres) => {
                    let text = |cell: Option<String>| cell.unwrap();
                    let rows = postgres.query(&sql).unwrap().into_iter();
                    let rows = rows.map(|row| <[_; 2]>::try_from(row).unwrap().map(text));
                    rows.map(|[sku, version]| (sku, version.parse().unwrap())).collect()
                }
                Self::Sqlite(path) => {
                    let store = Connection::open(path).unwrap();
                    store.busy_timeout(ANSWERED_WITHIN).unwrap();
                    let mut log = store.prepare(&sql).unwrap();
                    let rows = log.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                    rows.collect::<Result<_, _>>().unwrap()
                }
            };
            for (sku, version) in rows {
                effects.entry((table.to_owned(), sku)).or_default().push(version);
            }
        }
        effects
    }
}

/// Processes of one configuration. The first takes rows.
struct Place {
    dir: TempDir,
    ledger: Ledger,
    /// The lines of the file in front of the tables, and those of a table's buffer.
    head: String,
    buffer: fn(&str, &str) -> String,
    redis: Option<Redis>,
    roles: Vec<&'static str>,
    processes: Vec<Process>,
    started: usize,
    /// Where rows are sent.
    address: Arc<Mutex<String>>,
}

impl Place {
    /// An api and several workers on Redis and PostgreSQL.
    fn shared() -> Self {
        let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
        let postgres = Postgres::start().unwrap();
        let head = format!(
            "buffer = \"{}?list=tx_queue\"\nstore = \"{}\"\n[cards]\nkey_file = \"key\"\n",
            redis.url(),
            postgres.url()
        );
        let buffer = |url: &str, table: &str| {
            format!("buffer = \"{url}?list={table}&member_ms=1000&lease_ms=2000\"\n")
        };
        let roles = [vec!["api"], vec!["worker"; WORKERS]].concat();
        Self::new(Ledger::Postgres(Box::new(postgres)), head, buffer, Some(redis), roles)
    }

    /// One process on a journal and SQLite.
    fn embedded() -> Self {
        let ledger = Ledger::Sqlite(PathBuf::new());
        Self::new(ledger, String::new(), |_, _| String::new(), None, vec!["api,worker"])
    }

    fn new(
        ledger: Ledger,
        head: String,
        buffer: fn(&str, &str) -> String,
        redis: Option<Redis>,
        roles: Vec<&'static str>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = match ledger {
            Ledger::Sqlite(_) => Ledger::Sqlite(dir.path().join("data/forebay.db")),
            postgres => postgres,
        };
        let address = Arc::default();
        let mut place = Self {
            dir,
            ledger,
            head,
            buffer,
            redis,
            roles,
            processes: Vec::new(),
            started: 0,
            address,
        };
        place.configure([true, true]);
        let migrated = binary(place.path()).args(["store", "migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        place.ledger.prepare();
        for at in 0..place.roles.len() {
            let process = place.start(at);
            place.processes.push(process);
        }
        place.follow();
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the file with these tables.
    fn configure(&self, there: [bool; 2]) {
        let url = self.redis.as_ref().map_or_else(String::new, Redis::url);
        let tables = TABLES.iter().zip(there).filter(|(_, there)| *there).map(|(table, _)| {
            let buffer = (self.buffer)(&url, table);
            format!(
                "[[table]]\nname = \"{table}\"\nkeys = [\"sku\"]\nmode = \"upsert\"\nversion = \"version\"\n\
                 columns = {{ sku = \"text\", price = \"bigint\", version = \"bigint\" }}\n\
                 batch_max = 1\nlinger_ms = 0\n{buffer}"
            )
        });
        let text = format!("{}{}", self.head, tables.collect::<String>());
        // In one step: a process that is started meanwhile reads the one or the other.
        let (new, file) = (self.path().join("new.toml"), self.path().join("forebay.toml"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Starts a process in this place, without waiting for it.
    fn start(&mut self, at: usize) -> Process {
        self.started += 1;
        let (role, name) = (self.roles[at], format!("process-{}", self.started));
        // A process on a journal takes over the files of the one before.
        let data = if self.redis.is_some() { name.clone() } else { "data".to_owned() };
        let mut serve = binary(self.path());
        serve.args(["serve", "--roles", role, "--data", &data, "--bind", "127.0.0.1:0"]);
        serve.env("FOREBAY_LOG", "info");
        Process::spawn(serve, self.path(), &name)
    }

    /// Rows are sent to the process that takes them now.
    fn follow(&mut self) {
        let address = self.processes[0].address();
        *self.address.lock().unwrap() = address;
    }

    fn kill_and_start(&mut self, at: usize) {
        self.processes[at].kill();
        self.processes[at] = self.start(at);
        if at == 0 {
            self.follow();
        }
    }
}

/// What one producer came to: the last version that was accepted.
struct Producer {
    table: &'static str,
    sku: String,
    task: JoinHandle<i64>,
}

/// Sends version after version of one key, each until it is accepted.
fn produce(
    table: &'static str,
    sku: &str,
    address: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    absent: Arc<AtomicUsize>,
) -> Producer {
    let name = sku.to_owned();
    let task = std::thread::spawn(move || {
        let mut accepted = 0;
        while !stop.load(Ordering::SeqCst) {
            let to = address.lock().unwrap().clone();
            match put(&to, table, &name, accepted + 1) {
                Some(202) => accepted += 1,
                Some(404 | 503) => {
                    absent.fetch_add(1, Ordering::SeqCst);
                }
                // It may have been accepted: the same version is sent again.
                _ => {}
            }
            std::thread::sleep(EVERY);
        }
        accepted
    });
    Producer { table, sku: sku.to_owned(), task }
}

/// Sends a row; the status of the answer, if one came.
pub(crate) fn put(address: &str, table: &str, sku: &str, version: i64) -> Option<u16> {
    let body = format!("{{\"sku\":\"{sku}\",\"price\":{version},\"version\":{version}}}");
    let request = format!(
        "PUT /v1/tables/{table}/{sku} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a whole number"))
}

fn check(mut place: Place) {
    let seed = setting("TEST_SEED").unwrap_or_else(rand::random);
    println!("TEST_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (stop, absent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let keys = (0..KEYS).map(|key| format!("sku-{key}"));
    let keys: Vec<_> = keys.flat_map(|sku| TABLES.map(|table| (table, sku.clone()))).collect();
    let producers: Vec<_> = keys
        .iter()
        .map(|(table, sku)| {
            produce(table, sku, place.address.clone(), stop.clone(), absent.clone())
        })
        .collect();
    let mut there = [true, true];
    for _ in 0..setting("TEST_ROUNDS").unwrap_or(12) {
        let table = random.random_range(0..TABLES.len());
        there[table] = !there[table];
        place.configure(there);
        // A worker may have a table that another has no more.
        for process in &mut place.processes {
            // One that does not run yet would be ended by the signal.
            process.address();
            process.hang_up();
            pause(&mut random, 0..60);
        }
        // Within what a reload takes, and past it.
        pause(&mut random, 0..700);
        let victim = random.random_range(0..place.processes.len());
        place.kill_and_start(victim);
        if random.random_range(0..3) == 0 {
            // While it starts.
            pause(&mut random, 0..300);
            place.kill_and_start(victim);
        }
        pause(&mut random, 100..500);
    }
    place.configure([true, true]);
    for process in &mut place.processes {
        process.address();
        process.hang_up();
    }
    pause(&mut random, 1_000..1_500);
    stop.store(true, Ordering::SeqCst);
    audit(&mut place, producers, absent.load(Ordering::SeqCst));
}

/// Each accepted version of each key had its effect, once and in order.
fn audit(place: &mut Place, producers: Vec<Producer>, absent: usize) {
    let accepted = producers
        .into_iter()
        .map(|Producer { table, sku, task }| ((table.to_owned(), sku), task.join().unwrap()));
    let accepted: BTreeMap<_, _> = accepted.collect();
    let all: i64 = accepted.values().sum();
    println!("{all} rows accepted, {absent} sent to a table that was away");
    assert!(all > 500 && absent > 20, "too few to show anything");
    let end = Instant::now() + SETTLED_WITHIN;
    loop {
        let effects = place.ledger.effects();
        let left: Vec<_> = accepted
            .iter()
            .filter(|(key, accepted)| {
                effects.get(key).and_then(|versions| versions.last()).copied() < Some(**accepted)
            })
            .collect();
        if left.is_empty() {
            break;
        }
        place.processes.iter_mut().for_each(Process::must_live);
        let logs: Vec<_> = place.processes.iter().map(Process::log).collect();
        assert!(Instant::now() < end, "never settled: {left:?}\n{}", logs.join("\n---\n"));
        std::thread::sleep(Duration::from_millis(100));
    }
    for ((table, sku), versions) in place.ledger.effects() {
        let accepted = accepted[&(table.clone(), sku.clone())];
        // An answer that was lost may be of one more.
        let last = *versions.last().unwrap();
        assert!((accepted..=accepted + 1).contains(&last), "{table} {sku}: {last}, not {accepted}");
        let expect: Vec<i64> = (1..=last).collect();
        assert_eq!(versions, expect, "{table} {sku}: lost, twice or out of order");
    }
    let reloads: Vec<_> = place
        .processes
        .iter_mut()
        .map(|process| process.count("config_reloads_total{result=\"done\"}"))
        .collect();
    assert!(reloads.iter().all(|reloads| *reloads > 0), "{reloads:?}");
    place.processes.iter_mut().for_each(Process::terminate);
}

fn pause(random: &mut ChaCha8Rng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(random.random_range(ms)));
}

#[test]
fn tables_come_and_go_under_load_with_workers_killed_at_any_step_and_nothing_is_lost_or_done_twice()
{
    check(Place::shared());
}

#[test]
fn tables_come_and_go_under_load_with_the_only_process_killed_at_any_step_and_nothing_is_lost_or_done_twice()
 {
    check(Place::embedded());
}
