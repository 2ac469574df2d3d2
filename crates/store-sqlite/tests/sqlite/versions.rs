//! Versions that the database changes, in SQLite.

use std::sync::Arc;

use model::{Class, Classify};
use store::Table;
use store::conformance::Subject as _;
use store::tables::{Column, Mode, Name, Record, Type, Value, Written};

use crate::conformance::Sqlite;

/// 2026-03-02T03:00:00Z, in microseconds.
const SECOND_0: i64 = 1_772_420_400_000_000;

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, ver TEXT);";

async fn moments(sqlite: &Sqlite, sql: &str) -> Arc<dyn Table> {
    sqlite.execute(sql).await;
    let column =
        |name: &str, kind| Column { name: Name::new(name).unwrap(), kind, nullable: false };
    let target = store::Target {
        schema: None,
        table: Name::new("t").unwrap(),
        columns: vec![
            column("id", Type::Bigint),
            column("a", Type::Text),
            column("ver", Type::Timestamptz),
        ],
        keys: vec![0],
        mode: Mode::Upsert { version: 2, stamped: false },
    };
    let table = sqlite.store().tables().table(&target).unwrap();
    assert_eq!(table.problems().await, Ok(Vec::new()));
    table
}

fn row(id: i64, a: &str, micros: i64) -> Record {
    vec![Value::Bigint(id), Value::Text(a.into()), Value::Timestamptz(SECOND_0 + micros)]
}

async fn rejected(table: &dyn Table, rows: Vec<Record>) -> String {
    let refused = table.write(rows).await.unwrap_err();
    assert_eq!(refused.class(), Class::Rejected, "{refused}");
    refused.to_string()
}

#[tokio::test]
async fn a_version_that_a_trigger_sets_is_rejected_and_nothing_is_written() {
    for set in ["'2030-01-01T00:00:00.000000Z'", "'2020-01-01T00:00:00.000000Z'", "NULL", "'now'"] {
        let sqlite = Sqlite::new().await;
        let sql = format!(
            "{T} CREATE TRIGGER g AFTER INSERT ON t WHEN new.a <> 'plain' \
             BEGIN UPDATE t SET ver = {set} WHERE id = new.id; END"
        );
        let table = moments(&sqlite, &sql).await;
        let reason = rejected(&*table, vec![row(2, "plain", 1), row(1, "a", 7)]).await;
        let expect = "column \"ver\": sent 2026-03-02T03:00:00.000007Z, the table holds";
        assert!(reason.contains(expect), "{reason}");
        assert_eq!(sqlite.query("SELECT * FROM t").await, Vec::<Vec<_>>::new(), "{set}");
        assert_eq!(table.write(vec![row(2, "plain", 1)]).await, Ok(vec![Written::Written]));
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_skips_is_rejected() {
    let sqlite = Sqlite::new().await;
    let sql = format!(
        "{T} CREATE TRIGGER g BEFORE INSERT ON t WHEN new.a = 'skipped' \
         BEGIN SELECT RAISE(IGNORE); END"
    );
    let table = moments(&sqlite, &sql).await;
    let reason = rejected(&*table, vec![row(9, "skipped", 2)]).await;
    assert!(reason.contains("the table holds no row of this key"), "{reason}");
    assert_eq!(table.write(vec![row(1, "1", 1)]).await, Ok(vec![Written::Written]));
    let reason = rejected(&*table, vec![row(1, "skipped", 2)]).await;
    assert!(reason.contains("the table holds 2026-03-02T03:00:00.000001Z"), "{reason}");
}

#[tokio::test]
async fn a_stored_version_that_is_no_text_of_utf_8_rejects_its_own_row_alone() {
    let sqlite = Sqlite::new().await;
    let table =
        moments(&sqlite, &format!("{T} INSERT INTO t VALUES (1, 'x', CAST(x'ff' AS TEXT))")).await;
    let (bad, good) =
        tokio::join!(table.write(vec![row(1, "bad", 1)]), table.write(vec![row(2, "good", 1)]));
    let bad = bad.unwrap_err();
    assert_eq!(bad.class(), Class::Rejected, "{bad}");
    assert!(bad.to_string().contains("which is no timestamptz"), "{bad}");
    assert_eq!(good, Ok(vec![Written::Written]));
}

/// As text, `2026-03-02 03:…` stands before and `…03:00:01Z` after every moment of that day that is
/// written here.
#[tokio::test]
async fn moments_that_somebody_wrote_in_another_form_are_compared_as_moments() {
    let sqlite = Sqlite::new().await;
    let sql = format!(
        "{T} INSERT INTO t VALUES (1, 'theirs', '2026-03-02 03:00:01'), \
         (2, 'theirs', '2026-03-02T03:00:01Z'), (3, 'theirs', 'soon')"
    );
    let table = moments(&sqlite, &sql).await;
    let older = vec![row(1, "older", 0), row(2, "older", 0)];
    assert_eq!(table.write(older).await, Ok(vec![Written::Older; 2]));
    let newer = vec![row(1, "newer", 1_500_000), row(2, "newer", 1_500_000)];
    assert_eq!(table.write(newer).await, Ok(vec![Written::Written; 2]));
    let reason = rejected(&*table, vec![row(3, "newer", 0)]).await;
    assert!(reason.contains("the table holds soon, which is no timestamptz"), "{reason}");
}
