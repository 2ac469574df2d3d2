//! `demo`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use super::running::{binary, count, done, json, run};

fn report(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap()
}

fn numbers(report: &serde_json::Value, names: [&str; 3]) -> [u64; 3] {
    names.map(|name| report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}")))
}

#[test]
fn a_demo_settles_everything_once_and_reports_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--duration", "2s", "--tps", "500", "--report", "report.json"];
    let printed = done(dir.path(), &args);
    assert!(printed.contains("running  offered"), "a line a second: {printed}");
    assert!(printed.contains("ok: 0 lost, 0 double effects"), "{printed}");

    let report = report(dir.path());
    let [offered, accepted, refused] = numbers(&report, ["offered", "accepted", "refused"]);
    let [settled, dead, pending] = numbers(&report, ["settled", "dead", "pending"]);
    assert_eq!((offered, accepted + refused), (1_000, 1_000));
    assert_eq!(settled + dead + pending, accepted);
    let [duplicates, flagged, _] =
        numbers(&report, ["duplicates_suppressed", "flagged_total", "seed"]);
    assert_eq!(duplicates, 0);
    assert_eq!(report["audit"]["verdict"], "ok");
    assert_eq!(report["audit"]["lost"], 0);
    for field in ["p50", "p99", "max"] {
        assert!(report["latency_ms"][field].is_f64(), "{field} in {report}");
    }
    assert!(report["settled_per_second"].as_f64().unwrap() > 100.0, "{report}");
    assert!(report["rss_mib_max"].is_f64() || cfg!(not(target_os = "linux")), "{report}");
    let by_rule = report["flagged_by_rule"].as_object().unwrap();
    assert_eq!(by_rule.len(), 4, "each rule is there, also one that flagged nothing: {report}");

    let store = dir.path().join("data/demo/forebay.db");
    let rows = count(&store, "SELECT count(*) FROM transactions");
    assert_eq!(u64::try_from(rows), Ok(settled));
    let rows = count(&store, "SELECT count(*) FROM transactions WHERE is_fraud = 1");
    assert_eq!(u64::try_from(rows), Ok(flagged));
}

#[test]
fn a_demo_leaves_alone_what_a_configured_buffer_holds() {
    let dir = tempfile::tempdir().unwrap();
    let text = "next_buffer = \"journal:./next\"\n";
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    for to in ["journal:./next", "journal:./data/buffer"] {
        done(dir.path(), &["generate", "--count", "50", "--to", to]);
    }
    done(dir.path(), &["demo", "--duration", "1s", "--tps", "100"]);
    std::fs::write(dir.path().join("forebay.toml"), "").unwrap();
    for held in ["journal:./next", "journal:./data/buffer"] {
        let stat = json(dir.path(), &["buffer", "stat", "--json", "--buffer", held]);
        assert_eq!(stat["pending"], 50, "{held}: {stat}");
    }
}

#[test]
fn a_demo_stopped_early_still_drains_and_audits() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--duration", "10m", "--tps", "300", "--report", "report.json"];
    let mut child = binary(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut printed = String::new();
    while !printed.contains("00:02 running") {
        assert!(stdout.read_line(&mut printed).unwrap() > 0, "it goes on: {printed}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{printed}");
    assert!(printed.contains("ok: 0 lost"), "{printed}");
    let report = report(dir.path());
    let [accepted, settled, pending] = numbers(&report, ["accepted", "settled", "pending"]);
    assert!(accepted > 0 && accepted < 10_000, "{accepted}");
    assert_eq!((settled, pending), (accepted, 0));
    assert_eq!(report["audit"]["verdict"], "ok");
}

#[test]
fn a_demo_in_memory_says_that_nothing_survives_and_is_audited_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--duration", "1s", "--tps", "300", "--buffer", "memory:?capacity=5000"];
    let printed = done(dir.path(), &args);
    assert!(printed.contains("NOTHING (memory:)"), "{printed}");
    assert!(printed.contains("ok: 0 lost"), "{printed}");
}

#[test]
fn each_demo_begins_anew_and_wipes_nothing_that_it_did_not_make() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--duration", "1s", "--tps", "100"];
    done(dir.path(), &args);
    done(dir.path(), &args);
    let store = dir.path().join("data/demo/forebay.db");
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 100);

    std::fs::remove_file(dir.path().join("data/demo/.forebay-demo")).unwrap();
    let ran = run(dir.path(), &args);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("./data/demo was not made by a demo"), "{}", ran.stderr);
    assert_eq!(count(&store, "SELECT count(*) FROM transactions"), 100);
}

#[test]
fn a_demo_never_touches_the_configured_buffer_and_store() {
    let dir = tempfile::tempdir().unwrap();
    let text = "buffer = \"journal:mine/buffer\"\nstore = \"sqlite:mine/store.db\"\n";
    std::fs::write(dir.path().join("forebay.toml"), text).unwrap();
    done(dir.path(), &["demo", "--duration", "1s", "--tps", "100"]);
    assert!(!dir.path().join("mine").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--duration", "10m", "--tps", "100"];
    let mut child = binary(dir.path(), &args).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
