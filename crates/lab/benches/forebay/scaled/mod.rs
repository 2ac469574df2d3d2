//! The pipeline on Redis and PostgreSQL, both started here, both with the durability they are used
//! with: AOF every second, `fsync` and `synchronous_commit` on.

mod copy;
mod latency;
mod offer;
mod outage;
mod peer;
mod pipeline;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer, Server};
use engine::{Handle, Service};
use fraud::{Handler, Ruleset};
use lab::generator::{self, Generator};
use model::clock::{Clock, System};
use model::{Class, Classify, Event};
use store::card::Guard;
use testbed::{Postgres, Redis};
use tokio_util::sync::CancellationToken;

pub(crate) use latency::run as latency;
pub(crate) use offer::run as offer;
pub(crate) use outage::run as outage;
pub(crate) use peer::run as peer;
pub(crate) use pipeline::run as pipeline;

const OFFER_BATCH: usize = 1_000;

/// Which way events lie in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    List,
    Stream,
}

/// A Redis and a PostgreSQL of this bench alone.
struct Servers {
    redis: Redis,
    postgres: Postgres,
}

impl Servers {
    async fn start() -> Result<Self> {
        let servers = Self { redis: Redis::start()?, postgres: Postgres::start()? };
        store_postgres::migrate(&servers.store()).await?;
        Ok(servers)
    }

    fn store(&self) -> store_postgres::Options {
        let options = store_postgres::Options::from_url(&self.postgres.url());
        store_postgres::Options { exclusive: false, ..options.expect("the test bed's URL is one") }
    }

    fn buffer(&self, layout: Layout) -> Options {
        let address = self.redis.address();
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let server = Server {
            addresses: vec![(host.to_owned(), port.parse().expect("a port is a number"))],
            cluster: false,
            tls: false,
            db: 0,
            user: None,
            password: None,
        };
        let options = match layout {
            Layout::List => Options::list(server, "tx_queue"),
            Layout::Stream => Options::stream(server, "tx_stream", "fds"),
        };
        Options { events_max: 10_000_000, ..options }
    }
}

/// An engine on these servers, as `forebay serve --roles worker` runs it.
struct Running {
    handle: Handle,
    shutdown: CancellationToken,
    buffer: Arc<dyn Buffer>,
    store: Arc<store_postgres::Store>,
}

impl Running {
    async fn start(servers: &Servers, layout: Layout) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(System);
        let buffer: Arc<dyn Buffer> = Arc::new(RedisBuffer::open(servers.buffer(layout)).await?);
        let store = Arc::new(store_postgres::Store::open(servers.store(), clock.clone()).await?);
        let guard = Arc::new(Guard::new(&[7; 32], false));
        let handler = Handler::open(store.clone(), guard, Ruleset::default(), 1_000_000).await?;
        let shutdown = CancellationToken::new();
        let service = Service {
            buffer: buffer.clone(),
            handler: Arc::new(handler),
            completions: Some(store.clone()),
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

/// Payments in order, event time a millisecond apart, ending now.
struct Source {
    generator: Generator,
    at_ms: i64,
}

impl Source {
    fn new(count: usize) -> Result<Self> {
        let generator = Generator::new(&generator::Options::default())?;
        Ok(Self { generator, at_ms: System.now_ms() - i64::try_from(count)? })
    }

    fn batch(&mut self, count: usize) -> Vec<Event> {
        let from_ms = self.at_ms;
        self.at_ms += i64::try_from(count).expect("a batch is small");
        (from_ms..self.at_ms).map(|at_ms| self.generator.event(at_ms).0).collect()
    }
}

/// Offers `count` payments.
async fn fill(buffer: &dyn Buffer, count: usize) -> Result<()> {
    let mut source = Source::new(count)?;
    let mut made = 0;
    while made < count {
        let batch = source.batch(OFFER_BATCH.min(count - made));
        let mut tries = 0;
        while let Err(error) = buffer.offer(&batch).await {
            tries += 1;
            ensure!(error.class() == Class::Retryable && tries < 100, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        made += batch.len();
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
