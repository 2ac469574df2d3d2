//! The conformance suite on a Redis Cluster, all keys of a buffer in one slot.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::{conformance, place};
use async_trait::async_trait;
use buffer::conformance::{Lacks, Limits, Subject};
use buffer::{Buffer, Class, Classify, Error};
use buffer_redis::{Options, RedisBuffer, Server};
use testbed::RedisCluster;

const LIMITS: Limits = Limits { events_max: 500, lease_ms: 2_000, dead_max: 10 };

static CLUSTER: OnceLock<RedisCluster> = OnceLock::new();

fn server() -> Server {
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

    async fn try_open(&self) -> Result<Arc<dyn Buffer>, Error> {
        Ok(Arc::new(RedisBuffer::open(self.0.clone()).await?))
    }

    async fn erase(&self) -> Result<(), Error> {
        buffer_redis::erase(&self.0).await
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

/// As while a slot moves: the tables have come to their new master, and the streams have not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_streams_are_on_their_way_nothing_is_made_in_their_place_and_what_was_held_is_held() {
    let cluster = CLUSTER.get_or_init(|| RedisCluster::start().unwrap());
    let options = place::options("127.0.0.1:1", true, 4);
    let options =
        Options { server: place::cluster(cluster), lease_ms: 60_000, member_ms: 60_000, ..options };
    let buffer = RedisBuffer::open(options.clone()).await.unwrap();
    buffer.offer(&place::events(0..20)).await.unwrap();
    let first = place::take(&buffer, 5).await;
    assert_eq!(buffer.release(&place::receipts(&first), Duration::ZERO).await.unwrap(), 5);
    let master = cluster.node(cluster.master_of(&options.name).unwrap());
    let stream = |shard: u16| format!("{{{}}}:{shard}", options.name);
    for shard in 0..4 {
        master.call(&["RENAME", &stream(shard), &format!("{}:away", stream(shard))]).unwrap();
    }
    for _ in 0..3 {
        let error = buffer.lease(20, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.class(), Class::Retryable, "{error}");
    }
    for shard in 0..4 {
        assert_eq!(master.call(&["EXISTS", &stream(shard)]).unwrap().integer(), Some(0));
        master.call(&["RENAME", &format!("{}:away", stream(shard)), &stream(shard)]).unwrap();
    }
    let all = place::take(&buffer, 20).await;
    let mut names = place::ids(&all);
    names.sort_by_key(|id| id[3..].parse::<u32>().unwrap());
    assert_eq!(names, (0..20).map(|n| format!("id-{n}")).collect::<Vec<_>>());
    assert_eq!(buffer.ack(&place::receipts(&all)).await.unwrap(), 20);
    assert_eq!(buffer.depth().await.unwrap().ready, 0);
}
