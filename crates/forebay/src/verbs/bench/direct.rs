//! Phases 1 and 2: payments straight into the table.

use std::time::Instant;

use anyhow::{Result, bail};
use lab::generator::{Generator, Options};
use lab::phases::processor::Sampler;
use lab::phases::{Figures, Recorder};
use model::Payment;
use store::Row;
use store::card::Guard;
use store_postgres::baseline::{self, Connection, Outcome};

use super::plan::Plan;
use crate::open;

/// What a row survives that was inserted.
const DURABILITY: &str = "what PostgreSQL survives: committed before the producer is told";

/// Phase 1.
pub(super) async fn one_by_one(plan: &Plan, store: store_postgres::Options) -> Result<Figures> {
    let (rows, clock) = (rows(plan.events)?, open::clock());
    let connection = Connection::open(&store).await?;
    let sampler = Sampler::start(plan.servers.clone());
    let mut recorder = Recorder::new(Instant::now());
    let on_insert = |took| recorder.record(Instant::now(), took);
    let inserting = baseline::one_by_one(connection, rows, plan.limit, &*clock, on_insert);
    let outcome = plan.until_stopped(inserting).await?;
    let what = "one connection; each payment is an INSERT and a transaction of its own, and the \
                next waits for it";
    told("1 · one INSERT a payment", what, &outcome, &recorder, sampler)
}

/// Phase 2.
pub(super) async fn pooled(plan: &Plan, store: store_postgres::Options) -> Result<Figures> {
    let rows = rows(plan.events)?;
    let mut connections = Vec::with_capacity(plan.pool);
    for _ in 0..plan.pool {
        connections.push(Connection::open(&store).await?);
    }
    let sampler = Sampler::start(plan.servers.clone());
    let mut recorder = Recorder::new(Instant::now());
    let on_insert = |took| recorder.record(Instant::now(), took);
    let inserting = baseline::pooled(connections, rows, plan.limit, open::clock(), on_insert);
    let outcome = plan.until_stopped(inserting).await?;
    let what = format!(
        "{} connections at once, asynchronous; each payment is an INSERT and a transaction of its own",
        plan.pool
    );
    told(&format!("2 · pool of {}", plan.pool), &what, &outcome, &recorder, sampler)
}

fn told(
    name: &str,
    what: &str,
    outcome: &Outcome,
    recorder: &Recorder,
    sampler: Sampler,
) -> Result<Figures> {
    if outcome.inserted == 0 {
        let cause = outcome.failure.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        bail!("phase {name} inserted nothing{cause}");
    }
    Ok(Figures {
        what: what.to_owned(),
        durability: DURABILITY.to_owned(),
        errors: outcome.failed,
        ..Figures::new(name, outcome.took, recorder, sampler.stop())
    })
}

/// Payments as rows, not screened.
fn rows(count: usize) -> Result<Vec<Row>> {
    let mut generator = Generator::new(&Options::default())?;
    let guard = Guard::new(&rand::random(), false);
    let now_ms = open::clock().now_ms();
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
