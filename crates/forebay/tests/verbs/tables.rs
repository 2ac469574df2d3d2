//! `[[table]]`: rows written behind, read at once, and lost by nothing.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Method;
use rusqlite::Connection;
use testbed::{Postgres, Redis};

use super::running::{PATIENCE, Serving, binary, count, done, json, run, wait};

/// A table of prices, made by us.
const PRICES: &str = r#"
[[table]]
name = "prices"
create = true
keys = ["sku"]
mode = "upsert"
version = "version"
columns = { sku = "text", price = "bigint", note = "text?", version = "bigint" }
"#;

pub(crate) fn configure(dir: &Path, text: &str) {
    std::fs::write(dir.join("forebay.toml"), text).unwrap();
}

fn store(dir: &Path) -> std::path::PathBuf {
    dir.join("data/forebay.db")
}

/// Sends a request; returns the status, where a row came from, and the answer.
async fn send(
    client: &reqwest::Client,
    method: Method,
    url: String,
    body: Option<String>,
) -> reqwest::Result<(u16, String, String)> {
    let mut request = client.request(method, url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await?;
    let source = answer.headers().get("x-forebay-source");
    let source = source.map_or("", |source| source.to_str().unwrap()).to_owned();
    Ok((answer.status().as_u16(), source, answer.text().await?))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

pub(crate) fn put(serving: &Serving, path: &str, row: &str) -> u16 {
    let url = format!("{}/v1/tables/{path}", serving.address);
    wait(async { send(&client(), Method::PUT, url, Some(row.to_owned())).await.unwrap().0 })
}

pub(crate) fn get(serving: &Serving, path: &str) -> (u16, String, String) {
    let url = format!("{}/v1/tables/{path}", serving.address);
    wait(async { send(&client(), Method::GET, url, None).await.unwrap() })
}

pub(crate) fn row(sku: &str, price: i64, version: i64) -> String {
    format!("{{\"sku\":\"{sku}\",\"price\":{price},\"note\":null,\"version\":{version}}}")
}

const SETTLED: &str = "processed_tasks_total{pipeline=\"table:prices\"}";

#[test]
fn what_is_put_is_read_at_once_and_is_in_the_table_after_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &format!("{PRICES}linger_ms = 1000\n"));
    let serving = Serving::start(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a%2Fb", &row("a/b", 1, 1)), 202);
    assert_eq!(get(&serving, "prices/a%2Fb"), (200, "buffer".into(), row("a/b", 1, 1)));
    let rows = "SELECT count(*) FROM prices WHERE sku = 'a/b' AND price = 1";
    assert_eq!(count(&store(dir.path()), rows), 0, "it waits for its batch");
    serving.until(SETTLED, 1.0);
    assert_eq!(count(&store(dir.path()), rows), 1);
    assert_eq!(get(&serving, "prices/a%2Fb"), (200, "cache".into(), row("a/b", 1, 1)));
    assert_eq!(get(&serving, "prices/nobody").0, 404);
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    assert!(printed.contains("Made the table prices."), "{printed}");
    assert!(printed.contains("the greater version of a key wins"), "{printed}");
}

#[test]
fn several_writes_to_one_key_become_one_and_older_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &format!("{PRICES}linger_ms = 1000\nlanes = 1\n"));
    let serving = Serving::start(dir.path(), &[]);
    for version in [3, 5, 4] {
        assert_eq!(put(&serving, "prices/a", &row("a", version, version)), 202);
    }
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5), "the greatest version is read");
    serving.until(SETTLED, 3.0);
    serving.until("table_collapsed_total{table=\"prices\"}", 2.0);
    // Another client's copy of an older write comes late.
    assert_eq!(put(&serving, "prices/a", &row("a", 4, 4)), 202);
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    serving.until("duplicates_total{pipeline=\"table:prices\"}", 1.0);
    assert_eq!(get(&serving, "prices/a").2, row("a", 5, 5));
    assert_eq!(count(&store(dir.path()), "SELECT price FROM prices WHERE sku = 'a'"), 5);
    assert!(serving.terminate().0.success());
}

#[test]
fn a_bad_row_is_buried_with_the_reason_and_its_neighbours_are_written() {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["store", "migrate"]);
    let sql = "CREATE TABLE prices (sku TEXT PRIMARY KEY, price INTEGER CHECK (price >= 0), \
               note TEXT, version INTEGER NOT NULL)";
    Connection::open(store(dir.path())).unwrap().execute_batch(sql).unwrap();
    configure(dir.path(), &PRICES.replace("create = true\n", "linger_ms = 300\n"));
    let serving = Serving::start(dir.path(), &[]);
    let lines: String =
        (0..50).map(|n| row(&format!("sku-{n}"), if n == 17 { -1 } else { n }, 1) + "\n").collect();
    let url = format!("{}/v1/tables/prices", serving.address);
    let answer = wait(async {
        let request = client().post(url).header("content-type", "application/x-ndjson");
        request.body(lines).send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    });
    assert_eq!(answer["accepted"], 50, "{answer}");
    serving.until(SETTLED, 49.0);
    serving.until("dead_letters{buffer=\"table:prices\"}", 1.0);
    let rows = "SELECT count(*) FROM prices WHERE sku <> 'sku-17'";
    assert_eq!(count(&store(dir.path()), rows), 49);
    let letters = json(dir.path(), &["dead", "list", "--all", "--json", "--table", "prices"]);
    let said = letters.to_string();
    assert!(said.contains("CHECK constraint failed: price >= 0"), "{said}");
    assert_eq!(letters[0]["id"], "sku-17", "a table's letter is named by the row's key: {said}");
    let seq = letters[0]["seq"].to_string();
    let shown = done(dir.path(), &["dead", "show", &seq, "--table", "prices"]);
    assert!(shown.contains("id        sku-17"), "{shown}");
    let listed = done(dir.path(), &["dead", "list", "--table", "prices"]);
    assert!(listed.contains("(sku-17)"), "{listed}");
    assert_eq!(get(&serving, "prices/sku-17").0, 404, "what is buried is read no more");
    assert!(serving.terminate().0.success());
    // Mended, it is put back and written.
    let sql = "ALTER TABLE prices RENAME TO old; CREATE TABLE prices (sku TEXT PRIMARY KEY, \
               price INTEGER, note TEXT, version INTEGER NOT NULL)";
    Connection::open(store(dir.path())).unwrap().execute_batch(sql).unwrap();
    done(dir.path(), &["dead", "replay", "--all", "--table", "prices"]);
    let serving = Serving::start(dir.path(), &[]);
    serving.until(SETTLED, 1.0);
    assert_eq!(count(&store(dir.path()), "SELECT price FROM prices WHERE sku = 'sku-17'"), -1);
}

/// Clients write and read their own rows while the process is killed again and again.
#[test]
fn kill_9_loses_no_row_and_each_is_read_at_once_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &format!("{PRICES}linger_ms = 500\n"));
    let mut version = 0;
    let mut accepted = [0_i64; 20];
    for round in 0..5 {
        let mut serving = Serving::start(dir.path(), &[]);
        wait(async {
            let client = client();
            let url = |key: usize| format!("{}/v1/tables/prices/k-{key}", serving.address);
            // What was accepted before the kill is read before anything else happens.
            for (key, version) in accepted.iter().enumerate().filter(|(_, version)| **version > 0) {
                let (status, _, answer) = send(&client, Method::GET, url(key), None).await.unwrap();
                assert_eq!((status, answer), (200, row(&format!("k-{key}"), *version, *version)));
            }
            let end = Instant::now() + Duration::from_millis(150 + 150 * round);
            while Instant::now() < end {
                version += 1;
                let key = usize::try_from(version).unwrap() * 7 % accepted.len();
                let sku = format!("k-{key}");
                let sent = send(&client, Method::PUT, url(key), Some(row(&sku, version, version)));
                assert_eq!(sent.await.unwrap().0, 202);
                accepted[key] = version;
                let (_, _, read) = send(&client, Method::GET, url(key), None).await.unwrap();
                assert_eq!(read, row(&sku, version, version), "own writes are read");
            }
        });
        serving.kill();
    }
    assert!(version > 50, "only {version} rows were written");
    let serving = Serving::start(dir.path(), &[]);
    serving.until("buffer_size{buffer=\"table:prices\"}", 0.0);
    let db = Connection::open(store(dir.path())).unwrap();
    for (key, version) in accepted.iter().enumerate() {
        let sql = format!("SELECT version FROM prices WHERE sku = 'k-{key}'");
        assert_eq!(db.query_row(&sql, [], |row| row.get::<_, i64>(0)), Ok(*version), "{key}");
    }
    assert!(serving.terminate().0.success());
}

#[test]
fn a_stampede_of_two_hundred_readers_is_one_query() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), PRICES);
    let serving = Serving::start(dir.path(), &[]);
    let sql = "INSERT INTO prices VALUES ('hot', 9, NULL, 1)";
    Connection::open(store(dir.path())).unwrap().execute_batch(sql).unwrap();
    let url = format!("{}/v1/tables/prices/hot", serving.address);
    let answers = wait(async {
        let client = client();
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (client, url) = (client.clone(), url.clone());
            readers.spawn(async move { send(&client, Method::GET, url, None).await.unwrap() });
        }
        readers.join_all().await
    });
    assert!(answers.iter().all(|(status, _, read)| (*status, read) == (200, &row("hot", 9, 1))));
    assert_eq!(serving.metric("table_queries_total{table=\"prices\"}"), Some(1.0));
    assert!(serving.terminate().0.success());
}

#[test]
fn names_with_quotes_are_names_all_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[[table]]
name = "odd"
target = 'Order "x"; DROP TABLE transactions; --'
create = true
linger_ms = 100
keys = ['a"b']
mode = "insert"
columns = { 'a"b' = "text", "select * from t" = "bigint" }
"#;
    configure(dir.path(), text);
    let serving = Serving::start(dir.path(), &[]);
    let nasty = "x'%22);%20DROP%20TABLE%20transactions;--";
    assert_eq!(put(&serving, &format!("odd/{nasty}"), "{\"select * from t\": 5}"), 202);
    assert_eq!(get(&serving, &format!("odd/{nasty}")).0, 200);
    serving.until("processed_tasks_total{pipeline=\"table:odd\"}", 1.0);
    let sql = "SELECT \"select * from t\" FROM \"Order \"\"x\"\"; DROP TABLE transactions; --\"";
    assert_eq!(count(&store(dir.path()), sql), 5);
    assert_eq!(count(&store(dir.path()), "SELECT count(*) FROM transactions"), 0);
    assert!(serving.terminate().0.success());
}

#[test]
fn sigterm_settles_what_is_being_worked_on_and_what_a_memory_buffer_holds() {
    for buffer in ["", "buffer = \"memory:\"\n"] {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), &format!("{PRICES}linger_ms = 2000\n{buffer}"));
        let serving = Serving::start(dir.path(), &[]);
        for n in 0..5 {
            assert_eq!(put(&serving, &format!("prices/{n}"), &row(&n.to_string(), n, 1)), 202);
        }
        // Most likely leased by now, and lingering; a journal keeps what is not.
        let (ended, printed) = serving.terminate();
        assert!(ended.success(), "{printed}");
        let kept = printed.lines().find_map(|line| line.split_once(" events stay in the buffer"));
        let kept: i64 = kept.map_or(0, |(kept, _)| kept.parse().unwrap());
        assert!(kept == 0 || buffer.is_empty(), "{printed}");
        let rows = count(&store(dir.path()), "SELECT count(*) FROM prices");
        assert_eq!(rows + kept, 5, "{printed}");
    }
}

#[test]
fn a_new_process_takes_a_tables_journal_over_from_one_with_the_same_servers() {
    let redis = Redis::start().unwrap();
    let postgres = Postgres::start_with(&[("fsync", "off")]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (redis, store) = (redis.url(), postgres.url());
    let servers = format!("buffer = \"{redis}?list=tx_queue\"\nstore = \"{store}\"\n");
    let prices = PRICES.replace("columns", "target = \"shop.prices\"\ncolumns");
    configure(dir.path(), &format!("{servers}[cards]\nkey_file = \"key\"\n{prices}"));
    postgres.execute("CREATE SCHEMA shop").unwrap();
    done(dir.path(), &["store", "migrate"]);
    let old = Serving::start(dir.path(), &[]);
    assert_eq!(put(&old, "prices/1", &row("1", 10, 1)), 202);

    let args = ["serve", "--bind", "127.0.0.1:0"];
    let mut new = binary(dir.path(), &args);
    let mut new = new.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It says so once it has tried.
    let mut said = BufReader::new(new.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("not started yet") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    assert!(line.contains("table prices"), "{line}");
    assert_eq!(put(&old, "prices/2", &row("2", 20, 1)), 202);
    assert!(old.terminate().0.success());
    let new = Serving::of(new);
    assert_eq!(put(&new, "prices/3", &row("3", 30, 1)), 202);
    assert!(new.terminate().0.success());
    let rows = postgres.query("SELECT count(*)::text FROM shop.prices").unwrap();
    let stat = json(dir.path(), &["buffer", "stat", "--json", "--table", "prices"]);
    let rows: i64 = rows[0][0].as_deref().unwrap().parse().unwrap();
    assert_eq!(rows + stat["pending"].as_i64().unwrap(), 3, "{stat}");
}

#[test]
fn what_is_missing_is_told_in_one_sentence_each() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &PRICES.replace("create = true\n", ""));
    let expect =
        "table prices: there is no table prices in the store; make it, or set create = true";
    for args in [&["serve", "--bind", "127.0.0.1:0"][..], &["config", "check"]] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(expect), "{}", ran.stderr);
    }
    let sql = "CREATE TABLE prices (sku TEXT, price TEXT, version INTEGER)";
    Connection::open(store(dir.path())).unwrap().execute_batch(sql).unwrap();
    let ran = run(dir.path(), &["config", "check", "--set", "http.bind=127.0.0.1:0"]);
    assert!(
        ran.stderr.contains("column \"price\" is TEXT; bigint is kept in INTEGER"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("prices has no column \"note\"; add it"), "{}", ran.stderr);
    let text = PRICES.replace("version = \"version\"\n", "");
    configure(dir.path(), &text);
    let ran = run(dir.path(), &["config", "show"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("forebay.toml:2: mode = \"upsert\" needs a version column"),
        "{}",
        ran.stderr
    );
    configure(dir.path(), PRICES);
    let shown = done(dir.path(), &["config", "show"]);
    assert!(shown.contains("table.prices.buffer"), "{shown}");
    let ran = run(dir.path(), &["buffer", "stat", "--table", "others"]);
    assert!(ran.stderr.contains("there is no such [[table]]; there are: prices"), "{}", ran.stderr);
}

/// A mark ahead of the clock stands for a clock that was ahead of it.
#[test]
fn a_stamped_write_after_a_restart_with_the_clock_set_back_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let text = PRICES.replace("mode =", "stamp = true\nlinger_ms = 50\nmode =");
    configure(dir.path(), &text);
    let ahead = std::time::SystemTime::now() + Duration::from_secs(3_600);
    let ahead = ahead.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let mark = dir.path().join("data/stamps/prices");
    std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
    std::fs::write(&mark, format!("{ahead:020}\n")).unwrap();
    let mut prices = Vec::new();
    for price in 1..=3 {
        let serving = Serving::start(dir.path(), &[]);
        assert_eq!(put(&serving, "prices/a", &format!("{{\"price\":{price}}}")), 202);
        serving.until(SETTLED, 1.0);
        let (ended, printed) = serving.terminate();
        assert!(ended.success(), "{printed}");
        assert!(printed.contains("Table prices: THE CLOCK WAS SET BACK by 3,60"), "{printed}");
        prices.push(count(&store(dir.path()), "SELECT price FROM prices WHERE sku = 'a'"));
    }
    assert_eq!(prices, [1, 2, 3]);
    assert!(
        count(&store(dir.path()), "SELECT version FROM prices") > i64::try_from(ahead).unwrap()
    );
}
