//! The webhooks: for each its pipeline, and the door that takes its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use buffer::Buffer;
use runtime::listed::{List, Listed};
use runtime::moving::{Ledger, Unkept};
use runtime::pipeline::{Companion, Settling};
use runtime::{Line, Pipeline};
use server::Door;
use server::intake::Doors;
use settings::{Error, Section, Settings};
use store::Store;
use tokio_util::sync::CancellationToken;
use webhook::{Entry, Events, entry};

use crate::config::Config;
use crate::domain::{self, Looked, Started};
use crate::listed::{self, Written};
use crate::open;
use crate::process::Process;
use crate::verbs::webhook::Test;

/// See the module.
pub(crate) struct Domain;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn section(&self) -> Section {
        entry::SECTION
    }

    fn verb(&self) -> Option<&dyn domain::Verb> {
        Some(&Test)
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        listed::lines::<Webhooks>(config)
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let webhooks = Webhooks { doors: Doors::new("/v1/webhooks", Webhooks::NOUN) };
        let routes = vec![webhooks.doors.routes()];
        Ok(Started { routes, ..listed::start(webhooks, process).await? })
    }

    async fn promises(&self, config: &Config) -> Result<Vec<String>> {
        Ok(listed::all::<Webhooks>(config)?.iter().map(|one| promise(config, one)).collect())
    }

    async fn checked(&self, config: &Config, looked: &[Looked]) -> Result<Vec<String>> {
        let all = listed::all::<Webhooks>(config)?;
        // It keeps nothing in the store, which may be out of reach.
        let said = |(one, looked): (&Listed<Entry>, &Looked)| {
            let unusable = one.entry.usable(&config.settings).err();
            let unusable = unusable.map(|error| format!("which could not be used: {error}"));
            match unusable.or_else(|| looked.unchecked_buffer()) {
                Some(why) => format!("NOT CHECKED: webhook {}, {why}", one.name()),
                None => promise(config, one),
            }
        };
        Ok(all.iter().zip(looked).map(said).collect())
    }

    async fn check(
        &self,
        config: &Config,
        _: &dyn Store,
    ) -> Result<BTreeMap<String, anyhow::Error>> {
        let usable = |one: Listed<Entry>| {
            let error = one.entry.usable(&config.settings).err()?;
            Some((one.line.pipeline, error.into()))
        };
        Ok(listed::all::<Webhooks>(config)?.into_iter().filter_map(usable).collect())
    }

    fn ledger(&self, _: &Config, _: &Line) -> Result<Box<dyn Ledger>> {
        Ok(Box::new(Unkept))
    }
}

fn promise(config: &Config, one: &Listed<Entry>) -> String {
    one.entry.promise(&one.line, &config.lines())
}

/// What all webhooks of this process share.
struct Webhooks {
    /// What takes events, for the server. A webhook whose pipeline is removed leaves it.
    doors: Doors,
}

/// What the process does for a webhook beside its pipeline: it takes events.
struct Served {
    doors: Doors,
    name: String,
}

#[async_trait]
impl Companion for Served {
    async fn stop(self: Box<Self>) {
        self.doors.remove(&self.name);
    }
}

#[async_trait(?Send)]
impl List<Process> for Webhooks {
    type Entry = Entry;
    const NOUN: &'static str = entry::LIST;
    const EVENTS: &'static str = "events";

    async fn ready(
        &self,
        process: &Process,
        config: &Config,
        one: &Listed<Entry>,
    ) -> Result<Vec<String>> {
        if process.part.worker {
            one.entry.usable(&config.settings)?;
        }
        Ok(Vec::new())
    }

    async fn pipeline(
        &self,
        process: &Process,
        config: &Config,
        one: &Listed<Entry>,
        buffer: Arc<dyn Buffer>,
    ) -> Result<(Pipeline, Vec<String>)> {
        let (name, line) = (one.name(), &one.line);
        let running = if process.part.worker {
            let settling = Settling {
                handler: one.entry.handling(
                    &config.settings,
                    line,
                    &config.lines(),
                    open::clock(),
                )?,
                options: one.engine.clone(),
                completions: None,
                clock: open::clock(),
                seed: rand::random(),
            };
            Pipeline::new(buffer.clone(), settling)?
        } else {
            Pipeline::offering(&line.pipeline, buffer.clone())
        };
        if !process.part.api {
            return Ok((running, Vec::new()));
        }
        let events = Events::new(one.entry.fields.clone());
        self.doors.add(name, Door::of_pipeline(&line.pipeline, buffer, events));
        let served = Served { doors: self.doors.clone(), name: name.to_owned() };
        Ok((running.with(served), Vec::new()))
    }

    fn leave(&self, name: &str) -> Option<CancellationToken> {
        self.doors.remove(name)
    }

    fn expect(&self, names: Vec<String>) {
        self.doors.expect(names);
    }
}

impl Written for Webhooks {
    fn read(settings: &Settings) -> Result<Vec<Entry>, Error> {
        entry::read(settings)
    }
}
