//! One table as those who write and read it see it.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use buffer::backend::Held;
use buffer::{Buffer, Location};
use metrics::counter;
use model::Event;
use model::clock::{Clock, EpochMs};
use store::Table;
use store::tables::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::event::Ids;
use crate::flight::{Flight, Landing};
use crate::found::{Found, Source};
use crate::known::{Bounds, Key, Known, Look};
use crate::mark::Mark;
use crate::overlay::Overlay;
use crate::shared::Shared;
use crate::{Definition, Reject, bounds, event, json, key, sweep};

/// How often a reader whose query was overtaken by what was settled looks again.
const LOOKS_MAX: usize = 8;
/// How often it is looked whether the bounds of the table are due; and how long the store is left alone after
/// it could not be asked.
const BOUNDS_EVERY: Duration = Duration::from_secs(5);
/// The bounds of what is kept of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Rows accepted and not known to be settled, at most; more are refused.
    pub pending_max: usize,
    /// The same in bytes, about.
    pub pending_bytes_max: usize,
    /// Rows of the store that are remembered, at most; and keys that it has no row of.
    pub cache_entries_max: usize,
    /// The same in bytes, about.
    pub cache_bytes_max: usize,
    /// How long a row is remembered, in milliseconds: how late it may be seen here that another
    /// process has written it.
    pub cache_ttl_ms: u64,
    /// How long it is remembered that there is no row, in milliseconds.
    pub negative_ttl_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pending_max: 1_000_000,
            pending_bytes_max: 256 << 20,
            cache_entries_max: 100_000,
            cache_bytes_max: 64 << 20,
            cache_ttl_ms: 5_000,
            negative_ttl_ms: 500,
        }
    }
}

/// One table. Clones share it.
#[derive(Clone)]
pub struct Front {
    shared: Arc<Shared>,
}

impl Front {
    /// A table that is accepted into `buffer` and read from `store`. Stamps begin above `mark`;
    /// without one they go by the clock alone, and an accepted row may lose after a restart with
    /// the clock set back.
    #[must_use]
    pub fn new(
        definition: Definition,
        buffer: Arc<dyn Buffer>,
        store: Arc<dyn Table>,
        clock: Arc<dyn Clock>,
        options: Options,
        mark: Option<Mark>,
    ) -> Self {
        let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let known = Known::new(Bounds {
            pending_max: options.pending_max,
            pending_bytes_max: options.pending_bytes_max,
            cache_entries_max: options.cache_entries_max,
            cache_bytes_max: options.cache_bytes_max,
            cache_ttl_ms: ms(options.cache_ttl_ms),
            negative_ttl_ms: ms(options.negative_ttl_ms),
        });
        let reads = [Source::Buffer, Source::Cache, Source::Store].map(|source| {
            let (table, from) = (definition.name.clone(), source.name());
            let reads = counter!("table_reads_total", "table" => table, "from" => from);
            reads.increment(0);
            reads
        });
        let queries = counter!("table_queries_total", "table" => definition.name.clone());
        queries.increment(0);
        let shared = Shared {
            definition,
            known,
            buffer,
            clock,
            store,
            bounds: bounds::Bounds::default(),
            ids: Ids::new(),
            version: AtomicI64::new(mark.as_ref().map_or(0, Mark::found)),
            mark,
            reads,
            queries,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The table's definition.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.shared.definition
    }

    /// Where to offer this table's events: the buffer, and what it accepts is read at once.
    #[must_use]
    pub fn buffer(&self) -> Arc<dyn Buffer> {
        Arc::new(Overlay { shared: Arc::clone(&self.shared) })
    }

    /// The event that carries a client's row. `path` is the key as the request's path has it
    /// (percent-encoded); the row may then leave out the key's columns.
    ///
    /// # Errors
    /// A [`Reject`] naming the column, also where the table is known to refuse the row.
    pub fn event(&self, json: &[u8], path: Option<&str>) -> Result<Event, Reject> {
        let Shared { definition, ids, bounds, .. } = &*self.shared;
        let row = definition.read(json, path, || self.shared.stamp())?;
        bounds.check(&definition.target, &row)?;
        event::of(&definition.target, &row, ids)
    }

    /// The row of a key (as the request's path has it, percent-encoded): out of what was accepted
    /// here, or what is remembered, or the store, which is asked once for all who wait.
    ///
    /// # Errors
    /// [`Failure::Key`] when it is no key of this table, [`Failure::Store`] when the store can't be
    /// asked.
    pub async fn get(&self, path: &str) -> Result<Found, Failure> {
        let values = self.shared.definition.read_key(path).map_err(Failure::Key)?;
        let key: Key = key::show(&values).into();
        for _ in 0..LOOKS_MAX {
            let flight = match self.shared.known.look(&key, self.shared.clock.now_ms()) {
                Look::Answer(row, source) => return Ok(self.shared.found(row, source)),
                Look::Wait(flight) => flight,
                Look::Load(flight) => {
                    // In a task of its own: a reader who goes away leaves the others their query.
                    let load = Load { shared: Arc::clone(&self.shared), key: key.clone(), flight };
                    let flight = Arc::clone(&load.flight);
                    tokio::spawn(load.run(values.clone()));
                    flight
                }
            };
            let landing = flight.landed().await;
            if let Some(resolved) = self.shared.known.resolve(&key, &flight, landing) {
                let (row, source) = resolved.map_err(Failure::Store)?;
                return Ok(self.shared.found(row, source));
            }
        }
        let busy = "the row is written faster than it can be read; try again";
        Err(Failure::Store(store::Error::Unavailable(busy.into())))
    }

    /// An event that the buffer held when this process started: it is read as if it had been
    /// accepted here. `false` when there is no room for more.
    #[must_use]
    pub fn remember(&self, event: &Event, accepted_at_ms: EpochMs) -> bool {
        self.shared.remember(event, accepted_at_ms)
    }

    /// The same of all that these buffers hold, one after the other. Returns how many events found no room.
    pub async fn remember_all(&self, buffers: impl Iterator<Item = &Arc<dyn Location>>) -> u64 {
        let mut beyond = 0;
        let mut each = |held: Held| {
            beyond += u64::from(!self.remember(&held.event, held.accepted_at_ms));
            true
        };
        for buffer in buffers.filter(|buffer| !buffer.is_volatile()) {
            if let Err(error) = buffer.pending(&mut each).await {
                let table = &self.definition().name;
                tracing::warn!(%error, table, "what the buffer holds is read only once it is settled");
            }
        }
        beyond
    }

    /// Asks the store what the table's columns take, so that [`Front::event`] refuses what they do not.
    ///
    /// # Errors
    /// If the store can't be asked; then [`Front::sweep`] asks again.
    pub async fn learn_bounds(&self) -> Result<(), store::Error> {
        self.shared.learn_bounds().await
    }

    /// Lets go of what has left the buffer and keeps the bounds of the table fresh, until `stop`.
    pub async fn sweep(self, stop: CancellationToken) {
        tokio::join!(sweep::run(&self.shared, stop.clone()), self.keep_bounds_fresh(&stop));
    }

    /// Reads the bounds again whenever they are due, until `stop`.
    async fn keep_bounds_fresh(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(BOUNDS_EVERY)).await.is_some() {
            if let Err(error) = self.learn_bounds().await {
                tracing::debug!(%error, "cannot read the bounds of the table");
            }
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("definition", &self.shared.definition).finish_non_exhaustive()
    }
}

/// Why a row could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was asked for is no key of the table.
    #[error(transparent)]
    Key(Reject),
    /// The store could not be asked.
    #[error(transparent)]
    Store(store::Error),
}

/// A query. Whatever becomes of it, those who wait are told.
struct Load {
    shared: Arc<Shared>,
    key: Key,
    flight: Arc<Flight>,
}

impl Load {
    async fn run(self, key: Vec<Value>) {
        let Shared { store, definition, queries, .. } = &*self.shared;
        queries.increment(1);
        let landing: Landing = store.read(key).await.map(|row| {
            row.map(|row| {
                let version = definition.target.version(&row);
                self.shared.saw(version);
                (json::write(&definition.target, &row).into(), version)
            })
        });
        self.shared.known.landed(&self.key, &self.flight, landing, self.shared.clock.now_ms());
    }
}

impl Drop for Load {
    /// Does nothing once it has landed.
    fn drop(&mut self) {
        let unfinished = store::Error::Unavailable("the read was not finished".into());
        let now_ms = self.shared.clock.now_ms();
        if !self.flight.has_landed() {
            self.shared.known.landed(&self.key, &self.flight, Err(unfinished), now_ms);
        }
    }
}
