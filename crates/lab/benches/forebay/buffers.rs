//! All buffers side by side: the same payments, the same callers, on the same machine.
//!
//! Each is measured in a process of its own, so that what its memory grows by is its own, too.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use buffer::{Buffer, Receipt};
use journal::Sync;
use model::Event;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use testbed::{Kafka, Redis, Sqs};

use crate::Scale;
use crate::events::{Source, fill};
use crate::queue::{Layout, Queue};
use crate::table::{figure, percentile};

/// Measured, in this order.
const BACKENDS: [&str; 7] = [
    "memory",
    "journal, always",
    "journal, os",
    "redis list",
    "redis stream",
    "kafka",
    "sqs (moto)",
];

const CALLERS: usize = 8;
const BATCH: usize = 100;
const LEASERS: usize = 4;
const LEASE_MAX: usize = 500;
const LEASE_WAIT: Duration = Duration::from_millis(200);
/// What is offered in batches; again and again, so that making it is not measured.
const BATCHES_EACH: usize = 10;
/// How long all that is held may take to be leased where that is not measured.
const PATIENCE: Duration = Duration::from_secs(300);

/// One backend's line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Compared {
    backend: String,
    /// Events a second, offered in batches by several callers.
    offers: f64,
    /// Events a second, leased and acked.
    leases: f64,
    single_p50_us: f64,
    single_p99_us: f64,
    /// What this process' resident memory grew by while it held [`Self::held`] events, in MiB.
    grown_mib: f64,
    /// What is resident of the server then, in MiB, where there is one.
    server_mib: Option<f64>,
    held: usize,
    survives: String,
}

/// How much is done with each.
struct Extent {
    /// Held while memory is looked at.
    held: usize,
    singles: usize,
    /// Offered in batches, unless the time is over before.
    events: usize,
    /// For offers, and for leases, each.
    time: Duration,
}

pub(crate) fn run(scale: Scale) -> Result<Vec<Compared>> {
    let program = std::env::current_exe()?;
    let mut compared = Vec::new();
    for backend in BACKENDS {
        eprintln!("  {backend} …");
        let mut command = Command::new(&program);
        command.args(scale.argument()).args([crate::ONE_BUFFER, backend]);
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{backend} could not be measured");
        compared.push(serde_json::from_slice(&output.stdout)?);
    }
    Ok(compared)
}

/// Measures one of them, in this process.
pub(crate) fn one(backend: &str, scale: Scale) -> Result<Compared> {
    let extent = Extent {
        held: scale.events(10_000),
        singles: scale.events(5_000),
        events: scale.events(1_000_000),
        time: Duration::from_secs_f64(scale.seconds(10.0)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let journal = |dir: &TempDir, sync| {
        Queue::Journal(buffer_journal::Options { sync, ..buffer_journal::Options::new(dir.path()) })
    };
    let measure = |queue, server| runtime.block_on(measure(backend, queue, server, &extent));
    match backend {
        "memory" => measure(Queue::memory(), None),
        "journal, always" | "journal, os" => {
            let dir = TempDir::new_in(".")?;
            let sync = if backend.ends_with("os") { Sync::Os } else { Sync::Always };
            measure(journal(&dir, sync), None)
        }
        "redis list" | "redis stream" => {
            let redis = Redis::start()?;
            let layout = if backend.ends_with("list") { Layout::List } else { Layout::Stream };
            measure(Queue::redis(&redis, layout), redis.process_id())
        }
        "kafka" => {
            let kafka = Kafka::start()?;
            measure(Queue::kafka(&kafka), kafka.process_id())
        }
        "sqs (moto)" => {
            let sqs = Sqs::start()?;
            let mut compared = measure(Queue::sqs(&sqs), sqs.process_id())?;
            compared.survives.push_str(
                "; moto, measured here, is a test server that keeps all in memory: its speed says nothing \
                 about AWS",
            );
            Ok(compared)
        }
        other => bail!("there is no backend {other}"),
    }
}

async fn measure(
    backend: &str,
    queue: Queue,
    server: Option<u32>,
    extent: &Extent,
) -> Result<Compared> {
    let before = resident_mib("self")?;
    let buffer = queue.open().await?;
    fill(&*buffer, extent.held).await?;
    let grown_mib = resident_mib("self")? - before;
    let server_mib = server.map(|pid| resident_mib(&pid.to_string())).transpose()?;
    drain(&buffer, extent.held, PATIENCE).await?;

    let singles = singles(&*buffer, extent).await?;
    drain(&buffer, singles.len(), PATIENCE).await?;

    let (offered, seconds) = offers(&buffer, extent).await?;
    let (leased, leasing) = drain(&buffer, offered, extent.time).await?;
    let survives = buffer.kind().survives.to_owned();
    buffer.close().await?;
    Ok(Compared {
        backend: backend.to_owned(),
        offers: offered as f64 / seconds,
        leases: leased as f64 / leasing,
        single_p50_us: percentile(&singles, 50),
        single_p99_us: percentile(&singles, 99),
        grown_mib,
        server_mib,
        held: extent.held,
        survives,
    })
}

/// How long each offer of one event took, in µs, in order.
async fn singles(buffer: &dyn Buffer, extent: &Extent) -> Result<Vec<f64>> {
    let events = Source::new(extent.singles)?.batch(extent.singles);
    let started = Instant::now();
    let mut took = Vec::with_capacity(events.len());
    for event in &events {
        let began = Instant::now();
        buffer.offer(std::slice::from_ref(event)).await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        if started.elapsed() > extent.time {
            break;
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// How many were offered, and in how many seconds.
async fn offers(buffer: &Arc<dyn Buffer>, extent: &Extent) -> Result<(usize, f64)> {
    let mut source = Source::new(CALLERS * BATCHES_EACH * BATCH)?;
    let mut batches =
        || (0..BATCHES_EACH).map(|_| source.batch(BATCH)).collect::<Vec<Vec<Event>>>();
    let all: Vec<_> = (0..CALLERS).map(|_| batches()).collect();
    let each = extent.events / BATCH / CALLERS;
    let (started, time) = (Instant::now(), extent.time);
    let mut callers = tokio::task::JoinSet::new();
    for batches in all {
        let buffer = Arc::clone(buffer);
        callers.spawn(async move {
            let mut offered = 0;
            for batch in batches.iter().cycle().take(each) {
                buffer.offer(batch).await?;
                offered += batch.len();
                if started.elapsed() > time {
                    break;
                }
            }
            Ok::<_, buffer::Error>(offered)
        });
    }
    let mut offered = 0;
    while let Some(caller) = callers.join_next().await {
        offered += caller??;
    }
    Ok((offered, started.elapsed().as_secs_f64()))
}

/// Leases and acks so many, or as many as there is time for; how many, and in how many seconds.
async fn drain(buffer: &Arc<dyn Buffer>, count: usize, time: Duration) -> Result<(usize, f64)> {
    let started = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let mut leasers = tokio::task::JoinSet::new();
    for _ in 0..LEASERS {
        let (buffer, done) = (Arc::clone(buffer), Arc::clone(&done));
        leasers.spawn(async move {
            while done.load(Ordering::Relaxed) < count && started.elapsed() < time {
                let leased = buffer.lease(LEASE_MAX, LEASE_WAIT).await?;
                let receipts: Vec<Receipt> = leased.iter().map(|held| held.receipt).collect();
                done.fetch_add(buffer.ack(&receipts).await?, Ordering::Relaxed);
            }
            // Those who wait for more, when there is no more, are not waited for.
            Ok::<_, buffer::Error>(started.elapsed())
        });
    }
    let mut first = Duration::MAX;
    while let Some(leaser) = leasers.join_next().await {
        first = first.min(leaser??);
    }
    let done = done.load(Ordering::Relaxed);
    ensure!(done >= count || time < PATIENCE, "{done} of {count} were leased in {time:?}");
    ensure!(done > 0, "nothing was leased in {time:?}");
    Ok((done, first.as_secs_f64()))
}

/// What is resident of a process, in MiB.
fn resident_mib(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib: Option<f64> = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    Ok(kib.context("the system does not say what is resident")? / 1024.0)
}

/// An aligned table, for people.
pub(crate) fn text(compared: &[Compared]) -> String {
    let Some(first) = compared.first() else { return String::new() };
    let mut out = format!(
        "\nbuffers side by side: payments of some 250 bytes; offers by {CALLERS} callers x {BATCH}; lease + ack by \
         {LEASERS} callers x up to {LEASE_MAX}; single: one event by one caller; options as they are by \
         default; memory while {} events are held\n\n",
        first.held
    );
    let columns = [
        "buffer",
        "offers/s",
        "lease+ack/s",
        "single p50 µs",
        "single p99 µs",
        "our RSS growth + server's RSS, MiB",
        "an accepted event survives",
    ];
    let cells = compared.iter().map(|line| {
        let server = line.server_mib.map_or("no server".to_owned(), |mib| format!("{mib:.0}"));
        [
            line.backend.clone(),
            figure(line.offers),
            figure(line.leases),
            figure(line.single_p50_us),
            figure(line.single_p99_us),
            format!("{:.1} + {server}", line.grown_mib),
            line.survives.clone(),
        ]
    });
    let lines: Vec<[String; 7]> =
        std::iter::once(columns.map(str::to_owned)).chain(cells).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for [backend, figures @ .., survives] in &lines {
        let _ = write!(out, "{backend:<0$}", widths[0]);
        for (figure, width) in figures.iter().zip(&widths[1..]) {
            let _ = write!(out, "  {figure:>width$}");
        }
        let _ = writeln!(out, "  {survives}");
    }
    out
}
