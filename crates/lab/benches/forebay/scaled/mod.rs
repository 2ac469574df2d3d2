//! The pipeline on Redis or Kafka, and PostgreSQL, all started here, all with the durability they are used
//! with: AOF every second, acks=all, `fsync` and `synchronous_commit` on.

mod copy;
mod latency;
mod offer;
mod outage;
mod peer;
mod pipeline;

use std::sync::Arc;

use anyhow::Result;
use buffer::Buffer;
use engine::{Handle, Service};
use fraud::{Handler, Ruleset};
use model::clock::{Clock, System};
use store::card::Guard;
use testbed::{Postgres, Redis};
use tokio_util::sync::CancellationToken;

use crate::queue::{Layout, Queue};

pub(crate) use latency::run as latency;
pub(crate) use offer::run as offer;
pub(crate) use outage::run as outage;
pub(crate) use peer::run as peer;
pub(crate) use pipeline::{kafka as kafka_pipeline, redis as pipeline};

/// A Redis and a PostgreSQL of this bench alone.
struct Servers {
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    async fn start() -> Result<Self> {
        Ok(Self { redis: Redis::start()?, postgres: migrated().await? })
    }

    fn queue(&self, layout: Layout) -> Queue {
        Queue::redis(&self.redis, layout)
    }
}

/// A PostgreSQL of this bench alone, with our schema.
async fn migrated() -> Result<Postgres> {
    let postgres = Postgres::start()?;
    store_postgres::migrate(&store(&postgres)).await?;
    Ok(postgres)
}

fn store(postgres: &Postgres) -> store_postgres::Options {
    let options = store_postgres::Options::from_url(&postgres.url());
    store_postgres::Options { exclusive: false, ..options.expect("the test bed's URL is one") }
}

/// An engine on these servers, as `forebay serve --roles worker` runs it.
struct Running {
    handle: Handle,
    shutdown: CancellationToken,
    buffer: Arc<dyn Buffer>,
    store: store::Claimed,
}

impl Running {
    async fn start(postgres: &Postgres, queue: &Queue) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(System);
        let buffer = queue.open().await?;
        let store = store_postgres::open(store(postgres), clock.clone()).await?;
        let guard = Arc::new(Guard::new(&[7; 32], false));
        let handler = Handler::open(
            store.payments().clone(),
            &*store.rulesets(),
            guard,
            Ruleset::default(),
            1_000_000,
        )
        .await?;
        let shutdown = CancellationToken::new();
        let service = Service {
            buffer: buffer.clone(),
            handler: Arc::new(handler).into(),
            completions: Some(store.completions()),
            clock,
            seed: 1,
            shutdown: shutdown.clone(),
        };
        let handle = service.start(engine::Options::default())?;
        Ok(Self { handle, shutdown, buffer, store })
    }

    async fn stop(self) -> Result<engine::Summary> {
        self.shutdown.cancel();
        let summary = self.handle.join().await?;
        self.buffer.close().await?;
        self.store.close().await?;
        Ok(summary)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
