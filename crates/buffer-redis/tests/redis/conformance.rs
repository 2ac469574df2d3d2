//! The Redis backend against the conformance suite: both layouts, with one shard and with many.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Order, Subject};
use buffer::foreign::Fields;
use buffer::{Buffer, Error};
use buffer_redis::{Layout, Options, RedisBuffer, Server};
use testbed::Redis;

/// Real time passes here: long enough that a slow machine does not expire a lease by itself.
const LIMITS: Limits = Limits { events_max: 500, lease_ms: 2_000, dead_max: 10 };

/// One server for all; each subject has a name of its own in it.
fn server() -> Server {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let address = REDIS.get_or_init(|| Redis::start().unwrap()).address();
    let (host, port) = address.rsplit_once(':').unwrap();
    Server {
        addresses: vec![(host.to_owned(), port.parse().unwrap())],
        cluster: false,
        tls: false,
        db: 0,
        user: None,
        password: None,
    }
}

struct InRedis(Options);

impl InRedis {
    fn new(stream: bool, shards: u16) -> Self {
        static NAMES: AtomicU32 = AtomicU32::new(0);
        let name = format!("tx-{}", NAMES.fetch_add(1, Ordering::Relaxed));
        let options = if stream {
            Options::stream(server(), &name, "forebay", Fields::named("tx_id", "card_number"))
        } else {
            Options::list(server(), &name, Fields::named("tx_id", "card_number"))
        };
        Self(Options {
            shards,
            events_max: LIMITS.events_max,
            lease_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            dead_max: LIMITS.dead_max,
            // A shared disk may keep Redis from answering for seconds, and no guarantee is about that.
            response_timeout_ms: 10_000,
            ..options
        })
    }
}

#[async_trait]
impl Subject for InRedis {
    async fn open(&self) -> Arc<dyn Buffer> {
        Arc::new(RedisBuffer::open(self.0.clone()).await.unwrap())
    }

    async fn open_with_long_leases(&self) -> Arc<dyn Buffer> {
        let options = Options { lease_ms: 30_000, ..self.0.clone() };
        Arc::new(RedisBuffer::open(options).await.unwrap())
    }

    async fn advance(&self, by_ms: u64) {
        tokio::time::sleep(Duration::from_millis(by_ms)).await;
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn lacks(&self) -> Lacks {
        lacks(&self.0)
    }

    async fn try_open(&self) -> Result<Arc<dyn Buffer>, Error> {
        Ok(Arc::new(RedisBuffer::open(self.0.clone()).await?))
    }

    async fn erase(&self) -> Result<(), Error> {
        buffer_redis::erase(&self.0).await
    }
}

/// A stream in shards keeps each key's order: its shards are read side by side.
pub(crate) fn lacks(options: &Options) -> Lacks {
    let whole = options.shards == 1 || options.layout == Layout::List;
    Lacks { order: if whole { Order::Whole } else { Order::WithinKeys }, ..Lacks::default() }
}

mod a_list {
    use super::*;
    buffer::conformance!(durable InRedis::new(false, 1));
}

mod a_list_in_shards {
    use super::*;
    buffer::conformance!(durable InRedis::new(false, 16));
}

mod a_stream {
    use super::*;
    buffer::conformance!(durable InRedis::new(true, 1));
}

mod a_stream_in_shards {
    use super::*;
    buffer::conformance!(durable InRedis::new(true, 16));
}
