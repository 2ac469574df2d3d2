//! What every part of an open buffer uses: the connections, the scripts, the state.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use buffer::{Depth, Envelope};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::Notify;

use crate::bell::Bell;
use crate::connection::Connection;
use crate::durability;
use crate::failure::Failure;
use crate::options::{Connections, Layout, Options};
use crate::rights;
use crate::script::{Script, Scripts};
use crate::state::State;

/// How many connections offers have of their own: Redis serves several at once with fewer calls to
/// the system.
const OFFER_CONNECTIONS: usize = 4;

/// What claims keep between them.
#[derive(Default)]
pub(crate) struct Claims {
    /// The token of a claim whose reply never came: it is asked for again before any other.
    pub(crate) unresolved: Option<u64>,
    /// Leased, but more than the one who asked wanted; of this incarnation.
    pub(crate) left_over: Vec<Envelope>,
    pub(crate) incarnation: u64,
    /// Until when more is left to gather, after a claim that brought little.
    pub(crate) gathered_at: Option<tokio::time::Instant>,
    /// A usual event's bytes, so that a claim's reply stays bounded.
    pub(crate) event_bytes: usize,
}

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) scripts: Scripts,
    pub(crate) group: String,
    offers: Vec<Arc<Connection>>,
    /// How many offers were made, so that each takes the next connection.
    offered: AtomicUsize,
    pub(crate) leases: Arc<Connection>,
    pub(crate) rest: Arc<Connection>,
    pub(crate) bell: Bell,
    state: Mutex<State>,
    /// Held during a claim or a beat: what is in flight is then known.
    pub(crate) claims: tokio::sync::Mutex<Claims>,
    /// Held alone while leases are split: an ack that names the old one would find nothing there.
    pub(crate) splitting: tokio::sync::RwLock<()>,
    /// Something may have become ready, or a shard ours, or the buffer closed.
    pub(crate) changed: Notify,
    /// Membership began or ended.
    pub(crate) joined: Notify,
    pub(crate) closed: AtomicBool,
    /// Whether the open script ran; until then every step runs it first.
    opened: AtomicBool,
    /// Bytes in use when that is more than offers may add to; 0: there is room.
    pub(crate) memory_over: AtomicU64,
    pub(crate) memory_bound: AtomicU64,
    /// Whether it may be called durable, and in what words.
    pub(crate) durable: OnceLock<(bool, &'static str)>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        let response = Duration::from_millis(options.response_timeout_ms);
        let connection = || Arc::new(Connection::new(&options.server, response));
        let rest = connection();
        let own = options.connections == Connections::Dedicated;
        let leases = if own { connection() } else { Arc::clone(&rest) };
        // WAIT keeps everything behind it on its connection waiting, so offers then have their own.
        let offers = match (own, options.wait_replicas) {
            (true, _) => (0..OFFER_CONNECTIONS).map(|_| connection()).collect(),
            (false, 0) => vec![Arc::clone(&rest)],
            (false, _) => vec![connection()],
        };
        let group = match &options.layout {
            Layout::List => String::new(),
            Layout::Stream { group, .. } => group.clone(),
        };
        Self {
            scripts: Scripts::new(&options.layout),
            bell: Bell::new(&options),
            group,
            offers,
            offered: AtomicUsize::new(0),
            leases,
            rest,
            state: Mutex::new(State::new(&options.process)),
            claims: tokio::sync::Mutex::default(),
            splitting: tokio::sync::RwLock::default(),
            changed: Notify::new(),
            joined: Notify::new(),
            closed: AtomicBool::new(false),
            opened: AtomicBool::new(false),
            memory_over: AtomicU64::new(0),
            memory_bound: AtomicU64::new(0),
            durable: OnceLock::new(),
            options,
        }
    }

    /// No step leaves the state half changed, so a panic elsewhere is no reason to refuse it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of the next offer.
    pub(crate) fn offers(&self) -> &Connection {
        let next = self.offered.fetch_add(1, Ordering::Relaxed);
        &self.offers[next % self.offers.len()]
    }

    pub(crate) fn is_stream(&self) -> bool {
        !self.group.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Runs a script; `fill` adds its arguments.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        connection: &Connection,
        script: &Script,
        fill: impl Fn(&mut Cmd),
    ) -> Result<T, Failure> {
        Ok(self.call_raw(connection, script, fill).await?)
    }

    async fn call_raw<T: FromRedisValue>(
        &self,
        connection: &Connection,
        script: &Script,
        fill: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let mut cmd = script.call(false, &self.options.name, &self.group);
        fill(&mut cmd);
        match connection.run(&cmd).await {
            Err(error) if is_unknown_script(&error) => {}
            done => return done,
        }
        let mut cmd = script.call(true, &self.options.name, &self.group);
        fill(&mut cmd);
        connection.run(&cmd).await
    }

    /// Makes the buffer's keys or checks them, once; and again after they were found gone.
    pub(crate) async fn ensure_open(&self) -> Result<(), Failure> {
        if self.opened.load(Ordering::Acquire) {
            return Ok(());
        }
        rights::check(self).await?;
        let layout = if self.is_stream() { "stream" } else { "list" };
        let _: i64 = self
            .call(&self.rest, &self.scripts.open, |cmd| {
                cmd.arg(layout).arg(self.options.shards);
            })
            .await?;
        if self.durable.get().is_none() {
            let found = durability::read(self).await?;
            for problem in &found.problems {
                tracing::warn!(buffer = %self.options.name, "{problem}");
            }
            let _ = self.durable.set((found.problems.is_empty(), durability::words(&found)));
        }
        self.opened.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens first, and once more if a step finds the buffer's keys gone.
    pub(crate) async fn opened<T, F>(&self, step: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.ensure_open().await?;
        match step().await {
            // On a cluster they may be on their way to another master: a buffer made anew would be a
            // second one beside it.
            Err(Failure::Lost) if !self.options.server.cluster => {
                tracing::warn!(
                    buffer = %self.options.name,
                    "the buffer's keys are gone from Redis (was it flushed?); it is opened anew"
                );
                self.opened.store(false, Ordering::Release);
                self.ensure_open().await?;
                step().await
            }
            done => done,
        }
    }

    /// Asks how much is held.
    pub(crate) async fn depth(&self) -> Result<Depth, Failure> {
        let (ready, leased, dead, oldest): (u64, u64, u64, i64) = self
            .call(&self.rest, &self.scripts.depth, |cmd| {
                cmd.arg(self.options.shards);
            })
            .await?;
        let oldest_accepted_ms = Some(oldest).filter(|ms| *ms >= 0);
        Ok(Depth { ready, leased, dead, oldest_accepted_ms })
    }
}

pub(crate) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
