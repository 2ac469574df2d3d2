//! The bound of a buffer's own on the memory of Redis, which holds where Redis itself has none.

use crate::place::{event, info, options, receipts, take, until};
use buffer::{Buffer, Error};
use buffer_redis::{Options, RedisBuffer, inspect};
use model::Event;
use testbed::Redis;

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_own_bound_of_memory_a_buffer_refuses_offers_and_can_be_drained() {
    for stream in [false, true] {
        let redis = Redis::start().unwrap();
        let options = options(&redis.address(), stream, 4);
        assert_eq!(inspect::durability(&options).await.unwrap().maxmemory_bytes, 0);
        // Enough above what is used that scripts and connections do not fill it.
        let mib = info(&redis, "memory", "used_memory") / MIB + 4;
        let options = Options {
            memory_max_bytes: mib * MIB,
            lease_ms: 60_000,
            // A disk that others use too may keep Redis from answering for seconds.
            response_timeout_ms: 10_000,
            ..options
        };
        let buffer = RedisBuffer::open(options).await.unwrap();
        let large =
            |n: usize| Event::new(format!("id-{n}").as_bytes(), b"", &[b'x'; 10_000]).unwrap();
        // Below the bound when it comes, and 6 MB that are past it when it is held.
        buffer.offer(&(0..600).map(large).collect::<Vec<_>>()).await.unwrap();
        let small = || async { buffer.offer(&[event("small", "")]).await };
        // Redis is looked at now and then, so a few more may be taken.
        let refused = until("it is full", small, Result::is_err).await.unwrap_err();
        let named = format!("memory_max_mib = {mib} MiB");
        assert!(
            matches!(&refused, Error::Full { bound, .. } if bound.starts_with(&named)),
            "{refused}"
        );
        let held = buffer.depth().await.unwrap().ready;
        assert!(small().await.is_err());
        assert_eq!(buffer.depth().await.unwrap().ready, held, "what is refused is not held");

        let leased = take(&buffer, usize::try_from(held).unwrap()).await;
        assert_eq!(buffer.ack(&receipts(&leased)).await.unwrap(), leased.len());
        until("there is room again", small, Result::is_ok).await.unwrap();
        assert_eq!(take(&buffer, 1).await[0].event.id(), b"small");
    }
}
