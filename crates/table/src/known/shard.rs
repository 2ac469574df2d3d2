//! One part of what is known, under one lock.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use model::clock::EpochMs;

use super::pending::{Before, Bounds, ENTRY_BYTES, Key, Pending, SHARDS};
use crate::flight::{Flight, Loaded};

/// What is remembered of the keys that one part has evicted: so many versions, 8 bytes each.
const EVICTED_VERSIONS: usize = 1 << 10;

/// All that is known of one key.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) pending: Option<Pending>,
    pub(super) cached: Option<Cached>,
    pub(super) flight: Option<Arc<Flight>>,
    /// It was asked for since the hand last passed.
    pub(super) read: bool,
    /// Its key is in `hand`, and the slot stays until it is taken out of it.
    in_hand: bool,
    /// Its key is in `accepted`, and the slot stays until it is taken out of it.
    in_accepted: bool,
}

impl Slot {
    /// The newest row that was shown and is not pending, however long ago.
    pub(super) fn shown(&self) -> Option<(Bytes, Option<i64>)> {
        let cached = self.cached.as_ref().and_then(|cached| cached.row.clone());
        let before = self.pending.as_ref().and_then(|pending| match &pending.before {
            Before::Row(row, version) => Some((row.clone(), *version)),
            Before::Nothing | Before::Forgotten => None,
        });
        match (cached, before) {
            (Some(cached), Some(before)) => Some(if cached.1 < before.1 { before } else { cached }),
            (cached, before) => cached.or(before),
        }
    }

    /// Has the store asked before what is cached is an answer again, unless it is newer than
    /// `version`. What was shown stays known.
    pub(super) fn expire(&mut self, version: Option<i64>) {
        if let Some(cached) = &mut self.cached
            && cached.row.as_ref().is_none_or(|(_, cached)| *cached <= version)
        {
            cached.until_ms = EpochMs::MIN;
        }
    }
}

/// What the store held; after `until_ms`, what it held when it was last asked.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) row: Loaded,
    pub(super) until_ms: EpochMs,
}

impl Cached {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.row.as_ref().map_or(0, |(row, _)| row.len())
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: HashMap<Key, Slot>,
    /// Keys of what is cached, each once, in the order in which the hand passes them.
    hand: VecDeque<Key>,
    cached_bytes: usize,
    /// Keys of what is pending, each once, and when it was accepted, roughly in that order.
    accepted: VecDeque<(EpochMs, Key)>,
    /// The greatest version that was evicted of the keys of each hash. Empty until one is.
    evicted: Vec<i64>,
    hasher: RandomState,
}

impl Shard {
    /// The slot of `key`, made where there is none: see [`Shard::tidy`].
    pub(super) fn slot(&mut self, key: &Key) -> &mut Slot {
        self.slots.entry(Arc::clone(key)).or_default()
    }

    /// Removes the slot of `key` if nothing is in it.
    pub(super) fn tidy(&mut self, key: &Key) {
        let empty = |slot: &Slot| {
            let holds = slot.pending.is_some() || slot.cached.is_some() || slot.flight.is_some();
            !holds && !slot.in_hand && !slot.in_accepted
        };
        if self.slots.get(key).is_some_and(empty) {
            self.slots.remove(key);
        }
    }

    /// Caches what the store held, and makes room for it.
    pub(super) fn keep(&mut self, key: &Key, row: Loaded, now_ms: EpochMs, bounds: &Bounds) {
        let ttl_ms = if row.is_some() { bounds.cache_ttl_ms } else { bounds.negative_ttl_ms };
        self.put(key, Cached { row, until_ms: now_ms.saturating_add(ttl_ms.max(0)) }, bounds);
    }

    /// Remembers a row that was shown and that the store may hold, unless a newer one is cached.
    pub(super) fn remember(
        &mut self,
        key: &Key,
        row: Bytes,
        version: Option<i64>,
        bounds: &Bounds,
    ) {
        let cached = self.slot(key).cached.as_ref().and_then(|cached| cached.row.as_ref());
        if cached.is_none_or(|(_, cached)| *cached < version) {
            self.put(key, Cached { row: Some((row, version)), until_ms: EpochMs::MIN }, bounds);
        }
    }

    /// Whether a row that stands before one of this version may have been shown and evicted since.
    pub(super) fn may_have_shown(&self, key: &Key, version: Option<i64>) -> bool {
        let evicted = self.evicted.get(self.at(key));
        evicted.is_some_and(|evicted| version.is_some_and(|version| version < *evicted))
    }

    fn put(&mut self, key: &Key, cached: Cached, bounds: &Bounds) {
        self.drop_cached(key);
        if bounds.cache_entries_max == 0 {
            return self.evict(key, &cached);
        }
        self.cached_bytes += cached.bytes();
        let slot = self.slot(key);
        slot.cached = Some(cached);
        if !std::mem::replace(&mut slot.in_hand, true) {
            self.hand.push_back(Arc::clone(key));
        }
        let entries_max = bounds.cache_entries_max.div_ceil(SHARDS);
        let bytes_max = bounds.cache_bytes_max.div_ceil(SHARDS);
        while self.hand.len() > entries_max
            || (self.cached_bytes > bytes_max && !self.hand.is_empty())
        {
            self.pass();
        }
    }

    fn drop_cached(&mut self, key: &Key) -> Option<Cached> {
        let cached = self.slots.get_mut(key).and_then(|slot| slot.cached.take())?;
        self.cached_bytes -= cached.bytes();
        Some(cached)
    }

    /// All that stays known of a row is that its version was shown.
    fn evict(&mut self, key: &Key, cached: &Cached) {
        let Some((_, Some(version))) = cached.row else { return };
        self.evicted.resize(EVICTED_VERSIONS, i64::MIN);
        let at = self.at(key);
        self.evicted[at] = self.evicted[at].max(version);
    }

    fn at(&self, key: &Key) -> usize {
        let hash = self.hasher.hash_one(key) % EVICTED_VERSIONS as u64;
        usize::try_from(hash).expect("it is below the number of versions")
    }

    /// Moves the hand by one key.
    fn pass(&mut self) {
        let Some(key) = self.hand.pop_front() else { return };
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if slot.cached.is_some() && std::mem::take(&mut slot.read) {
            self.hand.push_back(key);
            return;
        }
        slot.in_hand = false;
        if let Some(cached) = self.drop_cached(&key) {
            self.evict(&key, &cached);
        }
        self.tidy(&key);
    }

    /// Remembers when the pending row of `key` was accepted, if it is not remembered already.
    pub(super) fn queue_accepted(&mut self, key: &Key, accepted_by_ms: EpochMs) {
        let slot = self.slot(key);
        if !std::mem::replace(&mut slot.in_accepted, true) {
            self.accepted.push_back((accepted_by_ms, Arc::clone(key)));
        }
    }

    /// Whether some key is remembered so.
    pub(super) fn has_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Takes the next key whose row was accepted before `before_ms`, or is no longer pending. Its
    /// slot is there until [`Shard::tidy`].
    pub(super) fn next_accepted_before(&mut self, before_ms: EpochMs) -> Option<Key> {
        let (accepted_by_ms, key) = self.accepted.front()?;
        let slot = self.slots.get(key);
        let gone = slot.is_none_or(|slot| slot.pending.is_none());
        if !gone && *accepted_by_ms >= before_ms {
            return None;
        }
        let (_, key) = self.accepted.pop_front()?;
        self.slot(&key).in_accepted = false;
        Some(key)
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize, usize) {
        (self.slots.len(), self.hand.len(), self.cached_bytes, self.accepted.len())
    }
}
