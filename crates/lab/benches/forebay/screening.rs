//! Screening with all rules, against parsing the same JSON with `serde_json`; one core each.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fraud::{Number, Ownership, Ruleset, Screen};
use lab::generator::{Generator, Options};
use model::Payment;
use serde::Deserialize;
use store::History;
use store::card::Fingerprint;

use crate::Scale;
use crate::table::{Row, paired};

const CARDS: usize = 100_000;
const START_MS: i64 = 1_760_000_000_000;
const BATCH: usize = 1000;
const PAIRS: usize = 5;

/// The same JSON as a plain derive reads it, text owned: what a consumer would write first.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsing it is the point")]
struct Plain {
    tx_id: String,
    card_number: String,
    user_id: String,
    tier: String,
    amount: i64,
    merchant: String,
    category: String,
    created_at: i64,
}

pub(crate) fn run(scale: Scale) -> Result<Vec<Row>> {
    let count = scale.events(1_000_000);
    // Users have one card or two; enough of them for the cards asked for.
    let options = Options { users: CARDS * 2 / 3, ..Options::default() };
    let mut generator = Generator::new(&options)?;
    let json: Vec<Vec<u8>> =
        (START_MS..).take(count).map(|at_ms| generator.event(at_ms).0.payload().to_vec()).collect();
    let payments: Vec<Payment<'_>> = json
        .iter()
        .map(|json| Payment::parse(json, START_MS).context("generated payments are good"))
        .collect::<Result<_>>()?;
    let mut pairs = Vec::new();
    let mut cards = 0;
    for _ in 0..PAIRS {
        let (seconds, known) = screen(&payments)?;
        cards = known;
        pairs.push((count as f64 / seconds, count as f64 / parse(&json)?));
    }
    let note = format!("4 rules, {cards} cards, one core, verdicts kept");
    Ok(vec![paired("screening", "payments/s", 1.0, &pairs, note)])
}

/// Seconds, and cards seen. Every card is known beforehand, as after a warm-up: how a card's
/// history is read is in the pipeline's figure.
fn screen(payments: &[Payment<'_>]) -> Result<(f64, usize)> {
    let mut screen = Screen::new(Ruleset::default().into(), true)?;
    for payment in payments {
        let number = number(payment)?;
        if !screen.knows(number, Ownership::default()) {
            screen.insert(number, Fingerprint([0; 16]), &History::default(), Ownership::default());
        }
    }
    let mut flagged = 0;
    let started = Instant::now();
    // As a lane does: find out which cards of a batch must be read back, then screen the batch.
    for batch in payments.chunks(BATCH) {
        for payment in batch {
            ensure!(screen.knows(number(payment)?, Ownership::default()), "every card is known");
        }
        for payment in batch {
            let verdict = screen.screen(number(payment)?, payment).context("it is known")?;
            flagged += usize::from(!verdict.hits.is_empty());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(flagged > 0, "frauds are generated, so something is flagged");
    Ok((seconds, screen.len()))
}

fn number(payment: &Payment<'_>) -> Result<Number> {
    Number::read(&payment.card_number).context("generated numbers are good")
}

fn parse(json: &[Vec<u8>]) -> Result<f64> {
    let mut amount = 0_i64;
    let started = Instant::now();
    for json in json {
        let plain: Plain = serde_json::from_slice(json)?;
        amount = amount.wrapping_add(std::hint::black_box(plain).amount);
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(amount != 0, "amounts were read");
    Ok(seconds)
}
