//! What every part of an open buffer uses: its place, its connections, what it holds.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use buffer::Envelope;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::durability;
use crate::failure::Failure;
use crate::options::{Connections, Options};
use crate::place::Place;
use crate::rights;
use crate::state::State;
use crate::watch::Watch;

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
    /// When their leases end.
    pub(crate) left_over_until: Option<Instant>,
    pub(crate) incarnation: u64,
    /// Until when more is left to gather, after a claim that brought little.
    pub(crate) gathered_at: Option<Instant>,
    /// A usual event's bytes, so that a claim's reply stays bounded.
    pub(crate) event_bytes: usize,
}

/// When this process says again that it lives.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Beats {
    /// None while it is no member.
    pub(crate) at: Option<Instant>,
    pub(crate) under_way: bool,
    /// The last one was not heard.
    pub(crate) unheard: bool,
}

pub(crate) struct Shared {
    pub(crate) place: Place,
    offers: Vec<Arc<Connection>>,
    /// How many offers were made, so that each takes the next connection.
    offered: AtomicUsize,
    pub(crate) leases: Arc<Connection>,
    state: Mutex<State>,
    /// Held during a claim or a beat: what is in flight is then known.
    pub(crate) claims: tokio::sync::Mutex<Claims>,
    /// Held alone while leases are split: an ack that names the old one would find nothing there.
    pub(crate) splitting: tokio::sync::RwLock<()>,
    /// What those who wait for events wait for.
    pub(crate) watch: Arc<Watch>,
    beats: Mutex<Beats>,
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
        let place = Place::new(options);
        let provider = &place.provider;
        let own = place.options.connections == Connections::Dedicated;
        let leases = if own { provider.own() } else { provider.shared() };
        // WAIT keeps everything behind it on its connection waiting, also what other queues offer.
        let offers = match (own, place.options.wait_replicas) {
            (true, _) => (0..OFFER_CONNECTIONS).map(|_| provider.own()).collect(),
            (false, 0) => vec![Arc::clone(&leases)],
            (false, _) => vec![provider.own()],
        };
        Self {
            offers,
            offered: AtomicUsize::new(0),
            leases,
            state: Mutex::new(State::new(&place.options.process)),
            claims: tokio::sync::Mutex::default(),
            splitting: tokio::sync::RwLock::default(),
            watch: provider.watch(&place.options),
            beats: Mutex::default(),
            closed: AtomicBool::new(false),
            opened: AtomicBool::new(false),
            memory_over: AtomicU64::new(0),
            memory_bound: AtomicU64::new(0),
            durable: OnceLock::new(),
            place,
        }
    }

    /// No step leaves the state half changed, so a panic elsewhere is no reason to refuse it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn beats(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection of the next offer.
    pub(crate) fn offers(&self) -> &Connection {
        let next = self.offered.fetch_add(1, Ordering::Relaxed);
        &self.offers[next % self.offers.len()]
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Makes the buffer's keys or checks them, once; and again after they were found gone.
    pub(crate) async fn ensure_open(&self) -> Result<(), Failure> {
        if self.opened.load(Ordering::Acquire) {
            return Ok(());
        }
        let place = &self.place;
        rights::check(place).await?;
        let layout = if place.is_stream() { "stream" } else { "list" };
        let _: i64 = place
            .call(&place.rest, &place.scripts.open, |cmd| {
                cmd.arg(layout).arg(place.options.shards);
            })
            .await?;
        if self.durable.get().is_none() {
            let found = durability::read(place).await?;
            for problem in &found.problems {
                tracing::warn!(buffer = %place.options.name, "{problem}");
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
            Err(Failure::Lost) if !self.place.options.server.cluster => {
                tracing::warn!(
                    buffer = %self.place.options.name,
                    "the buffer's keys are gone from Redis (was it flushed?); it is opened anew"
                );
                self.opened.store(false, Ordering::Release);
                self.ensure_open().await?;
                step().await
            }
            done => done,
        }
    }
}
