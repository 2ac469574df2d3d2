//! Which events are leased, waiting or done: a state machine over a window of numbers, without I/O.
//! Deadlines (`due_ms`) are in the process's uptime, so that setting the wall clock moves none.
//!
//! ```text
//!            lease              ack, bury
//!   fresh ──────────► Leased ─────────────► Done
//!                     ▲ │  │ deadline         ▲
//!               lease │ │  └─────► Expired ───┘ ack, bury
//!                     │ │ release     │
//!                     │ ▼             │
//!                   Waiting ◄─────────┘ release
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use buffer::Receipt;
use journal::checkpoint::{Checkpoint, RANGES_MAX};

/// Where an event's record lies, for reading it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) accepted_at_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Leased,
    /// Its lease ran out and nobody has leased it since: ready, and its receipt still holds.
    Expired,
    /// Released: ready when due.
    Waiting,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    accepted_at_ms: i64,
    /// Deadline of the lease, or when a released event is ready.
    due_ms: i64,
    offset: u32,
    bytes: u32,
    /// Which lease this is; also how many there were.
    epoch: u32,
    state: State,
}

/// The window: `base` is the lowest number not done.
#[derive(Debug)]
pub(crate) struct Window {
    base: u64,
    slots: VecDeque<Slot>,
    /// Numbers that are Expired, or Waiting and due.
    ready: BTreeSet<u64>,
    /// When to look at which numbers. An entry may be out of date; the slot says what is true.
    deadlines: BinaryHeap<Reverse<(i64, u64, u64)>>,
    leased: u64,
    /// Not done, and inside the window.
    undone: u64,
}

impl Window {
    pub(crate) fn new(base: u64) -> Self {
        Self {
            base,
            slots: VecDeque::new(),
            ready: BTreeSet::new(),
            deadlines: BinaryHeap::new(),
            leased: 0,
            undone: 0,
        }
    }

    /// Numbers in the window, done ones among them.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One past the last number in the window.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    pub(crate) fn leased(&self) -> u64 {
        self.leased
    }

    pub(crate) fn undone(&self) -> u64 {
        self.undone
    }

    /// When the oldest event in the window was accepted.
    pub(crate) fn oldest_accepted_ms(&self) -> Option<i64> {
        self.slots.front().map(|slot| slot.accepted_at_ms)
    }

    /// When the next lease runs out or the next released event is due.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.deadlines.peek().map(|Reverse((due_ms, ..))| *due_ms)
    }

    /// Numbers up to `seq` hold no event, or one that is done already.
    pub(crate) fn pass_over(&mut self, seq: u64) {
        if self.slots.is_empty() {
            self.base = self.base.max(seq);
        }
        while self.base + (self.slots.len() as u64) < seq {
            let state = State::Done;
            self.slots.push_back(Slot {
                accepted_at_ms: 0,
                due_ms: 0,
                offset: 0,
                bytes: 0,
                epoch: 0,
                state,
            });
        }
        self.trim();
    }

    /// Takes a fresh event on lease. `place.seq` is the next number of the window.
    pub(crate) fn lease_fresh(&mut self, place: &Place, due_ms: i64) -> Receipt {
        debug_assert_eq!(
            place.seq,
            self.base + self.slots.len() as u64,
            "fresh ones come in order"
        );
        self.slots.push_back(Slot {
            accepted_at_ms: place.accepted_at_ms,
            due_ms,
            offset: place.offset,
            bytes: place.bytes,
            epoch: 1,
            state: State::Leased,
        });
        self.leased += 1;
        self.undone += 1;
        Receipt { seq: place.seq, epoch: 1 }
    }

    /// Leases up to `max` events that are ready again, lowest number first.
    pub(crate) fn lease_ready(&mut self, max: usize, due_ms: i64) -> Vec<(Receipt, Place)> {
        let mut leased = Vec::new();
        while leased.len() < max {
            let Some(seq) = self.ready.pop_first() else { break };
            let Some(slot) = self.slot(seq) else { continue };
            slot.state = State::Leased;
            slot.due_ms = due_ms;
            slot.epoch += 1;
            let receipt = Receipt { seq, epoch: slot.epoch };
            let (offset, bytes, accepted_at_ms) = (slot.offset, slot.bytes, slot.accepted_at_ms);
            leased.push((receipt, Place { seq, offset, bytes, accepted_at_ms }));
            self.leased += 1;
            self.deadlines.push(Reverse((due_ms, seq, seq)));
        }
        leased
    }

    /// Remembers to look at these numbers when their lease runs out. One entry for a whole lease.
    pub(crate) fn watch(&mut self, due_ms: i64, first: u64, last: u64) {
        self.deadlines.push(Reverse((due_ms, first, last)));
    }

    /// Moves what is due by `now_ms` to the ready ones.
    pub(crate) fn promote(&mut self, now_ms: i64) {
        while let Some(&Reverse((due_ms, first, last))) = self.deadlines.peek() {
            if due_ms > now_ms {
                break;
            }
            self.deadlines.pop();
            for seq in first.max(self.base)..=last {
                let Some(slot) = self.slot(seq) else { break };
                if slot.due_ms > now_ms {
                    continue;
                }
                match slot.state {
                    State::Leased => {
                        slot.state = State::Expired;
                        self.leased -= 1;
                        self.ready.insert(seq);
                    }
                    State::Waiting => {
                        self.ready.insert(seq);
                    }
                    State::Expired | State::Done => {}
                }
            }
        }
    }

    /// Marks these done; returns how many were held by these receipts.
    pub(crate) fn finish(&mut self, receipts: impl Iterator<Item = Receipt>) -> usize {
        let mut finished = 0;
        for receipt in receipts {
            let Some(slot) = self.held(receipt) else { continue };
            let expired = slot.state == State::Expired;
            slot.state = State::Done;
            if expired {
                self.ready.remove(&receipt.seq);
            } else {
                self.leased -= 1;
            }
            self.undone -= 1;
            finished += 1;
        }
        self.trim();
        finished
    }

    /// Gives these back, ready at `due_ms`; returns how many were held by these receipts.
    pub(crate) fn release(&mut self, receipts: &[Receipt], due_ms: i64) -> usize {
        let mut released = 0;
        for receipt in receipts {
            let Some(slot) = self.held(*receipt) else { continue };
            let expired = slot.state == State::Expired;
            slot.state = State::Waiting;
            slot.due_ms = due_ms;
            if expired {
                self.ready.remove(&receipt.seq);
            } else {
                self.leased -= 1;
            }
            self.deadlines.push(Reverse((due_ms, receipt.seq, receipt.seq)));
            released += 1;
        }
        released
    }

    /// Moves the deadline of these; returns how many were held by these receipts.
    pub(crate) fn extend(&mut self, receipts: &[Receipt], due_ms: i64) -> usize {
        let (mut extended, mut first, mut last) = (0, u64::MAX, 0);
        for receipt in receipts {
            let Some(slot) = self.held(*receipt) else { continue };
            let expired = slot.state == State::Expired;
            slot.state = State::Leased;
            slot.due_ms = due_ms;
            if expired {
                self.ready.remove(&receipt.seq);
                self.leased += 1;
            }
            first = first.min(receipt.seq);
            last = last.max(receipt.seq);
            extended += 1;
        }
        if extended > 0 {
            self.watch(due_ms, first, last);
        }
        extended
    }

    /// Where the events named by these receipts lie; `None` for receipts that no longer hold.
    pub(crate) fn places(&mut self, receipts: impl Iterator<Item = Receipt>) -> Vec<Option<Place>> {
        receipts
            .map(|receipt| {
                self.held(receipt).map(|slot| Place {
                    seq: receipt.seq,
                    offset: slot.offset,
                    bytes: slot.bytes,
                    accepted_at_ms: slot.accepted_at_ms,
                })
            })
            .collect()
    }

    /// What is done, for the checkpoint. Ranges beyond the bound are left out: they come again.
    pub(crate) fn checkpoint(&self, next_seq: u64) -> Checkpoint {
        let mut done: Vec<(u64, u64)> = Vec::new();
        for (seq, slot) in (self.base..).zip(&self.slots) {
            if slot.state != State::Done {
                continue;
            }
            let full = done.len() == RANGES_MAX;
            match done.last_mut() {
                Some((_, end)) if *end == seq => *end += 1,
                _ if full => break,
                _ => done.push((seq, seq + 1)),
            }
        }
        Checkpoint { floor: self.base, done, next_seq, closed: false }
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(index)
    }

    /// The slot, if the receipt still holds it.
    fn held(&mut self, receipt: Receipt) -> Option<&mut Slot> {
        self.slot(receipt.seq).filter(|slot| {
            slot.epoch == receipt.epoch && matches!(slot.state, State::Leased | State::Expired)
        })
    }

    fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(events: u64) -> (Window, Vec<Receipt>) {
        let mut window = Window::new(1);
        let place = |seq| Place { seq, offset: 24, bytes: 40, accepted_at_ms: 0 };
        let receipts = (1..=events).map(|seq| window.lease_fresh(&place(seq), 100)).collect();
        window.watch(100, 1, events);
        (window, receipts)
    }

    #[test]
    fn the_base_moves_only_when_the_oldest_is_done() {
        let (mut window, receipts) = window(4);
        window.finish([receipts[1], receipts[3]].into_iter());
        assert_eq!((window.base, window.checkpoint(5).done), (1, vec![(2, 3), (4, 5)]));
        window.finish([receipts[0]].into_iter());
        assert_eq!((window.base, window.len(), window.undone()), (3, 2, 1));
    }

    #[test]
    fn a_gap_in_the_numbers_costs_no_memory() {
        let mut window = Window::new(1);
        window.pass_over(60_000_000);
        assert_eq!((window.base, window.len()), (60_000_000, 0));
    }

    #[test]
    fn an_extension_outlives_the_first_deadline_entry() {
        let (mut window, receipts) = window(2);
        window.extend(&receipts[..1], 200);
        window.promote(150);
        assert_eq!(window.lease_ready(9, 300).iter().map(|(r, _)| r.seq).collect::<Vec<_>>(), [2]);
        window.promote(200);
        assert_eq!(window.lease_ready(9, 300).len(), 1);
    }

    #[test]
    fn a_slot_is_as_small_as_the_bound_on_memory_counts_on() {
        assert!(size_of::<Slot>() <= 32);
    }
}
