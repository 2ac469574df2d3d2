//! What is known of a column before a row is written.

use store::Target;
use store::tables::{Bound, Column, Mode, Name, Type, Value, Written};

use crate::fixture::Database;

fn target(table: &str, kind: Type, nullable: bool) -> Target {
    let column =
        |name: &str, kind, nullable| Column { name: Name::new(name).unwrap(), kind, nullable };
    Target {
        schema: None,
        table: Name::new(table).unwrap(),
        columns: vec![column("id", Type::Bigint, false), column("value", kind, nullable)],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn numeric(number: &str) -> Value {
    Value::Numeric(number.into())
}

fn json(json: &str) -> Value {
    Value::Json(json.into())
}

/// Values around the bounds of each type of a column.
fn cases() -> Vec<(&'static str, Type, Vec<Value>)> {
    let of = |declared: &[&'static str], kind: Type, values: Vec<Value>| -> Vec<_> {
        declared.iter().map(|declared| (*declared, kind, values.clone())).collect()
    };
    [
        of(&["smallint", "integer", "bigint", "small"], Type::Bigint, whole()),
        of(&["varchar(3)", "varchar", "shorter"], Type::Text, texts()),
        of(
            &["numeric", "numeric(5, 2)", "numeric(3, -2)", "numeric(2, 4)", "exact"],
            Type::Numeric,
            numbers(),
        ),
        of(&["jsonb", "json"], Type::Json, documents()),
    ]
    .concat()
}

fn whole() -> Vec<Value> {
    let ends = [i16::MAX.into(), i16::MIN.into(), i32::MAX.into(), i32::MIN.into(), i64::MAX];
    let around =
        ends.into_iter().flat_map(|end: i64| [end, end.wrapping_add(1), end.wrapping_sub(1)]);
    around.map(Value::Bigint).collect()
}

fn texts() -> Vec<Value> {
    ["", "값값값", "값값값값", "abc  ", "abcd ", "e\u{301}e\u{301}", "\u{a0}\u{a0}\u{a0}\u{a0}"]
        .map(text)
        .into()
}

fn numbers() -> Vec<Value> {
    "0 -0.00 999.994 999.995 -999.994 -999.995 1000 0001000.0 000999 0.00999 0.000004 12344 12345 \
     99949 99950 123456 0.0949 0.0951 0.00994999 0.00995"
        .split(' ')
        .map(numeric)
        .collect()
}

fn documents() -> Vec<Value> {
    let strings = [
        r#""\u0000""#,
        r#""\\u0000""#,
        r#"{"\u0000": 1}"#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dx""#,
    ];
    let numbers = "1e131071 1e131072 0e999999 0.001e131074 0.001e131075 1e-16383 1e-16384 0e-16384 \
                   -12.5e3";
    strings.into_iter().chain(numbers.split(' ')).map(json).collect()
}

#[tokio::test]
async fn a_bound_refuses_what_the_table_refuses_and_nothing_else() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE DOMAIN small AS smallint; CREATE DOMAIN short AS varchar(3); \
             CREATE DOMAIN shorter AS short; CREATE DOMAIN exact AS numeric(5, 2)",
        )
        .await;
    for (nth, (declared, kind, values)) in cases().into_iter().enumerate() {
        let name = format!("t{nth}");
        database
            .execute(&format!("CREATE TABLE {name} (id bigint PRIMARY KEY, value {declared})"))
            .await;
        let table = database.table(&target(&name, kind, true)).unwrap();
        assert_eq!(table.problems().await, Ok(Vec::new()), "{declared}");
        let bounds = table.bounds().await.unwrap();
        let mut refused = 0;
        for (id, value) in (0..).zip(values) {
            let bound = bounds[1].check(&value);
            let written = table.write(vec![vec![Value::Bigint(id), value.clone()]]).await;
            match (&bound, &written) {
                (Ok(()), Ok(written)) if *written == [Written::Written] => {}
                (Err(problem), Err(_)) => {
                    assert!(problem.contains("the column is"), "{problem}");
                    refused += 1;
                }
                _ => panic!("{declared} {value:?}: {bound:?}, the table: {written:?}"),
            }
        }
        let open = ["bigint", "varchar", "numeric", "json"].contains(&declared);
        assert_eq!(refused == 0, open, "{declared}: {refused} refused");
    }
}

#[tokio::test]
async fn blanks_at_the_end_of_a_key_count() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (value varchar(3) PRIMARY KEY, id bigint)").await;
    let target = Target { keys: vec![1], ..target("t", Type::Text, false) };
    let bounds = database.table(&target).unwrap().bounds().await.unwrap();
    assert_eq!(bounds[1].check(&text("abc")), Ok(()));
    let problem = "is 4 characters; must be at most 3, since the column is character varying(3)";
    assert_eq!(bounds[1].check(&text("abc ")).unwrap_err(), problem);
}

#[tokio::test]
async fn a_domain_that_takes_no_null_is_a_column_that_takes_none() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE DOMAIN label AS text NOT NULL; CREATE DOMAIN title AS label; \
             CREATE DOMAIN numbered AS integer NOT NULL DEFAULT 7; \
             CREATE TABLE named (id bigint PRIMARY KEY, value label); \
             CREATE TABLE titled (id bigint PRIMARY KEY, value title); \
             CREATE TABLE unnamed (id bigint PRIMARY KEY, value text, other title); \
             CREATE TABLE filled (id bigint PRIMARY KEY, value text, other numbered)",
        )
        .await;
    for table in ["named", "titled"] {
        let nullable = database.table(&target(table, Type::Text, true)).unwrap();
        let problems = nullable.problems().await.unwrap();
        let problem = "column \"value\" takes no NULL; leave the ? out of its type";
        assert!(problems.iter().any(|found| found.contains(problem)), "{table}: {problems:?}");
        let table = database.table(&target(table, Type::Text, false)).unwrap();
        assert_eq!(table.problems().await, Ok(Vec::new()));
        let Bound { not_null, .. } = &table.bounds().await.unwrap()[1];
        assert!(not_null);
    }
    let unnamed = database.table(&target("unnamed", Type::Text, true)).unwrap();
    let problems = unnamed.problems().await.unwrap();
    let problem = "column \"other\" takes no NULL and has no default; name it in columns";
    assert!(problems.iter().any(|found| found.contains(problem)), "{problems:?}");
    let filled = database.table(&target("filled", Type::Text, true)).unwrap();
    assert_eq!(filled.problems().await, Ok(Vec::new()));
    let row = vec![Value::Bigint(1), Value::Null];
    assert_eq!(filled.write(vec![row]).await, Ok(vec![Written::Written]));
}

#[tokio::test]
async fn a_table_that_is_not_there_yet_has_no_bounds() {
    let database = Database::new().await;
    let table = database.table(&target("t", Type::Text, true)).unwrap();
    assert!(table.bounds().await.is_err());
    database.execute("CREATE TABLE t (id bigint PRIMARY KEY, value varchar(1))").await;
    assert!(table.bounds().await.unwrap()[1].check(&text("ab")).is_err());
}
