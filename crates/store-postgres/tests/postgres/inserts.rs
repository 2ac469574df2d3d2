//! Rows that PostgreSQL stores otherwise than they were sent, or not at all.

use std::sync::Arc;

use model::{Class, Classify};
use store::tables::{Column, Mode, Name, Record, Type, Value, Written};
use store::{Table, Target};

use crate::fixture::Database;

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Table `t`: a key `k`, a value `a` that may be null, a number `n`.
async fn table(database: &Database, mode: Mode, key: Type, value: Type) -> Arc<dyn Table> {
    let column =
        |name: &str, kind, nullable| Column { name: Name::new(name).unwrap(), kind, nullable };
    let target = Target {
        schema: None,
        table: Name::new("t").unwrap(),
        columns: vec![
            column("k", key, false),
            column("a", value, true),
            column("n", Type::Bigint, false),
        ],
        keys: vec![0],
        mode,
    };
    database.table(&target).unwrap()
}

fn row(key: Value, value: Value) -> Record {
    vec![key, value, Value::Bigint(1)]
}

async fn refused(table: &dyn Table, rows: Vec<Record>, why: &str) {
    let answer = table.write(rows).await.expect_err(why);
    assert_eq!(answer.class(), Class::Rejected, "{answer}");
    assert!(answer.to_string().contains(why), "{answer}");
}

async fn counted(database: &Database, sql: &str) -> String {
    database.query(sql).await[0][0].clone().unwrap()
}

const MODES: [Mode; 2] = [Mode::Insert, Mode::Upsert { version: 2, stamped: false }];

#[tokio::test]
async fn a_row_that_a_trigger_skips_is_refused_and_leaves_nothing_elsewhere() {
    for mode in MODES {
        let database = Database::new().await;
        database
            .execute(
                "CREATE TABLE t (k bigint PRIMARY KEY, a text, n bigint NOT NULL);
                 CREATE TABLE elsewhere (LIKE t);
                 CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO elsewhere VALUES (NEW.*); RETURN NULL; END';
                 CREATE TRIGGER away BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a = 'away')
                 EXECUTE FUNCTION away()",
            )
            .await;
        let table = table(&database, mode, Type::Bigint, Type::Text).await;
        let (away, kept) =
            (row(Value::Bigint(1), text("away")), row(Value::Bigint(2), text("kept")));
        refused(&*table, vec![away.clone()], "skipped").await;
        refused(&*table, vec![kept.clone(), away], "skipped").await;
        assert_eq!(counted(&database, "SELECT count(*) FROM t").await, "0");
        assert_eq!(counted(&database, "SELECT count(*) FROM elsewhere").await, "0");
        assert_eq!(table.write(vec![kept]).await, Ok(vec![Written::Written]));
    }
}

#[tokio::test]
async fn an_update_that_a_trigger_skips_is_no_older_version() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (k bigint PRIMARY KEY, a text, n bigint NOT NULL);
             CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER skip BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION skip()",
        )
        .await;
    let table = table(&database, MODES[1], Type::Bigint, Type::Text).await;
    let version = |n| vec![Value::Bigint(1), text("x"), Value::Bigint(n)];
    assert_eq!(table.write(vec![version(5)]).await, Ok(vec![Written::Written]));
    assert_eq!(table.write(vec![version(5)]).await, Ok(vec![Written::Older]));
    assert_eq!(table.write(vec![version(4)]).await, Ok(vec![Written::Older]));
    refused(&*table, vec![version(6)], "sent 6, the table holds 5").await;
}

#[tokio::test]
async fn a_row_that_is_stored_under_another_key_is_refused_and_changes_nothing() {
    for mode in MODES {
        let database = Database::new().await;
        database.execute("CREATE TABLE t (k varchar(3) PRIMARY KEY, a text, n bigint)").await;
        let table = table(&database, mode, Type::Text, Type::Text).await;
        assert_eq!(table.problems().await, Ok(Vec::new()));
        let padded = vec![text("abc "), text("new"), Value::Bigint(9)];
        refused(&*table, vec![padded.clone()], "another key").await;
        let first = row(text("abc"), text("old"));
        assert_eq!(table.write(vec![first.clone()]).await, Ok(vec![Written::Written]));
        let answer = table.write(vec![padded]).await;
        match (mode, answer) {
            (Mode::Insert, Ok(written)) => {
                assert!(matches!(written[0], Written::Another(_)), "{written:?}");
            }
            (_, answer) => assert_eq!(answer.unwrap_err().class(), Class::Rejected),
        }
        assert_eq!(table.read(vec![text("abc")]).await, Ok(Some(first)));
    }
}

#[tokio::test]
async fn a_trigger_that_changes_the_key_is_found_before_anything_is_kept() {
    for mode in MODES {
        let database = Database::new().await;
        database
            .execute(
                "CREATE TABLE t (k text PRIMARY KEY, a text, n bigint);
                 CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN NEW.k := lower(NEW.k); RETURN NEW; END';
                 CREATE TRIGGER lowered BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lowered()",
            )
            .await;
        let table = table(&database, mode, Type::Text, Type::Text).await;
        refused(&*table, vec![row(text("A"), text("x"))], "another key").await;
        refused(&*table, vec![row(text("a"), text("x")), row(text("B"), text("x"))], "key").await;
        assert_eq!(counted(&database, "SELECT count(*) FROM t").await, "0");
        assert_eq!(table.write(vec![row(text("a"), text("x"))]).await, Ok(vec![Written::Written]));
    }
}

#[tokio::test]
async fn a_key_that_the_column_can_not_tell_apart_is_told_at_the_start() {
    let told = async |column: &str, kind: Type, expect: &str| {
        let database = Database::new().await;
        let sql = "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', \
                   deterministic = false); CREATE DOMAIN second AS timestamptz(0)";
        database.execute(sql).await;
        database.execute(&format!("CREATE TABLE t (k {column}, a text, n bigint)")).await;
        let table = table(&database, Mode::Insert, kind, Type::Text).await;
        let problems = table.problems().await.unwrap();
        assert!(problems.iter().any(|said| said.contains(expect)), "{column}: {problems:?}");
    };
    told("timestamptz(0) PRIMARY KEY", Type::Timestamptz, "rounds").await;
    told("second PRIMARY KEY", Type::Timestamptz, "rounds").await;
    told("text COLLATE anycase PRIMARY KEY", Type::Text, "collation").await;
    told("char(3) PRIMARY KEY", Type::Text, "text goes into").await;
}

#[tokio::test]
async fn a_rule_that_would_stand_in_for_an_insert_is_told_at_the_start() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (k bigint PRIMARY KEY, a text, n bigint);
             CREATE RULE nothing AS ON INSERT TO t DO INSTEAD NOTHING",
        )
        .await;
    let table = table(&database, Mode::Insert, Type::Bigint, Type::Text).await;
    let problems = table.problems().await.unwrap();
    assert!(problems.len() == 1 && problems[0].contains("rule"), "{problems:?}");
}

/// The same row is written twice, and then another one of its key.
async fn check(column: &str, kind: Type, sent: Value, another: Value) {
    let database = Database::new().await;
    let sql = format!("CREATE TABLE t (k bigint PRIMARY KEY, a {column}, n bigint NOT NULL)");
    database.execute("CREATE SCHEMA shop; CREATE DOMAIN shop.short AS varchar(3)").await;
    database.execute(&sql).await;
    let table = table(&database, Mode::Insert, Type::Bigint, kind).await;
    assert_eq!(table.problems().await, Ok(Vec::new()));
    let first = row(Value::Bigint(1), sent);
    let answer = table.write(vec![first.clone(), first.clone()]).await;
    assert_eq!(answer, Ok(vec![Written::Written, Written::Same]), "{column}: {first:?}");
    assert_eq!(table.write(vec![first.clone()]).await, Ok(vec![Written::Same]), "{column}");
    let written = table.write(vec![row(Value::Bigint(1), another)]).await.unwrap();
    let expect = vec![Written::Another("column \"a\" differs".into())];
    assert_eq!(written, expect, "{column}: {first:?}");
}

#[tokio::test]
async fn rows_are_compared_as_their_columns_store_them() {
    let json = |json: &str| Value::Json(json.into());
    let number = |number: &str| Value::Numeric(number.into());
    for column in ["jsonb", "json"] {
        let big = "12345678901234567890123";
        check(column, Type::Json, json(big), json("12345678901234567890124")).await;
        check(column, Type::Json, json("{\"n\":1e2}"), json("{\"n\":1e3}")).await;
        check(column, Type::Json, json("{\"n\":-0}"), json("{\"n\":1}")).await;
        check(column, Type::Json, json("{\"n\":1e999}"), json("{\"n\":2e999}")).await;
        check(column, Type::Json, json("null"), Value::Null).await;
    }
    check("numeric(10,2)", Type::Numeric, number("1.005"), number("1.02")).await;
    let (half, whole) = (1_772_420_400_500_000, 1_772_420_400_000_000);
    let time = Value::Timestamptz;
    check("timestamptz(0)", Type::Timestamptz, time(half), time(whole - 1_000_000)).await;
    check("varchar(3)", Type::Text, text("abc  "), text("abd")).await;
    check("shop.short", Type::Text, text("abc  "), text("ab")).await;
    let double = Value::Double;
    check("float8", Type::Double, double(0.1), double(0.1_f64.next_up())).await;
    check("integer", Type::Bigint, Value::Bigint(1), Value::Bigint(2)).await;
}

#[tokio::test]
async fn a_later_row_of_a_batch_that_is_cut_short_by_a_cast_is_not_the_first() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (k bigint PRIMARY KEY, a varchar(3), n bigint)").await;
    let table = table(&database, Mode::Insert, Type::Bigint, Type::Text).await;
    let rows = ["abc", "abcd", "abc "].map(|value| row(Value::Bigint(1), text(value)));
    let differs = Written::Another("column \"a\" differs".into());
    let expect = vec![Written::Written, differs, Written::Same];
    assert_eq!(table.write(rows.to_vec()).await, Ok(expect));
}

#[tokio::test]
async fn a_stored_value_that_can_not_be_read_is_another_and_stops_nothing() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (k bigint PRIMARY KEY, a timestamptz, n bigint);
             INSERT INTO t VALUES (1, 'infinity', 1)",
        )
        .await;
    let table = table(&database, Mode::Insert, Type::Bigint, Type::Timestamptz).await;
    let rows = vec![
        row(Value::Bigint(1), Value::Timestamptz(0)),
        row(Value::Bigint(2), Value::Timestamptz(0)),
    ];
    let differs = Written::Another("column \"a\" differs".into());
    assert_eq!(table.write(rows).await, Ok(vec![differs, Written::Written]));
}

/// A sequence is not rolled back, so it counts the tries.
#[tokio::test]
async fn a_row_that_is_skipped_is_tried_again_and_no_more_often_than_the_bound() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE t (k bigint PRIMARY KEY, a text, n bigint);
             CREATE SEQUENCE tries;
             CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF nextval(''tries'') < NEW.n THEN RETURN NULL; END IF; RETURN NEW; END';
             CREATE TRIGGER skip BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION skip()",
        )
        .await;
    let table = table(&database, Mode::Insert, Type::Bigint, Type::Text).await;
    let third = vec![Value::Bigint(1), text("x"), Value::Bigint(3)];
    assert_eq!(table.write(vec![third]).await, Ok(vec![Written::Written]));
    let never = vec![Value::Bigint(2), text("x"), Value::Bigint(1_000)];
    refused(&*table, vec![never], "skipped").await;
    assert_eq!(counted(&database, "SELECT last_value FROM tries").await, "6", "three for each");
}
