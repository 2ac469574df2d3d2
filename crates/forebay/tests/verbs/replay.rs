//! `replay` with `--drain`.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::running::{binary, count, done, json, ran, run};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/payments.ndjson");
const MAP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/card-payments-2018.toml");

#[test]
fn the_example_is_settled_audited_and_not_offered_twice() {
    let dir = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(EXAMPLE).unwrap().lines().count() as u64;
    let printed = done(dir.path(), &["replay", EXAMPLE, "--drain", "--report", "r.json"]);
    assert!(printed.contains("ok: 0 lost, 0 double effects"), "{printed}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("r.json")).unwrap()).unwrap();
    for name in ["offered", "accepted", "settled"] {
        assert_eq!(report[name], lines, "{name}");
    }
    let again = done(dir.path(), &["replay", EXAMPLE, "--drain"]);
    assert!(again.contains("All of this file was offered before"), "{again}");
    let anew = done(dir.path(), &["replay", EXAMPLE, "--drain", "--restart", "--report", "r.json"]);
    assert!(anew.contains(&format!("{lines} suppressed")), "{anew}");
    let rows = count(&dir.path().join("data/forebay.db"), "SELECT count(*) FROM transactions");
    assert_eq!(u64::try_from(rows), Ok(lines));
}

#[test]
fn standard_input_is_read_to_its_end_whenever_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(EXAMPLE).unwrap().lines().count();
    let piped = |args: &[&str]| {
        let mut command = binary(dir.path(), args);
        ran(&command.stdin(File::open(EXAMPLE).unwrap()).output().unwrap())
    };
    for _ in 0..2 {
        let ran = piped(&["replay", "-", "--format", "ndjson", "--drain"]);
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        let said = format!("{lines} records, {lines} accepted, 0 rejected.");
        assert!(ran.stdout.contains(&said), "{}", ran.stdout);
    }
    let rows = count(&dir.path().join("data/forebay.db"), "SELECT count(*) FROM transactions");
    assert_eq!(usize::try_from(rows), Ok(lines));
    let unnamed = piped(&["replay", "-"]);
    assert_eq!(unnamed.code, 2);
    assert!(
        unnamed.stderr.contains("its format is unknown; give --format csv or ndjson"),
        "{}",
        unnamed.stderr
    );
}

#[test]
fn a_replay_of_standard_input_that_waits_is_ended_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = binary(dir.path(), &["replay", "-", "--format", "ndjson"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It has made the journal, and so listens to signals.
    let end = Instant::now() + Duration::from_secs(30);
    while !dir.path().join("data/buffer/LOCK").exists() {
        assert!(Instant::now() < end, "it never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let held_open = child.stdin.take();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let ran = ran(&child.wait_with_output().unwrap());
    drop(held_open);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("Interrupted: replay standard input again"), "{}", ran.stdout);
}

#[test]
fn without_drain_events_wait_in_the_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(EXAMPLE).unwrap().lines().count();
    done(dir.path(), &["replay", EXAMPLE]);
    let stat = json(dir.path(), &["buffer", "stat", "--json"]);
    assert_eq!(stat["pending"], lines);
    assert!(!dir.path().join("data/forebay.db").exists());
    let peeked = done(dir.path(), &["buffer", "peek", "--count", "2"]);
    assert_eq!(peeked.lines().count(), 2);
    assert!(!peeked.contains("4000000000001018"), "card numbers are masked: {peeked}");
    let clear = done(dir.path(), &["buffer", "peek", "--count", "1", "--reveal", "--json"]);
    let clear: serde_json::Value = serde_json::from_str(&clear).unwrap();
    assert!(clear["payload"].as_str().unwrap().contains("4000000000001018"), "{clear}");
}

#[test]
fn a_backlog_of_an_earlier_run_is_no_violation_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let lines = std::fs::read_to_string(EXAMPLE).unwrap().lines().count();
    done(dir.path(), &["replay", EXAMPLE]);
    let printed = done(dir.path(), &["replay", EXAMPLE, "--drain"]);
    assert!(printed.contains("All of this file was offered before"), "{printed}");
    assert!(printed.contains("ok: 0 lost, 0 double effects"), "{printed}");
    let rows = count(&dir.path().join("data/forebay.db"), "SELECT count(*) FROM transactions");
    assert_eq!(usize::try_from(rows), Ok(lines));
}

#[test]
fn rejects_are_listed_by_reason_and_are_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let csv = "transaction_id,timestamp,customer_id,terminal_id,amount\n\
               1,2018-04-01 00:00:31,596,3156,57.16\n\
               2,2018-04-01 00:02:10,4961,3412,not a number\n\
               3,2018-04-01 00:07:56,2,1365,146.00\n\
               4,yesterday,2,1365,146.00\n";
    std::fs::write(dir.path().join("p.csv"), csv).unwrap();
    let ran = run(dir.path(), &["replay", "p.csv", "--map", MAP, "--drain"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("4 records, 2 accepted, 2 rejected."), "{}", ran.stdout);
    assert!(ran.stdout.contains("amount: ") && ran.stdout.contains("(line 3)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("created_at: "), "{}", ran.stdout);
    let sum = count(&dir.path().join("data/forebay.db"), "SELECT sum(amount) FROM transactions");
    assert_eq!(sum, 57_160 + 146_000);
}
