//! The payments pipeline: buffer, screening and store, opened and put into a fleet.

use std::sync::Arc;

use anyhow::{Context, Result};
use buffer::Buffer;
use engine::{Counts, Stats};
use runtime::fleet::OnFailure;
use runtime::moving::Follower;
use runtime::pipeline::Settling;
use runtime::{Entry, Fleet, Following, Pipeline, Remains, Source};
use store::card::Guard;
use store::{Claimed, Pipelines};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::moving::Line;
use crate::{fleet, open};

/// A fleet that the payments pipeline runs in, and the store that it settles into. [`Payments::stop`] ends
/// both in order; dropping it does not.
pub(crate) struct Payments {
    fleet: Fleet,
    buffer: Arc<dyn Buffer>,
    store: Claimed,
    source: Source,
    /// Where operators may pause it.
    following: Option<Following>,
    /// What makes the fingerprints of cards.
    pub(crate) guard: Arc<Guard>,
    /// What opening the buffer found, one sentence each.
    pub(crate) found: Vec<String>,
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
        // The buffer first: who has a journal is waited for, who settles into the store is not.
        let both = open::Both::open(&Line::of_payments(config), config).await?;
        let (opened, (store, guard)) = match both {
            // What keeps track of a move lies in the store, which is made with its key.
            Some(both) => {
                let stored = open::store(config).await?;
                (both.join(config).await?, stored)
            }
            None => (open::configured_buffer(config).await?, open::store(config).await?),
        };
        let settling = settling(config, &store, &guard).await?;
        let pipeline = Pipeline::new(opened.buffer.clone(), settling)?;
        let source = pipeline.source().context("the pipeline settles")?;
        let fleet = fleet::of(config);
        let following = match wanted {
            Some(wanted) => Some(Following::begin(&fleet, wanted).await?),
            None => None,
        };
        add(&fleet, pipeline, opened.follower)?;
        let open::Opened { buffer, found, .. } = opened;
        Ok(Self { fleet, buffer, store, source, following, guard, found })
    }

    /// The fleet, which further pipelines may join.
    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Where to offer.
    pub(crate) fn buffer(&self) -> &Arc<dyn Buffer> {
        &self.buffer
    }

    /// Where payments are settled.
    pub(crate) fn store(&self) -> &Claimed {
        &self.store
    }

    /// What the engine has done so far.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.source.stats
    }

    /// Cancelled when nothing is settled any more: by itself only when the engine can't go on.
    pub(crate) fn ended(&self) -> &CancellationToken {
        self.fleet.ended()
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
        drop(self.following);
        let stopped = fleet::stop(&self.fleet).await;
        let closed = self.store.close().await.context("the store could not be closed");
        let remains = stopped?.into_iter().next().unwrap_or_default();
        closed?;
        let stats = self.source.stats;
        Ok(Stopped { counts: stats.counts(), stats, remains })
    }
}

/// Opens the buffer alone, for a process that only takes payments, and puts it into `fleet`.
///
/// # Errors
/// If it can't be opened.
pub(crate) async fn offer(
    config: &Config,
    fleet: &Fleet,
) -> Result<(Arc<dyn Buffer>, Vec<String>)> {
    let opened = open::configured_buffer(config).await?;
    let pipeline = Pipeline::offering(fraud::handler::PIPELINE, opened.buffer.clone());
    add(fleet, pipeline, opened.follower)?;
    Ok((opened.buffer, opened.found))
}

fn add(fleet: &Fleet, pipeline: Pipeline, follower: Option<Follower>) -> Result<()> {
    let pipeline = match follower {
        Some(follower) => pipeline.with(follower),
        None => pipeline,
    };
    Ok(fleet.add(Entry::pipeline(pipeline, OnFailure::EndProcess))?)
}

async fn settling(config: &Config, store: &Claimed, guard: &Arc<Guard>) -> Result<Settling> {
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
