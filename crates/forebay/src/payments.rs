//! The payments pipeline: buffer, screening and store, opened and put into the fleet of a process.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use buffer::Buffer;
use engine::{Counts, Stats};
use runtime::fleet::OnFailure;
use runtime::pipeline::Settling;
use runtime::{Entry, Pipeline, Remains, Source};
use store::Pipelines;
use store::card::Guard;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{self, Started};
use crate::moving::Line;
use crate::process::{Part, Process, Stored};
use crate::verbs::fraud::Fraud;
use crate::{buffers, open};

pub(crate) use fraud::handler::PIPELINE;

/// See the module.
pub(crate) struct Domain;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn verb(&self) -> Option<&dyn domain::Verb> {
        Some(&Fraud)
    }

    fn pipelines(&self, _: &Config) -> Vec<String> {
        vec![PIPELINE.to_owned()]
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let Begun { buffer, found, .. } = begin(process).await?;
        let routes = vec![server::events::routes(buffer)];
        Ok(Started { routes, said: found })
    }
}

/// A process that runs the payments pipeline alone. [`Payments::stop`] ends it in order; dropping it does not.
pub(crate) struct Payments {
    process: Process,
    buffer: Arc<dyn Buffer>,
    source: Source,
    /// What makes the fingerprints of cards.
    pub(crate) guard: Arc<Guard>,
}

/// The results of a pipeline that has ended, and the events that it did not settle.
pub(crate) struct Stopped {
    pub(crate) counts: Counts,
    pub(crate) stats: Arc<Stats>,
    /// Of a buffer that keeps nothing: what it held still, and its dead letters.
    pub(crate) remains: Arc<Remains>,
}

impl Payments {
    /// Opens what `config` names and starts to settle, unless the rows of `wanted` say that it is paused.
    ///
    /// # Errors
    /// If something can't be opened.
    pub(crate) async fn start(config: &Config, wanted: Option<Arc<dyn Pipelines>>) -> Result<Self> {
        let process = Process::new(config.clone(), Part { api: false, worker: true }, wanted);
        let Begun { buffer, source, .. } = begin(&process).await?;
        let source = source.context("the pipeline settles")?;
        let guard = process.store().await?.guard.clone();
        Ok(Self { process, buffer, source, guard })
    }

    /// Where to offer.
    pub(crate) fn buffer(&self) -> &Arc<dyn Buffer> {
        &self.buffer
    }

    /// What the engine has done so far.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.source.stats
    }

    /// Cancelled when nothing is settled any more: by itself only when the engine can't go on.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.process.fleet.ended()
    }

    /// Resolves when nothing is left to settle, or nothing is settled any more.
    pub(crate) async fn drained(&self) {
        self.ended().run_until_cancelled(self.source.drained()).await;
    }

    /// Drains, and closes buffer and store, in this order.
    ///
    /// # Errors
    /// The first of the engine's, the buffer's and the store's; all are closed all the same.
    pub(crate) async fn stop(self) -> Result<Stopped> {
        let remains = self.process.stop().await?.into_iter().next().unwrap_or_default();
        let stats = self.source.stats;
        Ok(Stopped { counts: stats.counts(), stats, remains })
    }
}

/// A pipeline that was added to a fleet.
struct Begun {
    /// Where to offer.
    buffer: Arc<dyn Buffer>,
    /// What opening the buffer found, one sentence each.
    found: Vec<String>,
    /// `None` where it only offers.
    source: Option<Source>,
}

/// Opens the buffer, in a process that settles the store as well, and adds the pipeline to the fleet.
async fn begin(process: &Process) -> Result<Begun> {
    let config = &process.config;
    let both = match process.part.worker {
        true => buffers::Both::open(&Line::of_payments(config), config).await?,
        false => None,
    };
    let opened = match both {
        // What keeps track of a move lies in the store, which is made with its key.
        Some(both) => {
            process.store().await?;
            both.join(config).await?
        }
        None => buffers::of_payments(config).await?,
    };
    let buffers::Opened { buffer, found, follower } = opened;
    let pipeline = if process.part.worker {
        let settling = settling(config, process.store().await?).await?;
        Pipeline::new(buffer.clone(), settling)?
    } else {
        Pipeline::offering(PIPELINE, buffer.clone())
    };
    let source = pipeline.source();
    let pipeline = buffers::following(pipeline, follower);
    process.fleet.add(Entry::pipeline(pipeline, OnFailure::EndProcess))?;
    Ok(Begun { buffer, found, source })
}

async fn settling(config: &Config, stored: &Stored) -> Result<Settling> {
    let Stored { store, guard } = stored;
    let ruleset = config.ruleset.clone();
    let (payments, rulesets) = (store.payments().clone(), store.rulesets());
    let handler =
        fraud::Handler::open(payments, &*rulesets, guard.clone(), ruleset, config.cards_max)
            .await?;
    Ok(Settling {
        handler: Arc::new(handler),
        options: config.engine.clone(),
        completions: Some(store.completions()),
        clock: open::clock(),
        seed: rand::random(),
    })
}
