//! PostgreSQL is away for a minute while payments go on coming; how long until they are caught up
//! with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use buffer::{Buffer, Class, Classify};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Running, Servers, runtime};
use crate::Scale;
use crate::events::Source;
use crate::queue::Layout;
use crate::table::{Row, Target};

/// 5,000 a second.
const BATCH: usize = 50;
const EVERY: Duration = Duration::from_millis(10);
/// Fewer than this many waiting is caught up: what comes in a fifth of a second.
const CAUGHT_UP: u64 = 1_000;
/// Looking costs Redis some milliseconds while much is leased.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let seconds = scale.seconds(60.0);
    let runtime = runtime()?;
    let list = runtime.block_on(measure("catch-up, Redis List", Layout::List, seconds))?;
    let stream = runtime.block_on(measure("catch-up, Redis Stream", Layout::Stream, seconds))?;
    Ok(vec![list, stream])
}

async fn measure(what: &'static str, layout: Layout, seconds: f64) -> Result<Row> {
    let servers = Servers::start().await?;
    let running = Running::start(&servers.postgres, &servers.queue(layout)).await?;
    let stop = CancellationToken::new();
    let producer = tokio::spawn(produce(servers.queue(layout).open().await?, stop.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;

    tokio::task::block_in_place(|| servers.postgres.stop());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let waiting = running.buffer.depth().await?;
    tokio::task::block_in_place(|| servers.postgres.start_again())?;
    // It answers now; payments go on coming while the engine catches up.
    let started = Instant::now();
    loop {
        // A Redis that does not answer in time is no reason to stop: the time goes on.
        let depth = running.buffer.depth().await;
        if depth.as_ref().is_ok_and(|depth| depth.ready + depth.leased < CAUGHT_UP) {
            break;
        }
        ensure!(started.elapsed() < Duration::from_secs(120), "not caught up: {depth:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let caught_up = started.elapsed().as_secs_f64();
    stop.cancel();
    let offered = producer.await??;
    running.handle.drained().await;
    let summary = running.stop().await?;
    ensure!(summary.counts.settled + summary.counts.duplicates >= offered, "{summary:?}");
    let note = format!(
        "{} waited after {seconds} s without PostgreSQL at 5,000/s, which goes on; until fewer \
         than {CAUGHT_UP} wait",
        waiting.ready + waiting.leased
    );
    Ok(Row {
        what,
        unit: "s",
        ours: caught_up,
        ceiling: None,
        ratio: None,
        target: Target::AtMost(10.0),
        note,
    })
}

async fn produce(buffer: Arc<dyn Buffer>, stop: CancellationToken) -> Result<u64> {
    let mut source = Source::new(0)?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut offered = 0;
    while !stop.is_cancelled() {
        ticks.tick().await;
        let batch = source.batch(BATCH);
        // What may be held after all is offered again: a duplicate is counted as one.
        while let Err(error) = buffer.offer(&batch).await {
            ensure!(error.class() == Class::Retryable, error);
            tokio::time::sleep(EVERY).await;
        }
        offered += BATCH as u64;
    }
    buffer.close().await?;
    Ok(offered)
}
