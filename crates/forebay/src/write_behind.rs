//! The tables that are written behind: for each its pipeline, and what answers reads.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use buffer::Buffer;
use runtime::fleet::OnFailure;
use runtime::line::{NONE, alone, left, next, share, spill};
use runtime::lines::{Lines, Opened};
use runtime::moving::{Ledger, Rows, Subject};
use runtime::pipeline::{Companion, Settling, unused};
use runtime::{Entry, Line, Pipeline};
use settings::{Error, Section};
use store::Store;
use table::{Front, Mark, entry};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, PARSE};
use crate::domain::{self, Looked, Names, Reloaded, Running, Started};
use crate::process::{Part, Process};
use crate::{open, registry};
use model::units::grouped;

/// Batches of each lane that may be held at once.
const HELD_BATCHES: usize = 8;

/// How long the requests under way may hold up the removal of their table.
const REQUESTS_MAX: Duration = Duration::from_secs(5);

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
        if let Err(error) = tables.begin(process).await {
            for entry in std::mem::take(&mut tables.running) {
                if let Err(stopping) = process.fleet.remove(&entry.line.pipeline).await {
                    tracing::warn!("a table that was begun could not be ended: {stopping:#}");
                }
            }
            return Err(error);
        }
        let (routes, said) = (vec![tables.served.routes()], std::mem::take(&mut tables.said));
        Ok(Started { routes, said, running: vec![Box::new(tables)] })
    }

    async fn promises(&self, config: &Config) -> Result<Vec<String>> {
        Ok(tables(config)?.iter().map(Table::promise).collect())
    }

    async fn checked(&self, config: &Config, looked: &[Looked]) -> Result<Vec<String>> {
        let tables = tables(config)?;
        let said = |(table, looked): (&Table, &Looked)| {
            let name = table.name();
            match looked.unchecked() {
                _ if looked.store.is_some() => {
                    format!("NOT CHECKED: table {name}, which lies in that store.")
                }
                Some(why) => format!("NOT CHECKED: table {name}, {why}"),
                None => table.promise(),
            }
        };
        Ok(tables.iter().zip(looked).map(said).collect())
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
    /// As the file has it.
    written: entry::Entry,
}

impl Table {
    fn name(&self) -> &str {
        &self.definition.name
    }

    fn promise(&self) -> String {
        let spill = self.line.spill.as_deref();
        self.definition.promise(&self.line.buffer.survives(), spill)
    }

    /// Whether it is written like the other one, wherever in the file.
    fn is_same(&self, other: &Self) -> bool {
        let place = other.written.place.clone();
        entry::Entry { place, ..self.written.clone() } == other.written
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
    let entry::Entry { definition, create, front, .. } = entry.clone();
    let stamps = || Path::new(&config.data).join("stamps").join(&definition.name);
    let mark = definition.is_stamped().then(stamps);
    Ok(Table { line, definition, create, engine, front, mark, written: entry })
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

/// All tables of this process. Their pipelines are in its fleet.
#[derive(Default)]
struct Tables {
    /// What takes rows and answers reads, for the server. A table whose pipeline is removed leaves it.
    served: server::tables::Tables,
    /// What was found and done when tables were added, one sentence a line.
    said: Vec<String>,
    /// Where they lie.
    store: OnceCell<Arc<dyn store::Tables>>,
    /// Those that run.
    running: Vec<Table>,
    /// Those that do not run though the file has them, each as it ran before, if it did.
    lacking: Vec<(Table, Option<Table>)>,
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

#[async_trait(?Send)]
impl Running for Tables {
    async fn check(&self, process: &Process, new: &Config) -> Result<()> {
        let all = tables(new)?;
        let lines: Vec<_> = all.iter().map(|entry| entry.line.clone()).collect();
        new.lines().refuse_left_of(&lines).await.map_err(open::told)?;
        for entry in all.iter().filter(|entry| !self.runs(entry)) {
            let look = async {
                let made = self.store(process)?.table(&entry.definition.target)?;
                ready(new, entry, &*made, process.part).await
            };
            look.await.with_context(|| at(entry))?;
            let reached = new.lines().reach(&entry.line).await;
            reached.map_err(open::told).with_context(|| at(entry))?;
        }
        Ok(())
    }

    async fn reload(&mut self, process: &Process, new: &Config) -> Reloaded {
        let all = match tables(new) {
            Ok(all) => all,
            Err(error) => return Reloaded { failed: vec![error.into()], ..Reloaded::default() },
        };
        // Until it is added, a table of the file is answered 503.
        self.served.expect(all.iter().map(|entry| entry.name().to_owned()));
        for (entry, _) in std::mem::take(&mut self.lacking) {
            process.fleet.lack(&entry.line.pipeline, None);
        }
        let stays = |entry: &Table| all.iter().any(|other| other.is_same(entry));
        let going: Vec<_> = self.running.iter().filter(|entry| !stays(entry)).cloned().collect();
        let coming: Vec<_> = all.iter().filter(|entry| !self.runs(entry)).cloned().collect();
        let mut reloaded = Reloaded::default();
        let removed = |entry: &&Table| !all.iter().any(|other| other.name() == entry.name());
        for entry in going.iter().filter(removed) {
            self.remove(process, entry, None).await;
            reloaded.removed.push(entry.line.pipeline.clone());
        }
        for entry in &coming {
            // One that changes has its buffer until then, and may have the one that this is to get.
            for other in &going {
                let is_in_the_way =
                    other.name() == entry.name() || share(&other.line, &entry.line).await;
                if is_in_the_way && self.runs(other) {
                    let now = all.iter().find(|now| now.name() == other.name());
                    self.remove(process, other, now).await;
                }
            }
            let before = going.iter().find(|before| before.name() == entry.name());
            let end = Instant::now() + open::WITHIN;
            let added = open::in_time(end, async || self.add(process, new, entry).await).await;
            match (added, before) {
                (Ok(()), None) => reloaded.added.push(entry.line.pipeline.clone()),
                (Ok(()), Some(_)) => reloaded.changed.push(entry.line.pipeline.clone()),
                (Err(error), before) => {
                    let why = format!("{error:#}");
                    reloaded.failed.push(error);
                    let end = Instant::now() + open::WITHIN;
                    let again = async || self.restore(process, &all, before).await;
                    match open::in_time(end, again).await {
                        Ok(true) => continue,
                        Ok(false) => {}
                        Err(error) => reloaded.failed.push(error),
                    }
                    process.fleet.lack(&entry.line.pipeline, Some(why));
                    self.lacking.push((entry.clone(), before.cloned()));
                }
            }
        }
        for line in std::mem::take(&mut self.said) {
            tracing::info!("{line}");
        }
        reloaded
    }

    async fn retry(&mut self, process: &Process) {
        let Ok(all) = tables(&process.config) else { return };
        for (entry, before) in std::mem::take(&mut self.lacking) {
            let (name, pipeline) = (entry.name(), &entry.line.pipeline);
            let Err(error) = self.add(process, &process.config, &entry).await else {
                tracing::info!("table {name} runs");
                continue;
            };
            if let Ok(true) = self.restore(process, &all, before.as_ref()).await {
                tracing::warn!("table {name} runs as before; send SIGHUP to change it");
                continue;
            }
            process.fleet.lack(pipeline, Some(format!("{error:#}")));
            self.lacking.push((entry, before));
        }
    }
}

impl Tables {
    /// Starts all tables of the process. An error leaves those running that were begun.
    async fn begin(&mut self, process: &Process) -> Result<()> {
        let all = tables(&process.config)?;
        let lines: Vec<_> = all.iter().map(|entry| entry.line.clone()).collect();
        process.refuse_left(&lines).await?;
        for entry in &all {
            self.add(process, &process.config, entry).await?;
        }
        Ok(())
    }

    /// Whether this table runs as it is written here.
    fn runs(&self, entry: &Table) -> bool {
        self.running.iter().any(|other| other.is_same(entry))
    }

    /// Where the tables lie: the store that is open here, or else the store beside it.
    fn store(&self, process: &Process) -> Result<Arc<dyn store::Tables>> {
        if let Some(store) = self.store.get() {
            return Ok(store.clone());
        }
        let store = match process.open_store() {
            Some(store) => store.tables(),
            None => open::beside(&*process.config.store)?.tables(),
        };
        Ok(self.store.get_or_init(|| store).clone())
    }

    /// Opens the buffer of a table of `config` and starts its pipeline.
    ///
    /// # Errors
    /// If the buffer can't be opened, or the table is not as its entry says.
    async fn add(&mut self, process: &Process, config: &Config, entry: &Table) -> Result<()> {
        let made = self.store(process)?.table(&entry.definition.target);
        let made = made.with_context(|| at(entry))?;
        let ready = ready(config, entry, &*made, process.part).await.with_context(|| at(entry))?;
        if ready {
            self.said.push(format!("Made the table {}.", entry.definition.target));
        }
        self.run(process, &config.lines(), entry, made).await
    }

    /// Starts a table of the process again after a change that failed, also while its buffer is out of reach.
    /// Returns whether it ran `before`. `all` are the tables that are to run.
    ///
    /// # Errors
    /// If another table has its buffer by now, or it can't be opened.
    async fn restore(
        &mut self,
        process: &Process,
        all: &[Table],
        before: Option<&Table>,
    ) -> Result<bool> {
        let Some(before) = before else { return Ok(false) };
        let name = before.name();
        for other in all.iter().chain(&self.running).filter(|other| other.name() != name) {
            if share(&before.line, &other.line).await {
                bail!("cannot run table {name} as before: table {} has its buffer", other.name());
            }
        }
        let made = self.store(process)?.table(&before.definition.target)?;
        let lines = Lines { is_lazy: true, ..process.config.lines() };
        self.run(process, &lines, before, made).await.map(|()| true)
    }

    /// Opens the buffer of a table, one of `lines`, and starts its pipeline.
    async fn run(
        &mut self,
        process: &Process,
        lines: &Lines,
        entry: &Table,
        made: Arc<dyn store::Table>,
    ) -> Result<()> {
        let (part, name) = (process.part, entry.name());
        let opened = process.open_of(lines, &entry.line).await.with_context(|| at(entry))?;
        self.said.extend(opened.found.iter().map(|line| format!("Table {name}: {line}")));
        let pipeline = self.pipeline(entry, opened.buffer, made, part).await?;
        let pipeline = Opened::following(opened.follower, pipeline);
        if let Err(error) = process.fleet.add(Entry::pipeline(pipeline, OnFailure::Restart)) {
            self.served.remove(name);
            return Err(error.into());
        }
        self.running.push(entry.clone());
        Ok(())
    }

    /// Takes no more rows of a table, drains its pipeline and closes its buffer. What is left in the buffer
    /// stays there. `now` is the table as it is to run, if it is changed.
    async fn remove(&mut self, process: &Process, entry: &Table, now: Option<&Table>) {
        let (name, pipeline) = (entry.name(), &entry.line.pipeline);
        if let Some(requests) = self.served.remove(name)
            && timeout(REQUESTS_MAX, requests.cancelled()).await.is_err()
        {
            tracing::warn!(table = name, "a table is removed while requests still send rows to it");
        }
        self.running.retain(|other| other.name() != name);
        let buffers = process.fleet.buffers().into_iter();
        let mut buffers = buffers.filter(|(running, _)| **running == **pipeline);
        let buffer = buffers.next().map(|(_, buffer)| Arc::downgrade(&buffer));
        drop(buffers);
        if let Err(error) = process.fleet.remove(pipeline).await {
            tracing::error!("{error}");
        }
        if let Some(buffer) = buffer {
            unused(buffer).await;
        }
        // Reading a large journal blocks, and this process may be told to stop meanwhile.
        let left = tokio::spawn(left("table", entry.line.clone(), now.map(|now| now.line.clone())));
        for said in left.await.unwrap_or_default() {
            tracing::warn!(table = name, "{said}");
        }
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
                handler: Arc::new(handler).into(),
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

    /// What keeps the stamps of a table growing.
    async fn mark(&mut self, entry: &Table) -> Result<Option<Mark>> {
        let Some(path) = &entry.mark else { return Ok(None) };
        let begun = Mark::begin(path, &*open::clock()).await.with_context(|| {
            let folder = path.parent().unwrap_or(path).display();
            format!("cannot keep stamps in {folder}; let this process write there")
        });
        let (mark, back_s) = begun?;
        self.said.extend(back_s.map(|back_s| {
            format!(
                "Table {}: THE CLOCK WAS SET BACK by {} s or less. Stamps stay ahead of the clock \
                 until it has caught up.",
                entry.name(),
                grouped(back_s)
            )
        }));
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
    let create = entry.create && config.store.file().is_some() && part.worker;
    // What is accepted goes into the buffer whether or not the store is there.
    let (created, problems) = entry.definition.ready(made, create, !part.worker).await?;
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(created)
}

/// Reads what the buffer held before this process started, so that it is read before it is settled.
async fn remember(entry: &Table, front: &Front) -> Option<String> {
    // Of a key that has moved, the later rows are in the next one; what was spilled is later, too.
    let beyond = front.remember_all(entry.line.buffers()).await;
    (beyond > 0).then(|| {
        let (name, beyond) = (entry.name(), grouped(beyond));
        format!(
            "Table {name}: {beyond} of the rows in the buffer are read only once they are settled: they are more \
             than pending_max."
        )
    })
}

/// Which table an error is of.
fn at(entry: &Table) -> String {
    format!("table {}", entry.name())
}
