//! Durable offers, against writing the same bytes in the same group sizes with write + fdatasync.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use buffer::Buffer;
use buffer_journal::{JournalBuffer, Key, Options};
use journal::fs::Fs;
use journal::fs::disk::Disk;
use journal::record::FIRST;
use journal::segment;
use model::clock::System;
use tempfile::TempDir;

use crate::Scale;
use crate::events::{EVENT_BYTES, plain};
use crate::table::{Row, paired};

const PRODUCERS: usize = 32;
const BATCH: usize = 100;
const PAIRS: usize = 5;
const SEGMENT_BYTES: u64 = 64 << 20;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let rounds = scale.events(1_600_000) / PRODUCERS / BATCH;
    let (mut pairs, mut encrypted) = (Vec::new(), Vec::new());
    let mut groups_seen = 0;
    let keys = TempDir::new_in(".")?;
    let key = key_file(keys.path())?;
    for _ in 0..PAIRS {
        let dir = TempDir::new_in(".")?;
        let ours = offer(dir.path(), rounds, Key::None)?;
        encrypted.push((offer(TempDir::new_in(".")?.path(), rounds, key.clone())?, ours));
        let groups = group_bytes(dir.path())?;
        groups_seen = groups.len();
        let events = rounds * PRODUCERS * BATCH;
        pairs.push((ours, events as f64 / write(dir.path(), &groups)?));
    }
    let note = format!(
        "sync=always, {EVENT_BYTES}-byte events, batches of {BATCH}, {PRODUCERS} producers, {groups_seen} groups"
    );
    let of_plain = format!("encrypted, against in plain text; {note}");
    Ok(vec![
        paired("journal offer", "events/s", 0.6, &pairs, note),
        paired("journal offer, encrypted", "events/s", 0.25, &encrypted, of_plain),
    ])
}

/// A file with a key, in `dir`.
fn key_file(dir: &Path) -> Result<Key> {
    let path = dir.join("key");
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all("0f".repeat(32).as_bytes())?;
    Ok(Key::File(path))
}

/// Events a second.
fn offer(dir: &Path, rounds: usize, key: Key) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let options = Options { segment_bytes: SEGMENT_BYTES, key, ..Options::new(dir) };
    let journal = Arc::new(JournalBuffer::open(options, Arc::new(System))?.0);
    // The same batch again and again: making events is not what is measured.
    let batches: Vec<_> = (0..PRODUCERS).map(|n| Arc::new(plain(n * BATCH, BATCH))).collect();
    let started = Instant::now();
    runtime.block_on(async {
        let mut producers = tokio::task::JoinSet::new();
        for batch in batches {
            let journal = journal.clone();
            producers.spawn(async move {
                for _ in 0..rounds {
                    journal.offer(&batch).await.expect("the disk has room");
                }
            });
        }
        while let Some(ended) = producers.join_next().await {
            ended.expect("no producer panics");
        }
    });
    Ok((rounds * PRODUCERS * BATCH) as f64 / started.elapsed().as_secs_f64())
}

/// The bytes of each group that was written, read back from the first-of-group flags.
fn group_bytes(dir: &Path) -> Result<Vec<usize>> {
    let mut groups: Vec<usize> = Vec::new();
    let mut paths = Disk.list(dir)?;
    paths.sort();
    for path in paths {
        let Some(base) = segment::base(&path) else { continue };
        segment::scan(&*Disk.open(&path, false)?, base, 0, |header, _, _| {
            if header.flags & FIRST != 0 {
                groups.push(0);
            }
            if let Some(group) = groups.last_mut() {
                *group += header.total();
            }
        })?;
    }
    Ok(groups)
}

/// Seconds for the same groups, written plainly to files preallocated as ours are: the faster way
/// to append on most filesystems, so the higher ceiling.
fn write(dir: &Path, groups: &[usize]) -> Result<f64> {
    let bytes = vec![b'y'; groups.iter().copied().max().unwrap_or(0)];
    let started = Instant::now();
    let mut file: Option<(File, u64)> = None;
    for (n, group) in groups.iter().enumerate() {
        let full = file.as_ref().is_none_or(|(_, len)| len + *group as u64 > SEGMENT_BYTES);
        if full {
            let new = File::create(dir.join(format!("raw-{n}")))?;
            journal::fs::File::allocate(&new, SEGMENT_BYTES)?;
            file = Some((new, 0));
        }
        let (file, len) = file.as_mut().expect("made above");
        file.write_all(&bytes[..*group])?;
        file.sync_data()?;
        *len += *group as u64;
    }
    Ok(started.elapsed().as_secs_f64())
}
