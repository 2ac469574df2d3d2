//! `[[table]]`: rows that a trigger skips.

use testbed::Postgres;

use super::running::{Serving, done};
use super::tables::{configure, get, put};

/// A table whose trigger writes some rows elsewhere and skips them.
const FACTS: &str = r#"
[[table]]
name = "facts"
linger_ms = 100
keys = ["k"]
columns = { k = "bigint", a = "text", n = "bigint" }
"#;

#[test]
fn rows_that_a_trigger_skips_are_dead_letters_without_effects_and_their_neighbours_settle() {
    for mode in ["mode = \"insert\"", "mode = \"upsert\"\nversion = \"n\""] {
        let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
        let tables =
            "CREATE TABLE facts (k bigint PRIMARY KEY, a text NOT NULL, n bigint NOT NULL);
            CREATE TABLE elsewhere (LIKE facts);
            CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO elsewhere VALUES (NEW.*); RETURN NULL; END';
            CREATE TRIGGER away BEFORE INSERT ON facts FOR EACH ROW WHEN (NEW.a = 'away')
            EXECUTE FUNCTION away()";
        postgres.execute(tables).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = format!("store = \"{}\"\n[cards]\nkey_file = \"key\"\n", postgres.url());
        configure(dir.path(), &format!("{store}{FACTS}{mode}\n"));
        done(dir.path(), &["store", "migrate"]);
        let serving = Serving::start(dir.path(), &[]);
        for (k, a) in [(1, "kept"), (2, "away"), (3, "kept")] {
            let row = format!("{{\"a\":\"{a}\",\"n\":1}}");
            assert_eq!(put(&serving, &format!("facts/{k}"), &row), 202);
        }
        serving.until("processed_tasks_total{pipeline=\"table:facts\"}", 2.0);
        serving.until("dead_total{pipeline=\"table:facts\"}", 1.0);
        assert_eq!(get(&serving, "facts/2").0, 404);
        let rows = |table: &str| {
            let sql = format!("SELECT count(*)::text FROM {table}");
            postgres.query(&sql).unwrap()[0][0].clone().unwrap()
        };
        assert_eq!((rows("facts").as_str(), rows("elsewhere").as_str()), ("2", "0"));
        assert!(serving.terminate().0.success());
        let dead = done(dir.path(), &["dead", "list", "--table", "facts"]);
        assert!(dead.contains("a trigger or row security"), "{dead}");
        assert!(dead.contains("skipped"), "{dead}");
    }
}
