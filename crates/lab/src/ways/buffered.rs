//! The payments pipeline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use buffer::Buffer;
use engine::Stats;
use model::clock::{Clock, System};
use model::{Class, Classify, Event};
use tokio::task::JoinHandle;

use super::plan::Plan;
use crate::at_work::AtWork;
use crate::generator::{Generator, Options};
use crate::phases::processor::{Load, Sampler};
use crate::phases::{Figures, LatencyMs, Recorder, rates};
use crate::verdict::Ended;

/// Payments offered together.
const BATCH: usize = 500;
/// How many batches' worth may be under way: enough to keep every lane busy, and no more, so that
/// latency is the pipeline's and not that of a queue this bench has made.
const UNDER_WAY_BATCHES: u64 = 2;
/// How often a batch is offered before the bench gives up.
const OFFER_TRIES_MAX: u32 = 500;
/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// How many payments were settled by when.
type Totals = Vec<(Duration, u64)>;

/// A pipeline that was measured, and is to be stopped.
pub struct Buffered {
    offers: Recorder,
    load: Load,
    took: Duration,
    totals: JoinHandle<Totals>,
    under_way_max: u64,
}

/// Measures the pipeline until all is settled.
///
/// # Errors
/// If an offer fails, the engine ends, or a stop came in between.
pub async fn measure(plan: &Plan, at_work: &AtWork) -> Result<Buffered> {
    let batches = batches(plan.events)?;
    let sampler = Sampler::start(plan.servers.clone());
    let began = Instant::now();
    let ended = at_work.ended();
    let totals = tokio::spawn(watch(at_work.stats().clone(), began, ended.clone()));
    let under_way_max = (plan.batch_max * plan.lanes) as u64 * UNDER_WAY_BATCHES;
    let offering = offer(&**at_work.buffer(), at_work.stats(), batches, under_way_max);
    let offers = plan.until_stopped(ended.run_until_cancelled(offering)).await;
    let drained = plan.until_stopped(at_work.drained()).await;
    let (took, load) = (began.elapsed(), sampler.stop());
    drained?;
    let offers = offers?.context("the engine ended before all was offered")??;
    Ok(Buffered { offers, load, took, totals, under_way_max })
}

impl Buffered {
    /// What it came to, once the pipeline has ended.
    ///
    /// # Errors
    /// If the task that watched it panics.
    pub async fn figures(self, ended: &Ended) -> Result<Figures> {
        let Self { offers, load, took, totals, under_way_max } = self;
        let (counts, latency) = (ended.stats.counts(), ended.stats.latency());
        let ms = |quantile| millis(latency.quantile_ms(quantile));
        Ok(Figures {
            what: format!(
                "offered {BATCH} at a time to Redis, screened by 4 rules, settled in batches by COPY; at \
                 most {under_way_max} under way"
            ),
            durability:
                "what Redis survives, before the producer is told; then what PostgreSQL survives".to_owned(),
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
) -> Totals {
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
    let from_ms = System.now_ms() - i64::try_from(count)?;
    let times: Vec<i64> = (from_ms..).take(count).collect();
    let batch = |times: &[i64]| times.iter().map(|at_ms| generator.event(*at_ms).0).collect();
    Ok(times.chunks(BATCH).map(batch).collect())
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no run takes that long")]
fn millis(ms: u64) -> f64 {
    ms as f64
}
