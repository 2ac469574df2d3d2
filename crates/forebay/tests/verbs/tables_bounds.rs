//! `[[table]]`: rows that the table's columns cannot hold.

use testbed::{Postgres, Redis};

use super::running::{Serving, done, json};
use super::tables::{configure, put};

fn entry(buffer: &str) -> String {
    format!(
        "[[table]]\nname = \"goods\"\nbuffer = \"{buffer}\"\nlinger_ms = 100\nkeys = [\"k\"]\n\
         mode = \"upsert\"\nversion = \"ver\"\n\
         columns = {{ k = \"text\", n = \"bigint?\", a = \"text\", ver = \"bigint\" }}\n"
    )
}

const GOODS: &str = "CREATE DOMAIN named AS varchar(8) NOT NULL;
    CREATE TABLE goods (k varchar(5) PRIMARY KEY, n integer, a named, ver bigint)";

#[test]
fn a_row_that_cannot_be_stored_is_refused_at_the_door_and_buried_behind_it() {
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    postgres.execute(GOODS).unwrap();
    let redis = Redis::start_with(&[("appendonly", "yes"), ("appendfsync", "always")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let buffer = format!("{}?list=goods&id=k&key=k", redis.url());
    let store = format!("store = \"{}\"\n[cards]\nkey_file = \"key\"\n", postgres.url());
    configure(dir.path(), &format!("{store}{}", entry(&buffer)));
    done(dir.path(), &["store", "migrate"]);
    let serving = Serving::start(dir.path(), &[]);
    for (key, row) in [
        ("abcdef", r#"{"a":"x","ver":1}"#),
        ("a", r#"{"a":"123456789","ver":1}"#),
        ("a", r#"{"a":"x","n":2147483648,"ver":1}"#),
        ("a", r#"{"a":null,"ver":1}"#),
    ] {
        assert_eq!(put(&serving, &format!("goods/{key}"), row), 400, "{row}");
    }
    assert_eq!(put(&serving, "goods/abcde", r#"{"a":"12345678","n":2147483647,"ver":1}"#), 202);
    serving.until("processed_tasks_total{pipeline=\"table:goods\"}", 1.0);
    // Another producer asks nobody.
    redis.call(&["LPUSH", "goods", r#"{"k":"toolong","a":"x","ver":1}"#]).unwrap();
    redis.call(&["LPUSH", "goods", r#"{"k":"b","a":"x","ver":1}"#]).unwrap();
    serving.until("processed_tasks_total{pipeline=\"table:goods\"}", 2.0);
    serving.until("dead_total{pipeline=\"table:goods\"}", 1.0);
    let letters = json(dir.path(), &["dead", "list", "--all", "--json", "--table", "goods"]);
    assert_eq!(letters[0]["id"], "toolong", "{letters}");
    assert!(letters.to_string().contains("character varying(5)"), "{letters}");
    assert!(serving.terminate().0.success());
}
