//! Buffer, engine, screening and store, put together.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use buffer::Buffer;
use buffer_journal::Recovery;
use engine::{Stats, Summary, Work};
use model::Event;
use store::card::Guard;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::history::Source;
use crate::moving::Follower;
use crate::open;

/// Events read at once from what is left.
const PAGE: usize = 1_000;

/// A running pipeline. [`Pipeline::stop`] ends it in order; dropping it does not.
pub(crate) struct Pipeline {
    buffer: Arc<dyn Buffer>,
    store: open::Store,
    engine: JoinHandle<Result<Summary, engine::Error>>,
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    stats: Arc<Stats>,
    work: Work,
    batch_max: usize,
    shutdown: CancellationToken,
    ended: CancellationToken,
    /// What makes the fingerprints of cards.
    pub(crate) guard: Arc<Guard>,
    /// What opening the buffer found.
    pub(crate) recovery: Option<Recovery>,
    follower: Option<Follower>,
}

/// What is left of a pipeline that has ended.
pub(crate) struct Stopped {
    pub(crate) summary: Summary,
    pub(crate) stats: Arc<Stats>,
    /// Events that a durable buffer keeps for the next start.
    pub(crate) kept: u64,
    /// What a buffer that keeps nothing still held. What a durable one holds is on its medium.
    pub(crate) left: Vec<Event>,
    /// The dead letters of such a buffer.
    pub(crate) dead: Vec<Event>,
}

impl Pipeline {
    /// Opens what `config` names and starts the engine.
    ///
    /// # Errors
    /// If something can't be opened.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        // The buffer first: who has a journal is waited for, who settles into the store is not.
        let (opened, (store, guard)) = match &config.next {
            // What keeps track of a move lies in the store, which is made with its key.
            Some(next) => {
                let both = open::Both::open(config, next).await?;
                let stored = open::store(config).await?;
                (both.join(config, next).await?, stored)
            }
            None => (open::configured_buffer(config).await?, open::store(config).await?),
        };
        let open::Opened { buffer, recovery, follower } = opened;
        let cards_max = (config.cards_max / config.engine.lanes).max(1);
        let ruleset = config.ruleset.clone();
        let (payments, rulesets) = (store.payments(), store.rulesets());
        let handler =
            fraud::Handler::open(payments, &*rulesets, guard.clone(), ruleset, cards_max).await?;
        let shutdown = CancellationToken::new();
        let service = engine::Service {
            buffer: buffer.clone(),
            handler: Arc::new(handler),
            completions: Some(store.completions()),
            clock: open::clock(),
            seed: rand::random(),
            shutdown: shutdown.clone(),
        };
        let engine = service.start(config.engine.clone())?;
        let (stats, work, drained) = (engine.stats(), engine.work(), Box::pin(engine.drained()));
        let batch_max = config.engine.batch_max;
        let ended = CancellationToken::new();
        let at_the_end = ended.clone().drop_guard();
        let engine = tokio::spawn(async move {
            let _at_the_end = at_the_end;
            engine.join().await
        });
        Ok(Self {
            buffer,
            store,
            engine,
            drained,
            stats,
            work,
            batch_max,
            shutdown,
            ended,
            guard,
            recovery,
            follower,
        })
    }

    /// Where to offer.
    pub(crate) fn buffer(&self) -> &Arc<dyn Buffer> {
        &self.buffer
    }

    /// Where payments are settled.
    pub(crate) fn store(&self) -> &open::Store {
        &self.store
    }

    /// Whether the buffer goes on holding what is left when this process ends. A shared one does,
    /// durable or not.
    pub(crate) fn keeps(&self) -> bool {
        let kind = self.buffer.kind();
        kind.durable || kind.shared
    }

    /// What the engine has done so far.
    pub(crate) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What its load is told from.
    pub(crate) fn source(&self) -> Source {
        Source {
            buffer: self.buffer.clone(),
            stats: self.stats.clone(),
            work: self.work.clone(),
            batch_max: self.batch_max,
        }
    }

    /// Cancelled when the engine has ended, which it does by itself only when it can't go on.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Resolves when nothing is left to settle, or the engine has ended.
    pub(crate) async fn drained(&mut self) {
        if !self.ended.is_cancelled() {
            self.drained.as_mut().await;
        }
    }

    /// Leases nothing more, and begins to finish what is held.
    pub(crate) fn wind_down(&self) {
        self.shutdown.cancel();
    }

    /// Winds down, waits for the end of it, and closes buffer and store, in this order.
    ///
    /// # Errors
    /// The first of the engine's, the buffer's and the store's; all are closed all the same.
    pub(crate) async fn stop(self) -> Result<Stopped> {
        self.wind_down();
        let keeps = self.keeps();
        let summary = self.engine.await.context("the engine's task ended early");
        let kept = match self.buffer.depth().await {
            Ok(depth) if keeps => depth.ready + depth.leased,
            _ => 0,
        };
        let remains = match keeps {
            true => Ok((Vec::new(), Vec::new())),
            false => remains(&*self.buffer).await,
        };
        let closed = self.buffer.close().await.context("the buffer could not be closed");
        if let Some(follower) = self.follower {
            follower.stop().await;
        }
        let store = self.store.close().await.context("the store could not be closed");
        let summary = summary??;
        closed?;
        store?;
        let (left, dead) = remains?;
        Ok(Stopped { summary, stats: self.stats, kept, left, dead })
    }
}

/// What a buffer that keeps nothing holds: the events, and the dead letters.
async fn remains(buffer: &dyn Buffer) -> Result<(Vec<Event>, Vec<Event>)> {
    let (mut left, mut dead) = (Vec::new(), Vec::new());
    loop {
        let leased = buffer.lease(PAGE, Duration::ZERO).await?;
        if leased.is_empty() {
            break;
        }
        left.extend(leased.into_iter().map(|envelope| envelope.event));
    }
    let mut from = 0;
    loop {
        let page = buffer.dead_letters().list(from, PAGE).await?;
        let Some(last) = page.last() else { break };
        from = last.seq + 1;
        dead.extend(page.into_iter().map(|letter| letter.event));
    }
    Ok((left, dead))
}
