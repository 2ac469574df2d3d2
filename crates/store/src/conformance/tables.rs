//! Rows of tables that are not ours: written in batches, read by key, guarded by their versions.

use std::sync::Arc;

use model::{Class, Classify};

use super::Subject;
use crate::Error;
use crate::tables::{Column, Mode, Name, Record, Table, Target, Type, Value, Written};

fn table(subject: &dyn Subject, target: &Target) -> Arc<dyn Table> {
    subject.store().tables().table(target).expect("it is a target")
}

fn column(name: &str, kind: Type, nullable: bool) -> Column {
    Column { name: Name::new(name).expect("it is a name"), kind, nullable }
}

/// A table of prices with a version.
fn prices(table: &str) -> Target {
    Target {
        schema: None,
        table: Name::new(table).expect("it is a name"),
        columns: vec![
            column("sku", Type::Text, false),
            column("price", Type::Bigint, false),
            column("version", Type::Bigint, false),
        ],
        keys: vec![0],
        mode: Mode::Upsert { version: 2, stamped: false },
    }
}

fn price(sku: &str, price: i64, version: i64) -> Record {
    vec![Value::Text(sku.into()), Value::Bigint(price), Value::Bigint(version)]
}

async fn made(subject: &dyn Subject, target: &Target) -> Arc<dyn Table> {
    let table = table(subject, target);
    assert_eq!(table.create().await, Ok(true));
    assert_eq!(table.problems().await, Ok(Vec::new()));
    table
}

async fn read(table: &dyn Table, sku: &str) -> Option<Record> {
    table.read(vec![Value::Text(sku.into())]).await.expect("it can be read")
}

/// A value of each type, and none at all, come back as they were written, also at the ends of what
/// a type holds.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn values_of_every_type_come_back_as_written(subject: &mut dyn Subject) {
    let table = made(subject, &facts("every_type")).await;
    let uuid = "0198c5b6-7d3a-7c1e-8f00-0123456789ab";
    let rows: Vec<Record> = vec![
        vec![
            Value::Bigint(i64::MAX),
            Value::Double(0.1 + 0.2),
            Value::Text("값 'quoted' \"twice\" \\ \n".into()),
            Value::Bool(true),
            Value::Timestamptz(1_772_334_000_123_456),
            Value::Numeric("12345678901234567890.120".into()),
            Value::Json("{\"a\": [1, null]}".into()),
            Value::Uuid(uuid.into()),
            Value::Bigint(1),
        ],
        vec![
            Value::Bigint(i64::MIN),
            Value::Double(-1e300),
            Value::Text(String::new()),
            Value::Bool(false),
            Value::Timestamptz(crate::tables::MICROS_MIN),
            Value::Numeric("-0.001".into()),
            Value::Json("null".into()),
            Value::Uuid(uuid.replace('0', "f")),
            Value::Bigint(2),
        ],
        [vec![Value::Null; 8], vec![Value::Bigint(3)]].concat(),
    ];
    assert_eq!(table.write(rows.clone()).await, Ok(vec![Written::Written; 3]));
    for (row, id) in rows.into_iter().zip(1..) {
        assert_eq!(table.read(vec![Value::Bigint(id)]).await, Ok(Some(row)));
    }
    assert_eq!(table.read(vec![Value::Bigint(4)]).await, Ok(None));
}

/// Many rows are read at once, in the order of their keys: a key may be missing, or be there twice.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn many_rows_are_read_in_the_order_of_their_keys(subject: &mut dyn Subject) {
    let table = made(subject, &prices("many")).await;
    let rows = (0..300).map(|n| price(&format!("sku-{n}"), n, 1)).collect();
    assert_eq!(table.write(rows).await, Ok(vec![Written::Written; 300]));
    let numbers: Vec<i64> = (0..600).rev().chain([7, 7]).collect();
    let keys = numbers.iter().map(|n| vec![Value::Text(format!("sku-{n}"))]).collect();
    let expected = numbers.iter().map(|n| (*n < 300).then(|| price(&format!("sku-{n}"), *n, 1)));
    assert_eq!(table.read_many(keys).await, Ok(expected.collect()));
    assert_eq!(table.read_many(Vec::new()).await, Ok(Vec::new()));
}

/// A greater version takes the row's place; the same one and a smaller one change nothing, and the
/// answer says so, row by row.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_newer_version_is_never_overwritten_by_an_older_one(subject: &mut dyn Subject) {
    let table = made(subject, &prices("prices")).await;
    let written = table.write(vec![price("a", 1, 5), price("b", 2, 5)]).await;
    assert_eq!(written, Ok(vec![Written::Written; 2]));
    let mixed = vec![price("a", 9, 4), price("c", 3, 1), price("b", 9, 5), price("d", 4, -1)];
    let (old, new) = (Written::Older, Written::Written);
    let expect = vec![old.clone(), new.clone(), old, new];
    assert_eq!(table.write(mixed).await, Ok(expect));
    assert_eq!(table.write(vec![price("a", 7, 6)]).await, Ok(vec![Written::Written]));
    for (sku, row) in [("a", price("a", 7, 6)), ("b", price("b", 2, 5)), ("c", price("c", 3, 1))] {
        assert_eq!(read(&*table, sku).await, Some(row));
    }
    // Not even by a batch of others that come again whole.
    let again = table.write(vec![price("a", 1, 5), price("b", 2, 5)]).await;
    assert_eq!(again, Ok(vec![Written::Older; 2]));
    assert_eq!(read(&*table, "a").await, Some(price("a", 7, 6)));
}

/// Versions that are moments are compared to the microsecond.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn versions_may_be_moments(subject: &mut dyn Subject) {
    let mut target = prices("moments");
    target.columns[2].kind = Type::Timestamptz;
    let table = made(subject, &target).await;
    let row = |price: i64, micros: i64| {
        vec![Value::Text("a".into()), Value::Bigint(price), Value::Timestamptz(micros)]
    };
    // Across a change of the number of digits of the epoch, and of the year's.
    for (micros, expect) in [
        (-1, Written::Written),
        (0, Written::Written),
        (999_999, Written::Written),
        (1_000_000, Written::Written),
        (999_999, Written::Older),
        (1_772_334_000_000_001, Written::Written),
        (1_772_334_000_000_000, Written::Older),
    ] {
        assert_eq!(table.write(vec![row(micros, micros)]).await, Ok(vec![expect]), "{micros}");
    }
    let last = 1_772_334_000_000_001;
    assert_eq!(read(&*table, "a").await, Some(row(last, last)));
}

/// A table of inserts: a value of each type in [`Type::ALL`], and `id` as the key.
fn facts(table: &str) -> Target {
    let mut columns: Vec<Column> =
        Type::ALL.iter().map(|kind| column(kind.name(), *kind, true)).collect();
    columns.push(column("id", Type::Bigint, false));
    let table = Name::new(table).expect("it is a name");
    Target { schema: None, table, columns, keys: vec![8], mode: Mode::Insert }
}

/// A row of [`facts`] that holds one value, and else NULL.
fn fact(id: i64, kind: Type, value: Value) -> Record {
    let mut row = [vec![Value::Null; 8], vec![Value::Bigint(id)]].concat();
    let at = Type::ALL.iter().position(|each| *each == kind).expect("it is one of them");
    row[at] = value;
    row
}

fn is_another(written: &Written, column: &str) -> bool {
    matches!(written, Written::Another(how) if how.contains(&format!("\"{column}\"")))
}

/// With [`Mode::Insert`] the first row of a key stands, in a batch as well as in the table; of a
/// later one the answer says whether it is the same, or in which column it differs.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn an_insert_leaves_what_is_there_and_says_how_it_differs(subject: &mut dyn Subject) {
    let mut target = prices("inserts");
    target.mode = Mode::Insert;
    let table = made(subject, &target).await;
    assert_eq!(table.write(vec![price("a", 1, 1)]).await, Ok(vec![Written::Written]));
    let batch = vec![
        price("b", 2, 1),
        price("a", 9, 9),
        price("c", 3, 1),
        price("a", 1, 1),
        price("c", 3, 2),
        price("c", 3, 1),
    ];
    let written = table.write(batch).await.expect("it can be written");
    assert_eq!((&written[0], &written[2]), (&Written::Written, &Written::Written));
    assert!(is_another(&written[1], "price"), "{written:?}");
    assert_eq!((&written[3], &written[5]), (&Written::Same, &Written::Same));
    assert!(is_another(&written[4], "version"), "{written:?}");
    assert_eq!(read(&*table, "a").await, Some(price("a", 1, 1)));
    assert_eq!(read(&*table, "c").await, Some(price("c", 3, 1)));
}

/// A row that comes again is the same one, whatever its columns made of its values.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn an_inserted_row_that_comes_again_is_the_same(subject: &mut dyn Subject) {
    let table = made(subject, &facts("again")).await;
    let json = |json: &str| (Type::Json, Value::Json(json.into()));
    let number = |number: &str| (Type::Numeric, Value::Numeric(number.into()));
    let values = [
        json("{\"n\":1e2}"),
        json("{\"n\": -0}"),
        json("{\"b\":1, \"a\":1e400}"),
        json("12345678901234567890123"),
        number("-0.00"),
        number("007.10"),
        number("12345678901234567890123.4567890"),
        (Type::Double, Value::Double(-0.0)),
        (Type::Double, Value::Double(1e300)),
        (Type::Text, Value::Text(" a ".into())),
        (Type::Timestamptz, Value::Timestamptz(1)),
    ];
    let rows = values.into_iter().zip(1..).map(|((kind, value), id)| fact(id, kind, value));
    let rows: Vec<Record> = rows.collect();
    assert_eq!(table.write(rows.clone()).await, Ok(vec![Written::Written; rows.len()]));
    assert_eq!(table.write(rows.clone()).await, Ok(vec![Written::Same; rows.len()]));
    let zeros = fact(6, Type::Numeric, Value::Numeric("7.100".into()));
    assert_eq!(table.write(vec![zeros]).await, Ok(vec![Written::Same]), "it is the same number");
}

/// Rows that differ by however little are two rows.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn an_inserted_row_that_differs_by_little_is_another(subject: &mut dyn Subject) {
    let table = made(subject, &facts("little")).await;
    let json = |json: &str| Value::Json(json.into());
    let number = |number: &str| Value::Numeric(number.into());
    let text = |text: &str| Value::Text(text.into());
    let pairs = [
        (Type::Json, json("12345678901234567890123"), json("12345678901234567890124")),
        (Type::Json, json("{\"n\":1e999}"), json("{\"n\":2e999}")),
        (Type::Json, json("0.1"), json("0.10000000000000000001")),
        (Type::Numeric, number("12345678901234567890123"), number("12345678901234567890124")),
        (Type::Numeric, number("0.1"), number("-0.1")),
        (Type::Text, text("a"), text("a ")),
        (Type::Text, text("a"), text("A")),
        (Type::Timestamptz, Value::Timestamptz(1), Value::Timestamptz(2)),
        (Type::Bool, Value::Bool(false), Value::Null),
    ];
    for ((kind, first, second), id) in pairs.into_iter().zip(1..) {
        let (first, second) = (fact(id, kind, first), fact(id, kind, second));
        assert_eq!(table.write(vec![first]).await, Ok(vec![Written::Written]));
        let written = table.write(vec![second.clone()]).await.expect("it can be written");
        assert!(is_another(&written[0], kind.name()), "{second:?}: {written:?}");
    }
}

/// One row that the table does not take keeps the whole batch out, and is what is blamed.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_batch_with_a_row_the_table_refuses_writes_nothing(subject: &mut dyn Subject) {
    let target = prices("checked");
    let sql = "CREATE TABLE checked (sku text PRIMARY KEY, price bigint NOT NULL \
               CHECK (price >= 0), version bigint NOT NULL)";
    subject.execute(sql).await;
    let table = table(subject, &target);
    assert_eq!(table.create().await, Ok(false), "what is there is left as it is");
    assert_eq!(table.problems().await, Ok(Vec::new()));
    let batch = vec![price("a", 1, 1), price("b", -1, 1), price("c", 3, 1)];
    let refused = table.write(batch).await.expect_err("one is below 0");
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    assert_eq!(subject.query("SELECT sku FROM checked").await, Vec::<Vec<_>>::new());
    let written = table.write(vec![price("a", 1, 1), price("c", 3, 1)]).await;
    assert_eq!(written, Ok(vec![Written::Written; 2]));
}

/// Names may hold anything; what is in them is never SQL.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn names_with_quotes_blanks_and_sql_are_names(subject: &mut dyn Subject) {
    subject.execute("CREATE TABLE victim (id bigint)").await;
    let mut target = prices("Order \"x\"; DROP TABLE victim; --");
    target.columns[0].name = Name::new("a\"b").expect("it is a name");
    target.columns[1].name = Name::new("select * from victim").expect("it is a name");
    target.columns[2].name = Name::new("'; --").expect("it is a name");
    let table = made(subject, &target).await;
    let nasty = "x'); DROP TABLE victim; --";
    assert_eq!(table.write(vec![price(nasty, 1, 1)]).await, Ok(vec![Written::Written]));
    assert_eq!(table.write(vec![price(nasty, 2, 2)]).await, Ok(vec![Written::Written]));
    assert_eq!(table.write(vec![price(nasty, 3, 1)]).await, Ok(vec![Written::Older]));
    assert_eq!(read(&*table, nasty).await, Some(price(nasty, 2, 2)));
    let sql = "SELECT \"select * from victim\" FROM \"Order \"\"x\"\"; DROP TABLE victim; --\"";
    assert_eq!(subject.query(sql).await, [[Some("2".to_owned())]]);
    subject.query("SELECT id FROM victim").await;
}

/// A key of several columns is one key: all of them have to be the same.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_key_may_have_several_columns(subject: &mut dyn Subject) {
    let mut target = prices("several");
    target.columns.push(column("shop", Type::Bigint, false));
    target.keys = vec![3, 0];
    let table = made(subject, &target).await;
    let row = |sku, shop| [price(sku, shop, 1), vec![Value::Bigint(shop)]].concat();
    let rows = vec![row("a", 1), row("a", 2), row("b", 1)];
    assert_eq!(table.write(rows).await, Ok(vec![Written::Written; 3]));
    assert_eq!(table.write(vec![row("a", 2)]).await, Ok(vec![Written::Older]));
    assert_eq!(table.rows().await, Ok(3));
    let key = |shop, sku: &str| vec![Value::Bigint(shop), Value::Text(sku.into())];
    assert_eq!(table.read(key(2, "a")).await, Ok(Some(row("a", 2))));
    assert_eq!(table.read(key(2, "b")).await, Ok(None));
}

/// What is missing is told, one clear sentence each, and nothing is made.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn what_is_missing_is_told_and_nothing_is_made(subject: &mut dyn Subject) {
    let target = prices("missing");
    let table = table(subject, &target);
    let one = |said: Result<Vec<String>, crate::Error>, expect: &str| {
        let said = said.expect("it can be looked at");
        assert!(said.iter().any(|problem| problem.contains(expect)), "{said:?} has no {expect}");
    };
    one(table.problems().await, "there is no table");
    assert_eq!(table.read(vec![Value::Text("a".into())]).await.map_err(|e| e.class()), {
        Err(Class::Retryable)
    });
    let refused = table.write(vec![price("a", 1, 1)]).await.expect_err("there is no table");
    assert_eq!(refused.class(), Class::Retryable, "no row is to blame: {refused}");
    subject.execute("CREATE TABLE missing (sku text, version text, shop bigint NOT NULL)").await;
    one(table.problems().await, "has no column \"price\"");
    one(table.problems().await, "column \"version\" is");
    one(table.problems().await, "column \"shop\" takes no NULL and has no default");
    subject.execute("DROP TABLE missing").await;
    subject
        .execute(
            "CREATE TABLE missing (sku text, price bigint, version bigint, n bigint DEFAULT 1)",
        )
        .await;
    one(table.problems().await, "no unique key of exactly (\"sku\")");
    subject.execute("CREATE UNIQUE INDEX missing_wide ON missing (sku, n)").await;
    subject.execute("CREATE UNIQUE INDEX missing_some ON missing (sku) WHERE price > 0").await;
    one(table.problems().await, "no unique key of exactly (\"sku\")");
    subject.execute("CREATE UNIQUE INDEX missing_right ON missing (sku)").await;
    assert_eq!(table.problems().await, Ok(Vec::new()));
    // A row that somebody wrote without a version is older than any.
    subject.execute("INSERT INTO missing (sku, price) VALUES ('a', 1)").await;
    assert_eq!(table.write(vec![price("a", 2, -5)]).await, Ok(vec![Written::Written]));
}

/// The bounds of a table say which columns take no NULL, and refuse nothing that is written.
///
/// # Panics
/// If the guarantee does not hold.
pub async fn a_column_that_takes_no_null_is_known_before_a_row_is_written(
    subject: &mut dyn Subject,
) {
    let table = table(subject, &facts("bounded"));
    assert_eq!(table.bounds().await.map_err(|error| error.class()), Err(Class::Retryable));
    assert_eq!(table.create().await, Ok(true));
    let bounds = table.bounds().await.expect("it is there");
    let nulls: Vec<bool> = bounds.iter().map(|bound| bound.check(&Value::Null).is_ok()).collect();
    assert_eq!(nulls, [[true; 8].as_slice(), &[false]].concat());
    let row = fact(i64::MAX, Type::Bigint, Value::Bigint(i64::MIN));
    for (bound, value) in bounds.iter().zip(&row) {
        assert_eq!(bound.check(value), Ok(()));
    }
    assert_eq!(table.write(vec![row]).await, Ok(vec![Written::Written]));
}
