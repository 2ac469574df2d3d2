//! `advise`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::running::{PATIENCE, Serving, count, json, run};

/// Rows of one second each, and a verdict after three of them.
const SECONDS: [&str; 4] = ["--set", "history.interval_s=1", "--set", "advise.load_min_s=3"];

fn advise<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["advise"], more, &SECONDS].concat()
}

fn generate(dir: &Path, to: &str, tps: &str, seconds: &str) {
    let ran = run(dir, &["generate", "--to", to, "--tps", tps, "--duration", seconds]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_server_under_load_notes_it_and_the_advice_has_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let began_ms = model::clock::Clock::now_ms(&model::clock::System);
    // Lanes that wait for company are idle most of the time, however slow the disk.
    let serving =
        Serving::start(dir.path(), &[&SECONDS[..], &["--set", "engine.linger_ms=100"]].concat());
    generate(dir.path(), &serving.address, "400", "6s");
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 2_400.0);
    // While it runs: others may look on.
    let end = Instant::now() + PATIENCE;
    let store = dir.path().join("data/forebay.db");
    while count(&store, "SELECT coalesce(sum(settled), 0) FROM load_history") < 2_400 {
        assert!(Instant::now() < end, "not all of it is noted");
        std::thread::sleep(Duration::from_millis(50));
    }
    let told = json(dir.path(), &advise(&["--json"]));
    let seen = &told["seen"];
    assert_eq!(
        (&told["verdict"], &told["pipeline"]),
        (&"journal".into(), &"consumer_batch".into())
    );
    assert_eq!(told["rule"], "room_enough");
    // Every event is counted once, whichever seconds it fell into.
    assert_eq!(seen["events"], 2_400, "{told}");
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{told}"));
    let peak = number(&seen["busiest"]["per_s"]);
    assert!((300.0..=2_400.0).contains(&peak), "{peak}: {told}");
    assert!(number(&seen["loaded_s"]) >= 3.0, "{told}");
    let at = seen["busiest"]["started_at_ms"].as_i64().unwrap();
    assert!(at > began_ms - 1_000 && at % 1_000 == 0, "{told}");
    assert_eq!(seen["busiest"]["processes"], 1);
    let capacity = number(&told["capacity"]["process_per_s"]);
    let utilization = number(&told["capacity"]["utilization"]);
    assert!(capacity > peak && (utilization - peak / capacity).abs() < 1e-9, "{told}");
    let busy = number(&seen["busiest"]["busy_share"]);
    assert!(busy > 0.0 && busy <= number(&seen["busiest"]["busy_share_max"]), "{told}");
    assert_eq!(told["costs"]["today"]["dollars_per_month"], 37.96);
    assert_eq!(told["costs"]["advised"]["dollars_per_month"], 37.96);

    let two = ["--set", "advise.processes=2", "--set", "advise.prices.machine=1"];
    let told = json(dir.path(), &advise(&[&["--json"], &two[..]].concat()));
    assert_eq!((&told["verdict"], &told["rule"]), (&"redis".into(), &"several_processes".into()));
    assert_eq!(told["costs"]["advised"]["dollars_per_hour"], 2.046);
    let text = run(dir.path(), &advise(&two));
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert!(
        text.stdout.contains("Redis, with 2 machines: advise.processes requires 2"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("redis://"), "{}", text.stdout);
    assert!(!text.stdout.contains('█'), "no picture where no terminal is: {}", text.stdout);
    assert!(serving.terminate().0.success());
}

#[test]
fn rows_are_kept_for_as_long_as_told_and_a_restart_adds_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("data/forebay.db");
    let serving = Serving::start(dir.path(), &SECONDS);
    generate(dir.path(), &serving.address, "100", "2s");
    assert!(serving.terminate().0.success());
    let rows = count(&store, "SELECT count(*) FROM load_history");
    assert!(rows >= 1, "{rows}");
    // As if it had been 169 hours ago.
    let db = rusqlite::Connection::open(&store).unwrap();
    db.execute("UPDATE load_history SET started_at = started_at - 169 * 3600000", []).unwrap();
    drop(db);
    let serving = Serving::start(dir.path(), &SECONDS);
    let old =
        "SELECT count(*) FROM load_history WHERE started_at < (unixepoch() - 168 * 3600) * 1000";
    let end = Instant::now() + PATIENCE;
    while count(&store, old) > 0 || count(&store, "SELECT count(*) FROM load_history") == 0 {
        assert!(Instant::now() < end, "old rows stay");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(count(&store, "SELECT count(DISTINCT process) FROM load_history"), 1);
    assert!(serving.terminate().0.success());
}

#[test]
fn too_little_history_is_said_with_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = run(dir.path(), &["advise"]);
    assert_eq!(nothing.code, 1, "{}", nothing.stderr);
    let says = "Not enough yet: nobody settled anything in the last 24 h";
    assert!(nothing.stdout.contains(says), "{}", nothing.stdout);
    assert!(!dir.path().join("data").exists(), "looking makes nothing");

    let serving = Serving::start(dir.path(), &SECONDS);
    generate(dir.path(), &serving.address, "100", "2s");
    assert!(serving.terminate().0.success());
    let little = run(dir.path(), &["advise", "--hours", "2", "--json"]);
    assert_eq!(little.code, 1, "{}", little.stderr);
    let told: serde_json::Value = serde_json::from_str(&little.stdout).unwrap();
    assert_eq!(told["verdict"], "not_enough_yet");
    assert!(
        told["sentence"].as_str().unwrap().contains("advise.load_min_s asks for 10 min"),
        "{told}"
    );
    assert!(told["seen"]["events"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(told["costs"]["advised"], serde_json::Value::Null);
}

#[test]
fn a_history_that_can_not_be_written_harms_nothing_and_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start_logged(dir.path(), &SECONDS);
    let store = dir.path().join("data/forebay.db");
    let db = rusqlite::Connection::open(&store).unwrap();
    db.execute("DROP TABLE load_history", []).unwrap();
    generate(dir.path(), &serving.address, "200", "4s");
    serving.until("processed_tasks_total{pipeline=\"consumer_batch\"}", 800.0);
    serving.until("buffer_size{buffer=\"journal\"}", 0.0);
    assert!(serving.terminate().0.success());
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 800);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    let warnings = log.matches("the history of the load has gaps").count();
    assert_eq!(warnings, 1, "{log}");
    assert!(!log.contains("a transaction failed"), "{log}");
}

#[test]
fn what_can_not_be_asked_is_an_unusable_argument() {
    let dir = tempfile::tempdir().unwrap();
    let check = |args: &[&str], says: &str| {
        let ran = run(dir.path(), &[&["advise"], args].concat());
        assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    };
    check(&["--hours", "0"], "0 is not in 1..=720");
    check(&["--set", "advise.utilization=1.5"], "it must be a number from 0.01 to 1");
    check(&["--set", "history.keep_h=0"], "history.keep_h is 0");
    check(&["--table", "prices"], "there is no such [[table]]");
    let file = "[advise.prices]\nmachine = 1\nredis = \"cheap\"\n";
    std::fs::write(dir.path().join("forebay.toml"), file).unwrap();
    check(
        &[],
        "forebay.toml:3: advise.prices.redis is \"cheap\"; it must be a number from 0 to 100000",
    );
}
