//! `pipeline`: paused, resumed and scaled beside running processes.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use testbed::{Postgres, Redis};

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
        std::thread::sleep(std::time::Duration::from_millis(50));
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
    std::thread::sleep(std::time::Duration::from_secs(2));
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
    std::thread::sleep(std::time::Duration::from_secs(1));
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
