//! What this process holds of the partitions that are its own: every record from the watermark on,
//! and every step it can take. No waiting, no clock, no Kafka: times are passed in.

mod behind;
mod partition;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use buffer::{Envelope, Receipt};
use model::clock::EpochMs;

use behind::Behind;
pub(crate) use partition::Progress;
use partition::{Hold, Partition};

use crate::Mode;
use crate::place::Place;
use crate::record::Told;

/// What a burial is written from.
#[derive(Debug, Clone)]
pub(crate) struct Burial {
    pub(crate) receipt: Receipt,
    pub(crate) told: Told,
    pub(crate) attempts: u32,
    /// When its lease ends, for when it can't be buried.
    deadline: Instant,
}

/// How much of the partitions here is where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) ready: u64,
    pub(crate) leased: u64,
}

/// The partitions that are ours, and what is held of them.
#[derive(Debug, Default)]
pub(crate) struct Window {
    partitions: BTreeMap<i32, Partition>,
    mode: Mode,
    /// Never leased yet, in the order they came.
    fresh: VecDeque<Place>,
    /// Read in another partition than their keys belong to.
    misplaced: VecDeque<Place>,
    /// Leased before, and ready now.
    again: BTreeSet<Place>,
    /// Of a source: what waits behind a delayed event of its key.
    behind: Behind,
    /// Leased or delayed: by when they are ready again.
    due: BTreeSet<(Instant, Place)>,
    /// One for each call that leases, so that no receipt of an earlier ownership is valid by chance.
    epoch: u32,
    /// One for each time that a partition becomes ours. Of a source, one for each call that leases, too:
    /// other processes may settle events of the same keys.
    term: u64,
    /// Payload bytes of all that is held.
    bytes: usize,
    /// Offsets that were passed and are no record.
    empty: u64,
}

impl Window {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// A partition is ours from here on; `done` are those from `next` on that were acked before.
    pub(crate) fn assign(&mut self, partition: i32, next: i64, done: BTreeSet<i64>) {
        self.lose(&[partition]);
        self.term += 1;
        self.partitions.insert(partition, Partition::new(self.term, next, done));
    }

    /// These go to others soon: nothing more of them is leased.
    pub(crate) fn begin_revoke(&mut self, partitions: &[i32]) {
        for number in partitions {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.revoking = true;
            }
        }
    }

    /// Nothing of these is ours any more. Their receipts are worth nothing from here on.
    pub(crate) fn lose(&mut self, partitions: &[i32]) {
        let mut any = false;
        for number in partitions {
            if let Some(partition) = self.partitions.remove(number) {
                self.bytes -= partition.bytes();
                any = true;
            }
        }
        if any {
            let ours = &self.partitions;
            self.fresh.retain(|place| ours.contains_key(&place.partition));
            self.misplaced.retain(|place| ours.contains_key(&place.partition));
            self.again.retain(|place| ours.contains_key(&place.partition));
            self.due.retain(|(_, place)| ours.contains_key(&place.partition));
            self.behind.retain(|partition| ours.contains_key(&partition));
        }
    }

    pub(crate) fn lose_all(&mut self) {
        let all: Vec<i32> = self.partitions.keys().copied().collect();
        self.lose(&all);
    }

    /// The partitions that are ours, each with the offset that is read next.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        self.partitions.iter().map(|(number, partition)| (*number, partition.next)).collect()
    }

    /// A record was read. Passed over if its partition is not ours, or it is done or held already.
    pub(crate) fn ingest(&mut self, told: Told, misplaced: bool) {
        let (place, bytes) = (told.place, told.event.as_bytes().len());
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        self.empty += partition.empty_below(place.offset);
        if partition.ingest(told) {
            self.bytes += bytes;
            let queue = if misplaced { &mut self.misplaced } else { &mut self.fresh };
            queue.push_back(place);
        }
    }

    /// The consumer's position in a partition: all records below it were handed to
    /// [`Window::ingest`]. Other offsets below it hold no record and count as done.
    pub(crate) fn pass_to(&mut self, partition: i32, next: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            self.empty += partition.empty_below(next);
            partition.pass_to(next);
        }
    }

    /// Reads a partition from another offset on, as when what lay in between is gone.
    pub(crate) fn skip_to(&mut self, partition: i32, next: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.next = next;
        }
    }

    /// How many offsets were passed that are no record, of all partitions that are or were ours.
    pub(crate) fn empty(&self) -> u64 {
        self.empty
    }

    /// How many payload bytes are held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records of each partition are held or waited for above the watermark.
    pub(crate) fn spans(&self) -> Vec<(i32, usize)> {
        self.partitions.iter().map(|(number, partition)| (*number, partition.span())).collect()
    }

    pub(crate) fn lease(&mut self, max: usize, now: Instant, until: Instant) -> Vec<Envelope> {
        self.collect_due(now);
        self.epoch = self.epoch.wrapping_add(1);
        let owned = self.mode == Mode::Own;
        if !owned {
            self.term += 1;
        }
        let mut leased = Vec::new();
        while leased.len() < max {
            let Some(place) = self.again.pop_first().or_else(|| self.fresh.pop_front()) else {
                break;
            };
            let Some(partition) = self.partitions.get_mut(&place.partition) else { continue };
            // What is about to be another's is left to it.
            if partition.revoking {
                continue;
            }
            let term = if owned { partition.term } else { self.term };
            let Some(held) = partition.get_mut(place.offset) else { continue };
            if self.behind.holds(place, held.told.event.key()) {
                continue;
            }
            held.leases = held.leases.saturating_add(1);
            held.epoch = self.epoch;
            held.hold = Hold::Leased(until);
            self.due.insert((until, place));
            leased.push(Envelope {
                receipt: Receipt { seq: place.seq(), epoch: self.epoch },
                accepted_at_ms: held.told.accepted_at_ms,
                attempt: held.leases,
                term,
                shard: u32::try_from(place.partition).ok().filter(|_| owned),
                event: held.told.event.clone(),
            });
        }
        leased
    }

    /// When the next leased or delayed event will be ready.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn ack(&mut self, receipts: &[Receipt]) -> usize {
        receipts.iter().filter(|receipt| self.take(**receipt)).count()
    }

    pub(crate) fn release(&mut self, receipts: &[Receipt], at: Instant) -> usize {
        receipts.iter().filter(|receipt| self.move_to(**receipt, Hold::Ready(at), at)).count()
    }

    pub(crate) fn extend(&mut self, receipts: &[Receipt], until: Instant) -> usize {
        let held = Hold::Leased(until);
        receipts.iter().filter(|receipt| self.move_to(**receipt, held, until)).count()
    }

    /// Keeps these from expiring while their burials are being written. Stale ones and doubles are
    /// left out.
    pub(crate) fn begin_bury(&mut self, receipts: impl Iterator<Item = Receipt>) -> Vec<Burial> {
        let mut burials = Vec::new();
        for receipt in receipts {
            let place = Place::of(receipt.seq);
            let Some(held) = self.valid(receipt) else { continue };
            let Hold::Leased(deadline) = held.hold else { continue };
            held.hold = Hold::Kept;
            burials.push(Burial {
                receipt,
                told: held.told.clone(),
                attempts: held.leases,
                deadline,
            });
            self.due.remove(&(deadline, place));
            self.unqueue(place);
        }
        burials
    }

    /// Their burials are durable, or could not be written. Returns how many are done; those whose
    /// partition was lost meanwhile are not.
    pub(crate) fn end_bury(&mut self, burials: &[Burial], durable: bool) -> usize {
        let mut done = 0;
        for Burial { receipt, deadline, .. } in burials {
            let place = Place::of(receipt.seq);
            let Some(partition) = self.partitions.get_mut(&place.partition) else { continue };
            let Some(held) = partition.get_mut(place.offset) else { continue };
            if held.epoch != receipt.epoch || !matches!(held.hold, Hold::Kept) {
                continue;
            }
            if durable {
                self.bytes -= partition.finish(place.offset);
                done += 1;
            } else {
                held.hold = Hold::Leased(*deadline);
                self.due.insert((*deadline, place));
            }
        }
        done
    }

    /// Takes up to `max` that belong to other partitions, to be written there.
    pub(crate) fn begin_reroute(&mut self, max: usize) -> Vec<Told> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(place) = self.misplaced.pop_front() else { break };
            let Some(partition) = self.partitions.get_mut(&place.partition) else { continue };
            if partition.revoking {
                continue;
            }
            let Some(held) = partition.get_mut(place.offset) else { continue };
            held.hold = Hold::Kept;
            taken.push(held.told.clone());
        }
        taken
    }

    /// They lie where they belong, and are done here; or they could not be written, and are tried
    /// again.
    pub(crate) fn end_reroute(&mut self, told: &[Told], durable: bool) {
        for Told { place, .. } in told.iter().rev() {
            let Some(partition) = self.partitions.get_mut(&place.partition) else { continue };
            let Some(held) = partition.get_mut(place.offset) else { continue };
            if !matches!(held.hold, Hold::Kept) {
                continue;
            }
            if durable {
                self.bytes -= partition.finish(place.offset);
            } else {
                held.hold = Hold::Fresh;
                self.misplaced.push_front(*place);
            }
        }
    }

    /// How many of these partitions' events are with somebody who may still ack them.
    pub(crate) fn held_by_leases(&self, partitions: &[i32], now: Instant) -> usize {
        let of = |number: &i32| self.partitions.get(number).map_or(0, |p| p.leased(now));
        partitions.iter().map(of).sum()
    }

    pub(crate) fn leased(&self, now: Instant) -> usize {
        self.partitions.values().map(|partition| partition.leased(now)).sum()
    }

    /// What is held, and when the first of it was accepted. What has not been read is not among it.
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let held: usize = self.partitions.values().map(Partition::held).sum();
        let leased = self.leased(now);
        Counts { ready: (held - leased) as u64, leased: leased as u64 }
    }

    /// When the first held event of each partition was accepted; `None` for one of which nothing is
    /// held.
    pub(crate) fn oldest(&self) -> Vec<(i32, Option<EpochMs>)> {
        self.partitions.iter().map(|(number, partition)| (*number, partition.oldest())).collect()
    }

    /// What there is to commit: of all partitions, or of these; with `all`, also what has not changed.
    pub(crate) fn progress(&mut self, of: Option<&[i32]>, all: bool) -> Vec<Progress> {
        self.partitions
            .iter_mut()
            .filter(|(number, _)| of.is_none_or(|of| of.contains(number)))
            .filter_map(|(number, partition)| partition.progress(*number, all))
            .collect()
    }

    /// A commit of these failed: they are to be committed again.
    pub(crate) fn uncommitted(&mut self, partitions: &[i32]) {
        for number in partitions {
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.dirty = true;
            }
        }
    }

    fn collect_due(&mut self, now: Instant) {
        while let Some((due, place)) = self.due.first().copied() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.again.insert(place);
            let held = self.partitions.get_mut(&place.partition);
            if let Some(held) = held.and_then(|partition| partition.get_mut(place.offset)) {
                self.again.append(&mut self.behind.ready(place, held.told.event.key()));
            }
        }
    }

    fn valid(&mut self, receipt: Receipt) -> Option<&mut partition::Held> {
        let place = Place::of(receipt.seq);
        let held = self.partitions.get_mut(&place.partition)?.get_mut(place.offset)?;
        (held.epoch == receipt.epoch && matches!(held.hold, Hold::Leased(_))).then_some(held)
    }

    fn take(&mut self, receipt: Receipt) -> bool {
        let Some(held) = self.valid(receipt) else { return false };
        let hold = held.hold;
        let place = Place::of(receipt.seq);
        if let Hold::Leased(deadline) = hold {
            self.due.remove(&(deadline, place));
        }
        self.unqueue(place);
        let partition = self.partitions.get_mut(&place.partition);
        self.bytes -= partition.expect("a valid receipt names a held event").finish(place.offset);
        true
    }

    fn move_to(&mut self, receipt: Receipt, hold: Hold, due: Instant) -> bool {
        let place = Place::of(receipt.seq);
        let Some(held) = self.valid(receipt) else { return false };
        let before = held.hold;
        held.hold = hold;
        let event = held.told.event.clone();
        if let Hold::Leased(deadline) = before {
            self.due.remove(&(deadline, place));
        }
        self.unqueue(place);
        if self.mode == Mode::Source && matches!(hold, Hold::Ready(_)) {
            self.behind.delay(place, event.key());
        }
        self.due.insert((due, place));
        true
    }

    /// The event there is not leased next: the holder of its expired lease has used its receipt.
    fn unqueue(&mut self, place: Place) {
        self.again.remove(&place);
        self.behind.forget(place);
    }
}

#[cfg(test)]
mod tests;
