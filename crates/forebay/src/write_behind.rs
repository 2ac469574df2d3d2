//! The tables that are written behind: for each its pipeline, and what answers reads.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use buffer::Buffer;
use runtime::listed::{List, Listed};
use runtime::moving::{Ledger, Rows};
use runtime::pipeline::{Companion, Settling};
use runtime::{Line, Pipeline};
use settings::{Error, Section, Settings};
use store::Store;
use table::{Front, Mark, entry};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::Config;
use crate::domain::{self, Looked, Names, Started};
use crate::listed::{self, Written};
use crate::open;
use crate::process::{Part, Process};

/// See the module.
pub(crate) struct Domain;

/// One table that is written behind, resolved.
type Table = Listed<entry::Entry>;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn section(&self) -> Section {
        entry::SECTION
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        listed::lines::<Tables>(config)
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let tables = Tables::default();
        let routes = vec![tables.served.routes()];
        Ok(Started { routes, ..listed::start(tables, process).await? })
    }

    async fn promises(&self, config: &Config) -> Result<Vec<String>> {
        Ok(listed::all::<Tables>(config)?.iter().map(promise).collect())
    }

    async fn checked(&self, config: &Config, looked: &[Looked]) -> Result<Vec<String>> {
        let tables = listed::all::<Tables>(config)?;
        let said = |(table, looked): (&Table, &Looked)| {
            let name = table.name();
            match looked.unchecked() {
                _ if looked.store.is_some() => {
                    format!("NOT CHECKED: table {name}, which lies in that store.")
                }
                Some(why) => format!("NOT CHECKED: table {name}, {why}"),
                None => promise(table),
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
        for table in listed::all::<Tables>(config)? {
            let look = async {
                let made = store.tables().table(&table.entry.definition.target)?;
                ready(config, &table, &*made, Part { api: true, worker: true }).await
            };
            if let Err(error) = look.await {
                troubles.insert(table.line.pipeline, error);
            }
        }
        Ok(troubles)
    }

    async fn create(&self, config: &Config, store: &dyn Store) -> Result<Vec<String>> {
        let mut created = Vec::new();
        for table in listed::all::<Tables>(config)?.iter().filter(|table| table.entry.create) {
            let (at, target) =
                (|| format!("table {}", table.name()), &table.entry.definition.target);
            let made = store.tables().table(target).with_context(at)?;
            if made.create().await.with_context(at)? {
                created.push(target.to_string());
            }
        }
        Ok(created)
    }

    fn ledger(&self, config: &Config, line: &Line) -> Result<Box<dyn Ledger>> {
        let target = listed::of::<Tables>(config, line)?.entry.definition.target;
        Ok(Box::new(Rows(open::beside(&*config.store)?.tables().table(&target)?)))
    }

    fn names(&self, config: &Config, line: &Line) -> Result<Names> {
        let definition = listed::of::<Tables>(config, line)?.entry.definition;
        Ok(Box::new(move |event| definition.row_key(event)))
    }
}

fn promise(table: &Table) -> String {
    table.entry.definition.promise(&table.line)
}

/// What all tables of this process share.
#[derive(Default)]
struct Tables {
    /// What takes rows and answers reads, for the server. A table whose pipeline is removed leaves it.
    served: server::tables::Tables,
    /// Where they lie.
    store: OnceCell<Arc<dyn store::Tables>>,
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
impl List<Process> for Tables {
    type Entry = entry::Entry;
    const NOUN: &'static str = "table";
    const EVENTS: &'static str = "rows";

    fn leads(name: &str) -> String {
        format!("forebay buffer migrate --table {name}")
    }

    async fn ready(
        &self,
        process: &Process,
        config: &Config,
        table: &Table,
    ) -> Result<Vec<String>> {
        let target = &table.entry.definition.target;
        let made = self.store(process)?.table(target)?;
        let created = ready(config, table, &*made, process.part).await?;
        Ok(created.then(|| format!("Made the table {target}.")).into_iter().collect())
    }

    async fn pipeline(
        &self,
        process: &Process,
        config: &Config,
        table: &Table,
        buffer: Arc<dyn Buffer>,
    ) -> Result<(Pipeline, Vec<String>)> {
        let (part, mut said) = (process.part, Vec::new());
        let definition = || table.entry.definition.clone();
        let made = self.store(process)?.table(&table.entry.definition.target)?;
        let front = if part.api {
            let mark = mark(config, table, &mut said).await?;
            let (made, options) = (made.clone(), table.entry.front);
            Some(Front::new(definition(), buffer.clone(), made, open::clock(), options, mark))
        } else {
            None
        };
        let pipeline = if part.worker {
            let name = table.line.pipeline.clone();
            let handler = table::Handler::new(name, definition(), made, front.clone());
            let settling = Settling {
                handler: Arc::new(handler).into(),
                options: table.engine.clone(),
                completions: None,
                clock: open::clock(),
                seed: rand::random(),
            };
            Pipeline::new(buffer, settling)?
        } else {
            Pipeline::offering(&table.line.pipeline, buffer)
        };
        let Some(front) = front else { return Ok((pipeline, said)) };
        let (sweep, unread) = front.begin(table.line.buffers()).await;
        said.extend(unread);
        self.served.add(front);
        let (tables, name) = (self.served.clone(), table.name().to_owned());
        Ok((pipeline.with(Served { tables, name, _sweep: sweep }), said))
    }

    fn leave(&self, name: &str) -> Option<CancellationToken> {
        self.served.remove(name)
    }

    fn expect(&self, names: Vec<String>) {
        self.served.expect(names);
    }
}

impl Written for Tables {
    fn read(settings: &Settings) -> Result<Vec<entry::Entry>, Error> {
        entry::read(settings)
    }
}

impl Tables {
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
}

/// What keeps the stamps of a table growing, unless clients give the versions.
async fn mark(config: &Config, table: &Table, said: &mut Vec<String>) -> Result<Option<Mark>> {
    let name = &table.entry.definition.name;
    if !table.entry.definition.is_stamped() {
        return Ok(None);
    }
    let path: PathBuf = Path::new(&config.data).join("stamps").join(name);
    let begun = Mark::begin(&path, &*open::clock(), name).await.with_context(|| {
        let folder = path.parent().unwrap_or(&path).display();
        format!("cannot keep stamps in {folder}; let this process write there")
    });
    let (mark, is_back) = begun?;
    said.extend(is_back);
    Ok(Some(mark))
}

/// Makes sure that the table is as its entry says. Returns whether it was made.
async fn ready(
    config: &Config,
    table: &Table,
    made: &dyn store::Table,
    part: Part,
) -> Result<bool> {
    // A database of others is changed only when asked to.
    let create = table.entry.create && config.store.file().is_some() && part.worker;
    // What is accepted goes into the buffer whether or not the store is there.
    let (created, problems) = table.entry.definition.ready(made, create, !part.worker).await?;
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(created)
}
