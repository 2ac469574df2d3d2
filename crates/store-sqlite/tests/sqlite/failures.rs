//! What happens when SQLite can't, and around opening and closing.

use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use model::clock::Manual;
use model::{Class, Classify};
use rusqlite::Connection;
use store::conformance::loads::load;
use store::conformance::{duplicates, row};
use store::{Claimed, Completion, Load, Row, Settlement};
use store_sqlite::{Options, inspect};
use tempfile::TempDir;

pub(crate) fn temporary() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    (directory, path)
}

fn open_with(options: Options) -> Result<Claimed, store::Error> {
    store_sqlite::open(options, Arc::new(Manual::at(1_700_000_000_000)))
}

pub(crate) fn open(path: &Path) -> Claimed {
    open_with(Options { busy_timeout_ms: 20, ..Options::at(path) }).unwrap()
}

fn rows(ids: std::ops::Range<i64>) -> Vec<Row> {
    ids.map(|n| row(&format!("tx-{n}"), &format!("40001234{:08}", n % 7), n, n)).collect()
}

fn total(path: &Path) -> u64 {
    inspect::open(path).unwrap().counts().unwrap().total
}

fn class_of<T: std::fmt::Debug>(result: Result<T, store::Error>) -> Class {
    result.unwrap_err().class()
}

#[tokio::test]
async fn a_lock_held_by_another_program_makes_the_store_unavailable_until_it_is_let_go() {
    let (_directory, path) = temporary();
    let store = open(&path);
    let other = locked(&path);
    assert_eq!(class_of(store.payments().settle(rows(0..3)).await), Class::Retryable);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.payments().settle(rows(0..3)).await, Ok(Settlement::Settled));
    assert_eq!(total(&path), 3);
}

#[tokio::test]
async fn a_file_that_is_gone_makes_the_store_fail_and_is_not_made_anew() {
    let (_directory, path) = temporary();
    let store = open(&path);
    // The open connection would go on writing to the nameless file; a failure makes the writer open
    // it again.
    let _other = locked(&path);
    assert_eq!(class_of(store.payments().settle(rows(0..1)).await), Class::Retryable);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(class_of(store.payments().settle(rows(0..1)).await), Class::Retryable);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_damaged_file_is_fatal() {
    let (_directory, path) = temporary();
    std::fs::write(
        &path,
        "this is no database, and long enough to have a header of one. ".repeat(99),
    )
    .unwrap();
    assert_eq!(class_of(open_with(Options::at(&path))), Class::Fatal);
}

#[tokio::test]
async fn an_unusable_path_is_named_with_what_to_do() {
    let (directory, path) = temporary();
    std::fs::write(&path, "a file").unwrap();
    let below_a_file = open_with(Options::at(path.join("forebay.db"))).unwrap_err().to_string();
    assert!(below_a_file.contains("forebay.db/forebay.db"), "{below_a_file}");
    assert!(below_a_file.contains("name a file in a directory"), "{below_a_file}");
    let a_directory = open_with(Options::at(directory.path())).unwrap_err().to_string();
    assert!(a_directory.contains("name a file in a directory"), "{a_directory}");
}

#[tokio::test]
async fn files_are_made_for_this_user_only_with_the_directories_above() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/b/forebay.db");
    let store = open(&path);
    assert_eq!(store.payments().settle(rows(0..1)).await, Ok(Settlement::Settled));
    for suffix in ["db", "db-wal", "db-shm"] {
        let mode = std::fs::metadata(path.with_extension(suffix)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn closing_writes_what_waits_empties_the_log_and_refuses_the_rest() {
    let (_directory, path) = temporary();
    let store = open_with(Options::at(&path)).unwrap();
    let other = locked(&path);
    let mut waiting: Vec<_> =
        (0..20).map(|n| store.payments().settle(rows(n * 100..n * 100 + 100))).collect();
    for settling in &mut waiting {
        assert!(pending(settling.as_mut()).await);
    }
    other.execute_batch("ROLLBACK").unwrap();
    let (first, second) = tokio::join!(store.close(), store.close());
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(std::fs::metadata(path.with_extension("db-wal")).unwrap().len(), 0);
    for settling in waiting {
        assert_eq!(settling.await, Ok(Settlement::Settled));
    }
    assert_eq!(total(&path), 2_000);
    assert_eq!(class_of(store.payments().settle(rows(0..1)).await), Class::Fatal);
}

#[tokio::test]
async fn what_a_caller_stopped_waiting_for_is_found_settled_by_its_next_attempt() {
    let (_directory, path) = temporary();
    let store = open_with(Options::at(&path)).unwrap();
    let other = locked(&path);
    assert!(pending(store.payments().settle(rows(0..50))).await);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.payments().settle(rows(0..50)).await, Ok(duplicates(0..50)));
}

/// Polls once; whether it has to be waited for.
async fn pending<F: Future + Unpin>(mut future: F) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context).is_pending())).await
}

/// Holds the database's lock for writing, so that what is in the queue stays there for the moment.
fn locked(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn the_log_stays_bounded_while_rows_come_in() {
    let (_directory, path) = temporary();
    let wal_bytes_max = 8 * 1024 * 1024;
    let store = open_with(Options { wal_bytes_max, ..Options::at(&path) }).unwrap();
    for n in 0..60 {
        assert_eq!(
            store.payments().settle(rows(n * 500..n * 500 + 500)).await,
            Ok(Settlement::Settled)
        );
        // One more transaction may go past the bound before the log starts over.
        let length = std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
        assert!(length < wal_bytes_max + 4 * 1024 * 1024, "{length} bytes after batch {n}");
    }
    assert_eq!(total(&path), 30_000);
}

#[tokio::test]
async fn a_view_reads_what_a_running_store_has_settled() {
    let (_directory, path) = temporary();
    assert_eq!(class_of(inspect::open(&path)), Class::Fatal);
    assert!(!path.exists(), "looking makes no file");
    let store = open(&path);
    let mut settled = rows(0..12_345);
    settled[3].fraud_rules = vec!["velocity", "amount_spike"];
    settled[9_999].fraud_rules = vec!["velocity"];
    assert_eq!(store.payments().settle(settled.clone()).await, Ok(Settlement::Settled));
    let view = inspect::open(&path).unwrap();
    let mut seen = Vec::new();
    view.payments(|payment| {
        assert_eq!(payment.processed_at_ms, Some(1_700_000_000_000));
        assert_eq!(payment.accepted_at_ms, payment.created_at_ms + 1);
        assert_eq!(payment.is_fraud, payment.fraud_rules != "[]");
        seen.push((payment.tx_id.to_owned(), payment.amount, payment.card_fingerprint));
    })
    .unwrap();
    let expect: Vec<_> =
        settled.into_iter().map(|row| (row.tx_id, row.amount, row.card_fingerprint)).collect();
    assert_eq!(seen, expect);
    let counts = view.counts().unwrap();
    assert_eq!((counts.total, counts.distinct, counts.flagged), (12_345, 12_345, 2));
    let by_rule: Vec<_> = counts.flagged_by_rule.into_iter().collect();
    assert_eq!(by_rule, [("amount_spike".to_owned(), 1), ("velocity".to_owned(), 2)]);
    assert_eq!(view.damage(), Ok(None));
}

#[tokio::test]
async fn readable_times_are_iso_8601_to_the_millisecond() {
    let (_directory, path) = temporary();
    let store = open(&path);
    let paid = vec![row("a", "4000", 1, 1_700_000_000_123)];
    assert_eq!(store.payments().settle(paid).await, Ok(Settlement::Settled));
    let (created_at, processed_at): (String, String) = Connection::open(&path)
        .unwrap()
        .query_row("SELECT created_at, processed_at FROM transactions_readable", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(created_at, "2023-11-14T22:13:20.123Z");
    assert_eq!(processed_at, "2023-11-14T22:13:20.000Z");
}

#[tokio::test]
async fn text_with_a_nul_is_kept_whole() {
    let (_directory, path) = temporary();
    let store = open(&path);
    let ids = ["a\0b", "a\0c", "a"];
    let paid = ids.map(|id| row(id, "4000", 1, 1)).to_vec();
    assert_eq!(store.payments().settle(paid).await, Ok(Settlement::Settled));
    let mut seen = Vec::new();
    let view = inspect::open(&path).unwrap();
    view.payments(|payment| seen.push(payment.tx_id.to_owned())).unwrap();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_count_past_the_stores_integers_is_rejected() {
    let (_directory, path) = temporary();
    let completion = Completion {
        pipeline: "consumer_batch".into(),
        started_at_ms: 1,
        completed_at_ms: 2,
        settled: u64::MAX,
        duplicates: 0,
        dead: 0,
    };
    assert_eq!(class_of(open(&path).completions().complete(completion).await), Class::Rejected);
}

#[tokio::test]
async fn loads_are_read_from_outside_by_pipeline_and_from_a_moment_on() {
    let (_directory, path) = temporary();
    let store = open(&path);
    let all = [load("b:2", 1), load("a:1", 0), load("a:1", 1)];
    for load in &all {
        store.loads().record(load.clone(), 0).await.unwrap();
    }
    let table = Load { pipeline: "table:x".into(), ..load("a:1", 1) };
    store.loads().record(table.clone(), 0).await.unwrap();
    let view = inspect::open(&path).unwrap();
    let [late, first, second] = all;
    let (from, pipeline) = (first.started_at_ms, first.pipeline.clone());
    let read = view.loads(&pipeline, from).unwrap();
    assert_eq!(read, [first, late.clone(), second.clone()]);
    assert_eq!(view.loads(&pipeline, from + 1).unwrap(), [late, second]);
    assert_eq!(view.loads("table:x", from).unwrap(), [table]);
}

#[tokio::test]
async fn a_payment_that_a_trigger_skips_is_rejected_and_not_taken_for_a_duplicate() {
    let (_directory, path) = temporary();
    let store = open(&path);
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER skip BEFORE INSERT ON transactions WHEN new.tx_id = 'tx-1' \
             BEGIN SELECT RAISE(IGNORE); END",
        )
        .unwrap();
    let error = store.payments().settle(rows(0..3)).await.unwrap_err();
    assert_eq!(error.class(), Class::Rejected, "{error}");
    assert!(error.to_string().contains("a trigger on transactions"), "{error}");
    assert_eq!(total(&path), 0);
    assert_eq!(store.payments().settle(rows(0..1)).await, Ok(Settlement::Settled));
    assert_eq!(store.payments().settle(rows(0..1)).await, Ok(duplicates([0])));
    assert_eq!(class_of(store.payments().settle(rows(1..2)).await), Class::Rejected);
    store.close().await.unwrap();
    assert_eq!(total(&path), 1);
}

/// A trigger may end the transaction of all callers that share a commit.
#[tokio::test]
async fn a_trigger_that_rolls_everything_back_refuses_its_own_row_and_no_neighbour() {
    let (_directory, path) = temporary();
    let store = Arc::new(open(&path));
    let trigger = |name: &str, does: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE INSERT ON transactions WHEN new.tx_id LIKE '{name}%'
             BEGIN SELECT {does}; END;"
        )
    };
    let triggers = [
        trigger("rollback", "RAISE(ROLLBACK, 'no')"),
        trigger("abort", "RAISE(ABORT, 'no')"),
        trigger("fail", "RAISE(FAIL, 'no')"),
        trigger("overflow", "abs(-9223372036854775807 - 1)"),
    ];
    Connection::open(&path).unwrap().execute_batch(&triggers.concat()).unwrap();
    for round in 0..30 {
        let bad = ["rollback", "abort", "fail", "overflow"][round % 4];
        let ids = (0..8).map(|n| match n {
            3 => format!("{bad}-{round}"),
            n => format!("tx-{round}-{n}"),
        });
        let settles: Vec<_> = ids
            .map(|id| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    (id.clone(), store.payments().settle(vec![row(&id, "4000", 1, 1)]).await)
                })
            })
            .collect();
        for settle in settles {
            let (id, settled) = settle.await.unwrap();
            match id.starts_with(bad) {
                true => assert!(matches!(settled, Err(store::Error::Refused(_))), "{settled:?}"),
                false => assert_eq!(settled, Ok(Settlement::Settled), "{id} beside {bad}"),
            }
        }
    }
    assert_eq!(total(&path), 210);
}
