//! `forebay bench phases`: what it finds is written down, and what it made to find it is gone.

use std::path::Path;

use serde_json::Value;

use crate::layout::{Layout, NAME};
use crate::rig::Rig;
use crate::steps::{CARD, payment};

/// As little as can be asked for.
const BENCH: [&str; 8] =
    ["bench", "phases", "--events", "1000", "--limit", "2s", "--out", "measured"];

/// What lies in a folder.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Every key of Redis.
fn keys(rig: &Rig) -> Vec<String> {
    let told = rig.redis().call(&["KEYS", "*"]).unwrap();
    let mut keys: Vec<String> =
        told.array().iter().map(|key| key.text().unwrap().to_owned()).collect();
    keys.sort_unstable();
    keys
}

/// The first column of what a query tells.
fn column(rig: &Rig, sql: &str) -> Vec<String> {
    let rows = rig.postgres.query(sql).unwrap().into_iter();
    rows.map(|mut row| row.swap_remove(0).unwrap()).collect()
}

#[test]
fn three_phases_are_written_down_and_of_what_was_made_for_them_nothing_is_left() {
    let rig = Rig::start(Layout::List);
    // Somebody's, who has no worker yet: a bench is not to take it for its own.
    rig.redis().call(&["LPUSH", NAME, &payment("waits", CARD, "Cafe")]).unwrap();
    let (before, mut files) = (keys(&rig), names(rig.dir()));
    rig.verb(&BENCH);

    // A key of card fingerprints is neither there nor where a worker would look for its own.
    let measured = rig.dir().join("measured");
    assert_eq!(names(&measured), ["phases.html", "phases.json", "phases.txt"]);
    files.push("measured".to_owned());
    files.sort_unstable();
    assert_eq!(names(rig.dir()), files);
    let json = std::fs::read_to_string(measured.join("phases.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let phases = json["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 3, "{json}");
    let count = |phase: &Value, what: &str| phase[what].as_u64().unwrap();
    let settled: Vec<u64> = phases.iter().map(|phase| count(phase, "events")).collect();
    // The direct ones end after their time, however far they have come by then.
    assert!(settled.iter().all(|events| (1..=1_000).contains(events)), "{settled:?}");
    assert_eq!((settled[2], count(&phases[2], "errors")), (1_000, 0));
    for file in ["phases.txt", "phases.html"] {
        let text = std::fs::read_to_string(measured.join(file)).unwrap();
        for phase in phases {
            let name = phase["name"].as_str().unwrap();
            assert!(text.contains(name), "{file} does not tell of {name}");
        }
    }

    let schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fds%' ORDER BY nspname";
    assert_eq!(column(&rig, schemas), ["fds"]);
    assert_eq!(column(&rig, "SELECT count(*) FROM fds.transactions"), ["0"]);
    assert_eq!(keys(&rig), before);
    assert_eq!(rig.redis().call(&["LLEN", NAME]).unwrap().integer(), Some(1));
}

#[test]
fn a_schema_that_somebody_else_has_made_is_refused_by_its_name_and_left_as_it_is() {
    let rig = Rig::start(Layout::List);
    rig.postgres
        .execute(
            "CREATE SCHEMA fds_bench_1; CREATE TABLE fds_bench_1.notes (line text);
             INSERT INTO fds_bench_1.notes VALUES ('keep me')",
        )
        .unwrap();
    let ended = rig.command(&BENCH).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("fds_bench_1"), "{said}");
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'fds_bench_1'";
    assert_eq!(column(&rig, tables), ["notes"]);
    assert_eq!(column(&rig, "SELECT line FROM fds_bench_1.notes"), ["keep me"]);
}
