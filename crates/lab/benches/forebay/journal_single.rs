//! One event at a time from one caller, not waiting for the disk (sync=os), against a send into a channel
//! of this process.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use buffer::Buffer;
use buffer_journal::{JournalBuffer, Options};
use journal::Sync;
use model::Event;
use model::clock::System;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::Scale;
use crate::events::{EVENT_BYTES, plain};
use crate::table::{Row, Target, median, percentile};

const PAIRS: usize = 5;
/// Events that the channel holds before a send waits.
const CHANNEL_EVENTS: usize = 1024;
/// 0.1 ms.
const P50_US_MAX: f64 = 100.0;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let events = plain(0, scale.events(200_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let (mut ours, mut channel, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let offers = offer(&runtime, events.clone())?;
        ours.push(percentile(&offers, 50));
        p99.push(percentile(&offers, 99));
        channel.push(percentile(&send(&runtime, events.clone())?, 50));
    }
    let ratios = ours.iter().zip(&channel).map(|(ours, channel)| ours / channel).collect();
    let note = format!(
        "sync=os (survives kill -9, NOT power loss), {EVENT_BYTES}-byte events, one at a time, one caller, \
         {} each; p99 {:.1} µs; ceiling: p50 of a send into a tokio mpsc channel, so less is better",
        events.len(),
        median(p99),
    );
    Ok(vec![Row {
        what: "journal offer, single, p50",
        unit: "µs",
        ours: median(ours),
        ceiling: Some(median(channel)),
        ratio: Some(median(ratios)),
        target: Target::AtMost(P50_US_MAX),
        note,
    }])
}

/// How long each offer took, in µs, in order.
fn offer(runtime: &Runtime, events: Vec<Event>) -> Result<Vec<f64>> {
    let dir = TempDir::new_in(".")?;
    let options = Options { sync: Sync::Os, ..Options::new(dir.path()) };
    let journal = JournalBuffer::open(options, Arc::new(System))?.0;
    // In a task, as the server offers.
    let offering = runtime.spawn(async move {
        let mut took = Vec::with_capacity(events.len());
        for event in &events {
            let began = Instant::now();
            journal.offer(std::slice::from_ref(event)).await?;
            took.push(micros(began));
        }
        let depth = journal.depth().await?;
        ensure!(depth.ready == events.len() as u64, "{depth:?}");
        journal.close().await?;
        Ok(took)
    });
    let mut took = runtime.block_on(offering)??;
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// The same for sends to a task that takes them.
fn send(runtime: &Runtime, events: Vec<Event>) -> Result<Vec<f64>> {
    let count = events.len();
    let (sender, mut receiver) = mpsc::channel(CHANNEL_EVENTS);
    let taker = runtime.spawn(async move {
        let mut taken = 0;
        while let Some(event) = receiver.recv().await {
            std::hint::black_box::<Event>(event);
            taken += 1;
        }
        taken
    });
    let sending = runtime.spawn(async move {
        let mut took = Vec::with_capacity(count);
        for event in events {
            let began = Instant::now();
            sender.send(event).await?;
            took.push(micros(began));
        }
        anyhow::Ok(took)
    });
    let mut took = runtime.block_on(sending)??;
    let taken = runtime.block_on(taker)?;
    ensure!(taken == count, "{taken} of {count} were taken");
    took.sort_by(f64::total_cmp);
    Ok(took)
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}
