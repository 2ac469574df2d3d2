//! Holds what was offered against what is in the store and on the buffer's medium.
//!
//! The store is read through a connection of its own, the journal read-only from its directory, after
//! the pipeline has closed both. No counter of the pipeline has a say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::audit::{Audit, Finding, Ledger, Row};
use lab::report::{LatencyMs, Report};
use lab::score::{Labels, Scorer, Scores};
use store_sqlite::inspect::{self, Counts};

use crate::pipeline::Stopped;
use crate::url;

/// Most events an audit holds, at 25 bytes each and 5 more while it compares. Further ones are
/// counted as unaudited.
pub(crate) const LEDGER_EVENTS_MAX: usize = 4_000_000;

/// Where to look.
pub(crate) struct Places {
    store: PathBuf,
    /// What the store held before the run; `None` if there was none.
    before: Option<Counts>,
    /// The journal's directory; without one, what was left of the buffer is in [`Stopped`].
    journal: Option<PathBuf>,
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
    /// Remembers what the store at `store` holds by now, if there is one.
    ///
    /// # Errors
    /// If it can't be read.
    pub(crate) fn before(store: &Path, buffer: &url::Buffer) -> Result<Self> {
        let before = match store.exists() {
            true => Some(inspect::open(store)?.counts()?),
            false => None,
        };
        let journal = match buffer {
            url::Buffer::Journal(options) => Some(options.dir.clone()),
            url::Buffer::Memory(_) => None,
        };
        Ok(Self { store: store.to_owned(), before, journal })
    }

    /// Audits a run that has ended after `settling`. Reads everything there is.
    ///
    /// # Errors
    /// If the store or the journal can't be read.
    pub(crate) fn report(
        &self,
        ledger: Ledger,
        labels: &Labels,
        stopped: &Stopped,
        durability: &str,
        settling: Duration,
    ) -> Result<Report> {
        let Found { finding, pending, dead, scores, counts } =
            self.find(ledger, labels, stopped).context("the audit could not be made")?;
        let before = self.before.clone().unwrap_or_default();
        let rules = counts.flagged_by_rule.into_iter().map(|(rule, count)| {
            let earlier = before.flagged_by_rule.get(&rule).copied().unwrap_or(0);
            (rule, count.saturating_sub(earlier))
        });
        let mut flagged_by_rule: BTreeMap<_, _> =
            fraud::Rule::ALL.into_iter().map(|rule| (rule.name().to_owned(), 0)).collect();
        flagged_by_rule.extend(rules);
        let settled = counts.total.saturating_sub(before.total);
        let latency = stopped.stats.latency();
        Ok(Report {
            settled,
            duplicates_suppressed: stopped.summary.counts.duplicates,
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
            rss_mib_max: lab::memory::rss_mib_max(),
            fraud_score: if labels.is_empty() { Scores::new() } else { scores },
            ..Report::new(finding, durability)
        })
    }

    fn find(&self, ledger: Ledger, labels: &Labels, stopped: &Stopped) -> Result<Found> {
        let began_empty = self.before.as_ref().is_none_or(|before| before.total == 0);
        let mut audit = Audit::new(ledger, began_empty);
        let (mut pending, mut dead) = (0, 0);
        if let Some(dir) = &self.journal {
            buffer_journal::inspect::events(dir, |_, _, done, event| {
                if !done {
                    pending += 1;
                    audit.pending(event.id());
                }
                true
            })?;
            for letter in buffer_journal::inspect::dead(dir)? {
                dead += 1;
                audit.dead(letter.event.id());
            }
        }
        for event in &stopped.left {
            pending += 1;
            audit.pending(event.id());
        }
        for event in &stopped.dead {
            dead += 1;
            audit.dead(event.id());
        }
        let view = inspect::open(&self.store)?;
        let mut scorer = Scorer::new(labels);
        view.payments(|payment| {
            audit.settled(&Row {
                tx_id: payment.tx_id,
                amount: payment.amount,
                created_at_ms: payment.created_at_ms,
                card: payment.card_fingerprint.0,
            });
            let rules: Vec<&str> = serde_json::from_str(payment.fraud_rules).unwrap_or_default();
            scorer.settled(payment.tx_id.as_bytes(), rules);
        })?;
        let (scores, counts) = (scorer.finish(), view.counts()?);
        Ok(Found { finding: audit.finish(), pending, dead, scores, counts })
    }
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
