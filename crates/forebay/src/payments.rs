//! The payments pipeline: buffer, screening and store, opened and put into the fleet of a process.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use buffer::{Buffer, Location};
use lab::at_work::AtWork;
use lab::verdict::Ended;
use runtime::fleet::OnFailure;
use runtime::line::Label;
use runtime::lines::Opened;
use runtime::moving::{BoxError, Evidence, Ledger, Settled, Subject};
use runtime::pipeline::Settling;
use runtime::{Entry, Line, Pipeline, Source};
use settings::{Error, Section};
use store::Pipelines;
use store::card::Guard;

use crate::config::{Config, PARSE, line_of_keys};
use crate::domain::{self, Looked, Started};
use crate::process::{Part, Process, Stored};
use crate::verbs::fraud::Fraud;
use crate::{open, registry};

pub(crate) use fraud::handler::PIPELINE;
pub(crate) use fraud::promise::settled;
use fraud::promise::{Promise, unchecked};

/// What moves are recorded under.
const MOVES: &str = "payments";

/// See the module.
pub(crate) struct Domain;

#[async_trait(?Send)]
impl domain::Domain for Domain {
    fn section(&self) -> Section {
        fraud::keys::SECTION
    }

    fn verb(&self) -> Option<&dyn domain::Verb> {
        Some(&Fraud)
    }

    fn lines(&self, config: &Config) -> Result<Vec<Line>, Error> {
        let command = "forebay buffer migrate".to_owned();
        let subject = Subject { pipeline: MOVES.to_owned(), command, parse: PARSE };
        let fields = registry::payment_fields();
        let line = line_of_keys(&config.settings, "", PIPELINE, "payments", &fields)?;
        config.engine_of(&line)?;
        Ok(vec![Line { subject, label: Label::Kind, ..line }])
    }

    async fn start(&self, process: &Process) -> Result<Started> {
        let Begun { buffer, found, .. } = begin(process).await?;
        let routes = vec![server::events::routes(buffer)];
        Ok(Started { routes, said: found, ..Started::default() })
    }

    async fn promises(&self, config: &Config) -> Result<Vec<String>> {
        let line = line(config)?;
        let buffers: Vec<_> = line.accepting().cloned().collect();
        Ok(promise(config, line, &buffers).all().await)
    }

    async fn checked(&self, config: &Config, looked: &[Looked]) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for Looked { line, buffers: accepted, store, .. } in looked {
            let buffers: Vec<_> = line.accepting().cloned().collect();
            let said = |(buffer, accepted): (&Arc<dyn Location>, &Result<String, String>)| {
                accepted.clone().unwrap_or_else(|why| unchecked(&**buffer, &why))
            };
            all.extend(buffers.iter().zip(accepted).map(said));
            all.extend(promise(config, line, &buffers).beyond(store.as_deref()));
        }
        Ok(all)
    }

    fn ledger(&self, config: &Config, _: &Line) -> Result<Box<dyn Ledger>> {
        Ok(Box::new(Rows(config.store.clone())))
    }
}

fn line(config: &Config) -> Result<&Line> {
    config.line(PIPELINE).context("the payments have a pipeline")
}

fn promise<'a>(
    config: &'a Config,
    line: &'a Line,
    buffers: &'a [Arc<dyn Location>],
) -> Promise<'a> {
    Promise {
        buffers,
        spill: line.spill.as_ref(),
        store: &*config.store,
        cards_clear: config.cards_clear,
        key_file: &config.key_file,
    }
}

/// The payments that the store has settled, read beside those that settle.
struct Rows(Arc<dyn store::Location>);

#[async_trait]
impl Ledger for Rows {
    async fn settled(&self) -> Result<Settled, BoxError> {
        let Some(view) = self.0.look().await? else { return Ok(Settled::default()) };
        let (counts, duplicates) = (view.counts().await?, view.duplicates().await?);
        Ok(Settled { rows: counts.total, double: counts.total - counts.distinct, duplicates })
    }

    fn evidence(&self) -> Evidence {
        Evidence::Events
    }
}

/// A process that runs the payments pipeline alone. [`Payments::stop`] ends it in order; dropping it does not.
pub(crate) struct Payments {
    process: Process,
    pub(crate) at_work: AtWork,
    /// What makes the fingerprints of cards.
    pub(crate) guard: Arc<Guard>,
}

impl Payments {
    /// Opens what `config` names and starts to settle, unless the rows of `wanted` say that it is paused.
    ///
    /// # Errors
    /// If something can't be opened.
    pub(crate) async fn start(config: &Config, wanted: Option<Arc<dyn Pipelines>>) -> Result<Self> {
        let process = Process::new(config.clone(), Part { api: false, worker: true }, wanted);
        let source = begin(&process).await?.source.context("the pipeline settles")?;
        let at_work = AtWork::new(source, process.fleet.ended().clone());
        let guard = process.store().await?.guard.clone();
        Ok(Self { process, at_work, guard })
    }

    /// Drains, and closes buffer and store, in this order.
    ///
    /// # Errors
    /// The first of the engine's, the buffer's and the store's; all are closed all the same.
    pub(crate) async fn stop(self) -> Result<Ended> {
        let durability = self.process.config.buffer().survives();
        let remains = self.process.stop().await?.into_iter().next().unwrap_or_default();
        Ok(Ended { stats: self.at_work.stats().clone(), remains, durability })
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
    let line = line(config)?;
    process.refuse_left(std::slice::from_ref(line)).await?;
    let Opened { buffer, found, follower } = process.open(line).await?;
    let pipeline = if process.part.worker {
        let settling = settling(config, line, process.store().await?).await?;
        Pipeline::new(buffer.clone(), settling)?
    } else {
        Pipeline::offering(PIPELINE, buffer.clone())
    };
    let source = pipeline.source();
    let pipeline = Opened::following(follower, pipeline);
    process.fleet.add(Entry::pipeline(pipeline, OnFailure::EndProcess).on(line.clone()))?;
    Ok(Begun { buffer, found, source })
}

async fn settling(config: &Config, line: &Line, stored: &Stored) -> Result<Settling> {
    let Stored { store, guard } = stored;
    let settings = &config.settings;
    let ruleset = fraud::keys::ruleset(settings)?;
    let cards_max = settings.count(fraud::keys::CARDS_MAX);
    let (payments, rulesets) = (store.payments().clone(), store.rulesets());
    let handler =
        fraud::Handler::open(payments, &*rulesets, guard.clone(), ruleset, cards_max).await?;
    Ok(Settling {
        handler: Arc::new(handler).into(),
        options: config.engine_of(line)?,
        completions: Some(store.completions()),
        clock: open::clock(),
        seed: rand::random(),
    })
}
