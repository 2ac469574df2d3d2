//! The tables that are written behind: for each its pipeline, and what answers reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use buffer::backend::Held;
use buffer::{Buffer, Class, Classify as _};
use runtime::fleet::OnFailure;
use runtime::pipeline::{Companion, Settling};
use runtime::{Entry, Fleet, Pipeline};
use table::{Front, Mark};
use tokio::task::block_in_place;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Config, Table};
use crate::domain::{self, Started};
use crate::moving::{Line, refuse_left_by_tables};
use crate::process::{Part, Process};
use crate::{buffers, open};
use model::units::grouped;

/// See the module.
pub(crate) struct Domain;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn pipelines(&self, config: &Config) -> Vec<String> {
        config.tables.iter().map(named).collect()
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let Process { config, part, fleet, .. } = process;
        let mut tables = Tables::default();
        if !config.tables.is_empty() {
            let store = open::tables(config, process.open_store())?;
            tables = Tables::start(config, &*store, *part, fleet).await?;
        }
        Ok(Started { routes: vec![tables.served.routes()], said: tables.said })
    }
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
    /// Opens all that `config` names, over `store`, and starts it in `fleet`.
    ///
    /// # Errors
    /// If a buffer can't be opened, or a table is not as its entry says. What was begun is ended again, so
    /// that it may be tried once more.
    async fn start(
        config: &Config,
        store: &dyn store::Tables,
        part: Part,
        fleet: &Fleet,
    ) -> Result<Self> {
        let mut tables = Self::default();
        match tables.begin(config, store, part, fleet).await {
            Ok(()) => Ok(tables),
            Err(error) => {
                for name in &tables.names {
                    if let Err(stopping) = fleet.remove(name).await {
                        tracing::warn!("a table that was begun could not be ended: {stopping:#}");
                    }
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
        fleet: &Fleet,
    ) -> Result<()> {
        refuse_left_by_tables(config).await?;
        for entry in &config.tables {
            let name = entry.name();
            let made = store.table(&entry.definition.target).with_context(|| at(entry))?;
            let ready = ready(config, entry, &*made, part).await.with_context(|| at(entry))?;
            if ready {
                self.said.push(format!("Made the table {}.", entry.definition.target));
            }
            let opened = buffers::line(&Line::of_table(entry), Some(&named(entry)), config).await;
            let opened = opened.with_context(|| at(entry))?;
            self.said.extend(opened.found.iter().map(|line| format!("Table {name}: {line}")));
            let pipeline = self.pipeline(entry, opened.buffer, made, part).await?;
            let pipeline = buffers::following(pipeline, opened.follower);
            fleet.add(Entry::pipeline(pipeline, OnFailure::Restart))?;
            self.names.push(named(entry));
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
            let handler = table::Handler::new(named(entry), definition(), made, front.clone());
            let settling = Settling {
                handler: Arc::new(handler),
                options: entry.engine.clone(),
                completions: None,
                clock: open::clock(),
                seed: rand::random(),
            };
            Pipeline::new(buffer, settling)?
        } else {
            Pipeline::offering(&named(entry), buffer)
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

/// What `config check` finds wrong with the tables, by their names.
pub(crate) async fn check(
    config: &Config,
    store: &dyn store::Tables,
) -> BTreeMap<String, anyhow::Error> {
    let mut troubles = BTreeMap::new();
    for entry in &config.tables {
        let look = async {
            let made = store.table(&entry.definition.target)?;
            ready(config, entry, &*made, Part { api: true, worker: true }).await
        };
        if let Err(error) = look.await {
            troubles.insert(entry.name().to_owned(), error);
        }
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
    let next = entry.next.iter().map(|next| &next.buffer);
    let buffers = [&entry.buffer].into_iter().chain(next).chain(&entry.spill);
    for buffer in buffers.filter(|buffer| !buffer.is_volatile()) {
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

/// The name of a table's pipeline.
fn named(entry: &Table) -> String {
    format!("table:{}", entry.name())
}

/// Which table an error is of.
fn at(entry: &Table) -> String {
    format!("table {}", entry.name())
}
