//! Calls of an outside service, which a process of its own simulates: events of a journal, answers in SQLite.
//!
//! Nothing is left out. All events are accepted durably before the clock starts. Each event is looked up in the
//! store, called under its idempotency key, recorded in SQLite and acked. The clock ends when the journal is empty.
//! At the end the ledger of the service is read: an event without effect, or with two, fails the bench.

mod adapt;
mod bare;
mod events;
mod handler;
mod running;
mod simulator;

use std::process::ExitCode;

use anyhow::Result;
use testbed::stalls;
use tokio::runtime::Runtime;

use self::running::{Measured, Plan};
use crate::Scale;
use crate::table::{Row, paired};

/// How long the service works on a call, in seconds.
const LATENCY_S: f64 = 0.050;
/// Each figure is measured so often.
const REPEATS: usize = 5;
/// Payload, id and key of an event, in bytes.
const EVENT_BYTES: usize = 256;

/// How this program asks itself to be the service.
pub(crate) const SIMULATOR: &str = "--simulator";

/// Serves until it is ended.
pub(crate) fn simulator(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Err(error) = simulator::serve(arguments);
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rows = against_a_loop(&runtime, scale)?;
    let thousand = Plan::new(1_000, scale.events(200_000));
    rows.push(of_latency(&runtime, "1,000 calls at once", 0.8, &thousand)?);
    let hanging = Plan {
        behaviour: &["hang_permille=10", "hang_ms=700"],
        timeout_ms: 500,
        ..Plan::new(500, scale.events(200_000))
    };
    rows.push(of_latency(&runtime, "500 calls, 1% hang", 0.8, &hanging)?);
    rows.extend(adapt::run(&runtime, scale)?);
    Ok(rows)
}

/// 500 calls at once: against calls ÷ latency, and against a loop of the same client, measured in turn.
fn against_a_loop(runtime: &Runtime, scale: Scale) -> Result<Vec<Row>> {
    let plan = Plan::new(500, scale.events(100_000));
    let (mut of_latency, mut of_loop) = (Vec::new(), Vec::new());
    let mut notes = [String::new(), String::new()];
    for _ in 0..REPEATS {
        let bare = runtime.block_on(bare::run(plan.calls, plan.events))?;
        let ours = measured(runtime, &plan)?;
        of_latency.push((ours.per_second, plan.calls as f64 / LATENCY_S));
        of_loop.push((ours.per_second, bare.per_second));
        notes = [ours.note, bare.note];
    }
    let [ours, bare] = notes;
    let bare = format!("500 tasks with the same client and requests, nothing recorded; {bare}");
    Ok(vec![
        paired("500 calls at once", "calls/s", 0.9, &of_latency, ours),
        paired("500 calls, against a bare loop", "calls/s", 0.85, &of_loop, bare),
    ])
}

/// The rate, against calls ÷ latency.
fn of_latency(
    runtime: &Runtime,
    what: &'static str,
    at_least: f64,
    plan: &Plan<'_>,
) -> Result<Row> {
    let (mut pairs, mut note) = (Vec::new(), String::new());
    for _ in 0..REPEATS {
        let ours = measured(runtime, plan)?;
        pairs.push((ours.per_second, plan.calls as f64 / LATENCY_S));
        note = ours.note;
    }
    Ok(paired(what, "calls/s", at_least, &pairs, note))
}

fn measured(runtime: &Runtime, plan: &Plan<'_>) -> Result<Measured> {
    let (ours, stalls) = stalls::during(|| runtime.block_on(running::run(plan)))?;
    let note = format!("{}; {}; {stalls}", plan.note(), ours.note);
    Ok(Measured { note, ..ours })
}
