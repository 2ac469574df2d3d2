//! The doorbell of streams: a blocking read that takes nothing and only tells that something came.
//!
//! It reads past what was delivered last, so that nothing that comes between a look and the next
//! ring is missed, and a lost reply costs a second of waiting at most. A server that refuses to
//! block (some managed ones do) is polled instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{RedisError, Value};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::connection::Connection;
use crate::failure::breaks;
use crate::options::{Layout, Options, Poll};
use crate::shared::Shared;

/// How long one read blocks.
const BLOCK_MS: u64 = 1_000;
const BLOCK: Duration = Duration::from_millis(BLOCK_MS);
/// Between two rings: those who were woken first have to look.
const PAUSE: Duration = Duration::from_millis(2);
/// After a read that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Bell {
    /// Whether it will ring: if not, those who wait have to poll.
    hangs: AtomicBool,
    /// Somebody waits for it.
    wanted: Notify,
}

impl Bell {
    pub(crate) fn new(options: &Options) -> Self {
        let stream = matches!(options.layout, Layout::Stream { .. });
        let blocking = options.poll == Poll::Blocking;
        if blocking && !stream {
            tracing::warn!("poll=blocking is for streams; this list is polled");
        }
        Self { hangs: AtomicBool::new(blocking && stream), wanted: Notify::new() }
    }

    /// How long one who found nothing may wait for it, if it hangs.
    pub(crate) fn listen(&self) -> Option<Duration> {
        if !self.hangs.load(Ordering::Relaxed) {
            return None;
        }
        self.wanted.notify_one();
        Some(BLOCK)
    }
}

/// Rings whenever something comes while somebody waits.
pub(crate) async fn ring(shared: Arc<Shared>) {
    if shared.bell.listen().is_none() {
        return;
    }
    let connection = Connection::new(&shared.options.server, BLOCK * 2);
    while !shared.is_closed() {
        shared.bell.wanted.notified().await;
        let read = {
            let mut shards = shared.state().shards.clone();
            shards.retain(|_, shard| !shard.draining);
            let name = &shared.options.name;
            let mut cmd = redis::cmd("XREAD");
            cmd.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK_MS);
            cmd.arg("STREAMS").arg(name);
            for index in shards.keys() {
                cmd.arg(format!("{{{name}}}:{index}"));
            }
            cmd.arg("0-0");
            for shard in shards.values() {
                cmd.arg(shard.last.map_or_else(|| "0-0".to_owned(), |entry| entry.to_string()));
            }
            cmd
        };
        match connection.run::<Value>(&read).await {
            Ok(Value::Nil) => {}
            Ok(_) => {
                shared.bell.hangs.store(true, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
            Err(error) if refuses(&error) => {
                shared.bell.hangs.store(false, Ordering::Relaxed);
                tracing::warn!(%error, "redis refuses to block; it is polled (poll=non-blocking)");
                shared.changed.notify_waiters();
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the doorbell failed; it is tried again");
                sleep(FAILED_PAUSE).await;
            }
        }
        // After a silence too: whoever waits looks for himself, and wants it again.
        shared.changed.notify_waiters();
    }
}

/// Whether this server will never do it, as against one that can't be reached just now.
fn refuses(error: &RedisError) -> bool {
    let code = error.code().unwrap_or_default();
    !breaks(error) && matches!(code, "ERR" | "NOPERM")
}
