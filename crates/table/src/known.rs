//! What this process knows of rows: those that it accepted and the store may not have yet, those it
//! read or settled lately, and the queries under way. One lock for all that is known of a key, so
//! that no reader ever sees a row between the two.
//!
//! Pending rows are never evicted. The others are, by CLOCK (F. J. Corbató, 1968): whatever was not
//! read since the hand last passed goes first.
//!
//! No reader sees an older row than this process showed. A cached row that has expired is no answer,
//! but an older row that is accepted later is held against it: while the store cannot be asked, the
//! newer one is the answer. Of evicted rows only versions stay known, several keys to one version:
//! an accepted row that is older than that version is no answer until the store was asked.

mod pending;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::clock::EpochMs;

use crate::flight::{Flight, Landing};
use crate::found::Source;
use pending::shown;
use shard::Shard;

pub(crate) use pending::{Before, Bounds, Key, Pending, SHARDS, cost};

/// Pending rows that are let go of under one lock, at most.
const SWEPT_AT_ONCE: usize = 256;

/// What there is to say of a key.
pub(crate) enum Look {
    /// This.
    Answer(Option<Bytes>, Source),
    /// What the query finds that is under way.
    Wait(Arc<Flight>),
    /// What the query finds that is to be made now.
    Load(Arc<Flight>),
}

/// See the module.
pub(crate) struct Known {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    bounds: Bounds,
    /// Rows that are pending, or about to be.
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

/// Room for rows that are about to be accepted; given back when dropped.
pub(crate) struct Room<'k> {
    known: &'k Known,
    rows: usize,
    bytes: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.known.rows.fetch_sub(self.rows, Ordering::Relaxed);
        self.known.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Known {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect();
        let (rows, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { shards, hasher: RandomState::new(), bounds, rows, bytes }
    }

    /// Rows that are pending.
    pub(crate) fn pending(&self) -> usize {
        self.rows.load(Ordering::Relaxed)
    }

    /// Room for as many rows more, if there is.
    pub(crate) fn room(&self, rows: usize, bytes: usize) -> Option<Room<'_>> {
        let room = Room { known: self, rows, bytes };
        // Given back by `Room` when it turns out to be too much.
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let fits = rows <= self.bounds.pending_max && bytes <= self.bounds.pending_bytes_max;
        fits.then_some(room)
    }

    /// A row was accepted, and is read from now on unless a newer one is known.
    pub(crate) fn accept(&self, key: &Key, mut pending: Pending, now_ms: EpochMs) {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        let before = slot.pending.as_ref();
        if before.is_some_and(|before| !pending.is_newer_than(before.version)) {
            return;
        }
        let fresh = slot.cached.as_ref().is_some_and(|cached| cached.until_ms > now_ms);
        let shown = slot.shown();
        if fresh && shown.as_ref().is_some_and(|(_, version)| *version == pending.version) {
            // The store has it.
            return shard.tidy(key);
        }
        let is_known = slot.cached.is_some();
        let newest = pending.newest || before.is_some_and(|before| before.newest);
        pending.before = match shown {
            Some((row, version)) if !pending.is_newer_than(version) => Before::Row(row, version),
            _ if is_known || newest => Before::Nothing,
            _ if shard.may_have_shown(key, pending.version) => Before::Forgotten,
            _ => Before::Nothing,
        };
        pending.newest = pending.before == Before::Nothing && (newest || fresh);
        let accepted_by_ms = pending.accepted_by_ms;
        self.added(&pending);
        if let Some(before) = shard.slot(key).pending.replace(pending) {
            self.removed(&before);
        }
        shard.queue_accepted(key, accepted_by_ms);
    }

    /// What there is to say of `key`.
    pub(crate) fn look(&self, key: &Key, now_ms: EpochMs) -> Look {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        slot.read = true;
        let cached = slot.cached.as_ref().filter(|cached| cached.until_ms > now_ms);
        if let Some(pending) = &slot.pending {
            let version = cached.and_then(|cached| cached.row.as_ref()).map(|row| row.1);
            if pending.newest || version.is_some_and(|version| pending.is_newer_than(version)) {
                return Look::Answer(Some(shown(&pending.event)), Source::Buffer);
            }
        }
        if let Some(cached) = cached {
            let row = cached.row.as_ref().map(|(row, _)| row.clone());
            return Look::Answer(row, Source::Cache);
        }
        if let Some(flight) = &slot.flight {
            return Look::Wait(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::new());
        slot.flight = Some(Arc::clone(&flight));
        Look::Load(flight)
    }

    /// A query has ended. What it found is kept, unless something was settled meanwhile.
    pub(crate) fn landed(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
        landing: Landing,
        now_ms: EpochMs,
    ) {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        if slot.flight.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, flight)) {
            slot.flight = None;
            if let Ok(loaded) = &landing {
                let over = loaded.as_ref().map(|(_, version)| *version);
                if let Some(pending) = &mut slot.pending {
                    match over {
                        Some(version) if !pending.is_newer_than(version) => {
                            self.removed(pending);
                            slot.pending = None;
                        }
                        _ => self.is_newest(pending),
                    }
                }
                shard.keep(key, loaded.clone(), now_ms, &self.bounds);
            }
            shard.tidy(key);
        }
        drop(shard);
        flight.land(landing);
    }

    /// What a reader who waited for `flight` is told; `None` when it has to look again.
    pub(crate) fn resolve(
        &self,
        key: &Key,
        flight: &Flight,
        landing: Landing,
    ) -> Option<Result<(Option<Bytes>, Source), store::Error>> {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        let pending = slot.pending.as_ref().map(|pending| {
            let over = landing.as_ref().ok().and_then(Option::as_ref);
            let stands = over.is_none_or(|(_, version)| pending.is_newer_than(*version));
            (stands, pending.before.clone(), shown(&pending.event))
        });
        shard.tidy(key);
        match (pending, landing) {
            // The store cannot be asked for a newer one, but this was shown.
            (Some((_, Before::Row(row, _), _)), Err(_)) => Some(Ok((Some(row), Source::Cache))),
            // Neither the store nor the cache tells whether a newer one was shown.
            (Some((_, Before::Forgotten, _)), Err(error)) => Some(Err(error)),
            // The store cannot be asked, or has no newer one; what was accepted is an answer.
            (Some((true, _, row)), _) => Some(Ok((Some(row), Source::Buffer))),
            (_, Err(error)) => Some(Err(error)),
            (_, Ok(_)) if flight.is_overtaken() => None,
            (_, Ok(loaded)) => Some(Ok((loaded.map(|(row, _)| row), Source::Store))),
        }
    }

    /// The store held `row` in this version when it was committed. Another process may have
    /// committed a newer one since, which a reader here may have been shown.
    pub(crate) fn settled(&self, key: &Key, version: Option<i64>, row: Bytes, now_ms: EpochMs) {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        let shown = slot.shown();
        self.overtake(slot, version);
        match shown {
            Some((row, shown)) if shown > version => {
                shard.remember(key, row, shown, &self.bounds);
            }
            _ => {
                if let Some(pending) = &mut slot.pending {
                    pending.newest |= pending.before == Before::Nothing;
                }
                shard.keep(key, Some((row, version)), now_ms, &self.bounds);
            }
        }
        shard.tidy(key);
    }

    /// The store holds something that stands before a row of this version, or the row was buried:
    /// what it holds has to be read.
    pub(crate) fn passed(&self, key: &Key, version: Option<i64>) {
        let mut shard = self.shard(key);
        let slot = shard.slot(key);
        self.overtake(slot, version);
        slot.expire(version);
        shard.tidy(key);
    }

    /// Whether there is anything for [`Known::some_left`], now or later.
    pub(crate) fn has_accepted(&self) -> bool {
        let has = |shard: &Mutex<Shard>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).has_accepted()
        };
        self.shards.iter().any(has)
    }

    /// All that was accepted before `before_ms` has left the buffer: what became of it is in the
    /// store, or among the dead letters. Does a part of one shard at a time, and tells whether there
    /// is more of it, so that no reader waits for long.
    pub(crate) fn some_left(&self, shard: usize, before_ms: EpochMs) -> bool {
        let shard = &self.shards[shard];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..SWEPT_AT_ONCE {
            let Some(key) = shard.next_accepted_before(before_ms) else { return false };
            let slot = shard.slot(&key);
            match &slot.pending {
                Some(pending) if pending.accepted_by_ms >= before_ms => {
                    let accepted_by_ms = pending.accepted_by_ms;
                    shard.queue_accepted(&key, accepted_by_ms);
                }
                Some(pending) => {
                    let shown = pending.newest_shown();
                    let accepted = pending.version;
                    self.overtake(slot, accepted);
                    slot.expire(shown.as_ref().map_or(accepted, |(_, version)| *version));
                    if let Some((row, version)) = shown {
                        shard.remember(&key, row, version, &self.bounds);
                    }
                }
                None => {}
            }
            shard.tidy(&key);
        }
        true
    }

    /// A write of this version is done with.
    fn overtake(&self, slot: &mut shard::Slot, version: Option<i64>) {
        if let Some(flight) = slot.flight.take() {
            flight.overtake();
        }
        if let Some(pending) = &slot.pending
            && !pending.is_newer_than(version)
        {
            self.removed(pending);
            slot.pending = None;
        }
    }

    /// The store holds nothing that stands before it, whatever was shown.
    fn is_newest(&self, pending: &mut Pending) {
        pending.newest = true;
        self.bytes.fetch_sub(pending.before.bytes(), Ordering::Relaxed);
        pending.before = Before::Nothing;
    }

    fn added(&self, pending: &Pending) {
        self.rows.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(pending.bytes(), Ordering::Relaxed);
    }

    fn removed(&self, pending: &Pending) {
        self.rows.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(pending.bytes(), Ordering::Relaxed);
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash % SHARDS as u64).expect("it is below the number of shards");
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
