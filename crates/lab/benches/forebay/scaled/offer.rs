//! Offers into Redis, against the variadic LPUSH of redis-benchmark with the same payload.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use buffer::Buffer;
use buffer_redis::{Connections, Options, RedisBuffer};
use testbed::Redis;

use super::runtime;
use crate::Scale;
use crate::events::{EVENT_BYTES, plain};
use crate::queue::{self, Layout};
use crate::table::{Row, paired};

const PAIRS: usize = 3;
/// Events in an offer, and elements in a push.
const BATCH: usize = 100;
/// Offers, and pushes, under way at once.
const CALLERS: usize = 8;

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(1_000_000);
    let runtime = runtime()?;
    let mut rows = Vec::new();
    for (layout, what) in
        [(Layout::List, "offers, Redis List"), (Layout::Stream, "offers, Redis Stream")]
    {
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let redis = Redis::start()?;
            let ours = runtime.block_on(offer(&redis, layout, count))?;
            drop(redis);
            pairs.push((ours, push(&Redis::start()?, count)?));
        }
        let note = format!(
            "{count} events of {EVENT_BYTES} B, {CALLERS} callers x {BATCH}, connections=dedicated, AOF every second; \
             ceiling: redis-benchmark LPUSH of {BATCH} elements, {CALLERS} clients"
        );
        rows.push(paired(what, "events/s", 0.5, &pairs, note));
    }
    Ok(rows)
}

async fn offer(redis: &Redis, layout: Layout, count: usize) -> Result<f64> {
    let options = Options { connections: Connections::Dedicated, ..queue::redis(redis, layout) };
    let buffer = Arc::new(RedisBuffer::open(options).await?);
    let each = count / CALLERS;
    // Made before: what is measured is the offer.
    let batches = (0..CALLERS).map(|caller| {
        let batch = |n: usize| plain(caller * each + n * BATCH, BATCH);
        (0..each / BATCH).map(batch).collect::<Vec<_>>()
    });
    let batches: Vec<_> = batches.collect();
    let offered = batches.iter().flatten().map(Vec::len).sum::<usize>();
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for batches in batches {
        let buffer = buffer.clone();
        callers.spawn(async move {
            for batch in batches {
                buffer.offer(&batch).await?;
            }
            Ok::<_, buffer::Error>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let depth = buffer.depth().await?;
    ensure!(depth.ready == offered as u64, "{depth:?}");
    buffer.close().await?;
    Ok(offered as f64 / seconds)
}

/// Elements a second.
fn push(redis: &Redis, count: usize) -> Result<f64> {
    let address = redis.address();
    let port = address.rsplit(':').next().context("an address has a port")?;
    let payload = "x".repeat(EVENT_BYTES);
    let (requests, callers) = ((count / BATCH).to_string(), CALLERS.to_string());
    let output = Command::new("redis-benchmark")
        .args(["-p", port, "-n", &requests, "-c", &callers, "--csv", "LPUSH", "queue"])
        .args(vec![payload; BATCH])
        .output()
        .context("redis-benchmark is not there; install redis-tools")?;
    let text = String::from_utf8(output.stdout)?;
    // "test","rps",… and then one line for the command, which is quoted and holds commas.
    let line = text.lines().last().context("redis-benchmark said nothing")?;
    let rps = line.rsplit("\",\"").nth(6).context("a line of redis-benchmark has eight columns")?;
    Ok(rps.trim_matches('"').parse::<f64>()? * BATCH as f64)
}
