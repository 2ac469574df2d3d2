//! Screening: a ruleset, and the cards it is applied to.

use std::borrow::Borrow;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use model::Payment;
use store::History;
use store::card::Fingerprint;

use crate::Error;
use crate::hit::Hit;
use crate::latest::Retention;
use crate::number::Number;
use crate::rules;
use crate::ruleset::Ruleset;
use crate::state::State;
use crate::zone::Zone;

/// How many cards are kept in memory unless told otherwise. A card takes about 200 bytes.
pub const CARDS_MAX: usize = 1_000_000;

/// A ruleset and what is known of the cards it has been applied to.
///
/// Cards that have not been used for long are dropped by [`Screen::trim`]; the least recently used
/// are found approximately, by a hand that goes round and spares what was used since it last passed.
#[derive(Debug)]
pub struct Screen {
    ruleset: Arc<Ruleset>,
    zone: Zone,
    retention: Retention,
    /// Keyed for each process, so that nobody outside can choose numbers that collide.
    hasher: DefaultHashBuilder,
    /// Places in `cards`, found by number. Small enough to stay near the processor, so that finding
    /// a card costs one visit to main memory, not two.
    places: HashTable<u32>,
    cards: Vec<State>,
    /// For each card, whether it was used since the hand passed.
    used: Vec<bool>,
    /// For each card, under which ownership its history was read.
    owned_as: Vec<Ownership>,
    hand: usize,
    complete: bool,
}

/// Under which ownership of its shard a card's history was read. It is read again once either part has
/// changed: another process may have settled payments of the card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The term in which the buffer leased the payment (see `buffer::Envelope`); 0 where no other
    /// process can lease.
    pub term: u64,
    /// The token of the shard's fence (see [`store::Fence`]); 0 without one.
    pub token: i64,
}

/// What screening says of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The card's fingerprint, as it was given to [`Screen::insert`].
    pub fingerprint: Fingerprint,
    /// Every rule that fired, in the order of [`crate::Rule::ALL`].
    pub hits: Vec<Hit>,
    /// The payment is remembered: it was screened before, and was not counted again.
    pub repeat: bool,
}

impl Screen {
    /// A screen without cards, which grows until [`Screen::trim`] is called. `complete` says that no card has
    /// a history, so that a card not found here is a new one.
    ///
    /// # Errors
    /// [`Error::Ruleset`] when a threshold is out of bounds.
    pub fn new(ruleset: Arc<Ruleset>, complete: bool) -> Result<Self, Error> {
        ruleset.validate()?;
        Ok(Self {
            zone: Zone::named(&ruleset.dawn_high_amount.time_zone)?,
            retention: Retention::of(&ruleset),
            ruleset,
            hasher: DefaultHashBuilder::default(),
            places: HashTable::new(),
            cards: Vec::new(),
            used: Vec::new(),
            owned_as: Vec::new(),
            hand: 0,
            complete,
        })
    }

    /// What payments are screened against.
    #[must_use]
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// How many cards are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    /// Whether no card is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// Whether the card is known; if so, [`Screen::trim`] spares it for a round. What was read
    /// under another ownership may be out of date: then it is forgotten.
    ///
    /// Ask for all cards of a batch before the first of its payments is screened: this is what
    /// brings their memory near.
    pub fn knows(&mut self, number: Number, owned: Ownership) -> bool {
        let Some(place) = self.place(number) else { return false };
        if self.owned_as[place] != owned {
            self.forget(number);
            return false;
        }
        self.cards[place].touch();
        true
    }

    /// Whether a card that is not known is a new one. False from the moment on when the first card
    /// was forgotten or dropped.
    #[must_use]
    pub fn unknown_is_new(&self) -> bool {
        self.complete
    }

    /// Makes a card known by its history, read under this ownership, in place of what was known of it.
    /// `history.recent` must hold the card's [`crate::RECENT_MAX`] latest payments.
    pub fn insert(
        &mut self,
        number: Number,
        fingerprint: Fingerprint,
        history: &History,
        owned: Ownership,
    ) {
        let state = State::rebuilt(number, fingerprint, history, self.retention);
        if let Some(place) = self.place(number) {
            self.cards[place] = state;
            self.owned_as[place] = owned;
            return;
        }
        let place = u32::try_from(self.cards.len()).expect("2^32 cards do not fit in memory");
        self.cards.push(state);
        self.used.push(true);
        self.owned_as.push(owned);
        let (hasher, cards) = (&self.hasher, &self.cards);
        self.places.insert_unique(hasher.hash_one(number.code()), place, |&place| {
            hasher.hash_one(cards[place as usize].number().code())
        });
    }

    /// Screens one payment of a known card and counts it; `None` if the card is not known.
    pub fn screen(&mut self, number: Number, payment: &Payment<'_>) -> Option<Verdict> {
        let place = self.place(number)?;
        let card = &mut self.cards[place];
        let window_ms = self.ruleset.velocity.window_ms;
        let (repeat, before) = card.observe(payment, window_ms, self.retention);
        let fingerprint = card.fingerprint();
        let hits = rules::judge(&self.ruleset, &mut self.zone, payment, before);
        Some(Verdict { fingerprint, hits, repeat })
    }

    /// Forgets what is known of a card. It must be inserted with its history before it is screened
    /// again.
    pub fn forget(&mut self, number: Number) {
        if let Some(place) = self.place(number) {
            self.remove(place);
        }
        self.complete = false;
    }

    /// Drops cards until no more than `cards_max` (at least 1) are left. Between two calls their number may go
    /// past it by as many as were inserted, so that one batch always fits.
    pub fn trim(&mut self, cards_max: usize) {
        while self.cards.len() > cards_max.max(1) {
            if self.hand >= self.cards.len() {
                self.hand = 0;
            }
            if self.used[self.hand] {
                self.used[self.hand] = false;
                self.hand += 1;
            } else {
                self.remove(self.hand);
                self.complete = false;
            }
        }
    }

    fn place(&mut self, number: Number) -> Option<usize> {
        let hash = self.hasher.hash_one(number.code());
        let cards = &self.cards;
        let same = |&place: &u32| cards[place as usize].number() == number;
        let place = *self.places.find(hash, same)? as usize;
        self.used[place] = true;
        Some(place)
    }

    /// The last card takes the place that becomes free.
    fn remove(&mut self, place: usize) {
        let last = self.cards.len() - 1;
        let gone = self.cards[place].number();
        let moved = self.cards[last].number();
        let slot = |number: Number| {
            let hash = self.hasher.hash_one(number.code());
            let same = |&place: &u32| self.cards[place as usize].number() == number;
            self.places.find_bucket_index(hash, same).expect("every card has its place listed")
        };
        let (gone, moved) = (slot(gone), slot(moved));
        if let Some(listed) = self.places.get_bucket_mut(moved) {
            *listed = u32::try_from(place).expect("places are listed as 32 bits");
        }
        if let Ok(entry) = self.places.get_bucket_entry(gone) {
            entry.remove();
        }
        self.cards.swap_remove(place);
        self.used.swap_remove(place);
        self.owned_as.swap_remove(place);
    }
}

/// What undisturbed screening says of `payments`, each of which is settled once, in this order:
/// the hits of each one. This is what any run over the same payments must agree with.
///
/// # Errors
/// [`Error::Ruleset`] when a threshold is out of bounds, [`Error::CardNumber`] when a payment that
/// was not read by [`Payment::parse`] has no usable card number.
pub fn verdicts<'p>(
    payments: impl IntoIterator<Item = impl Borrow<Payment<'p>>>,
    ruleset: &Ruleset,
) -> Result<Vec<Vec<Hit>>, Error> {
    let mut screen = Screen::new(Arc::new(ruleset.clone()), true)?;
    let mut verdicts = Vec::new();
    for payment in payments {
        let payment = payment.borrow();
        let number = Number::read(&payment.card_number).ok_or(Error::CardNumber)?;
        if !screen.knows(number, Ownership::default()) {
            // Nothing is looked up by it here.
            screen.insert(number, Fingerprint([0; 16]), &History::default(), Ownership::default());
        }
        verdicts.extend(screen.screen(number, payment).map(|verdict| verdict.hits));
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests;
