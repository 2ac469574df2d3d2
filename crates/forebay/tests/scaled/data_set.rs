//! The real-shaped data set through one process and through four: the same verdicts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disturbing;
use crate::layout::Layout;
use crate::process::Process;
use crate::rig::Rig;

const PAYMENTS: usize = 288_062;
/// The default rules hardly fire on it. Sharper ones do, and then order within a card shows.
const SHARPER: [&str; 6] = [
    "--set",
    "fraud.velocity.payments_min=2",
    "--set",
    "fraud.velocity.window_ms=3600000",
    "--set",
    "fraud.amount_spike.factor_permille=3000",
];
const SETTLED_WITHIN: Duration = Duration::from_secs(240);

#[test]
fn one_process_and_four_flag_the_same_payments_by_the_same_rules() {
    let Some(file) = data_set() else { return };
    let one = flagged(&file, 1);
    assert!(one.len() > 1_000, "only {} flagged: too few to compare", one.len());
    assert_eq!(one, flagged(&file, 4));
}

pub(crate) fn data_set() -> Option<PathBuf> {
    let file = std::env::var_os("TEST_DATASET").map(PathBuf::from).filter(|file| file.exists());
    if file.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "TEST_DATASET names no file");
        println!("SKIPPED: TEST_DATASET names no file, so the data set was not replayed");
    }
    file
}

fn flagged(file: &Path, workers: usize) -> BTreeMap<String, String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rig = Rig::start(Layout::List);
    for _ in 0..workers {
        rig.add_worker_with(&SHARPER);
    }
    // One that came late would find everything done by the others.
    disturbing::joined(&mut rig, &runtime);
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/card-payments-2018.toml");
    let (file, map) = (file.to_str().unwrap(), map.to_str().unwrap());
    rig.verb(&["replay", file, "--map", map]);
    let count = |rig: &Rig| {
        let rows = rig.postgres.query("SELECT count(*) FROM fds.transactions").unwrap();
        rows[0][0].as_deref().unwrap().parse::<usize>().unwrap()
    };
    let end = Instant::now() + SETTLED_WITHIN;
    while count(&rig) < PAYMENTS {
        rig.workers.iter_mut().for_each(Process::must_live);
        assert!(Instant::now() < end, "only {} settled in time", count(&rig));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(count(&rig), PAYMENTS);
    let shares = rig.shares(&vec![0; workers], PAYMENTS);
    assert_eq!(shares.iter().sum::<usize>(), PAYMENTS, "each is settled by one of them");
    assert!(shares.iter().all(|share| *share > 0), "not all took part: {shares:?}");
    let sql = "SELECT tx_id, fraud_rules::text FROM fds.transactions WHERE is_fraud";
    let rows = rig.postgres.query(sql).unwrap().into_iter();
    rows.map(|row| {
        let [id, rules] = <[_; 2]>::try_from(row).unwrap().map(Option::unwrap);
        (id, rules)
    })
    .collect()
}
