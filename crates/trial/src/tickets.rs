//! What the domain is to the program.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use buffer::foreign::Fields;
use forebay::{Config, Domain, Process, Started, Verb, line_of_keys};
use model::clock::System;
use runtime::fleet::OnFailure;
use runtime::lines::Opened;
use runtime::moving::{Ledger, Rows};
use runtime::pipeline::Settling;
use runtime::{Entry, Line, Pipeline};
use settings::{Error, Section};
use store::{Store, Table};

use crate::handler::Handler;
use crate::ticket::target;
use crate::verb::Count;
use crate::{PIPELINE, keys, routes};

/// See the module.
pub struct Tickets;

#[async_trait(?Send)]
impl Domain for Tickets {
    fn section(&self) -> Section {
        keys::SECTION
    }

    fn verb(&self) -> Option<&dyn Verb> {
        Some(&Count)
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        let fields = Fields::named("id", "holder");
        let line = line_of_keys(&config.settings, keys::PREFIX, PIPELINE, "tickets", &fields)?;
        config.engine_of(&line)?;
        Ok(vec![line])
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let Process { config, part, fleet, .. } = process;
        let line = config.line(PIPELINE).context("the tickets have a pipeline")?;
        process.refuse_left(std::slice::from_ref(line)).await?;
        let Opened { buffer, found: said, follower } = process.open(line).await?;
        let pipeline = if part.worker {
            let made = process.store().await?.store.tables().table(&target())?;
            made.create().await?;
            let amount_max = config.settings.whole(keys::AMOUNT_MAX);
            let settling = Settling {
                handler: Arc::new(Handler { made, amount_max }).into(),
                options: config.engine_of(line)?,
                completions: None,
                clock: Arc::new(System),
                seed: 0,
            };
            Pipeline::new(buffer.clone(), settling)?
        } else {
            Pipeline::offering(PIPELINE, buffer.clone())
        };
        let pipeline = Opened::following(follower, pipeline);
        fleet.add(Entry::pipeline(pipeline, OnFailure::Restart).on(line.clone()))?;
        Ok(Started { routes: vec![routes::of(buffer)], said, ..Started::default() })
    }

    async fn check(
        &self,
        _: &Config,
        store: &dyn Store,
    ) -> Result<BTreeMap<String, anyhow::Error>> {
        let made = store.tables().table(&target())?;
        let mut wrong = BTreeMap::new();
        if let Err(error) = is_as_it_has_to_be(&*made).await {
            wrong.insert(PIPELINE.to_owned(), error);
        }
        Ok(wrong)
    }

    async fn create(&self, _: &Config, store: &dyn Store) -> Result<Vec<String>> {
        let made = store.tables().table(&target())?.create().await?;
        Ok(made.then(|| target().to_string()).into_iter().collect())
    }

    fn ledger(&self, config: &Config, _: &Line) -> Result<Box<dyn Ledger>> {
        Ok(Box::new(Rows(config.lines().beside()?.tables().table(&target())?)))
    }
}

async fn is_as_it_has_to_be(table: &dyn Table) -> Result<()> {
    table.create().await?;
    let problems = table.problems().await?;
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}
