//! A domain of calls: an outside service pays each voucher to its member, and the answer becomes one row.

mod keys;
mod payer;
mod voucher;

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use buffer::foreign::Fields;
use forebay::{Config, Domain, Process, Started, line_of_keys};
use model::clock::System;
use runtime::fleet::OnFailure;
use runtime::lines::Opened;
use runtime::moving::{Ledger, Rows};
use runtime::pipeline::Settling;
use runtime::{Entry, Line, Pipeline};
use server::{Door, intake};
use settings::{Error, Section};

use keys::PIPELINE;
use voucher::{Posted, target};

/// See the module. Without `vouchers.url` there is no pipeline.
pub struct Vouchers;

#[async_trait(?Send)]
impl Domain for Vouchers {
    fn section(&self) -> Section {
        Section::new(keys::keys)
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        if config.settings.text(keys::URL).is_empty() {
            return Ok(Vec::new());
        }
        let fields = Fields::named("id", "key");
        let line = line_of_keys(&config.settings, keys::PREFIX, PIPELINE, PIPELINE, &fields)?;
        config.engine_of(&line)?;
        Ok(vec![line])
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let Process { config, part, fleet, .. } = process;
        let Some(line) = config.line(PIPELINE) else { return Ok(Started::default()) };
        process.refuse_left(std::slice::from_ref(line)).await?;
        let Opened { buffer, found: said, follower } = process.open(line).await?;
        let pipeline = if part.worker {
            let paid = process.store().await?.store.tables().table(&target())?;
            paid.create().await?;
            let settling = Settling {
                handler: payer::handling(&config.settings, paid)?,
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
        let door = Door::of_pipeline(PIPELINE, buffer, Posted);
        let routes = vec![intake::routes("/v1/vouchers", door)];
        Ok(Started { routes, said, ..Started::default() })
    }

    fn ledger(&self, config: &Config, _: &Line) -> Result<Box<dyn Ledger>> {
        Ok(Box::new(Rows(config.lines().beside()?.tables().table(&target())?)))
    }
}
