//! The real-shaped data set, whole: 288,062 payments nobody here wrote, through the real binary.
//!
//! The file is not part of the product. `TEST_DATASET` names it; without it the test says that it
//! was skipped, and fails where `CI=true`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and skips aloud"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const PAYMENTS: u64 = 288_062;

#[test]
fn the_data_set_settles_whole_and_is_judged_the_same_by_one_lane_and_by_eight() {
    let Some(file) = data_set() else { return };
    let reference = [replay(&file, 1, &[]), replay(&file, 8, &[])];
    assert!(!reference[0].is_empty());
    assert_eq!(reference[0], reference[1]);
}

/// The default rules hardly fire on it. Sharper ones do, and then order within a card shows.
#[test]
fn sharper_rules_find_much_and_the_same_with_one_lane_and_with_eight() {
    let Some(file) = data_set() else { return };
    let [one, eight] = [1, 8].map(|lanes| replay(&file, lanes, &SHARPER));
    assert!(one.len() > 1000, "only {} flagged: too few to compare", one.len());
    assert_eq!(one, eight);
}

const SHARPER: [&str; 3] = [
    "fraud.velocity.payments_min=2",
    "fraud.velocity.window_ms=3600000",
    "fraud.amount_spike.factor_permille=3000",
];

fn data_set() -> Option<PathBuf> {
    let file = std::env::var_os("TEST_DATASET").map(PathBuf::from).filter(|file| file.exists());
    if file.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "TEST_DATASET names no file");
        eprintln!("SKIPPED: TEST_DATASET names no file, so the data set was not replayed");
    }
    file
}

/// The flagged payments with their rules.
fn replay(file: &Path, lanes: usize, settings: &[&str]) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/card-payments-2018.toml");
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let ended = Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("replay")
        .arg(file)
        .arg("--map")
        .arg(map)
        .args(["--drain", "--set", &format!("engine.lanes={lanes}"), "--report"])
        .arg(&report)
        .args(settings)
        .arg("--data")
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));

    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("accepted"), count("settled")), (PAYMENTS, PAYMENTS));
    assert_eq!((count("dead"), count("pending"), count("refused")), (0, 0, 0));
    assert_eq!(report["audit"]["verdict"], "ok");

    let store = rusqlite::Connection::open(dir.path().join("forebay.db")).unwrap();
    let rows: i64 = store.query_row("SELECT count(*) FROM transactions", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 288_062);
    let mut statement =
        store.prepare("SELECT tx_id, fraud_rules FROM transactions WHERE is_fraud = 1").unwrap();
    let flagged = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    flagged.map(Result::unwrap).collect()
}
