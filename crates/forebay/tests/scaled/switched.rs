//! One binary, one `forebay.toml`, and nothing but the line that names the buffer changes: the same
//! events come to the same rows and the same dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fraud::Ruleset;
use lab::sink::{Http, Sink};
use model::Event;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Kafka, Postgres, Redis, Sqs};

use crate::load::Payments;
use crate::process::Process;
use crate::rig::binary;
use crate::{audit, data_set};

/// Batches of generated payments, and lines of the data set: as many as the tests' server of the SQS API
/// takes in some seconds.
const BATCHES: usize = 20;
const LINES: usize = 500;
/// One in so many generated payments comes twice, and one in so many is refused by the store.
const TWICE_ONE_IN: usize = 20;
const REFUSED_ONE_IN: usize = 25;
/// How many later a payment comes again.
const AGAIN_AFTER: usize = 150;
/// Lines posted together.
const POSTED: usize = 100;
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
/// How often one more payment is offered while only refused ones are left.
const PROBED_EVERY: Duration = Duration::from_secs(2);
/// What the store does not take, whatever the buffer: no server in front of it can know.
const REFUSES: &str = "ADD CONSTRAINT shop_is_open CHECK (merchant NOT LIKE 'Closed %')";

/// What the events came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What the server said of the lines it would not take.
    rejected: Vec<String>,
    /// Each row, by its `tx_id`.
    rows: BTreeMap<String, String>,
    /// The reason of each dead letter, by its id.
    dead: BTreeMap<String, String>,
}

struct Servers {
    redis: Redis,
    kafka: Kafka,
    sqs: Sqs,
    postgres: Postgres,
}

impl Servers {
    /// All at once: each keeps a test waiting for seconds.
    fn start() -> Self {
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start().unwrap());
            let postgres = scope.spawn(|| Postgres::start().unwrap());
            let sqs = scope.spawn(|| Sqs::start().unwrap());
            let redis = Redis::start().unwrap();
            let (kafka, postgres) = (kafka.join().unwrap(), postgres.join().unwrap());
            Self { redis, kafka, sqs: sqs.join().unwrap(), postgres }
        })
    }

    /// What the file's line is changed to, with a name for each.
    fn buffers(&self) -> [(&'static str, String); 6] {
        let (redis, kafka, sqs) = (self.redis.url(), self.kafka.url(), self.sqs.url());
        [
            ("memory", "memory:?capacity=100000".to_owned()),
            ("journal", "journal:./data/buffer".to_owned()),
            ("list", format!("{redis}/0?list=tx_queue")),
            ("stream", format!("{redis}/0?stream=tx_stream&group=fds")),
            ("kafka", format!("{kafka}/transactions?group=fds")),
            ("sqs", format!("{sqs}/payments.fifo?region=us-east-1&create=true")),
        ]
    }
}

#[test]
fn whatever_buffer_the_file_names_the_same_events_come_to_the_same_rows_and_dead_letters() {
    let servers = Servers::start();
    let dir = tempfile::tempdir().unwrap();
    let real = real(dir.path());
    let generated = generated();
    let first: Outcome = {
        let [(name, buffer), ..] = servers.buffers();
        let outcome = run(&servers, &dir, name, &buffer, &generated, real);
        check(&outcome, &generated, real);
        outcome
    };
    for (name, buffer) in &servers.buffers()[1..] {
        let outcome = run(&servers, &dir, name, buffer, &generated, real);
        assert_eq!(outcome.rejected, first.rejected, "{name}");
        let differ = outcome.rows.iter().filter(|(id, row)| first.rows.get(*id) != Some(row));
        assert_eq!(differ.collect::<Vec<_>>(), [], "{name}: rows that memory: does not have so");
        assert_eq!(outcome.rows.len(), first.rows.len(), "{name}");
        // What a buffer in memory has buried is gone with its process: only which ones it were is known.
        let ids = |outcome: &Outcome| outcome.dead.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(ids(&outcome), ids(&first), "{name}");
        // After this part a reason says how often the row was refused, which depends on when others were written.
        let refusal = |reason: &String| reason.split("; refused").next().map(str::to_owned);
        let reasons: BTreeSet<String> = outcome.dead.values().filter_map(refusal).collect();
        let reason = reasons.first().unwrap();
        assert!(reasons.len() == 1 && reason.contains("shop_is_open"), "{name}: {reasons:?}");
    }
}

/// Compares with what the rules say of the generated ones, without any buffer.
fn check(outcome: &Outcome, generated: &[Event], real: usize) {
    let ruleset = ruleset();
    let mut seen = BTreeSet::new();
    let once = generated.iter().filter(|event| !is_refused(event) && seen.insert(event.id()));
    let once: Vec<Event> = once.cloned().collect();
    let (expected, bad) = audit::expected(&once, &ruleset);
    assert_eq!(outcome.rows.len(), expected.len() + real);
    for (id, rules) in &expected {
        let row = outcome.rows.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert!(row.starts_with(&format!("{rules} ")), "{id}: {row}, and not {rules}");
    }
    let flagged = outcome.rows.values().filter(|row| !row.starts_with("{} ")).count();
    let (dead, rejected) = (outcome.dead.len(), outcome.rejected.len());
    println!("{} rows, {flagged} flagged, {dead} dead, {rejected} rejected", outcome.rows.len());
    assert!(flagged > 100, "only {flagged} flagged: too few to compare");
    assert_eq!((rejected, dead), (bad.len(), generated.iter().filter(|e| is_refused(e)).count()));
    assert!(rejected > 0 && dead > 10, "{rejected} rejected, {dead} dead: too few to compare");
}

/// Names the buffer in the file, starts the server, feeds it, and ends it when all is settled.
fn run(
    servers: &Servers,
    dir: &TempDir,
    name: &str,
    buffer: &str,
    generated: &[Event],
    real: usize,
) -> Outcome {
    let began = Instant::now();
    let store = servers.postgres.url();
    let Ruleset { velocity, amount_spike, .. } = ruleset();
    let (payments, window_ms) = (velocity.payments_min, velocity.window_ms);
    let text = format!(
        "buffer = \"{buffer}\"\nstore = \"{store}?schema={name}\"\n[http]\nbind = \"127.0.0.1:0\"\n\
         [fraud]\nvelocity.payments_min = {payments}\nvelocity.window_ms = {window_ms}\n\
         amount_spike.factor_permille = {}\n",
        amount_spike.factor_permille
    );
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    done(dir, &["store", "migrate"]);
    servers.postgres.execute(&format!("ALTER TABLE {name}.transactions {REFUSES}")).unwrap();
    let mut serve = binary(dir.path());
    serve.arg("serve");
    let mut server = Process::spawn(serve, dir.path(), name);
    let address = format!("http://{}", server.address());
    let rejected = post(&address, generated);
    if real > 0 {
        let map = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/card-payments-2018.toml");
        let to = ["--to", &address, "--restart"];
        let said = done(dir, &[&["replay", "real.csv", "--map", map][..], &to].concat());
        assert!(said.contains("accepted, 0 rejected"), "{said}");
    }
    let refused: BTreeSet<_> = generated.iter().filter(|event| is_refused(event)).map(id).collect();
    let ids: BTreeSet<String> = generated.iter().map(id).collect();
    let rows_due = ids.len() - rejected.len() - refused.len() + real;
    let end = Instant::now() + SETTLED_WITHIN;
    let mut probes = probes(generated, &rejected);
    let mut probed = Instant::now();
    loop {
        server.must_live();
        let left = server.metric("buffer_size{");
        let dead = server.count("dead_total{pipeline=\"consumer_batch\"}");
        let rows = count(servers, name);
        if left == 0.0 && rows >= rows_due && dead >= refused.len() {
            assert_eq!((rows, dead), (rows_due, refused.len()), "{name}: too many");
            break;
        }
        let log = server.log();
        let late = Instant::now() > end;
        assert!(!late, "{name}: {left} left, {rows} of {rows_due} settled, {dead} dead:\n{log}");
        // A refused event becomes a dead letter only after the store took another one. A buffer that
        // gives events out in its own order may give out a refused one last.
        if rows >= rows_due && probed.elapsed() >= PROBED_EVERY {
            assert_eq!(post(&address, &[probes.next().unwrap()]), [""; 0]);
            probed = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    server.terminate();
    let rows = rows(servers, name);
    assert_eq!(rows.len(), count(servers, name), "{name}: a tx_id is settled more than once");
    let dead = match name {
        "memory" => {
            let lost = ids.iter().filter(|id| !rows.contains_key(*id));
            let is_rejected = |id: &&String| rejected.iter().any(|line| line.starts_with(*id));
            lost.filter(|id| !is_rejected(id)).map(|id| (id.clone(), String::new())).collect()
        }
        _ => letters(dir),
    };
    println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    Outcome { rejected, rows, dead }
}

/// Payments that the store takes. Their rows are not compared.
fn probes(generated: &[Event], rejected: &[String]) -> impl Iterator<Item = Event> + use<> {
    let is_rejected = |event: &Event| rejected.iter().any(|line| line.starts_with(&id(event)));
    let good = generated.iter().find(|event| !is_refused(event) && !is_rejected(event)).unwrap();
    let (text, good) = (std::str::from_utf8(good.payload()).unwrap().to_owned(), good.clone());
    (0..).map(move |n| {
        let probe = format!("probe-{n}");
        let text = text.replacen(&id(&good), &probe, 1);
        Event::new(probe.as_bytes(), good.key(), text.as_bytes()).unwrap()
    })
}

/// Posts them in order; returns the id of each that the server would not take, with its words.
fn post(address: &str, events: &[Event]) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut http = Http::new(address).unwrap();
    let mut rejected = Vec::new();
    for lines in events.chunks(POSTED) {
        let offered = runtime.block_on(http.offer(lines)).unwrap();
        assert_eq!((offered.refused, offered.rejected), (0, offered.rejections.len()));
        let told = offered.rejections.iter().map(|bad| (id(&lines[bad.index]), &bad.problem));
        rejected.extend(told.map(|(id, problem)| format!("{id} {problem}")));
    }
    rejected
}

fn letters(dir: &TempDir) -> BTreeMap<String, String> {
    let letters = done(dir, &["dead", "list", "--all", "--json"]);
    let letters: Value = serde_json::from_str(&letters).unwrap();
    let letters = letters.as_array().unwrap();
    let text = |letter: &Value, field: &str| letter[field].as_str().unwrap().to_owned();
    let by_id: BTreeMap<_, _> =
        letters.iter().map(|letter| (text(letter, "id"), text(letter, "reason"))).collect();
    assert_eq!(by_id.len(), letters.len(), "an event is buried more than once");
    by_id
}

fn count(servers: &Servers, schema: &str) -> usize {
    let rows = servers.postgres.query(&format!(
        "SELECT count(*) FROM {schema}.transactions WHERE tx_id NOT LIKE 'probe-%'"
    ));
    rows.unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

/// All that a row holds, the rules first, but for when it came.
fn rows(servers: &Servers, schema: &str) -> BTreeMap<String, String> {
    let sql = format!(
        "SELECT tx_id, concat_ws(' ', fraud_rules, is_fraud, ruleset_version, amount, created_at, \
         card_number, encode(card_fingerprint, 'hex'), user_id, tier, category, merchant, fraud_detail) \
         FROM {schema}.transactions WHERE tx_id NOT LIKE 'probe-%'"
    );
    let rows = servers.postgres.query(&sql).unwrap().into_iter();
    rows.map(|row| <[_; 2]>::try_from(row).unwrap().map(Option::unwrap))
        .map(|[id, row]| (id, row))
        .collect()
}

/// Runs a verb in `dir`, which must do what it is for; returns what it printed.
fn done(dir: &TempDir, args: &[&str]) -> String {
    let ended = binary(dir.path()).args(args).output().unwrap();
    assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// Sharper than the usual ones, so that real payments break some and order within a card shows.
fn ruleset() -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.velocity.payments_min = 2;
    ruleset.velocity.window_ms = 3_600_000;
    ruleset.amount_spike.factor_permille = 3_000;
    ruleset
}

/// Payments, some of them twice, some that no server takes, and some that the store refuses.
fn generated() -> Vec<Event> {
    let mut payments = Payments::dense(5);
    let made: Vec<Event> = (0..BATCHES).flat_map(|_| payments.batch()).collect();
    let mut all: Vec<Event> = Vec::new();
    for (n, event) in made.iter().enumerate() {
        let refused = n % REFUSED_ONE_IN == 1;
        all.push(if refused { of_a_closed_shop(event) } else { event.clone() });
        // None of those that are refused: an event that is no effect has nothing to be deduped by.
        if n % TWICE_ONE_IN == 0 && n >= AGAIN_AFTER && (n - AGAIN_AFTER) % REFUSED_ONE_IN != 1 {
            all.push(made[n - AGAIN_AFTER].clone());
        }
    }
    all
}

fn of_a_closed_shop(event: &Event) -> Event {
    let text = std::str::from_utf8(event.payload()).unwrap();
    let closed = text.replacen("\"merchant\":\"", "\"merchant\":\"Closed ", 1);
    Event::new(event.id(), event.key(), closed.as_bytes()).unwrap()
}

fn is_refused(event: &Event) -> bool {
    std::str::from_utf8(event.payload()).unwrap().contains("\"merchant\":\"Closed ")
}

fn id(event: &Event) -> String {
    audit::id(event)
}

/// Writes the first payments of the data set into `real.csv`; how many.
fn real(dir: &Path) -> usize {
    let Some(file) = data_set::data_set() else { return 0 };
    let mut unzipped =
        Command::new("gzip").arg("-dc").arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(unzipped.stdout.take().unwrap()).lines();
    let text: String = lines.take(LINES + 1).map(|line| line.unwrap() + "\n").collect();
    unzipped.kill().unwrap();
    unzipped.wait().unwrap();
    std::fs::write(dir.join("real.csv"), text).unwrap();
    LINES
}
