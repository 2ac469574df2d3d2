//! A process beside the one that settles.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use model::clock::System;
use model::{Class, Classify};
use rusqlite::Connection;
use store::conformance::loads::load;
use store::conformance::row;
use store::moves::Report;
use store::{Claimed, Settlement};
use store_sqlite::Options;
use tempfile::TempDir;

/// Tells the other process which database it is.
const PATH: &str = "STORE_BESIDE_PATH";
/// What the other process writes, each in a transaction of its own.
const WRITES: i64 = 10;
/// How long, in milliseconds, either process waits for a lock.
const BUSY_TIMEOUT_MS: u32 = 1_000;
/// Rows of a batch.
const BATCH_ROWS: i64 = 10;
/// Batches that are always on their way: more than one transaction takes, so that the writer never waits
/// for work.
const SETTLING: usize = 16;
/// No batch takes longer.
const BATCH_MAX: Duration = Duration::from_secs(5);
/// How long the writer waits at a closed gate.
const GATE_MAX: Duration = Duration::from_millis(100);
/// Makes a transaction of eight batches take a tenth of a second and more, as on a slow disk.
const SLOW: &str = "\
    CREATE TRIGGER slow AFTER INSERT ON transactions WHEN new.created_at % 10 = 0 BEGIN \
        SELECT count(*) FROM ( \
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
            SELECT i FROM n); \
    END";

fn options(path: impl Into<std::path::PathBuf>) -> Options {
    Options { busy_timeout_ms: BUSY_TIMEOUT_MS, ..Options::at(path) }
}

fn total(path: &std::path::Path, table: &str) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Settles until `stop`; the longest time that one batch took.
async fn settle(store: Claimed, next: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> Duration {
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(BATCH_ROWS, Ordering::Relaxed);
        let rows = (first..first + BATCH_ROWS).map(|n| row(&format!("tx-{n}"), "4000", 1, n));
        let began = Instant::now();
        let settled = store.payments().settle(rows.collect()).await;
        assert_eq!(settled, Ok(Settlement::Settled));
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_writes_its_families_while_payments_are_settled_without_pause() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    let store = store_sqlite::open(options(&path), Arc::new(System)).unwrap();
    Connection::open(&path).unwrap().execute_batch(SLOW).unwrap();
    let (next, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let settling: Vec<_> = (0..SETTLING)
        .map(|_| tokio::spawn(settle(store.clone(), next.clone(), stop.clone())))
        .collect();
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "beside::the_other_process", "--nocapture"])
        .env(PATH, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let other = tokio::task::spawn_blocking(|| other.wait_with_output()).await.unwrap().unwrap();
    stop.store(true, Ordering::Relaxed);
    let said = [other.stdout, other.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(other.status.success() && said.contains("1 passed"), "{said}");
    for settling in settling {
        let longest = settling.await.unwrap();
        assert!(longest < BATCH_MAX, "{longest:?}");
    }
    store.close().await.unwrap();
    assert_eq!(total(&path, "transactions"), next.load(Ordering::Relaxed));
    assert_eq!(total(&path, "load_history"), WRITES);
    assert_eq!(total(&path, "buffer_move_processes"), 1);
}

/// The other process of the test above, which starts it; by itself it has nothing to do.
#[tokio::test]
async fn the_other_process() {
    let Ok(path) = std::env::var(PATH) else { return };
    let store = store_sqlite::beside(options(path), Arc::new(System));
    let (loads, moves) = (store.loads(), store.moves());
    for n in 0..WRITES {
        assert_eq!(loads.record(load("beside", n), 0).await, Ok(()), "write {n}");
        let report =
            Report { process: "beside".into(), step: n.unsigned_abs(), ..Report::default() };
        assert_eq!(moves.report("payments", &report).await, Ok(()), "report {n}");
    }
    assert_eq!(moves.reports("payments").await.unwrap()[0].report.step, WRITES.unsigned_abs() - 1);
    store.close().await.unwrap();
}

/// A process that stopped, or hangs, may keep the gate closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_waits_at_a_closed_gate_for_a_moment_and_once_only() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    let store = store_sqlite::open(options(&path), Arc::new(System)).unwrap();
    let gate = std::fs::File::open(directory.path().join("forebay.db-gate")).unwrap();
    gate.lock().unwrap();
    let began = Instant::now();
    for n in 0..50 {
        let settled = store.payments().settle(vec![row(&format!("tx-{n}"), "4000", 1, n)]).await;
        assert_eq!(settled, Ok(Settlement::Settled));
        assert!(began.elapsed() >= GATE_MAX, "{:?}", began.elapsed());
    }
    // 50 waits would be 5 s.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let other = store_sqlite::beside(options(&path), Arc::new(System));
    let refused = other.loads().record(load("beside", 0), 0).await.unwrap_err();
    assert_eq!(refused.class(), Class::Retryable, "{refused}");
    gate.unlock().unwrap();
    assert_eq!(other.loads().record(load("beside", 0), 0).await, Ok(()));
}

#[tokio::test]
async fn calls_fail_until_a_process_that_settles_has_made_the_store() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    let other = store_sqlite::beside(options(&path), Arc::new(System));
    // None is made here: it would be without its key.
    assert_eq!(other.moves().all().await.unwrap_err().class(), Class::Retryable);
    assert_eq!(other.moves().sweep("p").await.unwrap_err().class(), Class::Retryable);
    assert!(!path.exists());
    let _store = store_sqlite::open(options(&path), Arc::new(System)).unwrap();
    assert_eq!(other.moves().all().await, Ok(Vec::new()));
}

#[tokio::test]
async fn the_log_stays_bounded_while_no_process_settles() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    store_sqlite::open(options(&path), Arc::new(System)).unwrap().close().await.unwrap();
    let wal_bytes_max = 1024 * 1024;
    let other = store_sqlite::beside(Options { wal_bytes_max, ..options(&path) }, Arc::new(System));
    for n in 0..400 {
        assert_eq!(other.loads().record(load("beside", n), 0).await, Ok(()));
    }
    let length = std::fs::metadata(directory.path().join("forebay.db-wal")).unwrap().len();
    assert!(length < 2 * wal_bytes_max, "{length} bytes");
}

#[tokio::test]
async fn a_store_that_is_closed_or_of_another_version_is_not_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("forebay.db");
    store_sqlite::open(options(&path), Arc::new(System)).unwrap().close().await.unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let other = store_sqlite::beside(options(&path), Arc::new(System));
    let refused = other.loads().record(load("beside", 0), 0).await.unwrap_err();
    assert_eq!(refused.class(), Class::Fatal);
    assert!(refused.to_string().contains("has version 99"), "{refused}");
    other.close().await.unwrap();
    let refused = other.moves().sweep("payments").await.unwrap_err();
    assert!(refused.to_string().contains("it is closed"), "{refused}");
    assert_eq!(total(&path, "load_history"), 0);
}
