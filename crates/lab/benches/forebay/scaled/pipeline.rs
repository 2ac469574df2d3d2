//! A backlog in Redis or Kafka, screened and settled in PostgreSQL, against a bare binary COPY of the rows
//! it came to.

use std::time::Instant;

use anyhow::{Result, ensure};
use testbed::{Kafka, Postgres, Redis};

use super::{Running, copy, migrated, runtime};
use crate::Scale;
use crate::events::fill;
use crate::queue::{Layout, Queue};
use crate::table::{Row, paired};

const PAIRS: usize = 3;
const PAYMENTS: u32 = 1_000_000;

pub(crate) fn redis(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(PAYMENTS);
    let mut rows = Vec::new();
    for (layout, what) in
        [(Layout::Stream, "Redis Stream to PostgreSQL"), (Layout::List, "Redis List to PostgreSQL")]
    {
        let pairs = pairs(count, || {
            let redis = Redis::start()?;
            let queue = Queue::redis(&redis, layout);
            Ok((redis, queue))
        })?;
        rows.push(paired(what, "payments/s", 0.6, &pairs, note(count, "AOF every second")));
    }
    Ok(rows)
}

pub(crate) fn kafka(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(PAYMENTS);
    let pairs = pairs(count, || {
        let kafka = Kafka::start()?;
        let queue = Queue::kafka(&kafka);
        Ok((kafka, queue))
    })?;
    let note = note(count, "one broker, acks=all, 16 partitions");
    Ok(vec![paired("Kafka to PostgreSQL", "payments/s", 0.5, &pairs, note)])
}

fn note(count: usize, queue: &str) -> String {
    format!(
        "{count} payments, one process, all indexes, dedupe on; {queue}, synchronous_commit; ceiling: \
         one COPY, one transaction"
    )
}

/// Payments a second through the engine and in the bare COPY, each pair on servers of its own.
fn pairs<S>(count: usize, start: impl Fn() -> Result<(S, Queue)>) -> Result<Vec<(f64, f64)>> {
    let runtime = runtime()?;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let (_server, queue) = start()?;
        let postgres = runtime.block_on(migrated())?;
        let ours = runtime.block_on(settle(&postgres, &queue, count))?;
        let bare = runtime.block_on(copy::again(&postgres))?;
        pairs.push((count as f64 / ours, count as f64 / bare));
    }
    Ok(pairs)
}

/// Seconds from the start of the engine to the last commit.
pub(super) async fn settle(postgres: &Postgres, queue: &Queue, count: usize) -> Result<f64> {
    let producer = queue.open().await?;
    fill(&*producer, count).await?;
    let depth = producer.depth().await?;
    ensure!(depth.ready == count as u64, "{depth:?}");
    producer.close().await?;

    let started = Instant::now();
    let running = Running::start(postgres, queue).await?;
    running.handle.drained().await;
    let seconds = started.elapsed().as_secs_f64();
    let summary = running.stop().await?;
    ensure!(summary.counts.settled == count as u64, "{summary:?}");
    Ok(seconds)
}
