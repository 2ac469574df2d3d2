//! The doorbell of streams: a blocking read that takes nothing and only tells that something came, for all streams
//! of a provider that rest. On a cluster, where streams lie on different nodes, each has a bell of its own.
//!
//! It reads past what was delivered last, so that nothing that comes between a look and the next
//! ring is missed. A queue that begins to rest during a read is polled until the next one. A server that refuses to
//! block (some managed ones do) is polled instead.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::failure::breaks;
use crate::options::Server;
use crate::watch::{Bell, Look, Resting, Watches, read};

/// How long one read blocks: so long is a stream that begins to rest beside others polled.
const BLOCK_MS: u64 = 100;
/// How long its reply may take beyond that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two rings: those who were woken first have to look.
const PAUSE: Duration = Duration::from_millis(2);
/// After a read that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

/// Rings whenever something comes while some stream rests.
pub(crate) async fn ring(watches: Arc<Watches>, bell: Arc<Bell>, server: Server) {
    let connection = Connection::new(&server, PATIENCE);
    loop {
        bell.listens.store(true, Ordering::Release);
        let resting = watches.to_hear(&bell);
        if resting.is_empty() {
            bell.wanted.notified().await;
            continue;
        }
        bell.listens.store(false, Ordering::Release);
        let streams = resting.iter().flat_map(|(_, look)| match look.as_ref() {
            Look::Streams(streams) => streams.as_slice(),
            _ => &[],
        });
        let told = connection.run::<Value>(&read(streams, Some(BLOCK_MS))).await;
        watches.heard(&resting);
        match told {
            Ok(Value::Nil) => {}
            Ok(told) => {
                wake_named(&resting, &told);
                sleep(PAUSE).await;
            }
            Err(error) if refuses(&error) => {
                tracing::warn!(%error, "redis refuses to block; it is polled (poll=non-blocking)");
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the doorbell failed; it is tried again");
                sleep(FAILED_PAUSE).await;
            }
        }
    }
}

/// Wakes those of whose streams something is told: keys and entries, in turn or in pairs.
fn wake_named(resting: &[Resting], told: &Value) {
    let pairs: Vec<&Value> = match told {
        Value::Map(pairs) => pairs.iter().map(|(key, _)| key).collect(),
        Value::Array(pairs) => pairs
            .iter()
            .filter_map(|pair| if let Value::Array(pair) = pair { pair.first() } else { None })
            .collect(),
        _ => Vec::new(),
    };
    let named = |stream: &str| {
        pairs.iter().any(|key| match key {
            Value::BulkString(key) => key == stream.as_bytes(),
            Value::SimpleString(key) => key == stream,
            _ => false,
        })
    };
    for (watch, look) in resting {
        if let Look::Streams(streams) = look.as_ref()
            && streams.iter().any(|(stream, _)| named(stream))
        {
            watch.wake_from(look);
        }
    }
}

/// Whether this server will never do it, as against one that can't be reached just now.
fn refuses(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    !breaks(error) && matches!(code, "ERR" | "NOPERM")
}
