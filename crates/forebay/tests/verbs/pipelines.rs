//! `pipeline`: paused, resumed and scaled beside running processes.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use testbed::{Postgres, Redis, stalls};

use super::running::{PATIENCE, Serving, count, done, json, run, wait};
use super::serve::event;
use super::tables::{configure, get, put, row};

const PRICES: &str = r#"
[[table]]
name = "prices"
create = true
linger_ms = 10
keys = ["sku"]
mode = "upsert"
version = "version"
columns = { sku = "text", price = "bigint", note = "text?", version = "bigint" }
"#;

const PAYMENTS: &str = "processed_tasks_total{pipeline=\"consumer_batch\"}";
const ROWS: &str = "processed_tasks_total{pipeline=\"table:prices\"}";

fn paused(pipeline: &str) -> String {
    format!("pipeline_state{{pipeline=\"{pipeline}\",state=\"paused\"}}")
}

fn pay(serving: &Serving, ids: std::ops::Range<usize>) {
    let lines: String = ids.map(|n| event(&format!("tx-{n}")) + "\n").collect();
    let (status, answer) = serving.post("application/x-ndjson", &lines);
    assert_eq!(status, 202, "{answer}");
}

/// The status of `/ready`, and its warnings.
fn ready(serving: &Serving) -> (u16, Value) {
    let url = format!("{}/ready", serving.address);
    wait(async {
        let answer = reqwest::get(url).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap()["warnings"].take())
    })
}

/// Whether `/ready` says ready, and warns of one thing, in these words.
fn warns(serving: &Serving, words: &str) -> bool {
    let (status, warnings) = ready(serving);
    status == 200 && warnings[0].as_str().is_some_and(|warning| warning.contains(words))
}

/// What `pipeline list` says of one pipeline.
fn listed(dir: &Path, pipeline: &str) -> Value {
    let all = json(dir, &["pipeline", "list", "--json"]);
    let found = all.as_array().unwrap().iter().find(|one| one["pipeline"] == pipeline);
    found.unwrap_or_else(|| panic!("{pipeline}: {all}")).clone()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_pause_survives_a_restart_and_a_kill_and_is_shown_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), PRICES);
    let store = dir.path().join("data/forebay.db");
    let mut serving = Serving::start_logged(dir.path(), &[]);
    pay(&serving, 0..10);
    serving.until(PAYMENTS, 10.0);
    let said = done(dir.path(), &["pipeline", "pause", "consumer_batch", "--reason", "a test"]);
    assert!(said.contains("consumer_batch is paused"), "{said}");
    serving.until(&paused("consumer_batch"), 1.0);
    pay(&serving, 10..30);
    until("/ready warns of it", || warns(&serving, "a test)"));
    until("list shows it", || {
        listed(dir.path(), "consumer_batch")["processes"][0]["state"] == "paused"
    });
    let shown = listed(dir.path(), "consumer_batch");
    assert_eq!(
        (&shown["wanted"]["paused"], &shown["wanted"]["revision"]),
        (&true.into(), &1.into())
    );
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert_eq!(log.matches("is paused").count(), 1, "{log}");

    // Everything else works, and neither a kill nor an orderly restart lets one event through.
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(ROWS, 1.0);
    serving.kill();
    let serving = Serving::start(dir.path(), &[]);
    serving.until(&paused("consumer_batch"), 1.0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(serving.metric("buffer_leased{buffer=\"journal\"}"), Some(0.0));
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 10);
    let (ended, printed) = serving.terminate();
    assert!(ended.success() && printed.contains("20 events stay in the buffer"), "{printed}");

    let said = done(dir.path(), &["pipeline", "resume", "consumer_batch"]);
    assert!(
        said.contains("Resumed consumer_batch, paused since") && said.contains("a test"),
        "{said}"
    );
    let serving = Serving::start(dir.path(), &[]);
    serving.until(PAYMENTS, 20.0);
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 30);
    until("/ready warns no more", || ready(&serving) == (200, Value::Null));
    assert!(serving.terminate().0.success());
}

#[test]
fn a_paused_table_takes_rows_and_serves_reads_and_a_memory_buffer_is_settled_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &format!("{PRICES}buffer = \"memory:\"\n"));
    let serving = Serving::start(dir.path(), &[]);
    done(dir.path(), &["pipeline", "pause", "table:prices"]);
    serving.until(&paused("table:prices"), 1.0);
    for n in 0..5 {
        assert_eq!(put(&serving, &format!("prices/{n}"), &row(&n.to_string(), n, 1)), 202);
    }
    assert_eq!(get(&serving, "prices/3").2, row("3", 3, 1));
    pay(&serving, 0..5);
    serving.until(PAYMENTS, 5.0);
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM prices"), 0);
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    assert_eq!(count(&store, "SELECT count(*) FROM prices"), 5, "they would be lost: {printed}");
}

#[test]
fn lanes_change_while_it_runs_and_are_as_configured_again() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(dir.path(), &["--set", "engine.lanes=3"]);
    let lanes = || listed(dir.path(), "consumer_batch")["processes"][0]["lanes"].clone();
    until("it is heard of", || lanes() == 3);
    let said = done(dir.path(), &["pipeline", "scale", "consumer_batch", "--lanes", "8"]);
    assert!(said.contains("8 lanes"), "{said}");
    until("it has eight", || lanes() == 8);
    pay(&serving, 0..100);
    serving.until(PAYMENTS, 100.0);
    done(dir.path(), &["pipeline", "scale", "consumer_batch", "--configured"]);
    until("it has three", || lanes() == 3);
    pay(&serving, 100..200);
    serving.until(PAYMENTS, 200.0);
    assert_eq!(serving.metric("duplicates_total{pipeline=\"consumer_batch\"}"), Some(0.0));
    assert!(serving.terminate().0.success());
    assert_eq!(listed(dir.path(), "consumer_batch")["processes"], Value::Array(vec![]), "it left");
}

#[test]
fn an_unknown_name_is_told_with_the_names_that_there_are() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), PRICES);
    let early = run(dir.path(), &["pipeline", "pause", "consumer_batch"]);
    assert_eq!(early.code, 1, "there is no store yet: {}", early.stderr);
    done(dir.path(), &["store", "migrate"]);
    for args in
        [&["pause", "prices"][..], &["resume", "prices"], &["scale", "prices", "--lanes", "2"]]
    {
        let ran = run(dir.path(), &[&["pipeline"], args].concat());
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        let expect = "there is no pipeline prices; there are: consumer_batch, table:prices";
        assert!(ran.stderr.contains(expect), "{}", ran.stderr);
    }
    for args in
        [&["scale", "table:prices"][..], &["scale", "table:prices", "--lanes", "0"], &["pause"]]
    {
        assert_eq!(run(dir.path(), &[&["pipeline"], args].concat()).code, 2);
    }
    let again = done(dir.path(), &["pipeline", "resume", "table:prices"]);
    assert!(again.contains("was not paused"), "{again}");
}

#[test]
fn an_api_and_workers_on_one_store_all_follow_a_pause() {
    let (redis, postgres) = (Redis::start().unwrap(), Postgres::start().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let servers =
        format!("buffer = \"{}?list=tx_queue\"\nstore = \"{}\"\n", redis.url(), postgres.url());
    configure(dir.path(), &format!("{servers}[cards]\nkey_file = \"key\"\n"));
    done(dir.path(), &["store", "migrate"]);
    let api = Serving::start(dir.path(), &["--roles", "api", "--data", "api"]);
    let worker = |name: &str| {
        let args = ["--roles", "worker", "--data", name];
        super::running::Worker::start_with(dir.path(), &args)
    };
    let (one, two) = (worker("one"), worker("two"));
    let states = || -> Vec<String> {
        let processes = listed(dir.path(), "consumer_batch")["processes"].take();
        let processes = processes.as_array().unwrap().iter();
        processes.map(|one| one["state"].as_str().unwrap().to_owned()).collect()
    };
    until("all are heard of", || states() == ["ready"; 3]);
    let settled = || {
        let rows = postgres.query("SELECT count(*)::text FROM fds.transactions").unwrap();
        rows[0][0].as_deref().unwrap().parse::<usize>().unwrap()
    };
    pay(&api, 0..100);
    until("all are settled", || settled() == 100);
    done(dir.path(), &["pipeline", "pause", "consumer_batch"]);
    until("all are paused", || states() == ["paused"; 3]);
    until("/ready of the api warns of it", || warns(&api, "is paused"));
    pay(&api, 100..200);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(settled(), 100);
    drop(two);
    assert!(one.terminate().success());
    let _three = worker("three");
    until("the one that was killed is not heard of, the one that left is gone", || {
        let all = listed(dir.path(), "consumer_batch")["processes"].take();
        let live = all.as_array().unwrap().iter().filter(|one| one["live"] == true);
        live.count() == 2
    });
    assert_eq!(settled(), 100);
    done(dir.path(), &["pipeline", "resume", "consumer_batch"]);
    until("all are settled", || settled() == 200);
    assert!(api.terminate().0.success());
}

/// One process with a journal and SQLite, killed at random moments after each change.
#[test]
fn kill_9_between_any_two_steps_of_a_change_loses_nothing_and_keeps_order() {
    let seed =
        std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("TEST_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("data/forebay.db");
    let mut serving = Serving::start(dir.path(), &[]);
    let mut accepted = 0;
    for round in 0..4 {
        let lanes = random.random_range(1..9).to_string();
        for change in [
            &["pause", "consumer_batch"][..],
            &["scale", "consumer_batch", "--lanes", &lanes],
            &["resume", "consumer_batch"],
            &["scale", "consumer_batch", "--configured"],
        ] {
            pay(&serving, accepted..accepted + 200);
            accepted += 200;
            done(dir.path(), &[&["pipeline"], change].concat());
            std::thread::sleep(Duration::from_millis(random.random_range(0..1_300)));
            serving.kill();
            serving = Serving::start(dir.path(), &[]);
            if change[0] == "pause" && round % 2 == 0 {
                serving.until(&paused("consumer_batch"), 1.0);
                let before = count(&store, "SELECT count(*) FROM transactions");
                std::thread::sleep(Duration::from_millis(1_500));
                assert_eq!(count(&store, "SELECT count(*) FROM transactions"), before);
            }
        }
    }
    let all = i64::try_from(accepted).unwrap();
    until("all are settled", || count(&store, "SELECT count(*) FROM transactions") == all);
    assert_eq!(count(&store, "SELECT count(DISTINCT tx_id) FROM transactions"), all);
    // They are of one card, and were accepted in the order of their numbers.
    let out_of_order = "SELECT count(*) FROM (SELECT CAST(substr(tx_id, 4) AS INTEGER) AS n, \
        lag(CAST(substr(tx_id, 4) AS INTEGER)) OVER (ORDER BY id) AS before FROM transactions) \
        WHERE n < before";
    assert_eq!(count(&store, out_of_order), 0);
    assert!(serving.terminate().0.success());
}

/// What is leased and not settled when the process is killed is settled by the next one.
#[test]
fn kill_9_while_the_store_takes_no_row_loses_no_event_that_was_leased() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("data/forebay.db");
    let mut serving = Serving::start(dir.path(), &[]);
    let other = rusqlite::Connection::open(&store).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    pay(&serving, 0..50);
    serving.until("buffer_ready{buffer=\"journal\"}", 0.0);
    // Longer than it takes to write down what is acked.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 0);
    serving.kill();
    other.execute_batch("ROLLBACK").unwrap();
    let serving = Serving::start(dir.path(), &[]);
    until("all are settled", || count(&store, "SELECT count(*) FROM transactions") == 50);
    assert!(serving.terminate().0.success());
}

/// What `/proc` says the process has used of one processor, in seconds.
fn cpu_s(serving: &Serving) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", serving.pid())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<_> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    // A tick is a hundredth of a second on Linux.
    (ticks(11) + ticks(12)) as f64 / 100.0
}

/// What the first event of each of the tables took from being accepted to being settled, the least first.
fn first_events(serving: &Serving, tables: usize) -> Vec<Duration> {
    let url = format!("{}/metrics", serving.address);
    let text = wait(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
    let of = |table: usize| {
        let name = format!("end_to_end_seconds_sum{{pipeline=\"table:prices_{table}\"}} ");
        let took = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        Duration::from_secs_f64(took.parse().unwrap())
    };
    let mut took: Vec<Duration> = (0..tables).map(of).collect();
    took.sort_unstable();
    took
}

#[test]
fn a_hundred_idle_pipelines_cost_next_to_nothing_and_a_first_event_is_settled_at_once() {
    const TABLES: usize = 99;
    let dir = tempfile::tempdir().unwrap();
    let quick = PRICES.replace("linger_ms = 10", "linger_ms = 2");
    let table = |n: usize| quick.replace("\"prices\"", &format!("\"prices_{n}\""));
    configure(dir.path(), &(0..TABLES).map(table).collect::<String>());
    let serving = Serving::start(dir.path(), &[]);
    let of_last = "pipeline_state{pipeline=\"table:prices_98\",state=\"ready\"}";
    serving.until(of_last, 1.0);
    std::thread::sleep(Duration::from_secs(2));
    let (share, stalls) = stalls::during(|| {
        let (before, began) = (cpu_s(&serving), Instant::now());
        std::thread::sleep(Duration::from_secs(10));
        Ok((cpu_s(&serving) - before) / began.elapsed().as_secs_f64() * 100.0)
    })
    .unwrap();
    println!("100 idle pipelines use {share:.2} % of a core; {stalls}");
    assert!(share <= 2.0, "{share:.2} % of a core; {stalls}");

    let ((), stalls) = stalls::during(|| {
        for n in 0..TABLES {
            assert_eq!(put(&serving, &format!("prices_{n}/a"), &row("a", 1, 1)), 202);
            std::thread::sleep(Duration::from_millis(47));
        }
        Ok(())
    })
    .unwrap();
    serving.until("processed_tasks_total{pipeline=\"table:prices_98\"}", 1.0);
    let took = first_events(&serving, TABLES);
    let (median, most) = (took[TABLES / 2], took[TABLES - 1]);
    println!("a first event takes {median:?} (median), {most:?} (p99); {stalls}");
    // What keeps a thread waiting that asks for nothing else keeps an event waiting, too.
    let bound = Duration::from_millis(20) + stalls.late(90);
    assert!(median <= bound, "{took:?}; {stalls}");
    assert!(serving.terminate().0.success());
}

#[test]
fn a_table_with_a_spill_takes_rows_while_its_redis_is_away_and_writes_them_in_order() {
    let redis = Redis::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| {
        let buffer = format!(
            "buffer = \"{}?list={name}\"\nspill = \"journal:{{data}}/spills/{name}\"\n",
            redis.url()
        );
        PRICES
            .replace("\"prices\"", &format!("\"{name}\""))
            .replace("create", &format!("{buffer}create"))
    };
    configure(dir.path(), &format!("{}{}", of("prices"), of("costs")));
    let shown = done(dir.path(), &["config", "show"]);
    assert!(shown.contains("table.prices.spill"), "{shown}");
    let mut serving = Serving::start(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(ROWS, 1.0);
    redis.stop();
    for version in 2..=5 {
        assert_eq!(put(&serving, "prices/a", &row("a", version, version)), 202);
    }
    serving.until("buffer_spill_size{buffer=\"table:prices\"}", 4.0);
    assert_eq!(serving.metric("buffer_spill_size{buffer=\"table:costs\"}"), Some(0.0));
    // What the spill holds is shown, and what else the buffer holds is not known.
    let shown = |name: &str| serving.metric(&format!("{name}{{buffer=\"table:prices\"}}")).unwrap();
    assert_eq!((shown("buffer_reachable"), shown("buffer_size")), (0.0, 4.0));
    assert!(shown("buffer_leased").is_nan() && shown("dead_letters").is_nan());
    let seen = json(dir.path(), &["monitor", "--once", "--json", "--table", "prices"]);
    assert!(seen["spilled"] == 4 && seen["unreachable"].is_string(), "{seen}");
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    // It starts without its Redis, and reads what was spilled.
    serving.kill();
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    assert_eq!(put(&serving, "prices/a", &row("a", 6, 6)), 202);
    redis.start_again().unwrap();
    serving.until("buffer_spill_size{buffer=\"table:prices\"}", 0.0);
    serving.until("buffer_reachable{buffer=\"table:prices\"}", 1.0);
    let store = dir.path().join("data/forebay.db");
    until("the last is written", || {
        count(&store, "SELECT count(*) FROM prices WHERE price = 6 AND version = 6") == 1
    });
    assert!(serving.terminate().0.success());
}
