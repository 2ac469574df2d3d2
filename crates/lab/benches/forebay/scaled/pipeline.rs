//! A backlog in Redis, screened and settled in PostgreSQL, against a bare binary COPY of the rows it
//! came to.

use std::time::Instant;

use anyhow::{Result, ensure};
use buffer::Buffer;
use buffer_redis::RedisBuffer;

use super::{Layout, Running, Servers, copy, fill, runtime};
use crate::Scale;
use crate::table::{Row, paired};

const PAIRS: usize = 3;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(1_000_000);
    let note = || {
        format!(
            "{count} payments, one process, all indexes, dedupe on; AOF every second, \
             synchronous_commit; ceiling: one COPY, one transaction"
        )
    };
    let runtime = runtime()?;
    let mut rows = Vec::new();
    for (layout, what) in
        [(Layout::Stream, "Redis Stream to PostgreSQL"), (Layout::List, "Redis List to PostgreSQL")]
    {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let servers = runtime.block_on(Servers::start())?;
            let ours = runtime.block_on(settle(&servers, layout, count))?;
            let bare = runtime.block_on(copy::again(&servers.postgres))?;
            pairs.push((count as f64 / ours, count as f64 / bare));
        }
        rows.push(paired(what, "payments/s", 0.6, &pairs, note()));
    }
    Ok(rows)
}

/// Seconds from the start of the engine to the last commit.
pub(super) async fn settle(servers: &Servers, layout: Layout, count: usize) -> Result<f64> {
    let producer = RedisBuffer::open(servers.buffer(layout)).await?;
    fill(&producer, count).await?;
    let depth = producer.depth().await?;
    ensure!(depth.ready == count as u64, "{depth:?}");
    producer.close().await?;

    let started = Instant::now();
    let running = Running::start(servers, layout).await?;
    running.handle.drained().await;
    let seconds = started.elapsed().as_secs_f64();
    let summary = running.stop().await?;
    ensure!(summary.counts.settled == count as u64, "{summary:?}");
    Ok(seconds)
}
