//! `[[table]]`: a pipeline that fails while the process runs.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use super::running::{PATIENCE, Serving, count, wait};
use super::serve::event;
use super::tables::{configure, get, put, row};

/// Two tables, of which one will fail.
const TABLES: &str = r#"
[[table]]
name = "prices"
create = true
linger_ms = 10
keys = ["sku"]
mode = "upsert"
version = "version"
columns = { sku = "text", price = "bigint", note = "text?", version = "bigint" }

[[table]]
name = "costs"
create = true
linger_ms = 10
keys = ["sku"]
mode = "upsert"
version = "version"
columns = { sku = "text", price = "bigint", note = "text?", version = "bigint" }
"#;

/// Each row of `prices` is put into an index that is damaged.
const BREAK: &str = "CREATE VIRTUAL TABLE words USING fts5(sku); DELETE FROM words_data;
    CREATE TRIGGER words_of_prices AFTER INSERT ON prices
    BEGIN INSERT INTO words (sku) VALUES (NEW.sku); END";
const MEND: &str = "DROP TRIGGER words_of_prices";

const PAYMENTS: &str = "processed_tasks_total{pipeline=\"consumer_batch\"}";
const COSTS: &str = "processed_tasks_total{pipeline=\"table:costs\"}";
const RESTARTS: &str = "pipeline_restarts_total{pipeline=\"table:prices\"}";

fn execute(dir: &Path, sql: &str) {
    let store = Connection::open(dir.join("data/forebay.db")).unwrap();
    store.busy_timeout(PATIENCE).unwrap();
    store.execute_batch(sql).unwrap();
}

fn pay(serving: &Serving, id: &str) {
    let (status, answer) = serving.post("application/json", &event(id));
    assert_eq!(status, 202, "{answer}");
}

/// The status of `/ready`, and its warnings.
fn ready(serving: &Serving) -> (u16, Vec<String>) {
    let url = format!("{}/ready", serving.address);
    wait(async {
        let answer = reqwest::get(url).await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await.unwrap();
        let warnings = body["warnings"].as_array().cloned().unwrap_or_default();
        (status, warnings.iter().map(|it| it.as_str().unwrap().to_owned()).collect())
    })
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_table_whose_pipeline_fails_is_started_again_and_shown_while_payments_settle() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), TABLES);
    let serving = Serving::start_logged(dir.path(), &[]);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until("processed_tasks_total{pipeline=\"table:prices\"}", 1.0);
    assert_eq!((serving.metric(RESTARTS), ready(&serving)), (Some(0.0), (200, Vec::new())));

    execute(dir.path(), BREAK);
    assert_eq!(put(&serving, "prices/b", &row("b", 2, 2)), 202);
    until("it is started again twice", || serving.metric(RESTARTS) >= Some(2.0));
    until("/ready warns of it", || {
        let (status, warnings) = ready(&serving);
        let of_it = |it: &String| {
            it.contains("the pipeline table:prices failed") && it.contains("corruption")
        };
        status == 200 && warnings.len() == 1 && of_it(&warnings[0])
    });
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"waiting\"}", 1.0);
    serving.until("pipeline_state{pipeline=\"consumer_batch\",state=\"ready\"}", 1.0);

    // Everything else is as before, and the table takes rows.
    pay(&serving, "tx-1");
    serving.until(PAYMENTS, 1.0);
    assert_eq!(put(&serving, "costs/a", &row("a", 3, 3)), 202);
    serving.until(COSTS, 1.0);
    assert_eq!(put(&serving, "prices/b", &row("b", 4, 4)), 202);
    assert_eq!(get(&serving, "prices/b").2, row("b", 4, 4));

    execute(dir.path(), MEND);
    serving.until("processed_tasks_total{pipeline=\"table:prices\"}", 3.0);
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"ready\"}", 1.0);
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"waiting\"}", 0.0);
    until("/ready warns no more", || ready(&serving) == (200, Vec::new()));
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    let store = dir.path().join("data/forebay.db");
    assert_eq!(count(&store, "SELECT price FROM prices WHERE sku = 'b'"), 4);
    let log = std::fs::read_to_string(dir.path().join("serve.log")).unwrap();
    assert!(log.contains("a pipeline failed") && log.contains("table:prices"), "{log}");
}

#[test]
fn a_process_with_a_table_that_fails_stops_in_order_and_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), TABLES);
    let serving = Serving::start(dir.path(), &[]);
    execute(dir.path(), BREAK);
    assert_eq!(put(&serving, "prices/a", &row("a", 1, 1)), 202);
    serving.until("pipeline_state{pipeline=\"table:prices\",state=\"waiting\"}", 1.0);
    let (ended, printed) = serving.terminate();
    assert!(ended.success(), "{printed}");
    assert!(printed.contains("1 events stay in the buffer"), "{printed}");

    execute(dir.path(), MEND);
    let serving = Serving::start(dir.path(), &[]);
    serving.until("processed_tasks_total{pipeline=\"table:prices\"}", 1.0);
    assert!(serving.terminate().0.success());
}
