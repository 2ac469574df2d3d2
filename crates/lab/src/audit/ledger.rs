//! What the producer's side knows.

use std::collections::HashMap;
use std::fmt;

use model::clock::EpochMs;
use model::{Event, Payment};
use sha2::{Digest, Sha256};

use crate::sink::{Error, Fate, Offered};

/// What one event takes in a ledger, in bytes.
pub const EVENT_BYTES: usize = size_of::<Entry>();

/// The first half of the SHA-256 of an id.
pub(super) type Id = [u8; 16];

/// What was offered, and what of it was accepted. Bounded: [`EVENT_BYTES`] for each event, up to
/// the maximum it is made with; events past it are counted, and not audited.
pub struct Ledger {
    pub(super) entries: Vec<Entry>,
    events_max: usize,
    unaudited: u64,
    card: Option<CardFingerprint>,
    /// Where the events of the last batch are that were not accepted: they may be offered again.
    open: HashMap<Id, usize>,
}

type CardFingerprint = Box<dyn Fn(&str) -> [u8; 16] + Send + Sync>;

/// One event: bytes only, so that nothing is lost to alignment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) content: Content,
    pub(super) standing: Standing,
}

/// What is known of an event from before it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was in the buffer when the run began. Its content is not compared.
    Earlier,
    Offered,
    Accepted,
}

/// What a row must agree with: a hash of amount, merchant, event time and card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content([u8; 8]);

impl Content {
    /// What no row agrees with.
    const NONE: Self = Self([0xff; 8]);
}

impl Ledger {
    /// A ledger for at most `events_max` events (at most 2^32 - 1).
    #[must_use]
    pub fn new(events_max: usize) -> Self {
        let events_max = events_max.min(u32::MAX as usize);
        Self { entries: Vec::new(), events_max, unaudited: 0, card: None, open: HashMap::new() }
    }

    /// Checks cards as well: `fingerprint` makes of a card number what the store keeps of it.
    #[must_use]
    pub fn with_cards(
        mut self,
        fingerprint: impl Fn(&str) -> [u8; 16] + Send + Sync + 'static,
    ) -> Self {
        self.card = Some(Box::new(fingerprint));
        self
    }

    /// Takes note of a batch and of the answer to it. An event offered again right after it was
    /// refused, or after nothing was heard of it, is still one event.
    pub fn record(&mut self, events: &[Event], answer: &Result<Offered, Error>, now_ms: EpochMs) {
        let fates = answer.as_ref().map_or_else(|_| Vec::new(), Offered::fates);
        let mut open = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            let id = id(event.id());
            let accepted = fates.get(index) == Some(&Fate::Accepted);
            let at = match self.open.get(&id) {
                Some(&at) => at,
                None if self.entries.len() == self.events_max => {
                    self.unaudited += 1;
                    continue;
                }
                None => {
                    let content = self.content_of(event, now_ms);
                    self.entries.push(Entry { id, content, standing: Standing::Offered });
                    self.entries.len() - 1
                }
            };
            if accepted {
                self.entries[at].standing = Standing::Accepted;
            } else {
                open.insert(id, at);
            }
        }
        self.open = open;
    }

    /// Takes note of an event that the buffer held before the run: its row is not one that nobody
    /// offered. Comes after all calls of [`Self::record`].
    pub fn earlier(&mut self, event_id: &[u8]) {
        if self.entries.len() == self.events_max {
            self.unaudited += 1;
            return;
        }
        let (id, content) = (id(event_id), Content::NONE);
        self.entries.push(Entry { id, content, standing: Standing::Earlier });
    }

    /// How many events are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was ever offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many events it had no room for.
    #[must_use]
    pub fn unaudited(&self) -> u64 {
        self.unaudited
    }

    pub(super) fn content(
        &self,
        amount: i64,
        merchant: &str,
        created_at_ms: EpochMs,
        card: &[u8; 16],
    ) -> Content {
        let card = if self.card.is_some() { &card[..] } else { &[] };
        let hash = Sha256::new()
            .chain_update(amount.to_le_bytes())
            .chain_update(created_at_ms.to_le_bytes())
            .chain_update(card)
            // Last: it has no fixed length.
            .chain_update(merchant)
            .finalize();
        Content(*hash.first_chunk().expect("a SHA-256 has 32 bytes"))
    }

    /// Of a payload that is no payment, something no row agrees with.
    pub(super) fn content_of(&self, event: &Event, now_ms: EpochMs) -> Content {
        let Ok(payment) = Payment::parse(event.payload(), now_ms) else {
            return Content::NONE;
        };
        let card = self.card.as_ref().map_or([0; 16], |card| card(&payment.card_number));
        self.content(payment.amount, &payment.merchant, payment.created_at_ms, &card)
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("events", &self.entries.len())
            .field("events_max", &self.events_max)
            .field("unaudited", &self.unaudited)
            .finish_non_exhaustive()
    }
}

pub(super) fn id(id: &[u8]) -> Id {
    *Sha256::digest(id).first_chunk().expect("a SHA-256 has 32 bytes")
}
