//! Our side: a journal, SQLite, and the engine with a handler of calls.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use buffer::Buffer;
use buffer_journal::JournalBuffer;
use engine::{Handle, Handling, Service};
use guard::LimitOptions;
use model::clock::{Clock, System};
use outbound::Client;
use store::{Claimed, Table};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::EVENT_BYTES;
use super::events::offer;
use super::handler::{Posting, guard, target};
use super::simulator::Simulator;
use crate::idle::{TICKS_A_SECOND, ticks};

/// What is measured.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    /// Calls at once.
    pub(super) calls: usize,
    pub(super) events: usize,
    /// How long one call may take.
    pub(super) timeout_ms: u64,
    /// Fields of the service's behaviour that differ from a good service of 50 ms.
    pub(super) behaviour: &'a [&'a str],
    pub(super) limit: LimitOptions,
}

impl Plan<'_> {
    /// A good service, and a limit that follows it.
    pub(super) fn new(calls: usize, events: usize) -> Self {
        let max = u32::try_from(calls).expect("it is small");
        let limit = LimitOptions { min: 1, max, start: max };
        Self { calls, events, timeout_ms: 2_000, behaviour: &[], limit }
    }

    pub(super) fn note(&self) -> String {
        let behaviour = if self.behaviour.is_empty() {
            String::new()
        } else {
            format!(", {}, time-out {} ms", self.behaviour.join(" "), self.timeout_ms)
        };
        format!(
            "{} events of {EVENT_BYTES} bytes, 50 ms{behaviour}; journal sync=always, SQLite \
             synchronous=FULL, adaptive limit",
            self.events
        )
    }
}

/// A rate, and what the processors did meanwhile.
pub(super) struct Measured {
    pub(super) per_second: f64,
    pub(super) note: String,
}

/// The clock and the processor time of both processes, from the beginning on.
pub(super) struct Watch {
    began: Instant,
    ours: f64,
    simulator: f64,
}

impl Watch {
    pub(super) fn begin(simulator: &Simulator) -> Result<Self> {
        let (ours, of_simulator) = (ticks(std::process::id())?, simulator.ticks()?);
        Ok(Self { began: Instant::now(), ours, simulator: of_simulator })
    }

    /// After `calls`.
    pub(super) fn end(self, simulator: &Simulator, calls: usize) -> Result<Measured> {
        let seconds = self.began.elapsed().as_secs_f64();
        let of_all = TICKS_A_SECOND * seconds * std::thread::available_parallelism()?.get() as f64;
        let percent = |before: f64, after: f64| (after - before) / of_all * 100.0;
        let ours = percent(self.ours, ticks(std::process::id())?);
        let theirs = percent(self.simulator, simulator.ticks()?);
        let note = format!("of all processors {ours:.0}% here, {theirs:.0}% in the simulator");
        Ok(Measured { per_second: calls as f64 / seconds, note })
    }
}

/// Calls for all events of the plan.
pub(super) async fn run(plan: &Plan<'_>) -> Result<Measured> {
    let dir = TempDir::new_in(".")?;
    let simulator = Simulator::start(dir.path(), plan.behaviour)?;
    let engine = Running::start(dir.path(), &simulator, plan).await?;
    let watch = Watch::begin(&simulator)?;
    engine.open();
    engine.handle.drained().await;
    let measured = watch.end(&simulator, plan.events)?;
    engine.end(plan.events).await?;
    simulator.settled_once(plan.events).await?;
    Ok(measured)
}

/// An engine that holds its calls back until it is opened.
pub(super) struct Running {
    pub(super) handle: Handle,
    gate: watch::Sender<bool>,
    shutdown: CancellationToken,
    journal: Arc<JournalBuffer>,
    store: Claimed,
    answers: Arc<dyn Table>,
}

impl Running {
    /// All events of the plan are accepted durably when this returns.
    pub(super) async fn start(dir: &Path, simulator: &Simulator, plan: &Plan<'_>) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(System);
        let journal_options = buffer_journal::Options::new(dir.join("buffer"));
        let journal = Arc::new(JournalBuffer::open(journal_options, Arc::clone(&clock))?.0);
        let at = store_sqlite::Options::at(dir.join("forebay.db"));
        let store = store_sqlite::open(at, Arc::clone(&clock))?;
        let answers = store.tables().table(&target())?;
        answers.create().await?;
        let (gate, is_open) = watch::channel(false);
        let client =
            Client::new(outbound::Options { calls_max: plan.calls, ..Default::default() })?;
        let posting = Posting {
            client,
            url: simulator.url()?,
            guard: guard(plan.limit),
            answers: Arc::clone(&answers),
            is_open,
            longest: Duration::from_millis(plan.timeout_ms),
        };
        let calls = engine::calls::Options {
            calls_max: plan.calls,
            timeout_ms: plan.timeout_ms,
            ..Default::default()
        };
        let shutdown = CancellationToken::new();
        let service = Service {
            buffer: Arc::clone(&journal) as Arc<dyn Buffer>,
            handler: Handling::calls(posting, calls),
            completions: Some(store.completions()),
            clock,
            seed: 1,
            shutdown: shutdown.clone(),
        };
        // What a journal had before its engine began waits for the time-out of a call.
        let handle = service.start(engine::Options::default())?;
        offer(&*journal, plan.events).await?;
        Ok(Self { handle, gate, shutdown, journal, store, answers })
    }

    /// Calls may begin.
    pub(super) fn open(&self) {
        self.gate.send_replace(true);
    }

    pub(super) fn settled(&self) -> u64 {
        self.handle.stats().counts().settled
    }

    /// Stops; all of these events are settled, each with its row.
    async fn end(self, events: usize) -> Result<()> {
        let rows = self.answers.rows().await?;
        ensure!(rows == events as u64, "{events} events, and the store has {rows} answers");
        let counts = self.stop().await?;
        ensure!(counts.settled == events as u64 && counts.dead == 0, "{events} events: {counts:?}");
        Ok(())
    }

    /// Stops at once; what is not done stays in the journal.
    pub(super) async fn abandon(self) -> Result<()> {
        self.handle.abandon().cancel();
        self.stop().await.map(drop)
    }

    async fn stop(self) -> Result<engine::Counts> {
        self.shutdown.cancel();
        let summary = self.handle.join().await?;
        self.store.close().await?;
        self.journal.close().await?;
        Ok(summary.counts)
    }
}
