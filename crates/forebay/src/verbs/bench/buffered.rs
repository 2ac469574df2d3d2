//! Phase 3: the payments.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use buffer::Buffer;
use engine::Stats;
use lab::generator::{Generator, Options};
use lab::phases::processor::Sampler;
use lab::phases::{Figures, LatencyMs, Recorder, rates};
use model::{Class, Classify, Event};

use super::plan::Plan;
use crate::config::Config;
use crate::open;
use crate::payments::Payments;

/// Payments offered together.
const BATCH: usize = 500;
/// How many batches' worth may be under way: enough to keep every lane busy, and no more, so that
/// latency is the pipeline's and not that of a queue this bench has made.
const UNDER_WAY_BATCHES: u64 = 2;
/// How often a batch is offered before the bench gives up.
const OFFER_TRIES_MAX: u32 = 500;
/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(plan: &Plan, store: store_postgres::Options) -> Result<Figures> {
    let name = plan.buffer.name();
    // A key made for a bench must not be the one that a worker finds later, and is refused with.
    let key_file = plan.out.join(format!("{name}.key"));
    let config = Config {
        store: Arc::new(store),
        key_file: key_file.clone(),
        // What waits in a spill or in another buffer is somebody's money, and no business of a bench.
        ..plan.config.clone().with_buffer(plan.buffer.clone())
    };
    let figures = measure(plan, &config).await;
    let removed = match std::fs::remove_file(&key_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("can't remove {}", key_file.display())),
    };
    let left_over = || format!("the list or stream {name} is left over");
    plan.buffer.purge().await.with_context(left_over)?;
    removed?;
    figures
}

async fn measure(plan: &Plan, config: &Config) -> Result<Figures> {
    let batches = batches(plan.events)?;
    let payments = Payments::start(config, None).await?;
    let sampler = Sampler::start(plan.servers.clone());
    let began = Instant::now();
    let (stats, buffer) = (payments.stats().clone(), payments.buffer().clone());
    let totals = tokio::spawn(watch(stats.clone(), began, payments.ended().clone()));
    let under_way_max = (config.engine.batch_max * config.engine.lanes) as u64 * UNDER_WAY_BATCHES;
    let ended = payments.ended().clone();
    let offering = offer(&*buffer, &stats, batches, under_way_max);
    let offers = plan.until_stopped(ended.run_until_cancelled(offering)).await;
    let drained = plan.until_stopped(payments.drained()).await;
    let took = began.elapsed();
    let load = sampler.stop();
    let stopped = payments.stop().await?;
    drained?;
    let offers = offers?.context("the engine ended before all was offered")??;
    let counts = stopped.counts;
    let latency = stats.latency();
    let ms = |quantile| millis(latency.quantile_ms(quantile));
    Ok(Figures {
        what: format!(
            "offered {BATCH} at a time to Redis, screened by 4 rules, settled in batches by COPY; at \
             most {under_way_max} under way"
        ),
        durability: "what Redis survives, before the producer is told; then what PostgreSQL survives"
            .to_owned(),
        latency_ms: LatencyMs {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            max: millis(latency.max_ms()),
        },
        accepted_latency_ms: Some(offers.latency_ms()),
        errors: counts.dead,
        rate_over_time: rates(&totals.await?),
        ..Figures::new("3 · buffered, in batches", took, &offers, load)
    }
    .with_events(counts.settled, took))
}

/// Offers everything; the recorder has how long each payment took to be durable in the buffer.
async fn offer(
    buffer: &dyn Buffer,
    stats: &Arc<Stats>,
    batches: Vec<Vec<Event>>,
    under_way_max: u64,
) -> Result<Recorder> {
    let mut recorder = Recorder::new(Instant::now());
    let mut offered = 0;
    for batch in batches {
        let done = |counts: engine::Counts| counts.settled + counts.duplicates + counts.dead;
        while offered - done(stats.counts()).min(offered) > under_way_max {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        let mut tries = 0;
        while let Err(error) = buffer.offer(&batch).await {
            tries += 1;
            ensure!(error.class() == Class::Retryable && tries < OFFER_TRIES_MAX, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        recorder.record_many(Instant::now(), began.elapsed(), batch.len() as u64);
        offered += batch.len() as u64;
    }
    Ok(recorder)
}

/// How many were settled by when, until the engine has ended.
async fn watch(
    stats: Arc<Stats>,
    began: Instant,
    ended: tokio_util::sync::CancellationToken,
) -> Vec<(Duration, u64)> {
    let mut totals = vec![(Duration::ZERO, 0)];
    while ended.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let settled = stats.counts().settled;
        // Once all are settled nothing more is to be seen.
        if totals.last().is_some_and(|(_, last)| *last < settled || *last == 0) {
            totals.push((began.elapsed(), settled));
        }
    }
    totals
}

fn batches(count: usize) -> Result<Vec<Vec<Event>>> {
    let mut generator = Generator::new(&Options::default())?;
    let from_ms = open::clock().now_ms() - i64::try_from(count)?;
    let times: Vec<i64> = (from_ms..).take(count).collect();
    let batch = |times: &[i64]| times.iter().map(|at_ms| generator.event(*at_ms).0).collect();
    Ok(times.chunks(BATCH).map(batch).collect())
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no run takes that long")]
fn millis(ms: u64) -> f64 {
    ms as f64
}
