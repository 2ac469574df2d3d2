//! Tables of others, in PostgreSQL.

use crate::fixture::{self, Database};
use model::{Class, Classify as _};
use store::Target;
use store::tables::{Column, Mode, Name, Type, Value, Written};
use testbed::Postgres;

fn target(schema: Option<&str>, table: &str, kind: Type) -> Target {
    let column =
        |name: &str, kind| Column { name: Name::new(name).unwrap(), kind, nullable: false };
    Target {
        schema: schema.map(|schema| Name::new(schema).unwrap()),
        table: Name::new(table).unwrap(),
        columns: vec![column("id", Type::Bigint), column("value", kind)],
        keys: vec![0],
        mode: Mode::Insert,
    }
}

#[tokio::test]
async fn the_stores_own_schema_and_the_servers_are_nobodys_target() {
    let options = fixture::options(fixture::shared());
    let tables = fixture::beside(&options).tables();
    for schema in [options.schema.as_str(), "pg_catalog", "information_schema"] {
        let refused = tables.table(&target(Some(schema), "t", Type::Bigint)).err().unwrap();
        assert!(refused.to_string().contains("name a table elsewhere"), "{refused}");
    }
}

#[tokio::test]
async fn a_value_that_a_narrower_column_does_not_take_is_the_rows_fault() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE SCHEMA shop; CREATE DOMAIN shop.short AS varchar(3);
             CREATE TABLE shop.narrow (id integer PRIMARY KEY, value shop.short);
             CREATE TABLE shop.exact (id smallint PRIMARY KEY, value numeric(5, 2))",
        )
        .await;
    let narrow = database.table(&target(Some("shop"), "narrow", Type::Text)).unwrap();
    assert_eq!(narrow.problems().await, Ok(Vec::new()));
    let row = |id, text: &str| vec![Value::Bigint(id), Value::Text(text.into())];
    for bad in [row(1, "four"), row(1 << 40, "abc"), row(1, "a\0b")] {
        let refused = narrow.write(vec![bad]).await.unwrap_err();
        assert!(matches!(refused, store::Error::Refused(_)), "{refused}");
    }
    assert_eq!(narrow.write(vec![row(1, "abc")]).await, Ok(vec![Written::Written]));
    let exact = database.table(&target(Some("shop"), "exact", Type::Numeric)).unwrap();
    let row = |text: &str| vec![Value::Bigint(1), Value::Numeric(text.into())];
    let refused = exact.write(vec![row("12345.6")]).await.unwrap_err();
    assert!(matches!(refused, store::Error::Refused(_)), "{refused}");
    assert_eq!(exact.write(vec![row("12.5")]).await, Ok(vec![Written::Written]));
    assert_eq!(exact.read(vec![Value::Bigint(1)]).await, Ok(Some(row("12.50"))));
}

#[tokio::test]
async fn rights_that_are_missing_are_told() {
    let database = Database::new().await;
    database
        .execute(
            "CREATE TABLE guarded (id bigint PRIMARY KEY, value bigint NOT NULL);
             DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN; GRANT SELECT ON guarded TO looker",
        )
        .await;
    let url = database.server.url().replace("postgres@", "looker@");
    let dbname = database.query("SELECT current_database()").await[0][0].clone().unwrap();
    let options = store_postgres::Options { dbname, ..fixture::options_at(&url) };
    let looker = fixture::beside(&options).tables();
    let table = looker.table(&target(None, "guarded", Type::Bigint)).unwrap();
    let problems = table.problems().await.unwrap();
    assert_eq!(problems, ["this role may not INSERT on public.guarded; grant it"]);
}

#[tokio::test]
async fn a_row_that_the_server_takes_for_one_of_another_key_is_refused_and_changes_nothing() {
    let database = Database::new().await;
    let sql = "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', \
               deterministic = false)";
    if database.client.batch_execute(sql).await.is_err() {
        return; // A server without ICU has no such collations.
    }
    database
        .execute("CREATE TABLE loose (id text COLLATE anycase PRIMARY KEY, value bigint NOT NULL)")
        .await;
    let mut target = target(None, "loose", Type::Bigint);
    target.columns[0].kind = Type::Text;
    target.mode = Mode::Upsert { version: 1, stamped: false };
    let table = database.table(&target).unwrap();
    let row = |id: &str, n| vec![Value::Text(id.into()), Value::Bigint(n)];
    let refused = table.write(vec![row("a", 1), row("A", 2)]).await.unwrap_err();
    let apart = matches!(refused, store::Error::Refused(_));
    assert!(apart, "the engine then takes them apart: {refused}");
    assert_eq!(table.write(vec![row("a", 1)]).await, Ok(vec![Written::Written]));
    for n in [0, 2] {
        let refused = table.write(vec![row("A", n)]).await.unwrap_err();
        assert_eq!(refused.class(), Class::Rejected, "{refused}");
    }
    assert_eq!(table.read(vec![Value::Text("a".into())]).await, Ok(Some(row("a", 1))));
}

#[tokio::test]
async fn a_server_that_is_gone_is_nobodys_fault_and_what_was_written_is_found_again() {
    let server = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let tables = fixture::beside(&fixture::options(&server)).tables();
    let table = tables.table(&target(None, "held", Type::Bigint)).unwrap();
    table.create().await.unwrap();
    let row = vec![Value::Bigint(1), Value::Bigint(2)];
    table.write(vec![row.clone()]).await.unwrap();
    server.stop();
    assert_eq!(fixture::class_of(table.write(vec![row.clone()]).await), Class::Retryable);
    assert_eq!(fixture::class_of(table.read(vec![Value::Bigint(1)]).await), Class::Retryable);
    server.start_again().unwrap();
    assert_eq!(table.write(vec![row]).await, Ok(vec![Written::Same]));
}
