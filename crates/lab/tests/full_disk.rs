//! A journal and a SQLite store on one small file system: offers are refused while there is room for
//! the store to settle all that was accepted.
//!
//! Needs the right to mount a file system in memory. Without it the test says that it was skipped, and
//! fails where `CI=true`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use buffer::{Buffer, Error};
use buffer_journal::JournalBuffer;
use engine::Service;
use fraud::{Handler, Ruleset};
use lab::generator::{Generator, Options};
use model::clock::{Clock, System};
use rusqlite::Connection;
use store::card::Guard;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;
const DISK_MIB: u64 = 24;
const OFFER_BATCH: usize = 500;
/// Offers made at most: twice what the disk would hold.
const EVENTS_MAX: usize = 150_000;
/// How long settling may take, in seconds.
const DRAIN_SECONDS_MAX: u64 = 240;

/// A file system in memory, gone when dropped.
struct Mounted(TempDir);

impl Mounted {
    /// `None` where this user may not mount.
    fn new() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no right to mount a tmpfs");
        eprintln!("skipped: no right to mount a tmpfs; run as root");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Offers until the journal refuses; returns how many events were accepted.
async fn fill(journal: &dyn Buffer, clock: &dyn Clock) -> usize {
    let mut generator = Generator::new(&Options::default()).unwrap();
    let mut at_ms = clock.now_ms() - i64::try_from(EVENTS_MAX).unwrap();
    let mut accepted = 0;
    while accepted < EVENTS_MAX {
        let batch: Vec<_> = (0..OFFER_BATCH)
            .map(|_| {
                at_ms += 1;
                generator.event(at_ms).0
            })
            .collect();
        match journal.offer(&batch).await {
            Ok(()) => accepted += batch.len(),
            Err(Error::Full { .. }) => break,
            Err(e) => panic!("{e}"),
        }
    }
    accepted
}

fn settled(path: &Path) -> usize {
    let db = Connection::open(path).unwrap();
    let count = "SELECT count(*) FROM transactions";
    let rows: i64 = db.query_row(count, [], |row| row.get(0)).unwrap();
    usize::try_from(rows).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_on_a_disk_shared_with_the_store_is_settled() {
    let Some(disk) = Mounted::new() else { return };
    let clock: Arc<dyn Clock> = Arc::new(System);
    let path = disk.0.path().join("forebay.db");
    let at = store_sqlite::Options { busy_timeout_ms: 100, ..store_sqlite::Options::at(&path) };
    let store = store_sqlite::open(at, clock.clone()).unwrap();
    let options = buffer_journal::Options {
        segment_bytes: MIB,
        ..buffer_journal::Options::new(disk.0.path().join("buffer"))
    };
    let options = options.beside_store(DISK_MIB * MIB, 1);
    let journal: Arc<dyn Buffer> = Arc::new(JournalBuffer::open(options, clock.clone()).unwrap().0);

    let guard = Arc::new(Guard::new(&[7; 32], false));
    let ruleset = Ruleset::default();
    let handler =
        Handler::open(store.payments().clone(), &*store.rulesets(), guard, ruleset, 100_000)
            .await
            .unwrap();
    let holder = Connection::open(&path).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let shutdown = CancellationToken::new();
    let service = Service {
        buffer: journal.clone(),
        handler: Arc::new(handler).into(),
        completions: None,
        clock: clock.clone(),
        seed: 1,
        shutdown: shutdown.clone(),
    };
    let handle = service.start(engine::Options::default()).unwrap();
    let accepted = fill(&*journal, &*clock).await;
    assert!(accepted > 2_000 && accepted < EVENTS_MAX, "{accepted} accepted");
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);

    let drained = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), handle.drained());
    let in_time = drained.await.is_ok();
    assert!(in_time, "{} of {accepted} are settled, the rest stay", settled(&path));
    assert_eq!(settled(&path), accepted);
    shutdown.cancel();
    handle.join().await.unwrap();
    store.close().await.unwrap();
    journal.close().await.unwrap();
}
