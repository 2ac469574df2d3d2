//! How soon the limit follows a service whose capacity halves, and doubles again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guard::LimitOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::running::{Plan, Running};
use super::simulator::Simulator;
use crate::Scale;
use crate::table::{Row, paired};

const REPEATS: u32 = 3;
/// Calls that the service works on at once: more, then half of it, then more again.
const MORE: usize = 200;
const LESS: usize = MORE / 2;
/// Calls that the limit may allow.
const CALLS_MAX: usize = 1_000;
/// A call that waits in line for longer is no use to its caller: too many calls at once cost goodput.
const TIMEOUT_MS: u64 = 500;
/// How long the service is what it is before its capacity changes.
const BEFORE: Duration = Duration::from_secs(5);
/// When the goodput is measured, after a change.
const AFTER: Duration = Duration::from_secs(10);
/// For how long it is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// When a fixed limit is measured, after its start.
const FIXED_AFTER: Duration = Duration::from_millis(1_500);
/// Fixed limits that are tried, in hundredths of the capacity.
const FIXED_PERCENT: [usize; 4] = [100, 125, 150, 200];

pub(super) fn run(runtime: &Runtime, scale: Scale) -> Result<Vec<Row>> {
    let (mut halved, mut doubled) = (Vec::new(), Vec::new());
    for _ in 0..scale.events(REPEATS).max(1) {
        let (less, more) = runtime.block_on(follow())?;
        halved.push((less, runtime.block_on(best_fixed(LESS))?));
        doubled.push((more, runtime.block_on(best_fixed(MORE))?));
    }
    let note = |from, to| {
        format!(
            "capacity {from} to {to} calls of 50 ms, time-out {TIMEOUT_MS} ms, up to {CALLS_MAX} calls at once; over \
             {MEASURED:?} from {AFTER:?} after the change; ceiling: the best of the fixed limits {FIXED_PERCENT:?} % \
             of the capacity"
        )
    };
    Ok(vec![
        paired("goodput, capacity halved", "calls/s", 0.9, &halved, note(MORE, LESS)),
        paired("goodput, capacity doubled", "calls/s", 0.9, &doubled, note(LESS, MORE)),
    ])
}

/// More events than can be settled in `time` with the greater capacity, in calls of 50 ms.
fn events(time: Duration) -> usize {
    let rounds = (time + Duration::from_secs(2)).as_millis() / 50;
    usize::try_from(rounds).expect("it is a minute at most") * MORE
}

fn plan(limit: LimitOptions, time: Duration) -> Plan<'static> {
    Plan { timeout_ms: TIMEOUT_MS, limit, ..Plan::new(CALLS_MAX, events(time)) }
}

/// The goodput of the adaptive limit, after the capacity halved and after it doubled again.
async fn follow() -> Result<(f64, f64)> {
    let dir = TempDir::new_in(".")?;
    let simulator = Simulator::start(dir.path(), &[&format!("capacity={MORE}")])?;
    let start = u32::try_from(MORE)?;
    let limit = LimitOptions { min: 1, max: u32::try_from(CALLS_MAX)?, start };
    let engine =
        Running::start(dir.path(), &simulator, &plan(limit, BEFORE + (AFTER + MEASURED) * 2))
            .await?;
    engine.open();
    sleep(BEFORE).await;
    simulator.set_capacity(LESS).await?;
    sleep(AFTER).await;
    let less = goodput(&engine).await;
    simulator.set_capacity(MORE).await?;
    sleep(AFTER).await;
    let more = goodput(&engine).await;
    engine.abandon().await?;
    has_none_twice(&simulator).await?;
    Ok((less, more))
}

/// The goodput of the best fixed limit.
async fn best_fixed(capacity: usize) -> Result<f64> {
    let mut best = 0.0_f64;
    for percent in FIXED_PERCENT {
        let dir = TempDir::new_in(".")?;
        let simulator = Simulator::start(dir.path(), &[&format!("capacity={capacity}")])?;
        let fixed = u32::try_from(capacity * percent / 100)?;
        let limit = LimitOptions { min: fixed, max: fixed, start: fixed };
        let plan = plan(limit, FIXED_AFTER + MEASURED);
        let engine = Running::start(dir.path(), &simulator, &plan).await?;
        engine.open();
        sleep(FIXED_AFTER).await;
        best = best.max(goodput(&engine).await);
        engine.abandon().await?;
        has_none_twice(&simulator).await?;
    }
    Ok(best)
}

/// Events settled in a second, from now on.
async fn goodput(engine: &Running) -> f64 {
    let (before, began) = (engine.settled(), Instant::now());
    sleep(MEASURED).await;
    (engine.settled() - before) as f64 / began.elapsed().as_secs_f64()
}

async fn has_none_twice(simulator: &Simulator) -> Result<()> {
    let audit = simulator.audit().await?;
    ensure!(audit.members_twice == 0, "the ledger has {audit:?}");
    Ok(())
}
