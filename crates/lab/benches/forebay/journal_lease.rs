//! Leasing and acking, against reading the same files sequentially with a CRC over all of it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use buffer::{Buffer, Receipt};
use buffer_journal::{JournalBuffer, Options};
use model::clock::System;
use tempfile::TempDir;

use crate::Scale;
use crate::events::plain;
use crate::table::{Row, paired};

const BATCH: usize = 1000;
const PAIRS: usize = 5;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let events = scale.events(2_000_000) / BATCH * BATCH;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let dir = TempDir::new_in(".")?;
        // Progress is written at the end only: removing segments under the ceiling's feet would
        // leave it nothing to read. Writing it once a second is in the pipeline's figure.
        let options = Options { checkpoint_ms: 0, ..Options::new(dir.path()) };
        let journal = JournalBuffer::open(options, Arc::new(System))?.0;
        runtime.block_on(fill(&journal, events))?;
        read(dir.path())?;
        let ours = runtime.block_on(drain(&journal, events))?;
        pairs.push((ours, events as f64 / read(dir.path())?));
    }
    let note = format!("256-byte events, leases of {BATCH}, page cache warm for both");
    Ok(vec![paired("journal lease + ack", "events/s", 0.4, &pairs, note)])
}

async fn fill(journal: &JournalBuffer, events: usize) -> Result<()> {
    let batch = plain(0, BATCH);
    for _ in 0..events / BATCH {
        journal.offer(&batch).await?;
    }
    Ok(())
}

async fn drain(journal: &JournalBuffer, events: usize) -> Result<f64> {
    let mut receipts: Vec<Receipt> = Vec::with_capacity(BATCH);
    let (mut done, mut bytes) = (0, 0);
    let started = Instant::now();
    while done < events {
        let leased = journal.lease(BATCH, Duration::ZERO).await?;
        receipts.clear();
        receipts.extend(leased.iter().map(|envelope| envelope.receipt));
        bytes += leased.iter().map(|envelope| envelope.event.payload().len()).sum::<usize>();
        done += journal.ack(&receipts).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(bytes > done * 200, "the payloads were read");
    Ok(done as f64 / seconds)
}

/// Seconds to read all segments, 1 MiB at a time, with a CRC-32 of everything.
fn read(dir: &Path) -> Result<f64> {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let mut chunk = vec![0; 1 << 20];
    let mut crc = crc32fast::Hasher::new();
    let started = Instant::now();
    for path in entries.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")) {
        let mut file = std::fs::File::open(path)?;
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            crc.update(&chunk[..n]);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    std::hint::black_box(crc.finalize());
    Ok(seconds)
}
