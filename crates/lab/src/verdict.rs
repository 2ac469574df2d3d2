//! Holds what was offered against what is in the store and on the buffer's medium.
//!
//! The store is read through a connection of its own, the buffer from outside, after the pipeline
//! has closed both. No counter of the pipeline has a say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use buffer::{DeadLetter, Location, backend};
use engine::Stats;
use model::clock::{Clock, System};
use runtime::Remains;
use store::card::Guard;
use store::inspect::{Counts, Payment};

use crate::audit::{Audit, Finding, Ledger, Row};
use crate::memory;
use crate::report::{LatencyMs, Report};
use crate::score::{Labels, Scorer, Scores};

/// Most events an audit holds, at 25 bytes each and 5 more while it compares. Further ones are
/// counted as unaudited.
const LEDGER_EVENTS_MAX: usize = 4_000_000;

/// A ledger of a run, which checks cards as well.
#[must_use]
pub fn ledger(guard: Arc<Guard>) -> Ledger {
    Ledger::new(LEDGER_EVENTS_MAX).with_cards(move |card| guard.fingerprint(card).0)
}

/// A pipeline that has ended, as the audit needs it.
pub struct Ended {
    /// What its engine did.
    pub stats: Arc<Stats>,
    /// The events that it did not settle.
    pub remains: Arc<Remains>,
    /// What accepted events survive.
    pub durability: String,
}

/// Where to look.
pub struct Places {
    store: Arc<dyn store::Location>,
    /// What the store held before the run; `None` if there was none.
    before: Option<Counts>,
    /// Of one that keeps nothing, what was left is in [`Ended`].
    buffer: Arc<dyn Location>,
    /// What the buffer held before the run; `None` if it could not be looked at, or held more than
    /// [`LEDGER_EVENTS_MAX`]: then the audit makes no claim about rows that were not offered.
    held: Option<Held>,
}

/// What a buffer held before a run.
#[derive(Default)]
struct Held {
    /// Ids of what was still to be settled.
    pending: Vec<Vec<u8>>,
    /// Which dead letters there were.
    dead: HashSet<u64>,
}

impl Held {
    /// What can't be looked at may hold anything.
    async fn by(buffer: &dyn Location) -> Option<Self> {
        if buffer.is_volatile() || buffer.folder().is_some_and(|folder| !folder.is_dir()) {
            return Some(Self::default());
        }
        let mut pending = Vec::new();
        let mut each = |held: backend::Held| {
            pending.push(held.event.id().to_vec());
            pending.len() < LEDGER_EVENTS_MAX
        };
        buffer.pending(&mut each).await.ok()?;
        let dead = letters(buffer).await.ok()?.iter().map(|letter| letter.seq).collect();
        (pending.len() < LEDGER_EVENTS_MAX).then_some(Self { pending, dead })
    }
}

/// What was found.
struct Found {
    finding: Finding,
    pending: u64,
    dead: u64,
    scores: Scores,
    counts: Counts,
}

impl Places {
    /// Remembers what `store` and `buffer` hold by now, if they are there.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn before(
        store: &Arc<dyn store::Location>,
        buffer: &Arc<dyn Location>,
    ) -> Result<Self> {
        let before = match store.look().await? {
            Some(view) => Some(view.counts().await?),
            None => None,
        };
        let held = Held::by(&**buffer).await;
        Ok(Self { store: store.clone(), before, buffer: buffer.clone(), held })
    }

    /// Audits a run that has ended after `settling`. Reads everything there is.
    ///
    /// # Errors
    /// If the store or the buffer can't be read.
    pub async fn report(
        &self,
        ledger: Ledger,
        labels: &Labels,
        ended: &Ended,
        settling: Duration,
    ) -> Result<Report> {
        let Found { finding, pending, dead, scores, counts } = self
            .find(ledger, labels, &ended.remains)
            .await
            .context("the audit could not be made")?;
        let before = self.before.clone().unwrap_or_default();
        let rules = counts.flagged_by_rule.into_iter().map(|(rule, count)| {
            let earlier = before.flagged_by_rule.get(&rule).copied().unwrap_or(0);
            (rule, count.saturating_sub(earlier))
        });
        let mut flagged_by_rule: BTreeMap<_, _> =
            fraud::Rule::ALL.into_iter().map(|rule| (rule.name().to_owned(), 0)).collect();
        flagged_by_rule.extend(rules);
        let settled = counts.total.saturating_sub(before.total);
        let latency = ended.stats.latency();
        Ok(Report {
            settled,
            duplicates_suppressed: ended.stats.counts().duplicates,
            dead,
            pending,
            flagged_total: counts.flagged.saturating_sub(before.flagged),
            flagged_by_rule,
            latency_ms: LatencyMs {
                p50: decimal(latency.quantile_ms(0.5)),
                p99: decimal(latency.quantile_ms(0.99)),
                max: decimal(latency.max_ms()),
            },
            settled_per_second: per_second(settled, settling),
            rss_mib_max: memory::rss_mib_max(),
            fraud_score: if labels.is_empty() { Scores::new() } else { scores },
            ..Report::new(finding, ended.durability.clone())
        })
    }

    async fn find(&self, mut ledger: Ledger, labels: &Labels, remains: &Remains) -> Result<Found> {
        let began_empty = self.before.as_ref().is_none_or(|before| before.total == 0);
        let held = self.held.as_ref();
        held.iter().flat_map(|held| &held.pending).for_each(|id| ledger.earlier(id));
        let mut audit = Audit::new(ledger, began_empty && held.is_some());
        let now_ms = System.now_ms();
        let (mut pending, mut dead) = (0, 0);
        if !self.buffer.is_volatile() {
            let mut each = |held: backend::Held| {
                pending += 1;
                audit.pending(held.event.id());
                true
            };
            self.buffer.pending(&mut each).await?;
            for letter in letters(&*self.buffer).await? {
                dead += 1;
                if !held.is_some_and(|held| held.dead.contains(&letter.seq)) {
                    audit.dead(&letter.event, now_ms);
                }
            }
        }
        for event in &remains.left {
            pending += 1;
            audit.pending(event.id());
        }
        for event in &remains.dead {
            dead += 1;
            audit.dead(event, now_ms);
        }
        let mut scorer = Scorer::new(labels);
        let view = self.store.look().await?.context("the store is gone")?;
        view.payments(&mut |payment: Payment<'_>| {
            audit.settled(&Row {
                tx_id: payment.tx_id,
                amount: payment.amount,
                merchant: payment.merchant,
                created_at_ms: payment.created_at_ms,
                card: payment.card_fingerprint.0,
            });
            let rules: Vec<&str> = serde_json::from_str(payment.fraud_rules).unwrap_or_default();
            scorer.settled(payment.tx_id.as_bytes(), rules);
        })
        .await?;
        let counts = view.counts().await?;
        let scores = scorer.finish();
        Ok(Found { finding: audit.finish(), pending, dead, scores, counts })
    }
}

/// All dead letters.
async fn letters(buffer: &dyn Location) -> Result<Vec<DeadLetter>, buffer::Error> {
    buffer.dead(Box::pin(std::future::pending())).await
}

/// `count` over this time.
pub(crate) fn per_second(count: u64, over: Duration) -> f64 {
    decimal(count) / over.as_secs_f64().max(0.001)
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "what a run counts is far below 2^53")]
fn decimal(count: u64) -> f64 {
    count as f64
}
