//! Versions that the database changes, in PostgreSQL.

use std::sync::Arc;

use model::{Class, Classify};
use store::Table;
use store::tables::{Column, Mode, Name, Record, Type, Value, Written};

use crate::fixture::Database;

/// 2026-03-02T03:00:00Z, in microseconds.
const SECOND_0: i64 = 1_772_420_400_000_000;

fn target(table: &str, kind: Type, stamped: bool) -> store::Target {
    let column =
        |name: &str, kind| Column { name: Name::new(name).unwrap(), kind, nullable: false };
    store::Target {
        schema: None,
        table: Name::new(table).unwrap(),
        columns: vec![column("id", Type::Bigint), column("a", Type::Text), column("ver", kind)],
        keys: vec![0],
        mode: Mode::Upsert { version: 2, stamped },
    }
}

/// A table `t` whose version is a `timestamptz`, after `sql`, which makes it.
async fn moments(database: &Database, sql: &str) -> Arc<dyn Table> {
    database.execute(sql).await;
    database.table(&target("t", Type::Timestamptz, false)).unwrap()
}

fn row(id: i64, a: &str, micros: i64) -> Record {
    vec![Value::Bigint(id), Value::Text(a.into()), Value::Timestamptz(SECOND_0 + micros)]
}

async fn rejected(table: &dyn Table, rows: Vec<Record>) -> String {
    let refused = table.write(rows).await.unwrap_err();
    assert_eq!(refused.class(), Class::Rejected, "{refused}");
    refused.to_string()
}

const T: &str = "CREATE TABLE t (id bigint PRIMARY KEY, a text, ver timestamptz);";

fn trigger(when: &str, body: &str) -> String {
    format!(
        "{T} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN {body} END $$; CREATE {when} ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
}

#[tokio::test]
async fn a_version_column_that_cannot_hold_what_is_sent_is_refused_before_anything_is_written() {
    let database = Database::new().await;
    let time = Type::Timestamptz;
    database.execute("CREATE DOMAIN rough AS timestamptz(3); CREATE DOMAIN rougher AS rough").await;
    for (declared, kind, stamped, expect) in [
        ("timestamptz(0)", time, false, Some("is timestamp(0) with time zone: it rounds")),
        ("timestamptz(5)", time, true, Some("is timestamp(5) with time zone: it rounds")),
        ("rough", time, false, Some("a domain over timestamp(3) with time zone: it rounds")),
        ("rougher", time, false, Some("rough")),
        ("timestamptz(6)", time, false, None),
        ("timestamptz", time, true, None),
        ("integer", Type::Bigint, true, Some("is integer: it cannot hold stamps")),
        ("integer", Type::Bigint, false, None),
        ("smallint", Type::Bigint, false, Some("is smallint: its versions end at 32767")),
        ("bigint", Type::Bigint, true, None),
        ("numeric(20, 0)", Type::Bigint, false, Some("\"ver\" is numeric")),
        ("double precision", Type::Bigint, false, Some("\"ver\" is float8")),
        ("timestamp", time, false, Some("\"ver\" is timestamp")),
        ("bigint GENERATED ALWAYS AS (id) STORED", Type::Bigint, false, Some("is generated")),
    ] {
        let sql = format!("CREATE TABLE t (id bigint PRIMARY KEY, a text, ver {declared})");
        database.execute(&format!("DROP TABLE IF EXISTS t; {sql}")).await;
        let table = database.table(&target("t", kind, stamped)).unwrap();
        let problems = table.problems().await.unwrap();
        match expect {
            None => assert_eq!(problems, Vec::<String>::new(), "{declared}"),
            Some(expect) => {
                assert_eq!(problems.len(), 1, "{declared}: {problems:?}");
                assert!(problems[0].contains(expect), "{declared}: {problems:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_rule_on_the_table_is_refused_before_anything_is_written() {
    let database = Database::new().await;
    let sql = format!("{T} CREATE RULE r AS ON INSERT TO t WHERE new.id < 0 DO INSTEAD NOTHING");
    let table = moments(&database, &sql).await;
    let problems = table.problems().await.unwrap();
    assert!(problems.iter().any(|problem| problem.contains("has a rule \"r\"")), "{problems:?}");
}

/// The column was changed after the check.
#[tokio::test]
async fn a_version_that_the_columns_type_rounds_is_rejected_and_nothing_is_written() {
    let database = Database::new().await;
    let sql = "CREATE TABLE t (id bigint PRIMARY KEY, a text, ver timestamptz(0))";
    let table = moments(&database, sql).await;
    let reason = rejected(&*table, vec![row(3, "first", 600_000)]).await;
    assert!(reason.contains("column \"ver\": sent 2026-03-02T03:00:00.600000Z"), "{reason}");
    assert!(reason.contains("the table holds 2026-03-02T03:00:01.000000Z"), "{reason}");
    assert_eq!(database.query("SELECT * FROM t").await, Vec::<Vec<_>>::new());
    // A version that is stored as sent is kept; a newer row that is rounded down to it is rejected.
    assert_eq!(table.write(vec![row(3, "kept", 1_000_000)]).await, Ok(vec![Written::Written]));
    let reason = rejected(&*table, vec![row(3, "newer", 1_400_000)]).await;
    assert!(reason.contains("sent 2026-03-02T03:00:01.400000Z"), "{reason}");
    assert!(reason.contains("the table holds 2026-03-02T03:00:01.000000Z"), "{reason}");
    assert_eq!(table.write(vec![row(3, "old", 0)]).await, Ok(vec![Written::Older]));
    assert_eq!(database.query("SELECT a FROM t").await, [[Some("kept".to_owned())]]);
}

#[tokio::test]
async fn a_version_that_a_trigger_sets_is_rejected_whenever_the_trigger_runs() {
    for (when, body) in [
        ("TRIGGER g BEFORE INSERT OR UPDATE", "new.ver := '2030-01-01Z'; RETURN new;"),
        ("TRIGGER g BEFORE INSERT OR UPDATE", "new.ver := '2020-01-01Z'; RETURN new;"),
        ("TRIGGER g BEFORE INSERT OR UPDATE", "new.ver := NULL; RETURN new;"),
        (
            "TRIGGER g AFTER INSERT",
            "UPDATE t SET ver = '2030-01-01Z' WHERE id = new.id; RETURN null;",
        ),
        (
            "CONSTRAINT TRIGGER g AFTER INSERT",
            "UPDATE t SET ver = '2030-01-01Z' WHERE id = new.id; RETURN null;",
        ),
    ] {
        let database = Database::new().await;
        let deferred =
            if when.starts_with("CONSTRAINT") { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        let sql = trigger(when, body).replace("FOR EACH", &format!("{deferred} FOR EACH"));
        let table = moments(&database, &sql).await;
        assert_eq!(table.problems().await, Ok(Vec::new()));
        let reason = rejected(&*table, vec![row(1, "a", 7)]).await;
        assert!(reason.contains("sent 2026-03-02T03:00:00.000007Z, the table holds"), "{reason}");
        assert_eq!(database.query("SELECT * FROM t").await, Vec::<Vec<_>>::new(), "{when} {body}");
    }
}

#[tokio::test]
async fn a_newer_row_that_a_trigger_holds_back_is_rejected_and_its_neighbours_are_written() {
    let database = Database::new().await;
    let body = "IF new.a = 'held' THEN new.ver := '2020-01-01Z'; END IF;
                IF new.a = 'skipped' THEN RETURN NULL; END IF; RETURN new;";
    let table = moments(&database, &trigger("TRIGGER g BEFORE INSERT", body)).await;
    let first = vec![row(1, "1", 1), row(2, "2", 1)];
    assert_eq!(table.write(first).await, Ok(vec![Written::Written; 2]));
    let reason = rejected(&*table, vec![row(2, "neighbour", 2), row(1, "held", 2)]).await;
    assert!(reason.contains("the table holds 2026-03-02T03:00:00.000001Z"), "{reason}");
    let reason = rejected(&*table, vec![row(1, "skipped", 2)]).await;
    assert!(reason.contains("the table holds 2026-03-02T03:00:00.000001Z"), "{reason}");
    let reason = rejected(&*table, vec![row(9, "skipped", 2)]).await;
    assert!(reason.contains("the table holds no row of this key"), "{reason}");
    let mixed = vec![row(2, "neighbour", 2), row(1, "old", 0), row(3, "3", 1)];
    let (old, new) = (Written::Older, Written::Written);
    assert_eq!(table.write(mixed).await, Ok(vec![new.clone(), old, new]));
    let rows = database.query("SELECT id, a FROM t ORDER BY id").await;
    let rows: Vec<_> = rows.iter().map(|row| row[1].as_deref().unwrap()).collect();
    assert_eq!(rows, ["1", "neighbour", "3"]);
}

#[tokio::test]
async fn a_trigger_that_merges_the_row_by_itself_does_no_harm() {
    let database = Database::new().await;
    let body = "UPDATE t SET a = new.a, ver = new.ver WHERE id = new.id AND ver < new.ver;
                IF FOUND THEN RETURN NULL; END IF; RETURN new;";
    let table = moments(&database, &trigger("TRIGGER g BEFORE INSERT", body)).await;
    assert_eq!(table.write(vec![row(1, "1", 1)]).await, Ok(vec![Written::Written]));
    assert_eq!(table.write(vec![row(1, "2", 2)]).await, Ok(vec![Written::Older]));
    assert_eq!(database.query("SELECT a FROM t").await, [[Some("2".to_owned())]]);
}

#[tokio::test]
async fn moments_without_end_stand_before_and_after_all_others() {
    let database = Database::new().await;
    let sql =
        format!("{T} INSERT INTO t VALUES (1, 'last', 'infinity'), (2, 'first', '-infinity')");
    let table = moments(&database, &sql).await;
    let written = table.write(vec![row(1, "a", 0), row(2, "a", 0)]).await;
    assert_eq!(written, Ok(vec![Written::Older, Written::Written]));
}
