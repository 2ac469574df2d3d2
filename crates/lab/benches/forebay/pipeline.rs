//! The whole embedded pipeline, against a bare prepared-insert loop of the same rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use buffer::Buffer;
use buffer_journal::JournalBuffer;
use engine::Service;
use fraud::{Handler, Ruleset};
use lab::generator::{Generator, Options};
use model::Event;
use model::clock::{Clock, System};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use store::card::Guard;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::Scale;
use crate::table::{Row, Target, paired};

const PAIRS: usize = 3;
/// 64 MiB of 4 KiB pages.
const WAL_PAGES: i64 = 16_384;
const OFFER_BATCH: usize = 1000;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut pairs = Vec::new();
    let mut with_offers = Vec::new();
    let options = engine::Options::default();
    let mut transaction_rows = 0;
    for _ in 0..PAIRS {
        let dir = TempDir::new_in(".")?;
        let (offer_seconds, settle_seconds) =
            runtime.block_on(settle(dir.path(), count, options.clone()))?;
        let (bare, rows_each) = insert(dir.path())?;
        transaction_rows = rows_each;
        pairs.push((count as f64 / settle_seconds, count as f64 / bare));
        with_offers.push(count as f64 / (offer_seconds + settle_seconds));
    }
    let note = format!(
        "{count} payments, WAL, synchronous=FULL, all indexes, {transaction_rows} rows a transaction"
    );
    Ok(vec![
        paired("embedded pipeline", "payments/s", 0.6, &pairs, note),
        Row {
            what: "embedded pipeline, offers first",
            unit: "payments/s",
            ours: crate::table::median(with_offers),
            ceiling: None,
            ratio: None,
            target: Target::None,
            note: "the same, with the time to generate and offer them durably on top".into(),
        },
    ])
}

/// Seconds to generate and offer, and seconds from the first lease to the last commit.
async fn settle(dir: &Path, count: usize, options: engine::Options) -> Result<(f64, f64)> {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let journal_options = buffer_journal::Options::new(dir.join("buffer"));
    let (journal, _) = JournalBuffer::open(journal_options, clock.clone())?;
    let journal: Arc<dyn Buffer> = Arc::new(journal);
    let started = Instant::now();
    offer(&*journal, count, &*clock).await?;
    let offer_seconds = started.elapsed().as_secs_f64();

    let at = store_sqlite::Options::at(dir.join("forebay.db"));
    let store = store_sqlite::open(at, clock.clone())?;
    let guard = Arc::new(Guard::new(&[7; 32], false));
    let handler = Handler::open(
        store.payments().clone(),
        &*store.rulesets(),
        guard,
        Ruleset::default(),
        1_000_000,
    )
    .await?;
    let shutdown = CancellationToken::new();
    let service = Service {
        buffer: journal.clone(),
        handler: Arc::new(handler).into(),
        completions: Some(store.completions()),
        clock,
        seed: 1,
        shutdown: shutdown.clone(),
    };
    let started = Instant::now();
    let handle = service.start(options)?;
    handle.drained().await;
    let settle_seconds = started.elapsed().as_secs_f64();
    shutdown.cancel();
    let summary = handle.join().await?;
    ensure!(summary.counts.settled == count as u64, "{summary:?}");
    store.close().await?;
    journal.close().await?;
    Ok((offer_seconds, settle_seconds))
}

async fn offer(journal: &dyn Buffer, count: usize, clock: &dyn Clock) -> Result<()> {
    let mut generator = Generator::new(&Options::default())?;
    let start_ms = clock.now_ms() - i64::try_from(count)?;
    let mut made = 0;
    while made < count {
        let batch: Vec<Event> = (made..(made + OFFER_BATCH).min(count))
            .zip(start_ms + i64::try_from(made)?..)
            .map(|(_, at_ms)| generator.event(at_ms).0)
            .collect();
        journal.offer(&batch).await?;
        made += batch.len();
    }
    Ok(())
}

/// Seconds to insert the rows we settled, all columns, into an empty database of the same schema,
/// under the same pragmas, in the same transactions, from memory; and the rows of a transaction.
fn insert(dir: &Path) -> Result<(f64, usize)> {
    let (columns, rows) = rows(&dir.join("forebay.db"))?;
    let path = dir.join("bare.db");
    // Its schema and indexes come from the same migrations.
    drop(store_sqlite::open(store_sqlite::Options::at(&path), Arc::new(System))?);
    let connection = Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let cache_kib = store_sqlite::Options::at(&path).cache_kib;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    // Checkpoints as seldom as ours: the default, every 1,000 pages, would be a lower ceiling.
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    let places = vec!["?"; columns.len()].join(",");
    let sql = format!("INSERT INTO transactions ({}) VALUES ({places})", columns.join(","));
    let mut statement = connection.prepare(&sql)?;
    // All rows of a transaction carry the same time of processing.
    let processed_at =
        columns.iter().position(|name| name == "processed_at").context("a column")?;
    let same = |a: &Vec<Value>, b: &Vec<Value>| a[processed_at] == b[processed_at];
    let transactions = rows.chunk_by(same).count();
    let started = Instant::now();
    for some in rows.chunk_by(same) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for row in some {
            statement.execute(params_from_iter(row))?;
        }
        connection.execute_batch("COMMIT")?;
    }
    // A moment for the file system, so that the next measurement does not pay for this one.
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs(1));
    Ok((seconds, rows.len() / transactions))
}

fn rows(path: &Path) -> Result<(Vec<String>, Vec<Vec<Value>>)> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare("SELECT * FROM transactions ORDER BY id")?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement
        .query_map([], |row| (0..columns.len()).map(|n| row.get(n)).collect())?
        .collect::<rusqlite::Result<_>>()?;
    Ok((columns, rows))
}
