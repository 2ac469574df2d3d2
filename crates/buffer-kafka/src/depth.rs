//! How much is held: what this process has of its own partitions, and of the others what lies between
//! the group's commits and the end. What others have leased counts as ready.
//!
//! Offsets are not counts: control records, aborted records and gaps of compaction have offsets, too.
//! So `ready` is an upper bound for offsets that no process has read. It is exact once the partition's
//! owner has read to the end, at most [`COMMIT_EVERY`](crate::consumer) plus one commit later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use buffer::{Depth, Error};
use model::clock::EpochMs;

use crate::client::blocking;
use crate::options::Start;
use crate::progress;
use crate::reader::{self, Range};
use crate::record;
use crate::shared::Shared;
use crate::window::Counts;

/// What is not held here, by partition: where it begins, and what of it is done.
#[derive(Debug, Clone)]
pub(crate) struct Unread {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) done: std::collections::BTreeSet<i64>,
}

impl Unread {
    pub(crate) fn count(&self) -> u64 {
        let all = self.to.saturating_sub(self.from).max(0).unsigned_abs();
        all.saturating_sub(self.done.range(self.from..self.to.max(self.from)).count() as u64)
    }

    /// The first offset that is not done, if there is one.
    pub(crate) fn first(&self) -> Option<i64> {
        let mut first = self.from;
        for done in self.done.range(self.from..) {
            if *done > first {
                break;
            }
            first = done + 1;
        }
        Some(first).filter(|first| *first < self.to)
    }
}

impl Shared {
    pub(crate) async fn depth(self: &Arc<Self>) -> Result<Depth, Error> {
        let unread = self.unread().await?;
        let (counts, oldest_held) = {
            let window = self.window();
            (window.counts(Instant::now()), window.oldest())
        };
        let Counts { ready, leased } = added(counts, &unread);
        let held: BTreeMap<i32, Option<EpochMs>> = oldest_held.into_iter().collect();
        // Of a partition of which something is held here, that is its oldest.
        let asked: BTreeMap<i32, i64> = unread
            .iter()
            .filter(|(partition, _)| held.get(partition).is_none_or(Option::is_none))
            .filter_map(|(partition, unread)| Some((*partition, unread.first()?)))
            .collect();
        let shared = Arc::clone(self);
        let read = blocking(move || shared.accepted_at(&asked)).await?;
        let dead = self.dead_count().await?;
        let oldest = held.into_values().flatten().chain(read).min();
        Ok(Depth { ready, leased, dead, oldest_accepted_ms: oldest })
    }

    /// How much is held, without the dead letters and without reading any event.
    pub(crate) async fn backlog(&self) -> Result<Counts, Error> {
        let unread = self.unread().await?;
        Ok(added(self.window().counts(Instant::now()), &unread))
    }

    /// What is not held here, of every partition.
    pub(crate) async fn unread(&self) -> Result<BTreeMap<i32, Unread>, Error> {
        let (reader, topic, partitions) =
            (Arc::clone(&self.reader), self.options.topic.clone(), self.partitions());
        let (ranges, committed) = blocking(move || {
            // Commits first: should more be committed meanwhile, it is counted, not left out.
            let committed = reader.committed(partitions)?;
            Ok((reader.ranges(&topic, partitions)?, committed))
        })
        .await?;
        let start = reader::start(&self.options, &committed);
        let ours: BTreeMap<i32, i64> = self.window().positions().into_iter().collect();
        let mut unread = BTreeMap::new();
        for ((partition, Range { low, high }), committed) in (0..).zip(ranges).zip(committed) {
            let (from, metadata) = match committed {
                Some(committed) => (committed.offset.max(low), committed.metadata),
                None if start == Start::Latest => (high, String::new()),
                None => (low, String::new()),
            };
            let done = progress::done(from, &metadata);
            let from = ours.get(&partition).map_or(from, |next| *next);
            unread.insert(partition, Unread { from, to: high, done });
        }
        Ok(unread)
    }

    /// When the records at these offsets were accepted, or those that follow them.
    fn accepted_at(&self, at: &BTreeMap<i32, i64>) -> Result<Vec<EpochMs>, Error> {
        if at.is_empty() {
            return Ok(Vec::new());
        }
        let mut told: BTreeMap<i32, Option<EpochMs>> = BTreeMap::new();
        self.reader.scan(&self.options.topic, at, |found| {
            let (partition, accepted) = match found {
                Ok(record) => {
                    let told = record::read(record, &self.options.fields)?;
                    (told.place.partition, Some(told.accepted_at_ms))
                }
                Err(end) => (end, None),
            };
            told.entry(partition).or_insert(accepted);
            Ok(told.len() < at.len())
        })?;
        Ok(told.into_values().flatten().collect())
    }
}

fn added(held: Counts, unread: &BTreeMap<i32, Unread>) -> Counts {
    let waiting: u64 = unread.values().map(Unread::count).sum();
    Counts { ready: held.ready + waiting, leased: held.leased }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_already_does_not_wait() {
        let unread =
            |from, to, done: &[i64]| Unread { from, to, done: done.iter().copied().collect() };
        assert_eq!(unread(5, 15, &[8, 9, 14, 20]).count(), 7);
        assert_eq!(unread(5, 5, &[5]).count(), 0);
        assert_eq!(unread(7, 5, &[]).count(), 0);
        assert_eq!(unread(5, 15, &[5, 6, 8]).first(), Some(7));
        assert_eq!(unread(5, 7, &[5, 6]).first(), None);
    }
}
