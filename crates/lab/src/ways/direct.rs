//! Payments straight into the table.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use model::Payment;
use model::clock::{Clock, System};
use store::Row;
use store::card::Guard;
use store::plain::{Outcome, Plain, Way};

use super::plan::Plan;
use crate::generator::{Generator, Options};
use crate::phases::processor::Sampler;
use crate::phases::{Figures, Recorder};

/// Measures a plain way into `store`.
///
/// # Errors
/// If a connection can't be had, no payment is written, or a stop came in between.
pub async fn direct(plan: &Plan, store: &dyn Plain, way: Way) -> Result<Figures> {
    let rows = rows(plan.events)?;
    let connected = store.connect(way).await?;
    let sampler = Sampler::start(plan.servers.clone());
    let mut recorder = Recorder::new(Instant::now());
    let mut on_insert = |took| recorder.record(Instant::now(), took);
    let inserting = connected.insert(rows, plan.limit, Arc::new(System), &mut on_insert);
    let outcome = plan.until_stopped(inserting).await?;
    let (name, what) = match way {
        Way::OneByOne => (
            "1 · one INSERT a payment".to_owned(),
            "one connection; each payment is an INSERT and a transaction of its own, and the next waits \
             for it"
                .to_owned(),
        ),
        Way::Pool(count) => (
            format!("2 · pool of {count}"),
            format!(
                "{count} connections at once, asynchronous; each payment is an INSERT and a transaction of \
                 its own"
            ),
        ),
    };
    let durability =
        format!("what {} survives: committed before the producer is told", store.server());
    let figures = told(&name, &outcome, &recorder, sampler)?;
    Ok(Figures { what, durability, ..figures })
}

fn told(name: &str, outcome: &Outcome, recorder: &Recorder, sampler: Sampler) -> Result<Figures> {
    if outcome.inserted == 0 {
        let cause = outcome.failure.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        bail!("phase {name} inserted nothing{cause}");
    }
    Ok(Figures {
        errors: outcome.failed,
        ..Figures::new(name, outcome.took, recorder, sampler.stop())
    })
}

/// Payments as rows, not screened.
fn rows(count: usize) -> Result<Vec<Row>> {
    let mut generator = Generator::new(&Options::default())?;
    let guard = Guard::new(&rand::random(), false);
    let now_ms = System.now_ms();
    let from_ms = now_ms - i64::try_from(count)?;
    (from_ms..now_ms)
        .map(|at_ms| {
            let (event, _) = generator.event(at_ms);
            let payment = Payment::parse(event.payload(), now_ms)?;
            Ok(row(&payment, &guard, now_ms))
        })
        .collect()
}

fn row(payment: &Payment<'_>, guard: &Guard, now_ms: i64) -> Row {
    Row {
        tx_id: payment.tx_id.to_string(),
        card_number: guard.stored(&payment.card_number),
        card_fingerprint: guard.fingerprint(&payment.card_number),
        user_id: payment.user_id.to_string(),
        tier: payment.tier,
        amount: payment.amount,
        merchant: payment.merchant.to_string(),
        category: payment.category.to_string(),
        fraud_rules: Vec::new(),
        fraud_detail: None,
        ruleset_version: 0,
        created_at_ms: payment.created_at_ms,
        accepted_at_ms: now_ms,
    }
}
