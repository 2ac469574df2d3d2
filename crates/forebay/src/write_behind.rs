//! The tables that are written behind: for each its buffer, its engine, and what answers reads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use buffer::{Buffer, Class, Classify as _};
use engine::Summary;
use table::{Front, Mark};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Table};
use crate::history::Source;
use crate::units::grouped;
use crate::{open, outside, url};

/// What a process does with its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// It takes rows and answers reads.
    pub(crate) api: bool,
    /// It settles.
    pub(crate) worker: bool,
}

/// All tables of this process. [`Tables::stop`] ends them in order.
pub(crate) struct Tables {
    all: Vec<One>,
    ended: CancellationToken,
    sweeping: CancellationToken,
    drain_timeout: Duration,
    /// What was found and done at the start, one sentence a line.
    pub(crate) said: Vec<String>,
}

struct One {
    buffer: Arc<dyn Buffer>,
    front: Option<Front>,
    engine: Option<Engine>,
}

struct Engine {
    task: JoinHandle<Result<Summary, engine::Error>>,
    source: Source,
    drained: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    shutdown: CancellationToken,
}

impl Tables {
    /// No table at all.
    pub(crate) fn none() -> Self {
        Self {
            all: Vec::new(),
            ended: CancellationToken::new(),
            sweeping: CancellationToken::new(),
            drain_timeout: Duration::ZERO,
            said: Vec::new(),
        }
    }

    /// Opens and starts all that `config` names, over `store`.
    ///
    /// # Errors
    /// If a buffer can't be opened, or a table is not as its entry says. What was begun is ended again, so
    /// that it may be tried once more.
    pub(crate) async fn start(
        config: &Config,
        store: &dyn store::Tables,
        part: Part,
    ) -> Result<Self> {
        let drain_timeout = Duration::from_millis(config.engine.drain_timeout_ms);
        let mut tables = Self { drain_timeout, ..Self::none() };
        match tables.begin(config, store, part).await {
            Ok(()) => Ok(tables),
            Err(error) => {
                if let Err(stopping) = tables.stop().await {
                    tracing::warn!("a table that was begun could not be ended: {stopping:#}");
                }
                Err(error)
            }
        }
    }

    async fn begin(
        &mut self,
        config: &Config,
        store: &dyn store::Tables,
        part: Part,
    ) -> Result<()> {
        for entry in &config.tables {
            let name = entry.name();
            let made = store.table(&entry.definition.target).with_context(|| at(entry))?;
            let ready = ready(config, entry, &*made, part).await.with_context(|| at(entry))?;
            if ready {
                self.said.push(format!("Made the table {}.", entry.definition.target));
            }
            let opened = open::buffer(&entry.buffer, config).await.with_context(|| at(entry))?;
            let recovered = opened.recovery.iter().flat_map(open::recovered);
            self.said.extend(recovered.map(|line| format!("Table {name}: {line}")));
            let one = self.one(entry, opened.buffer, made, part).await?;
            self.all.push(one);
        }
        Ok(())
    }

    async fn one(
        &mut self,
        entry: &Table,
        buffer: Arc<dyn Buffer>,
        made: Arc<dyn store::Table>,
        part: Part,
    ) -> Result<One> {
        let definition = || entry.definition.clone();
        let mark = if part.api { self.mark(entry).await? } else { None };
        let front = part.api.then(|| {
            let (buffer, made, clock) = (buffer.clone(), made.clone(), open::clock());
            Front::new(definition(), buffer, made, clock, entry.front, mark)
        });
        if let Some(front) = &front {
            if let Err(error) = front.learn_bounds().await {
                let table = entry.name();
                tracing::warn!(%error, table, "cannot read the bounds; HTTP checks none until it can");
            }
            self.said.extend(remember(entry, front).await);
            tokio::spawn(front.clone().sweep(self.sweeping.clone()));
        }
        if !part.worker {
            return Ok(One { buffer, front, engine: None });
        }
        let pipeline = format!("table:{}", entry.name());
        let handler = table::Handler::new(pipeline, definition(), made, front.clone());
        let shutdown = CancellationToken::new();
        let service = engine::Service {
            buffer: buffer.clone(),
            handler: Arc::new(handler),
            completions: None,
            clock: open::clock(),
            seed: rand::random(),
            shutdown: shutdown.clone(),
        };
        let engine = service.start(entry.engine.clone())?;
        let source = Source {
            buffer: buffer.clone(),
            stats: engine.stats(),
            work: engine.work(),
            batch_max: entry.engine.batch_max,
        };
        let drained = Box::pin(engine.drained());
        let at_the_end = self.ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _at_the_end = at_the_end;
            engine.join().await
        });
        Ok(One { buffer, front, engine: Some(Engine { task, source, drained, shutdown }) })
    }

    /// What keeps the stamps of a table growing. After a crash it waits until the clock has passed
    /// the mark, which takes a second at most, so that stamps do not run ahead of other processes'.
    async fn mark(&mut self, entry: &Table) -> Result<Option<Mark>> {
        let Some(path) = &entry.mark else { return Ok(None) };
        let mark = block_in_place(|| Mark::open(path)).with_context(|| {
            let folder = path.parent().unwrap_or(path).display();
            format!("cannot keep stamps in {folder}; let this process write there")
        })?;
        let now_us = open::clock().now_ms().saturating_mul(1_000);
        tokio::time::sleep(Duration::from_micros(mark.wait_us(now_us))).await;
        let behind_s = mark.found().saturating_sub(now_us) / 1_000_000;
        if behind_s > 0 && mark.wait_us(now_us) == 0 {
            self.said.push(format!(
                "Table {}: THE CLOCK WAS SET BACK by {} s or less. Stamps stay ahead of the clock \
                 until it has caught up.",
                entry.name(),
                grouped(behind_s.unsigned_abs() + 1)
            ));
        }
        Ok(Some(mark))
    }

    /// What takes rows and answers reads, for the server.
    pub(crate) fn fronts(&self) -> Vec<Front> {
        self.all.iter().filter_map(|one| one.front.clone()).collect()
    }

    /// What the load of each that is settled here is told from.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let engines = self.all.iter().filter_map(|one| one.engine.as_ref());
        engines.map(|engine| engine.source.clone()).collect()
    }

    /// Cancelled when an engine has ended, which one does by itself only when it can't go on.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Leases nothing more from buffers that keep what is left, and begins to finish what is held.
    pub(crate) fn wind_down(&self) {
        for One { buffer, engine, .. } in &self.all {
            let kind = buffer.kind();
            if let Some(engine) = engine
                && (kind.durable || kind.shared)
            {
                engine.shutdown.cancel();
            }
        }
    }

    /// Ends everything, in order, once no more is offered. Returns how many rows the buffers keep.
    ///
    /// # Errors
    /// The first of them; all are ended all the same.
    pub(crate) async fn stop(self) -> Result<u64> {
        self.sweeping.cancel();
        let (mut kept, mut first) = (0, Ok(()));
        for One { buffer, engine, .. } in self.all {
            let kind = buffer.kind();
            let keeps = kind.durable || kind.shared;
            if let Some(mut engine) = engine {
                if !keeps && timeout(self.drain_timeout, engine.drained.as_mut()).await.is_err() {
                    tracing::error!("accepted rows were not settled in time, and are lost");
                }
                engine.shutdown.cancel();
                let ended = engine.task.await.context("a table's engine ended early");
                first = first.and(ended.and_then(|ended| Ok(ended.map(drop)?)));
            }
            if keeps {
                // A buffer that is out of reach can't say what it holds.
                let depth = buffer.depth().await.unwrap_or_default();
                kept += depth.ready + depth.leased;
            }
            let closed = buffer.close().await.context("a table's buffer could not be closed");
            first = first.and(closed);
        }
        first.map(|()| kept)
    }
}

/// Makes sure that the table is as its entry says. Returns whether it was made.
async fn ready(
    config: &Config,
    entry: &Table,
    made: &dyn store::Table,
    part: Part,
) -> Result<bool> {
    let sqlite = matches!(config.store, url::Store::Sqlite(_));
    let created = entry.create && sqlite && part.worker && made.create().await?;
    match made.problems().await {
        Ok(problems) if problems.is_empty() => Ok(created),
        Ok(problems) => bail!("{}", problems.join("; ")),
        // What is accepted goes into the buffer whether or not the store is there.
        Err(error) if !part.worker && error.class() == Class::Retryable => {
            tracing::warn!(%error, table = entry.name(), "the table can't be looked at yet");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// What `config check` finds wrong with the tables.
pub(crate) async fn check(config: &Config, store: &dyn store::Tables) -> Vec<anyhow::Error> {
    let mut troubles = Vec::new();
    for entry in &config.tables {
        let look = async {
            let made = store.table(&entry.definition.target)?;
            ready(config, entry, &*made, Part { api: true, worker: true }).await
        };
        troubles.extend(look.await.err().map(|error| error.context(at(entry))));
    }
    troubles
}

/// Makes the tables that are to be made and are not there. Returns those.
///
/// # Errors
/// If one can't be made.
pub(crate) async fn create(config: &Config, store: &dyn store::Tables) -> Result<Vec<String>> {
    let mut created = Vec::new();
    for entry in config.tables.iter().filter(|entry| entry.create) {
        let made = store.table(&entry.definition.target).with_context(|| at(entry))?;
        if made.create().await.with_context(|| at(entry))? {
            created.push(entry.definition.target.to_string());
        }
    }
    Ok(created)
}

/// Reads what the buffer held before this process started, so that it is read before it is settled.
async fn remember(entry: &Table, front: &Front) -> Option<String> {
    if matches!(entry.buffer, url::Buffer::Memory(_)) {
        return None;
    }
    let (mut rows, mut beyond) = (0_u64, 0_u64);
    let looked = outside::pending(&entry.buffer, |held| {
        if front.remember(&held.event, held.accepted_at_ms) {
            rows += 1;
        } else {
            beyond += 1;
        }
        true
    });
    let name = entry.name();
    if let Err(error) = looked.await {
        tracing::warn!(%error, table = name, "what the buffer holds is read only once it is settled");
    }
    (beyond > 0).then(|| {
        format!(
            "Table {name}: {} of the rows in the buffer are read only once they are settled: they \
             are more than pending_max.",
            grouped(beyond)
        )
    })
}

/// Which table an error is of.
fn at(entry: &Table) -> String {
    format!("table {}", entry.name())
}
