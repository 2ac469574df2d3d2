//! The conformance suite on a Redis Cluster, all keys of a buffer in one slot.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::{conformance, place};
use async_trait::async_trait;
use buffer::Buffer;
use buffer::conformance::{Lacks, Limits, Subject};
use buffer_redis::{Options, RedisBuffer, Server};
use testbed::RedisCluster;

const LIMITS: Limits = Limits { events_max: 500, lease_ms: 2_000, dead_max: 10 };

fn server() -> Server {
    static CLUSTER: OnceLock<RedisCluster> = OnceLock::new();
    place::cluster(CLUSTER.get_or_init(|| RedisCluster::start().unwrap()))
}

struct InCluster(Options);

impl InCluster {
    fn new(stream: bool) -> Self {
        let options = place::options("127.0.0.1:1", stream, 16);
        Self(Options {
            server: server(),
            events_max: LIMITS.events_max,
            lease_ms: i64::try_from(LIMITS.lease_ms).unwrap(),
            response_timeout_ms: 10_000,
            member_ms: 10_000,
            dead_max: LIMITS.dead_max,
            ..options
        })
    }
}

#[async_trait]
impl Subject for InCluster {
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
        conformance::lacks(&self.0)
    }
}

mod a_list {
    use super::*;
    buffer::conformance!(durable InCluster::new(false));
}

mod a_stream {
    use super::*;
    buffer::conformance!(durable InCluster::new(true));
}
