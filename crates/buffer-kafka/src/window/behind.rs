//! Events of a source that wait behind a delayed one of their key and partition.
//!
//! In a topic of ours the engine keeps a key's order by its term. A source has no such term: several
//! partitions, and so several processes, may hold events of one key.

use std::collections::{BTreeMap, BTreeSet};

use crate::place::Place;

#[derive(Debug, Default)]
pub(super) struct Behind {
    /// Released, and not ready yet: offsets by partition and key.
    delayed: BTreeMap<(i32, Vec<u8>), BTreeSet<i64>>,
    /// Found behind one of them when they were about to be leased.
    waiting: BTreeSet<Place>,
}

impl Behind {
    /// The event there was released, to be ready later.
    pub(super) fn delay(&mut self, place: Place, key: &[u8]) {
        if !key.is_empty() {
            let line = self.delayed.entry((place.partition, key.to_vec())).or_default();
            line.insert(place.offset);
        }
    }

    /// The event there is ready again. Returns what waited, to be looked at anew.
    pub(super) fn ready(&mut self, place: Place, key: &[u8]) -> BTreeSet<Place> {
        let of = (place.partition, key.to_vec());
        let Some(line) = self.delayed.get_mut(&of) else { return BTreeSet::new() };
        line.remove(&place.offset);
        if line.is_empty() {
            self.delayed.remove(&of);
        }
        std::mem::take(&mut self.waiting)
    }

    /// Whether the event there has to wait. If so, it is kept until [`Behind::ready`] returns it.
    pub(super) fn holds(&mut self, place: Place, key: &[u8]) -> bool {
        if self.delayed.is_empty() || key.is_empty() {
            return false;
        }
        let line = self.delayed.get(&(place.partition, key.to_vec()));
        let earlier = line.and_then(BTreeSet::first).is_some_and(|first| *first < place.offset);
        if earlier {
            self.waiting.insert(place);
        }
        earlier
    }

    /// The event there waits no longer: it is leased, released, buried or settled.
    pub(super) fn forget(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// Drops the partitions that are not `ours`.
    pub(super) fn retain(&mut self, ours: impl Fn(i32) -> bool) {
        self.delayed.retain(|(partition, _), _| ours(*partition));
        self.waiting.retain(|place| ours(place.partition));
    }
}
