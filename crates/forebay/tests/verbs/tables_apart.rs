//! `[[table]]` with those who take rows and those who settle them apart, on Redis and PostgreSQL.

use std::time::Instant;

use testbed::{Postgres, Redis};

use super::running::{PATIENCE, Serving, Worker, done, json, run};
use super::tables::{configure, get, put, row};

/// Waits until `sql` answers `expect`.
fn until(postgres: &Postgres, sql: &str, expect: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let rows = postgres.query(sql).unwrap();
        let value = rows.first().and_then(|row| row[0].clone()).unwrap_or_default();
        if value == expect {
            return;
        }
        assert!(Instant::now() < end, "{sql}: {value}, never {expect}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn rows_are_read_at_once_whoever_settles_them_and_whoever_is_killed() {
    let redis = Redis::start_with(&[("appendfsync", "always")]).unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let buffer = |list: &str| format!("{}?list={list}", redis.url());
    let text = format!(
        "buffer = \"{}\"\nstore = \"{}\"\n[[table]]\nname = \"prices\"\nbuffer = \"{}\"\n\
         target = \"public.prices\"\ncreate = true\nkeys = [\"sku\"]\nmode = \"upsert\"\n\
         version = \"version\"\nlinger_ms = 200\ncolumns = {{ sku = \"text\", price = \"bigint\", \
         note = \"text?\", version = \"bigint\" }}\n",
        buffer("payments"),
        postgres.url(),
        buffer("prices")
    );
    configure(dir.path(), &text);
    assert!(done(dir.path(), &["store", "migrate"]).contains("Made the table public.prices."));
    postgres.execute("ALTER TABLE prices ADD CONSTRAINT sane CHECK (price >= 0)").unwrap();

    // Nobody settles yet.
    let mut api = Serving::start(dir.path(), &["--roles", "api"]);
    for (sku, version) in [("a", 1), ("a", 2), ("b", 1)] {
        assert_eq!(put(&api, &format!("prices/{sku}"), &row(sku, version, version)), 202);
    }
    assert_eq!(get(&api, "prices/a"), (200, "buffer".into(), row("a", 2, 2)));
    // Whoever starts anew reads what it finds in the buffer.
    api.kill();
    let api = Serving::start(dir.path(), &["--roles", "api"]);
    assert_eq!(get(&api, "prices/a").2, row("a", 2, 2));

    let worker = Worker::start(dir.path());
    until(&postgres, "SELECT version FROM prices WHERE sku = 'a'", "2");
    // What another process settled is let go of, and then comes from the store.
    let end = Instant::now() + PATIENCE;
    while get(&api, "prices/a").1 == "buffer" {
        assert_eq!(get(&api, "prices/a").2, row("a", 2, 2));
        assert!(Instant::now() < end, "it stays pending");
    }
    assert_eq!(get(&api, "prices/a").2, row("a", 2, 2));

    // A worker that dies loses nothing; an older write that comes late changes nothing.
    drop(worker);
    assert_eq!(put(&api, "prices/a", &row("a", 3, 3)), 202);
    assert_eq!(put(&api, "prices/a", &row("a", 1, 1)), 202);
    assert_eq!(put(&api, "prices/bad", &row("bad", -1, 1)), 202);
    assert_eq!(get(&api, "prices/a").2, row("a", 3, 3));
    let _worker = Worker::start(dir.path());
    until(&postgres, "SELECT version FROM prices WHERE sku = 'a'", "3");
    assert_eq!(get(&api, "prices/a").2, row("a", 3, 3));
    let end = Instant::now() + PATIENCE;
    let mut version = 0;
    let letters = loop {
        // A row becomes a dead letter once the table has taken another one meanwhile.
        version += 1;
        assert_eq!(put(&api, "prices/other", &row("other", version, version)), 202);
        let letters = json(dir.path(), &["dead", "list", "--all", "--json", "--table", "prices"]);
        if letters.to_string().contains("sane") {
            break letters;
        }
        assert!(Instant::now() < end, "the bad row is never buried: {letters}");
    };
    assert!(letters.to_string().contains("23514"), "the reason is the server's: {letters}");
    while get(&api, "prices/bad").0 != 404 {
        assert!(Instant::now() < end, "what is buried is read for ever");
    }
    assert!(api.terminate().0.success());
}

#[test]
fn a_process_answers_no_older_row_than_it_showed_while_postgres_is_away() {
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "store = \"{}\"\n[[table]]\nname = \"prices\"\ncreate = true\nkeys = [\"sku\"]\n\
         mode = \"upsert\"\nversion = \"version\"\nlinger_ms = 50\ncache_ttl_ms = 200\n\
         columns = {{ sku = \"text\", price = \"bigint\", note = \"text?\", version = \"bigint\" }}\n",
        postgres.url()
    );
    configure(dir.path(), &text);
    done(dir.path(), &["store", "migrate"]);
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 5, 5)), 202);
    until(&postgres, "SELECT version FROM prices WHERE sku = 'a'", "5");
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    // The cached row is an answer no more.
    let end = Instant::now() + PATIENCE;
    while get(&serving, "prices/a").1 != "store" {
        assert!(Instant::now() < end, "the cached row never expires");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(400));
    postgres.stop();
    assert_eq!(put(&serving, "prices/a", &row("a", 4, 4)), 202);
    let (status, source, shown) = get(&serving, "prices/a");
    assert_eq!((status, shown), (200, row("a", 5, 5)), "from {source}");
    postgres.start_again().unwrap();
    serving.until("duplicates_total{pipeline=\"table:prices\"}", 1.0);
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    assert!(serving.terminate().0.success());
}

#[test]
fn a_row_whose_version_a_trigger_changes_is_buried_with_the_reason_and_its_neighbours_are_written()
{
    let postgres = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "store = \"{}\"\n[[table]]\nname = \"prices\"\nkeys = [\"sku\"]\n\
         mode = \"upsert\"\nversion = \"version\"\nlinger_ms = 200\n\
         columns = {{ sku = \"text\", price = \"bigint\", note = \"text?\", version = \"bigint\" }}\n",
        postgres.url()
    );
    configure(dir.path(), &text);
    done(dir.path(), &["store", "migrate"]);
    let table = "CREATE TABLE prices (sku text PRIMARY KEY, price bigint, note text, version";
    postgres.execute(&format!("{table} smallint)")).unwrap();
    let refused = run(dir.path(), &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let expect = "version column \"version\" is smallint";
    assert!(refused.stderr.contains(expect), "{}", refused.stderr);
    postgres.execute(&format!("DROP TABLE prices; {table} bigint)")).unwrap();
    let sql = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN new.version := 1; RETURN new; END $$; \
               CREATE TRIGGER g BEFORE INSERT ON prices FOR EACH ROW \
               WHEN (new.price = 17) EXECUTE FUNCTION f()";
    postgres.execute(sql).unwrap();
    let serving = Serving::start(dir.path(), &[]);
    for n in 0..30 {
        assert_eq!(put(&serving, &format!("prices/{n}"), &row(&n.to_string(), n, 5)), 202);
    }
    serving.until("dead_letters{buffer=\"table:prices\"}", 1.0);
    until(&postgres, "SELECT count(*)::text FROM prices WHERE version = 5", "29");
    until(&postgres, "SELECT count(*)::text FROM prices", "29");
    let letters = json(dir.path(), &["dead", "list", "--all", "--json", "--table", "prices"]);
    let expect = "sent 5, the table holds 1";
    assert!(letters.to_string().contains(expect), "{letters}");
    assert!(serving.terminate().0.success());
}
