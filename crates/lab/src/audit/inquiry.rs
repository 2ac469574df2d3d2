//! The comparison.

use std::collections::HashMap;

use model::Event;
use model::clock::EpochMs;

use super::Finding;
use super::ledger::{self, Content, Id, Ledger, Standing};

/// A settled payment, as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// The producer's identity.
    pub tx_id: &'a str,
    /// In KRW.
    pub amount: i64,
    /// Who is paid.
    pub merchant: &'a str,
    /// Event time.
    pub created_at_ms: EpochMs,
    /// The card's fingerprint; looked at only if the ledger checks cards.
    pub card: [u8; 16],
}

/// Where an event was found.
const SETTLED: u8 = 1;
const PENDING: u8 = 2;
const DEAD: u8 = 4;

/// Holds what is found against a ledger. Takes 5 bytes for each of its events on top of the
/// ledger's own.
///
/// Where the pipeline still runs, hand in what is pending and dead first and rows last: an event
/// that moves on meanwhile is then seen twice, never not at all.
#[derive(Debug)]
pub struct Audit {
    ledger: Ledger,
    /// The ledger's entries by id.
    order: Vec<u32>,
    /// Where each was found; for an id offered more than once, at its first place in `order`.
    found: Vec<u8>,
    /// What is among the dead letters of each id, by its first place in `order`.
    dead: HashMap<usize, Vec<Content>>,
    strict: bool,
    finding: Finding,
}

impl Audit {
    /// An audit of what `ledger` holds. With `store_began_empty`, rows that nobody offered are
    /// violations; else they are of earlier runs.
    /// What the buffer held at the start has to be in the ledger, see [`Ledger::earlier`].
    #[must_use]
    pub fn new(ledger: Ledger, store_began_empty: bool) -> Self {
        let count = u32::try_from(ledger.len()).expect("a ledger is bounded by 2^32 - 1");
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_unstable_by_key(|&at| (ledger.entries[at as usize].id, at));
        let finding = Finding { unaudited: ledger.unaudited(), ..Finding::default() };
        let found = vec![0; order.len()];
        // A row of an event there was no room for can't be told from one nobody offered.
        let strict = store_began_empty && ledger.unaudited() == 0;
        Self { ledger, order, found, dead: HashMap::new(), strict, finding }
    }

    /// A row of the store. Hand in every one.
    pub fn settled(&mut self, row: &Row<'_>) {
        let id = ledger::id(row.tx_id.as_bytes());
        let Some(at) = self.find(&id) else {
            if self.strict {
                self.finding.phantom_rows += 1;
                self.finding
                    .example(|| format!("{} is in the store, but was never offered", row.tx_id));
            }
            return;
        };
        if self.found[at] & SETTLED != 0 {
            self.finding.double_rows += 1;
            self.finding.example(|| format!("{} is in the store more than once", row.tx_id));
            return;
        }
        self.found[at] |= SETTLED;
        let content = self.ledger.content(row.amount, row.merchant, row.created_at_ms, &row.card);
        let dead = self.dead.get(&at).map_or(&[][..], Vec::as_slice);
        if dead.contains(&content) {
            self.finding.settled_and_dead += 1;
            self.finding.example(|| format!("{} is both settled and dead", row.tx_id));
        }
        let may_be = |entry: &ledger::Entry| {
            // The row may be of an earlier run, and what was offered now be dead because of it.
            let of_earlier_run = !self.strict && dead.contains(&entry.content);
            entry.content == content || entry.standing == Standing::Earlier || of_earlier_run
        };
        if !self.offers(at).any(may_be) {
            self.finding.changed_rows += 1;
            self.finding.example(|| format!("{} is not in the store as it was offered", row.tx_id));
        }
    }

    /// An event that the buffer still holds, ready or leased.
    pub fn pending(&mut self, id: &[u8]) {
        if let Some(at) = self.find(&ledger::id(id)) {
            self.found[at] |= PENDING;
        }
    }

    /// An event among the dead letters, but for letters that were there before the run.
    pub fn dead(&mut self, event: &Event, now_ms: EpochMs) {
        if let Some(at) = self.find(&ledger::id(event.id())) {
            self.found[at] |= DEAD;
            let content = self.ledger.content_of(event, now_ms);
            self.dead.entry(at).or_default().push(content);
        }
    }

    /// What is the matter.
    #[must_use]
    pub fn finish(mut self) -> Finding {
        let mut at = 0;
        while at < self.order.len() {
            let (next, found) = (at + self.offers(at).count(), self.found[at]);
            let nth = self.order[at];
            let accepted = self.offers(at).any(|entry| entry.standing == Standing::Accepted);
            self.finding.accepted += u64::from(accepted);
            if accepted && found == 0 {
                self.finding.lost += 1;
                self.finding
                    .example(|| format!("event {nth}, counted from 0 as offered, is nowhere"));
            }
            at = next;
        }
        self.finding
    }

    /// The first place of `id` in the order.
    fn find(&self, id: &Id) -> Option<usize> {
        let at = self.order.partition_point(|&at| self.ledger.entries[at as usize].id < *id);
        let entry = self.order.get(at).map(|&at| &self.ledger.entries[at as usize]);
        entry.is_some_and(|entry| entry.id == *id).then_some(at)
    }

    /// All offers of the id whose first place is `at`.
    fn offers(&self, at: usize) -> impl Iterator<Item = &ledger::Entry> {
        let entry = |&index: &u32| &self.ledger.entries[index as usize];
        let id = entry(&self.order[at]).id;
        self.order[at..].iter().map(entry).take_while(move |entry| entry.id == id)
    }
}
