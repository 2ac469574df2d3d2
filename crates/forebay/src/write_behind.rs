//! The tables that are written behind: for each its pipeline, and what answers reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use buffer::backend::Held;
use buffer::{Buffer, Class, Classify as _};
use runtime::fleet::OnFailure;
use runtime::line::{NONE, alone, next, spill};
use runtime::lines::Opened;
use runtime::moving::{Ledger, Rows, Subject};
use runtime::pipeline::{Companion, Settling};
use runtime::{Entry, Line, Pipeline};
use settings::{Error, Section};
use store::Store;
use store::tables::Mode;
use table::{Front, Mark, entry};
use tokio::task::block_in_place;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, PARSE};
use crate::domain::{self, Looked, Names, Started};
use crate::process::{Part, Process};
use crate::{open, registry};
use model::units::grouped;

/// Batches of each lane that may be held at once.
const HELD_BATCHES: usize = 8;

/// See the module.
pub(crate) struct Domain;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn section(&self) -> Section {
        entry::SECTION
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        Ok(tables(config)?.into_iter().map(|table| table.line).collect())
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let mut tables = Tables::default();
        if !self::tables(&process.config)?.is_empty() {
            let store = match process.open_store() {
                Some(store) => store.tables(),
                None => open::beside(&*process.config.store)?.tables(),
            };
            tables = Tables::start(process, &*store).await?;
        }
        Ok(Started { routes: vec![tables.served.routes()], said: tables.said })
    }

    async fn promises(&self, config: &Config, line: &Line) -> Result<Vec<String>> {
        Ok(vec![promised(&table(config, line)?)])
    }

    async fn checked(&self, config: &Config, line: &Line, looked: &Looked) -> Result<Vec<String>> {
        let table = table(config, line)?;
        let name = table.name();
        let said = match looked.unchecked() {
            _ if looked.store.is_some() => {
                format!("NOT CHECKED: table {name}, which lies in that store.")
            }
            Some(why) => format!("NOT CHECKED: table {name}, {why}"),
            None => promised(&table),
        };
        Ok(vec![said])
    }

    async fn check(
        &self,
        config: &Config,
        store: &dyn Store,
    ) -> Result<BTreeMap<String, anyhow::Error>> {
        let mut troubles = BTreeMap::new();
        for entry in tables(config)? {
            let look = async {
                let made = store.tables().table(&entry.definition.target)?;
                ready(config, &entry, &*made, Part { api: true, worker: true }).await
            };
            if let Err(error) = look.await {
                troubles.insert(entry.line.pipeline, error);
            }
        }
        Ok(troubles)
    }

    async fn create(&self, config: &Config, store: &dyn Store) -> Result<Vec<String>> {
        let mut created = Vec::new();
        for entry in tables(config)?.iter().filter(|entry| entry.create) {
            let made = store.tables().table(&entry.definition.target).with_context(|| at(entry))?;
            if made.create().await.with_context(|| at(entry))? {
                created.push(entry.definition.target.to_string());
            }
        }
        Ok(created)
    }

    fn ledger(&self, config: &Config, line: &Line) -> Result<Box<dyn Ledger>> {
        let target = table(config, line)?.definition.target;
        Ok(Box::new(Rows(open::beside(&*config.store)?.tables().table(&target)?)))
    }

    fn names(&self, config: &Config, line: &Line) -> Result<Names> {
        let definition = table(config, line)?.definition;
        Ok(Box::new(move |event| definition.row_key(event)))
    }
}

/// One table that is written behind, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its pipeline, and the buffers of that.
    line: Line,
    definition: table::Definition,
    /// Whether it is made where it is missing, by `store migrate` (and in SQLite by `serve`).
    create: bool,
    engine: engine::Options,
    front: table::Options,
    /// Where it is kept which stamps were given; `None` where clients give the versions.
    mark: Option<PathBuf>,
}

impl Table {
    fn name(&self) -> &str {
        &self.definition.name
    }
}

/// The tables of this configuration. Once the buffers of all pipelines are known, theirs are taken from there.
///
/// # Errors
/// If a URL or a bound of one can't be used.
fn tables(config: &Config) -> Result<Vec<Table>, Error> {
    let entries = entry::read(&config.settings)?;
    entries.into_iter().map(|entry| resolved(config, entry)).collect()
}

/// The table of a pipeline.
fn table(config: &Config, line: &Line) -> Result<Table> {
    let mut tables = tables(config)?.into_iter();
    let found = tables.find(|table| table.line.pipeline == line.pipeline);
    found.with_context(|| format!("no [[table]] has the pipeline {}", line.pipeline))
}

fn resolved(config: &Config, entry: entry::Entry) -> Result<Table, Error> {
    let at = |error: &dyn std::fmt::Display| Error(format!("{}: {error}", entry.place));
    let pipeline = format!("table:{}", entry.definition.name);
    let line = match config.line(&pipeline) {
        Some(line) => line.clone(),
        None => line(config, &entry, &pipeline).map_err(|error| at(&error))?,
    };
    let engine = engine::Options {
        lanes: entry.lanes,
        batch_max: entry.batch_max,
        linger_ms: entry.linger_ms,
        held_max: entry.batch_max * entry.lanes * HELD_BATCHES,
        lease_ms: line.lease_ms(),
        ..config.engine.clone()
    };
    engine.validate().map_err(|error| at(&error))?;
    let entry::Entry { definition, create, front, .. } = entry;
    let stamps = || Path::new(&config.data).join("stamps").join(&definition.name);
    let mark = definition.is_stamped().then(stamps);
    Ok(Table { line, definition, create, engine, front, mark })
}

/// The buffers that an entry names.
fn line(config: &Config, entry: &entry::Entry, pipeline: &str) -> Result<Line, Error> {
    let (settings, name) = (&config.settings, &entry.definition.name);
    let url = |url: Option<&str>| settings.filled(url.unwrap_or(NONE));
    // The fields of rows of other producers are those of payments, unless the URL names others.
    let fields = registry::payment_fields();
    let read = |url: &str| registry::buffer_of(settings, url, &fields);
    let command = format!("forebay buffer migrate --table {name}");
    let subject = Subject { pipeline: pipeline.to_owned(), command, parse: PARSE };
    let mut line = Line::new(subject, read(&url(Some(&entry.buffer_url())))?, "rows");
    line.of = format!(" of table {name} ({})", entry.place);
    line.next = next(&url(entry.next_buffer.as_deref()), &read)?;
    line.spill = spill(&url(entry.spill.as_deref()), &*line.buffer, &read)?;
    alone(line.next.as_ref(), line.spill.as_ref())?;
    Ok(line)
}

/// One sentence on what is promised of a table.
fn promised(table: &Table) -> String {
    let target = &table.definition.target;
    let how = match target.mode {
        Mode::Insert => "the first row of a key stands".to_owned(),
        Mode::Upsert { version, .. } => {
            format!(
                "the greater {} of a key wins, whatever comes when",
                target.columns[version].name
            )
        }
    };
    let (name, survives) = (table.name(), table.line.buffer.survives());
    let spill = table.line.spill.as_ref().map_or_else(String::new, |spill| {
        format!(" While its buffer is out of reach, rows spill into {}.", spill.place())
    });
    format!("Table {name}: accepted rows survive {survives}; {how} in {target}.{spill}")
}

/// All tables of this process. Their pipelines are in the fleet that they were started with.
#[derive(Default)]
struct Tables {
    /// What takes rows and answers reads, for the server. A table whose pipeline is removed leaves it.
    served: server::tables::Tables,
    /// What was found and done at the start, one sentence a line.
    said: Vec<String>,
    /// Their pipelines.
    names: Vec<String>,
}

/// What the process does for a table beside its pipeline: it serves rows, and keeps those that it knows fresh.
struct Served {
    tables: server::tables::Tables,
    name: String,
    /// What keeps rows fresh ends when this is dropped.
    _sweep: DropGuard,
}

#[async_trait]
impl Companion for Served {
    async fn stop(self: Box<Self>) {
        self.tables.remove(&self.name);
    }
}

impl Tables {
    /// Opens all that the configuration names, over `store`, and starts it in the fleet of `process`.
    ///
    /// # Errors
    /// If a buffer can't be opened, or a table is not as its entry says. What was begun is ended again, so
    /// that it may be tried once more.
    async fn start(process: &Process, store: &dyn store::Tables) -> Result<Self> {
        let mut tables = Self::default();
        match tables.begin(process, store).await {
            Ok(()) => Ok(tables),
            Err(error) => {
                for name in &tables.names {
                    if let Err(stopping) = process.fleet.remove(name).await {
                        tracing::warn!("a table that was begun could not be ended: {stopping:#}");
                    }
                }
                Err(error)
            }
        }
    }

    async fn begin(&mut self, process: &Process, store: &dyn store::Tables) -> Result<()> {
        let Process { config, part, .. } = process;
        let all = self::tables(config)?;
        let lines: Vec<_> = all.iter().map(|entry| entry.line.clone()).collect();
        process.refuse_left(&lines).await?;
        for entry in &all {
            let name = entry.name();
            let made = store.table(&entry.definition.target).with_context(|| at(entry))?;
            let ready = ready(config, entry, &*made, *part).await.with_context(|| at(entry))?;
            if ready {
                self.said.push(format!("Made the table {}.", entry.definition.target));
            }
            let opened = process.open(&entry.line).await.with_context(|| at(entry))?;
            self.said.extend(opened.found.iter().map(|line| format!("Table {name}: {line}")));
            let pipeline = self.pipeline(entry, opened.buffer, made, *part).await?;
            let pipeline = Opened::following(opened.follower, pipeline);
            process.fleet.add(Entry::pipeline(pipeline, OnFailure::Restart))?;
            self.names.push(entry.line.pipeline.clone());
        }
        Ok(())
    }

    async fn pipeline(
        &mut self,
        entry: &Table,
        buffer: Arc<dyn Buffer>,
        made: Arc<dyn store::Table>,
        part: Part,
    ) -> Result<Pipeline> {
        let definition = || entry.definition.clone();
        let mark = if part.api { self.mark(entry).await? } else { None };
        let front = part.api.then(|| {
            let (buffer, made, clock) = (buffer.clone(), made.clone(), open::clock());
            Front::new(definition(), buffer, made, clock, entry.front, mark)
        });
        let pipeline = if part.worker {
            let handler =
                table::Handler::new(entry.line.pipeline.clone(), definition(), made, front.clone());
            let settling = Settling {
                handler: Arc::new(handler),
                options: entry.engine.clone(),
                completions: None,
                clock: open::clock(),
                seed: rand::random(),
            };
            Pipeline::new(buffer, settling)?
        } else {
            Pipeline::offering(&entry.line.pipeline, buffer)
        };
        let Some(front) = front else { return Ok(pipeline) };
        if let Err(error) = front.learn_bounds().await {
            let table = entry.name();
            tracing::warn!(%error, table, "cannot read the bounds; HTTP checks none until it can");
        }
        self.said.extend(remember(entry, &front).await);
        let sweeping = CancellationToken::new();
        tokio::spawn(front.clone().sweep(sweeping.clone()));
        self.served.add(front);
        let (tables, name) = (self.served.clone(), entry.name().to_owned());
        Ok(pipeline.with(Served { tables, name, _sweep: sweeping.drop_guard() }))
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
}

/// Makes sure that the table is as its entry says. Returns whether it was made.
async fn ready(
    config: &Config,
    entry: &Table,
    made: &dyn store::Table,
    part: Part,
) -> Result<bool> {
    // A database of others is changed only when asked to.
    let is_ours = config.store.file().is_some();
    let created = entry.create && is_ours && part.worker && made.create().await?;
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

/// Reads what the buffer held before this process started, so that it is read before it is settled.
async fn remember(entry: &Table, front: &Front) -> Option<String> {
    let (mut rows, mut beyond) = (0_u64, 0_u64);
    let mut each = |held: Held| {
        if front.remember(&held.event, held.accepted_at_ms) {
            rows += 1;
        } else {
            beyond += 1;
        }
        true
    };
    let name = entry.name();
    // Of a key that has moved, the later rows are in the next one; what was spilled is later, too.
    for buffer in entry.line.buffers().filter(|buffer| !buffer.is_volatile()) {
        if let Err(error) = buffer.pending(&mut each).await {
            tracing::warn!(%error, table = name, "what the buffer holds is read only once it is settled");
        }
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
