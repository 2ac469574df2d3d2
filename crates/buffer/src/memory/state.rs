//! What a memory buffer holds, and every step it can take. No waiting, no clock: time is passed in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::Event;
use model::clock::EpochMs;

use super::Options;
use crate::{DeadLetter, Depth, Envelope, Error, Receipt};

/// When a refused producer should try again. Room comes as soon as the engine acks a batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where a held event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In `fresh`, in `again`, or in `due` because it was released with a delay.
    Ready,
    /// Leased until this uptime; in `due` until then, in `again` afterwards.
    Leased(i64),
}

struct Held {
    event: Event,
    accepted_at_ms: EpochMs,
    /// How often it has been leased: the epoch of its latest receipt, and its attempt.
    leases: u32,
    place: Place,
    /// When, in uptime, it is ready again: its key in `due`, if it is there.
    due_ms: i64,
}

pub(super) struct State {
    options: Options,
    next_seq: u64,
    next_dead_seq: u64,
    held: BTreeMap<u64, Held>,
    bytes: usize,
    /// Never leased yet, in order.
    fresh: VecDeque<u64>,
    /// Leased before, and ready now.
    again: BTreeSet<u64>,
    /// Leased or delayed: at which uptime they are ready again.
    due: BTreeSet<(i64, u64)>,
    pub(super) dead: BTreeMap<u64, DeadLetter>,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            next_seq: 1,
            next_dead_seq: 1,
            held: BTreeMap::new(),
            bytes: 0,
            fresh: VecDeque::new(),
            again: BTreeSet::new(),
            due: BTreeSet::new(),
            dead: BTreeMap::new(),
            closed: false,
        }
    }

    pub(super) fn offer(&mut self, events: &[Event], now_ms: EpochMs) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let bytes = events.iter().map(|event| event.as_bytes().len()).sum();
        let Options { events_max, bytes_max, .. } = self.options;
        fits("events_max", "events", self.held.len(), events.len(), events_max)?;
        fits("bytes_max", "bytes", self.bytes, bytes, bytes_max)?;
        self.bytes += bytes;
        for event in events {
            let seq = self.next_seq;
            self.next_seq += 1;
            let held = Held {
                event: event.clone(),
                accepted_at_ms: now_ms,
                leases: 0,
                place: Place::Ready,
                due_ms: 0,
            };
            self.held.insert(seq, held);
            self.fresh.push_back(seq);
        }
        Ok(())
    }

    pub(super) fn lease(&mut self, max: usize, now_ms: i64) -> Vec<Envelope> {
        if self.closed {
            return Vec::new();
        }
        self.collect_due(now_ms);
        let deadline_ms = now_ms.saturating_add(self.options.lease_ms);
        let mut leased = Vec::new();
        while leased.len() < max {
            let Some(seq) = self.again.pop_first().or_else(|| self.fresh.pop_front()) else {
                break;
            };
            let held = self.held.get_mut(&seq).expect("an event that is ready is held");
            held.leases += 1;
            held.place = Place::Leased(deadline_ms);
            held.due_ms = deadline_ms;
            self.due.insert((deadline_ms, seq));
            leased.push(Envelope {
                receipt: Receipt { seq, epoch: held.leases },
                accepted_at_ms: held.accepted_at_ms,
                attempt: held.leases,
                term: 0,
                shard: None,
                event: held.event.clone(),
            });
        }
        leased
    }

    /// When the next leased or delayed event will be ready.
    pub(super) fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    pub(super) fn ack(&mut self, receipts: &[Receipt]) -> usize {
        receipts.iter().filter(|receipt| self.take(**receipt).is_some()).count()
    }

    pub(super) fn release(&mut self, receipts: &[Receipt], due_ms: i64) -> usize {
        self.move_to(receipts, Place::Ready, due_ms)
    }

    pub(super) fn extend(&mut self, receipts: &[Receipt], deadline_ms: i64) -> usize {
        self.move_to(receipts, Place::Leased(deadline_ms), deadline_ms)
    }

    pub(super) fn bury(
        &mut self,
        burials: &[(Receipt, String)],
        now_ms: EpochMs,
    ) -> Result<usize, Error> {
        let valid: BTreeSet<u64> = burials
            .iter()
            .filter(|(receipt, _)| self.is_valid(*receipt))
            .map(|(receipt, _)| receipt.seq)
            .collect();
        let dead_max = self.options.dead_max;
        if self.dead.len() + valid.len() > dead_max {
            return Err(full("dead_max", dead_max, "dead letters"));
        }
        for (receipt, reason) in burials {
            let Some(held) = self.take(*receipt) else { continue };
            let seq = self.next_dead_seq;
            self.next_dead_seq += 1;
            let letter = DeadLetter {
                seq,
                reason: reason.clone(),
                buried_at_ms: now_ms,
                accepted_at_ms: held.accepted_at_ms,
                attempts: held.leases,
                event: held.event,
            };
            self.dead.insert(seq, letter);
        }
        Ok(valid.len())
    }

    pub(super) fn depth(&self, now_ms: i64) -> Depth {
        let is_leased =
            |held: &&Held| matches!(held.place, Place::Leased(until_ms) if until_ms > now_ms);
        let leased = self.held.values().filter(is_leased).count();
        Depth {
            ready: (self.held.len() - leased) as u64,
            leased: leased as u64,
            dead: self.dead.len() as u64,
            oldest_accepted_ms: self.held.values().next().map(|held| held.accepted_at_ms),
        }
    }

    fn collect_due(&mut self, now_ms: i64) {
        while let Some((due_ms, seq)) = self.due.first().copied() {
            if due_ms > now_ms {
                break;
            }
            self.due.pop_first();
            self.again.insert(seq);
        }
    }

    fn is_valid(&self, receipt: Receipt) -> bool {
        self.held.get(&receipt.seq).is_some_and(|held| {
            held.leases == receipt.epoch && matches!(held.place, Place::Leased(_))
        })
    }

    /// Takes a leased event out for good.
    fn take(&mut self, receipt: Receipt) -> Option<Held> {
        if !self.is_valid(receipt) {
            return None;
        }
        let held = self.held.remove(&receipt.seq).expect("a valid receipt names a held event");
        self.bytes -= held.event.as_bytes().len();
        self.again.remove(&receipt.seq);
        self.due.remove(&(held.due_ms, receipt.seq));
        Some(held)
    }

    fn move_to(&mut self, receipts: &[Receipt], place: Place, due_ms: i64) -> usize {
        let mut moved = 0;
        for receipt in receipts {
            if !self.is_valid(*receipt) {
                continue;
            }
            let held = self.held.get_mut(&receipt.seq).expect("a valid receipt names a held event");
            self.again.remove(&receipt.seq);
            self.due.remove(&(held.due_ms, receipt.seq));
            held.place = place;
            held.due_ms = due_ms;
            self.due.insert((due_ms, receipt.seq));
            moved += 1;
        }
        moved
    }
}

/// Whether `more` fit beside what there is, under a bound named as in the options.
fn fits(name: &str, unit: &str, there: usize, more: usize, max: usize) -> Result<(), Error> {
    if more > max {
        return Err(Error::TooMany { got: more, max });
    }
    if there + more > max {
        return Err(full(name, max, unit));
    }
    Ok(())
}

fn full(name: &str, max: usize, unit: &str) -> Error {
    Error::Full { bound: format!("{name} = {max} {unit}"), retry_after: RETRY_AFTER }
}
