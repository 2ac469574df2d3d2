//! The stream of payments.

use std::borrow::Cow;
use std::fmt::Write as _;

use model::clock::EpochMs;
use model::{Event, Payment};

use super::category::{self, Picker};
use super::draft::Draft;
use super::draw::Draw;
use super::fraud::{Frauds, VELOCITY_WINDOW_MS};
use super::kind::Kind;
use super::pool::Pool;

/// How many times a plain payment that would trip a rule is drawn again before it is let through.
pub const REDRAWS_MAX: usize = 8;
/// The longest run id, in bytes: with the index behind it a `tx_id` stays within bounds.
pub const RUN_BYTES_MAX: usize = 40;
/// The most users.
const USERS_MAX: usize = 1_000_000;
/// The highest share of frauds: past it the plain traffic that frauds hide in is no longer plain.
const FRAUD_SHARE_MAX: f64 = 0.2;
/// Amounts are whole hundreds of KRW, as most prices are.
const PRICE_STEP: i64 = 100;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Same seed, same stream.
    pub seed: u64,
    /// How many users, 1 to 1,000,000.
    pub users: usize,
    /// The share of payments that are frauds, 0 to 0.2.
    pub fraud_share: f64,
    /// Goes in front of every `tx_id` instead of the seed, so that two runs with one seed into one
    /// store are not each other's duplicates. 1 to [`RUN_BYTES_MAX`] bytes.
    pub run: Option<String>,
    /// Whether frauds carry an extra JSON field `label`.
    pub labelled_json: bool,
}

impl Default for Options {
    /// Seed 7, 500 users, 0.5% frauds.
    fn default() -> Self {
        Self { seed: 7, users: 500, fraud_share: 0.005, run: None, labelled_json: false }
    }
}

/// Why options can't be used: one sentence for the user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Too many or no users.
    #[error("users must be 1 to {USERS_MAX}, got {0}")]
    Users(usize),
    /// Not a share, or too large a one.
    #[error("the share of frauds must be 0 to {FRAUD_SHARE_MAX}, got {0}")]
    FraudShare(f64),
    /// Too long or empty.
    #[error("a run id must be 1 to {RUN_BYTES_MAX} bytes, got {0}")]
    Run(usize),
}

/// A payment, and what is known of it that nobody downstream may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated<'a> {
    /// The payment.
    pub payment: Payment<'a>,
    /// Which kind of fraud it is; `None` when plain.
    pub label: Option<Kind>,
}

/// Makes payments, for ever.
#[derive(Debug)]
pub struct Generator {
    draw: Draw,
    pool: Pool,
    picker: Picker,
    frauds: Frauds,
    prefix: String,
    index: u64,
    tx_id: String,
    json: Vec<u8>,
    labelled_json: bool,
}

impl Generator {
    /// A generator at the beginning of its stream.
    ///
    /// # Errors
    /// If an option is out of bounds.
    pub fn new(options: &Options) -> Result<Self, Error> {
        if !(1..=USERS_MAX).contains(&options.users) {
            return Err(Error::Users(options.users));
        }
        if !(0.0..=FRAUD_SHARE_MAX).contains(&options.fraud_share) {
            return Err(Error::FraudShare(options.fraud_share));
        }
        let prefix = match &options.run {
            Some(run) if run.is_empty() || run.len() > RUN_BYTES_MAX => {
                return Err(Error::Run(run.len()));
            }
            Some(run) => run.clone(),
            None => format!("gen-{:016x}", options.seed),
        };
        let mut draw = Draw::new(options.seed);
        Ok(Self {
            pool: Pool::new(options.users, &mut draw),
            picker: Picker::new(),
            frauds: Frauds::new(options.fraud_share, &mut draw),
            draw,
            prefix,
            index: 0,
            tx_id: String::new(),
            json: Vec::with_capacity(320),
            labelled_json: options.labelled_json,
        })
    }

    /// The next payment, at `now_ms` of event time. Times should not go back.
    pub fn payment(&mut self, now_ms: EpochMs) -> Generated<'_> {
        let fraud = self.frauds.draft(now_ms, &self.pool, &mut self.draw);
        let draft = fraud.unwrap_or_else(|| self.plain(now_ms));
        self.pool.cards[draft.card].paid(draft.amount, draft.at_ms);
        let merchant = Pool::any_merchant(draft.category, &mut self.draw);
        self.tx_id.clear();
        write!(self.tx_id, "{}-{:010}", self.prefix, self.index).expect("a String takes all");
        self.index += 1;
        let card = &self.pool.cards[draft.card];
        let user = &self.pool.users[card.user];
        Generated {
            payment: Payment {
                tx_id: Cow::Borrowed(&self.tx_id),
                card_number: Cow::Borrowed(&card.number),
                user_id: Cow::Borrowed(&user.id),
                tier: user.tier,
                amount: draft.amount,
                merchant: Cow::Borrowed(self.pool.merchant(merchant)),
                category: Cow::Borrowed(category::ALL[draft.category].name),
                created_at_ms: draft.at_ms,
            },
            label: draft.label,
        }
    }

    /// The next payment as an event: its id is the `tx_id`, its key the card number, its payload
    /// JSON without a line break.
    pub fn event(&mut self, now_ms: EpochMs) -> (Event, Option<Kind>) {
        let mut json = std::mem::take(&mut self.json);
        json.clear();
        let labelled_json = self.labelled_json;
        let Generated { payment, label } = self.payment(now_ms);
        payment.to_json(&mut json);
        if let (true, Some(kind)) = (labelled_json, label) {
            json.pop();
            json.extend_from_slice(br#","label":""#);
            json.extend_from_slice(kind.name().as_bytes());
            json.extend_from_slice(br#""}"#);
        }
        let event = Event::new(payment.tx_id.as_bytes(), payment.card_number.as_bytes(), &json)
            .expect("what is generated is far below the bounds of an event");
        self.json = json;
        (event, label)
    }

    /// How many payments were made so far.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.index
    }

    fn plain(&mut self, now_ms: EpochMs) -> Draft {
        let draw = &mut self.draw;
        let hour = category::hour(now_ms);
        // The size is drawn once: drawing it again with the card would thin out high amounts.
        let size = match draw.below(100) {
            0..70 => 0,
            70..95 => 1,
            _ => 2,
        };
        let mut redraws = 0;
        loop {
            let card = self.pool.any_card(draw);
            let category = self.picker.pick(self.pool.tier(card), hour, draw.next());
            let bounds = &category::ALL[category].bounds;
            let amount = draw.within(bounds[size] / PRICE_STEP, bounds[size + 1] / PRICE_STEP);
            let amount = amount * PRICE_STEP;
            let state = &self.pool.cards[card];
            // One second more than the window: a plain payment shall not hang on its boundary.
            let trips =
                state.is_spike(amount) || state.is_fifth(now_ms, VELOCITY_WINDOW_MS + 1_000);
            if !trips || redraws == REDRAWS_MAX {
                return Draft { card, category, amount, at_ms: now_ms, label: None };
            }
            redraws += 1;
        }
    }
}
