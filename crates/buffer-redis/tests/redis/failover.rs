//! A cluster loses the master of a buffer.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::place;
use crate::place::{events, ids, options, receipts, until};
use buffer::Buffer;
use buffer_redis::{Options, RedisBuffer, inspect};
use testbed::RedisCluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_confirmed_is_there_after_the_master_died() {
    let cluster = RedisCluster::start().unwrap();
    for stream in [false, true] {
        let options = Options {
            server: place::cluster(&cluster),
            wait_replicas: 1,
            // A new master is elected within a few seconds; membership must outlive that.
            member_ms: 60_000,
            lease_ms: 2_000,
            ..options("127.0.0.1:1", stream, 4)
        };
        let buffer = RedisBuffer::open(options.clone()).await.unwrap();
        for batch in 0..20 {
            let batch = events(batch * 10..batch * 10 + 10);
            until("a replica has it", || buffer.offer(&batch), Result::is_ok).await.unwrap();
        }
        let node = cluster.kill_master_of(&options.name).unwrap();
        let (mut done, mut wanted) = (BTreeSet::new(), 200);
        let deadline = std::time::Instant::now() + place::PATIENCE;
        while wanted > 0 {
            assert!(std::time::Instant::now() < deadline, "{wanted} never came");
            let Ok(leased) = buffer.lease(50, Duration::from_millis(200)).await else { continue };
            done.extend(ids(&leased));
            let _ = buffer.ack(&receipts(&leased)).await;
            wanted = 200 - done.len();
        }
        assert!(inspect::durability(&options).await.unwrap().problems.is_empty());
        cluster.start_again(node).unwrap();
        cluster.wait_until_well().unwrap();
        // Only now has the new master a replica to wait for.
        let later = events(200..210);
        until("a replica has it", || buffer.offer(&later), Result::is_ok).await.unwrap();
    }
}
