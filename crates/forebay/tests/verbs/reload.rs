//! SIGHUP: `serve` reads its configuration again, adds and removes tables, and names what needs a restart.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testbed::Redis;

use super::migrate::lead;
use super::running::{PATIENCE, Serving, count, done, json, run, wait};
use super::serve::event;
use super::tables::{configure, get, put, row};

const PAYMENTS: &str = "processed_tasks_total{pipeline=\"consumer_batch\"}";
const DONE: &str = "config_reloads_total{result=\"done\"}";
const FAILED: &str = "config_reloads_total{result=\"failed\"}";

/// A table of this name, with these lines besides.
fn table(name: &str, lines: &str) -> String {
    format!(
        "[[table]]\nname = \"{name}\"\ncreate = true\nlinger_ms = 10\nkeys = [\"sku\"]\nmode = \"upsert\"\n\
         version = \"version\"\n{lines}\
         columns = {{ sku = \"text\", price = \"bigint\", note = \"text?\", version = \"bigint\" }}\n"
    )
}

fn settled(table: &str) -> String {
    format!("processed_tasks_total{{pipeline=\"table:{table}\"}}")
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("serve.log")).unwrap()
}

/// Writes the file, sends SIGHUP, and waits until the reload has done, or has failed.
fn reload(serving: &Serving, dir: &Path, text: &str, result: &str) {
    configure(dir, text);
    let before = serving.metric(result).unwrap_or_default();
    serving.signal(Signal::HUP);
    serving.until(result, before + 1.0);
}

fn metrics(serving: &Serving) -> String {
    let url = format!("{}/metrics", serving.address);
    wait(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
}

/// The names of this process's pipelines in `pipeline list`.
fn listed(dir: &Path) -> Vec<String> {
    let all = json(dir, &["pipeline", "list", "--json"]);
    let runs = |one: &&serde_json::Value| !one["processes"].as_array().unwrap().is_empty();
    let names = all.as_array().unwrap().iter().filter(runs);
    names.map(|one| one["pipeline"].as_str().unwrap().to_owned()).collect()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tables_come_go_and_change_at_sighup_while_payments_settle() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("data/forebay.db");
    configure(dir.path(), &table("prices", ""));
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    assert_eq!(put(&serving, "costs/a", &row("a", 1, 1)), 404);
    serving.until(&settled("prices"), 1.0);
    let began = serving.metric("config_last_reload_success_timestamp_seconds").unwrap();

    // One is added, and works at once.
    let both = table("prices", "") + &table("costs", "");
    reload(&serving, dir.path(), &both, DONE);
    assert_eq!(put(&serving, "costs/a", &row("a", 2, 2)), 202);
    serving.until(&settled("costs"), 1.0);
    assert_eq!(get(&serving, "costs/a").2, row("a", 2, 2));
    assert!(serving.metric("config_last_reload_success_timestamp_seconds").unwrap() > began);
    until("it is listed", || {
        listed(dir.path()) == ["consumer_batch", "table:costs", "table:prices"]
    });
    assert!(log(dir.path()).contains("reloaded the configuration: added table:costs"));

    // One is changed: its rows of before are read still, and it works as the file has it now.
    let slow = table("prices", "") + &table("costs", "batch_max = 7\n");
    reload(&serving, dir.path(), &slow, DONE);
    assert!(log(dir.path()).contains("reloaded the configuration: changed table:costs"));
    assert_eq!(put(&serving, "costs/b", &row("b", 3, 3)), 202);
    serving.until(&settled("costs"), 1.0);
    assert_eq!(get(&serving, "costs/a").2, row("a", 2, 2));

    // One is removed while it is paused: what it held stays, its series end, and its paths are gone.
    run(dir.path(), &["pipeline", "pause", "table:prices"]);
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"paused\"}", 1.0);
    for n in 0..5 {
        assert_eq!(put(&serving, &format!("prices/{n}"), &row(&n.to_string(), n, 1)), 202);
    }
    reload(&serving, dir.path(), &table("costs", "batch_max = 7\n"), DONE);
    assert_eq!(put(&serving, "prices/b", &row("b", 1, 1)), 404);
    assert_eq!(get(&serving, "prices/a").0, 404);
    let shown = metrics(&serving);
    assert!(!shown.contains("table:prices") && !shown.contains("\"prices\""), "{shown}");
    let said = log(dir.path());
    assert!(said.contains("removed table:prices"), "{said}");
    assert!(said.contains("5 events of a removed table stay in its buffer"), "{said}");
    assert!(said.contains("forebay buffer stat --buffer journal:"), "{said}");
    until("it is listed no more", || listed(dir.path()) == ["consumer_batch", "table:costs"]);
    assert_eq!(serving.post("application/json", &event("tx-1")).0, 202);
    serving.until(PAYMENTS, 1.0);

    // It is added again, and settles what was left once it is resumed.
    reload(&serving, dir.path(), &slow, DONE);
    assert_eq!(get(&serving, "prices/4").2, row("4", 4, 1), "what waits is read at once");
    run(dir.path(), &["pipeline", "resume", "table:prices"]);
    serving.until(&settled("prices"), 5.0);
    assert_eq!(count(&store, "SELECT count(*) FROM prices"), 6);
    assert_eq!(count(&store, "SELECT count(*) FROM costs"), 2);
    assert_eq!((serving.metric(DONE), serving.metric(FAILED)), (Some(4.0), Some(0.0)));
    assert!(serving.terminate().0.success());
}

#[test]
fn what_can_not_be_used_changes_nothing_and_what_needs_a_restart_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = table("prices", "");
    configure(dir.path(), &good);
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    let lanes = "[engine]\nlanes = ";
    let twice = "buffer = \"journal:./data/tables/prices\"\n";
    for (text, says) in [
        (format!("{good}{lanes}\"many\"\n"), "engine.lanes is \"many\"; it must be a whole number"),
        (format!("{good}{lanes}3\nlane = 4\n"), "did you mean \"engine.lanes\"?"),
        (good.replace("bigint", "bigbig"), "column \"price\" is \"bigbig\"; it must be one of"),
        (format!("{good}{}", table("costs", twice)), "buffer of table"),
        ("[[table]".to_owned(), "forebay.toml:1: "),
    ] {
        reload(&serving, dir.path(), &text, FAILED);
        let said = log(dir.path());
        let line = said.lines().rfind(|line| line.contains("cannot reload")).unwrap().to_owned();
        assert!(line.contains(says) && line.contains("nothing was changed"), "{says}: {line}");
        assert_eq!(put(&serving, "costs/a", &row("a", 1, 1)), 404);
        assert_eq!(serving.metric("config_last_reload_successful"), Some(0.0));
    }
    // A file that is gone is no file without tables.
    let before = serving.metric(FAILED).unwrap();
    std::fs::remove_file(dir.path().join("forebay.toml")).unwrap();
    serving.signal(Signal::HUP);
    serving.until(FAILED, before + 1.0);
    let logged = log(dir.path());
    let says = |line: &str| line.contains("cannot read ") && line.contains("forebay.toml: No such");
    assert!(logged.lines().any(says), "{logged}");
    assert_eq!(put(&serving, "prices/a", &row("a", 2, 2)), 202);

    // Other keys wait for a restart, and a table is added all the same.
    let text = format!("{good}{}{lanes}7\n[http]\nbind = \"127.0.0.1:9\"\n", table("costs", ""));
    reload(&serving, dir.path(), &text, DONE);
    let said = log(dir.path());
    let line = said.lines().rfind(|line| line.contains("restart the process")).unwrap();
    assert!(line.ends_with("these keys: engine.lanes"), "--bind wins over the file: {line}");
    assert_eq!(put(&serving, "costs/a", &row("a", 1, 1)), 202);
    assert_eq!(serving.metric("config_last_reload_successful"), Some(1.0));
    let lanes =
        json(dir.path(), &["pipeline", "list", "--json"])[0]["processes"][0]["lanes"].clone();
    assert_eq!(lanes, engine::Options::default().lanes);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_changed_table_that_can_not_be_opened_runs_on_as_before() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &table("prices", ""));
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(&settled("prices"), 1.0);
    // A file lies where the folder of its journal would be.
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let text = table("prices", "buffer = \"journal:./taken\"\n");
    reload(&serving, dir.path(), &text, FAILED);
    assert!(log(dir.path()).contains("table prices"), "{}", log(dir.path()));
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 202);
    serving.until(&settled("prices"), 1.0);
    // The next reload tries again.
    std::fs::remove_file(dir.path().join("taken")).unwrap();
    reload(&serving, dir.path(), &text, DONE);
    assert_eq!(put(&serving, "prices/c", &row("c", 3, 3)), 202);
    serving.until(&settled("prices"), 1.0);
    assert!(dir.path().join("taken").is_dir());
    assert!(serving.terminate().0.success());
}

/// A Redis, and a line that puts a table on this list of it.
fn on_redis() -> (Redis, String) {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let buffer = format!("buffer = \"{}?list=prices\"\n", redis.url());
    (redis, buffer)
}

/// The warnings of `/ready`.
fn ready(serving: &Serving) -> String {
    let url = format!("{}/ready", serving.address);
    wait(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
}

#[test]
fn a_reload_while_the_buffer_is_out_of_reach_takes_no_table_away() {
    let (redis, buffer) = on_redis();
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &table("prices", &buffer));
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(&settled("prices"), 1.0);
    redis.stop();
    reload(&serving, dir.path(), &table("prices", &format!("{buffer}batch_max = 7\n")), FAILED);
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 503);
    redis.start_again().unwrap();
    until("rows are taken without another SIGHUP", || {
        put(&serving, "prices/b", &row("b", 2, 2)) == 202
    });
    serving.until(&settled("prices"), 2.0);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_table_runs_on_as_before_though_its_old_buffer_is_out_of_reach() {
    let (redis, buffer) = on_redis();
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &table("prices", &buffer));
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(&settled("prices"), 1.0);
    redis.stop();
    // A file lies where the folder of its journal would be.
    std::fs::write(dir.path().join("taken"), "").unwrap();
    reload(&serving, dir.path(), &table("prices", "buffer = \"journal:./taken\"\n"), FAILED);
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 503);
    redis.start_again().unwrap();
    until("rows are taken without another SIGHUP", || {
        put(&serving, "prices/b", &row("b", 2, 2)) == 202
    });
    serving.until(&settled("prices"), 1.0);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_table_is_not_put_back_on_a_buffer_that_another_table_takes_over() {
    let (_redis, buffer) = on_redis();
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &table("prices", &buffer));
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until(&settled("prices"), 1.0);
    std::fs::write(dir.path().join("taken"), "").unwrap();
    let moved = table("prices", "buffer = \"journal:./taken\"\n");
    reload(&serving, dir.path(), &(moved + &table("costs", &buffer)), FAILED);
    assert_eq!(put(&serving, "costs/a", &row("a", 1, 1)), 202);
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 503);
    let said = log(dir.path());
    assert!(
        said.contains("cannot run table prices as before: the pipeline table:costs has its buffer"),
        "{said}"
    );
    until("/ready names it", || ready(&serving).contains("the pipeline table:prices does not run"));
    // It is tried again without another SIGHUP.
    std::fs::remove_file(dir.path().join("taken")).unwrap();
    until("rows are taken", || put(&serving, "prices/b", &row("b", 2, 2)) == 202);
    until("/ready names it no more", || !ready(&serving).contains("table:prices"));
    serving.until(&settled("prices"), 1.0);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_table_that_changes_is_answered_503_and_never_404() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["prices", "costs", "rates"];
    let all = |lines: &str| names.map(|name| table(name, lines)).concat();
    configure(dir.path(), &all(""));
    let serving = Serving::start_logged(dir.path(), &[]);
    let over = std::sync::atomic::AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let producers = names.map(|name| {
            let (serving, over) = (&serving, &over);
            scope.spawn(move || {
                let mut answers = std::collections::BTreeSet::new();
                for n in 1.. {
                    answers.insert(put(serving, &format!("{name}/a"), &row("a", n, n)));
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
                answers
            })
        });
        for batch_max in 3..6 {
            reload(&serving, dir.path(), &all(&format!("batch_max = {batch_max}\n")), DONE);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        let joined = producers.into_iter().flat_map(|producer| producer.join().unwrap());
        joined.collect::<std::collections::BTreeSet<u16>>()
    });
    assert!(answers.iter().all(|status| [202, 503].contains(status)), "{answers:?}");
    assert_eq!(put(&serving, "prices/b", &row("b", 1, 1)), 202);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_reload_that_leaves_a_move_warns_as_a_start_does() {
    let dir = tempfile::tempdir().unwrap();
    let text = table("prices", "buffer = \"journal:./one\"\nnext_buffer = \"journal:./two\"\n");
    configure(dir.path(), &text);
    done(dir.path(), &["store", "migrate"]);
    let serving = Serving::start_logged(dir.path(), &[]);
    lead(dir.path(), &["--table", "prices", "--share", "50"], 50, None);
    reload(&serving, dir.path(), &table("prices", "buffer = \"journal:./one\"\n"), DONE);
    let said = log(dir.path());
    assert!(said.contains("ACCEPTED EVENTS MAY WAIT IN ANOTHER BUFFER"), "{said}");
    assert!(serving.terminate().0.success());
}

#[test]
fn what_a_changed_table_leaves_in_its_spill_and_its_buffer_is_named() {
    let (redis, buffer) = on_redis();
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &table("prices", &format!("{buffer}spill = \"journal:./aside\"\n")));
    let serving = Serving::start_logged(dir.path(), &[]);
    run(dir.path(), &["pipeline", "pause", "table:prices"]);
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"paused\"}", 1.0);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    redis.stop();
    for n in 0..3 {
        assert_eq!(put(&serving, &format!("prices/{n}"), &row(&n.to_string(), n, 1)), 202);
    }
    reload(&serving, dir.path(), &table("prices", "buffer = \"journal:./other\"\n"), DONE);
    let said = log(dir.path());
    assert!(said.contains("3 events of a changed table stay in its spill"), "{said}");
    assert!(said.contains("cannot count what stays in its buffer"), "{said}");
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 202);
    assert!(serving.terminate().0.success());
}
