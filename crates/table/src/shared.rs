//! What the parts of one table share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use buffer::Buffer;
use bytes::Bytes;
use metrics::Counter;
use model::Event;
use model::clock::{Clock, EpochMs};
use store::Table;

use crate::bounds::Bounds;
use crate::event::Ids;
use crate::found::{Found, Source};
use crate::known::{Before, Key, Known, Pending, cost};
use crate::mark::Mark;
use crate::{Definition, json, key};

/// How far ahead of the clock a version of a row may be for stamps to follow it, in microseconds: a
/// day. One row of the year 9999 must not put all others there.
const AHEAD_US_MAX: i64 = 86_400 * 1_000_000;

/// See the module.
pub(crate) struct Shared {
    pub(crate) definition: Definition,
    pub(crate) known: Known,
    pub(crate) buffer: Arc<dyn Buffer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn Table>,
    pub(crate) bounds: Bounds,
    pub(crate) ids: Ids,
    /// The greatest version seen or given so far.
    pub(crate) version: AtomicI64,
    /// What keeps stamps growing beyond a restart.
    pub(crate) mark: Option<Mark>,
    /// Reads answered from each [`Source`], in their order.
    pub(crate) reads: [Counter; 3],
    pub(crate) queries: Counter,
}

impl Shared {
    /// A version that is greater than all that were given and seen: the time, or where that stands
    /// still or goes back, one more than the last.
    pub(crate) fn stamp(&self) -> i64 {
        let now = self.now_us();
        let next = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.version.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        next(last.unwrap_or_default()).unwrap_or(now)
    }

    /// Asks for the bounds of the table, unless they were read lately.
    pub(crate) async fn learn_bounds(&self) -> Result<(), store::Error> {
        let now_ms = self.clock.now_ms();
        if !self.bounds.are_due(now_ms) {
            return Ok(());
        }
        self.bounds.learn(&*self.store, now_ms).await
    }

    fn now_us(&self) -> i64 {
        self.clock.now_ms().saturating_mul(1_000)
    }

    /// Makes sure that a later process stamps nothing below what was stamped here until now.
    pub(crate) async fn cover(&self) -> Result<(), buffer::Error> {
        let Some(mark) = &self.mark else { return Ok(()) };
        let covered = mark.cover(self.version.load(Ordering::Relaxed)).await;
        covered.map_err(buffer::Error::Unavailable)
    }

    /// What is stamped from now on is newer than this, unless it is a day ahead of the clock.
    pub(crate) fn saw(&self, version: Option<i64>) {
        if let Some(version) = version.filter(|_| self.definition.is_stamped())
            && version <= self.now_us().saturating_add(AHEAD_US_MAX)
        {
            self.version.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// Events were accepted just now.
    pub(crate) fn accepted(&self, events: &[Event]) {
        let now_ms = self.clock.now_ms();
        for event in events {
            // What is no row of this table is buried by whoever settles it.
            let Ok(row) = self.definition.read_event(event, now_ms) else { continue };
            let key = key_of(&self.definition, &row);
            let version = self.definition.target.version(&row);
            let newest = self.definition.is_stamped();
            let pending = Pending {
                event: event.clone(),
                version,
                accepted_by_ms: now_ms,
                newest,
                before: Before::Nothing,
            };
            self.known.accept(&key, pending, now_ms);
        }
    }

    /// See [`crate::Front::remember`].
    pub(crate) fn remember(&self, event: &Event, accepted_at_ms: EpochMs) -> bool {
        let Ok(row) = self.definition.read_event(event, accepted_at_ms) else { return true };
        let version = self.definition.target.version(&row);
        self.saw(version);
        let Some(_room) = self.known.room(1, cost(event)) else { return false };
        // Another producer's may be written in another way.
        let shown = json::write(&self.definition.target, &row);
        let Ok(event) = Event::new(event.id(), event.key(), &shown) else { return true };
        let now_ms = self.clock.now_ms();
        let pending = Pending {
            event,
            version,
            accepted_by_ms: now_ms,
            newest: false,
            before: Before::Nothing,
        };
        self.known.accept(&key_of(&self.definition, &row), pending, now_ms);
        true
    }

    /// Counts a read.
    pub(crate) fn found(&self, row: Option<Bytes>, source: Source) -> Found {
        self.reads[source as usize].increment(1);
        Found { row, source }
    }
}

/// The key of a row as text.
pub(crate) fn key_of(definition: &Definition, row: &store::tables::Record) -> Key {
    key::show(&definition.target.key(row)).into()
}
