//! Tables of others, in SQLite.

use model::{Class, Classify};
use store::conformance::Subject as _;
use store::tables::{Column, Mode, Name, Record, Type, Value, Written};
use store::{Table, Target};

use crate::conformance::Sqlite;

fn target(table: &str) -> Target {
    let column =
        |name: &str| Column { name: Name::new(name).unwrap(), kind: Type::Bigint, nullable: false };
    Target {
        schema: None,
        table: Name::new(table).unwrap(),
        columns: vec![column("id"), column("n")],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

#[tokio::test]
async fn no_table_of_the_stores_own_is_anybodys_target() {
    let sqlite = Sqlite::new().await;
    for name in ["transactions", "Transactions", "pipeline_completion_log", "sqlite_schema"] {
        let refused = sqlite.store().tables().table(&target(name)).err().unwrap().to_string();
        assert!(refused.contains("name another"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_beside_the_one_that_settles_reads_and_writes_the_same_table() {
    use store::tables::Value::Bigint;
    let sqlite = Sqlite::new().await;
    let [ours, theirs] = [sqlite.store().tables(), sqlite.beside().tables()]
        .map(|tables| tables.table(&target("counts")).unwrap());
    ours.create().await.unwrap();
    assert_eq!(theirs.read(vec![Bigint(1)]).await, Ok(None));
    ours.write(vec![vec![Bigint(1), Bigint(2)]]).await.unwrap();
    assert_eq!(theirs.read(vec![Bigint(1)]).await, Ok(Some(vec![Bigint(1), Bigint(2)])));
    let written = theirs.write(vec![vec![Bigint(1), Bigint(2)], vec![Bigint(2), Bigint(3)]]).await;
    assert_eq!(written, Ok(vec![Written::Same, Written::Written]));
    assert_eq!(ours.read(vec![Bigint(2)]).await, Ok(Some(vec![Bigint(2), Bigint(3)])));
}

/// Table `t`: a key `k`, a value `a`, a number `n`.
fn texts(mode: Mode, value: Type) -> Target {
    let column =
        |name: &str, kind| Column { name: Name::new(name).unwrap(), kind, nullable: false };
    Target {
        schema: None,
        table: Name::new("t").unwrap(),
        columns: vec![column("k", Type::Text), column("a", value), column("n", Type::Bigint)],
        keys: vec![0],
        mode,
    }
}

fn row(key: &str, value: &str, n: i64) -> Record {
    vec![Value::Text(key.into()), Value::Text(value.into()), Value::Bigint(n)]
}

async fn skipped(table: &dyn Table, rows: Vec<Record>, reason: &str) {
    let refused = table.write(rows).await.expect_err("a trigger skips a row");
    assert_eq!(refused.class(), Class::Rejected, "{refused}");
    assert!(refused.to_string().contains(reason), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_a_trigger_skips_is_refused_and_leaves_nothing_elsewhere() {
    for mode in [Mode::Insert, Mode::Upsert { version: 2, stamped: false }] {
        let sqlite = Sqlite::new().await;
        sqlite
            .execute(
                "CREATE TABLE t (k TEXT PRIMARY KEY, a TEXT NOT NULL, n INTEGER NOT NULL);
                 CREATE TABLE elsewhere (k TEXT);
                 CREATE TRIGGER away BEFORE INSERT ON t WHEN new.a = 'away' BEGIN
                 INSERT INTO elsewhere VALUES (new.k); SELECT RAISE(IGNORE); END;
                 CREATE TRIGGER kept BEFORE UPDATE ON t WHEN new.a = 'kept' BEGIN
                 SELECT RAISE(IGNORE); END",
            )
            .await;
        let table = sqlite.store().tables().table(&texts(mode, Type::Text)).unwrap();
        let reason = match mode {
            Mode::Insert => "skipped it",
            Mode::Upsert { .. } => "cannot keep the version",
        };
        skipped(&*table, vec![row("a", "away", 1)], reason).await;
        skipped(&*table, vec![row("b", "x", 1), row("a", "away", 1)], reason).await;
        assert_eq!(sqlite.query("SELECT k FROM t").await, Vec::<Vec<_>>::new());
        assert_eq!(sqlite.query("SELECT k FROM elsewhere").await, Vec::<Vec<_>>::new());
        assert_eq!(table.write(vec![row("b", "x", 2)]).await, Ok(vec![Written::Written]));
        if mode != Mode::Insert {
            assert_eq!(table.write(vec![row("b", "kept", 2)]).await, Ok(vec![Written::Older]));
            assert_eq!(table.write(vec![row("b", "kept", 1)]).await, Ok(vec![Written::Older]));
            skipped(&*table, vec![row("b", "kept", 3)], reason).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_value_that_can_not_be_read_is_another_and_stops_nothing() {
    let sqlite = Sqlite::new().await;
    let sql = "CREATE TABLE t (k TEXT PRIMARY KEY, a TEXT NOT NULL, n INTEGER NOT NULL);
               INSERT INTO t VALUES ('a', x'ff', 1), ('b', 'soon', 1)";
    sqlite.execute(sql).await;
    let table = sqlite.store().tables().table(&texts(Mode::Insert, Type::Timestamptz)).unwrap();
    let row = |key: &str| vec![Value::Text(key.into()), Value::Timestamptz(0), Value::Bigint(1)];
    let written = table.write(vec![row("a"), row("b"), row("c")]).await;
    let unread = Written::Another("column \"a\" holds what can't be read as timestamptz".into());
    assert_eq!(written, Ok(vec![unread.clone(), unread, Written::Written]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_column_can_not_tell_apart_is_told_at_the_start() {
    let told = async |sql: &str, expect: &str| {
        let sqlite = Sqlite::new().await;
        sqlite.execute(sql).await;
        let table = sqlite.store().tables().table(&texts(Mode::Insert, Type::Json)).unwrap();
        let problems = table.problems().await.unwrap();
        assert!(problems.iter().any(|said| said.contains(expect)), "{sql}: {problems:?}");
    };
    told("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, a TEXT, n INTEGER)", "NOCASE").await;
    let sql = "CREATE TABLE t (k TEXT PRIMARY KEY, a TEXT, n INTEGER);
               CREATE UNIQUE INDEX loose ON t (k COLLATE RTRIM)";
    told(sql, "RTRIM").await;
    // Of NUMERIC affinity: 12345678901234567890123 would become 1.2345678901234568e22.
    told("CREATE TABLE t (k TEXT PRIMARY KEY, a JSON, n INTEGER)", "json is kept in TEXT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_told_apart_byte_by_byte_and_found_by_their_index() {
    let sqlite = Sqlite::new().await;
    let sql =
        "CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL, a TEXT NOT NULL, n INTEGER NOT NULL);
               CREATE UNIQUE INDEX t_k ON t (k COLLATE BINARY)";
    sqlite.execute(sql).await;
    let table = sqlite.store().tables().table(&texts(Mode::Insert, Type::Text)).unwrap();
    assert_eq!(table.problems().await, Ok(Vec::new()));
    let rows = vec![row("a", "x", 1), row("A", "y", 1)];
    assert_eq!(table.write(rows.clone()).await, Ok(vec![Written::Written; 2]));
    assert_eq!(table.write(rows.clone()).await, Ok(vec![Written::Same; 2]));
    assert_eq!(table.read(vec![Value::Text("A".into())]).await, Ok(Some(rows[1].clone())));
    let plan = "EXPLAIN QUERY PLAN SELECT a FROM t WHERE k = 'a' COLLATE BINARY";
    let plan = sqlite.query(plan).await;
    assert!(plan.iter().flatten().flatten().any(|step| step.contains("t_k")), "{plan:?}");
}
