//! What a run came to: as JSON for scripts, as a table for people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use model::units::grouped;

use crate::audit::{Finding, Verdict};
use crate::pace::Outcome;
use crate::score::Scores;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Events offered, each counted once.
    pub offered: u64,
    /// Of these, durable.
    pub accepted: u64,
    /// Of these, refused and dropped.
    pub refused: u64,
    /// Events whose effect is in the store.
    pub settled: u64,
    /// Events that came again and changed nothing.
    pub duplicates_suppressed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events the buffer still holds.
    pub pending: u64,
    /// Settled payments that some rule flagged.
    pub flagged_total: u64,
    /// For each rule, how many payments it flagged.
    pub flagged_by_rule: BTreeMap<String, u64>,
    /// From accepted to settled.
    pub latency_ms: LatencyMs,
    /// Events settled, by the seconds it took.
    pub settled_per_second: f64,
    /// The most memory the process had resident; `None` where it can't be known.
    pub rss_mib_max: Option<f64>,
    /// Whether the pipeline kept its word.
    pub audit: Audit,
    /// How long the run took, in seconds.
    pub duration_s: f64,
    /// Events a second asked for; `None` where there was no such wish.
    pub target_tps: Option<f64>,
    /// Events a second offered.
    pub achieved_tps: f64,
    /// Whether the rate asked for was held.
    pub rate_held: Option<bool>,
    /// How long after it was due the latest event was offered.
    pub late_ms_max: Option<f64>,
    /// What the traffic was made from.
    pub seed: Option<u64>,
    /// What an accepted event survives, in plain words.
    pub durability: String,
    /// How well each kind of labelled fraud was found; empty where there are no labels.
    pub fraud_score: Scores,
    /// The audit in full; `None` where none was made.
    pub audit_detail: Option<Finding>,
}

/// How long events took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct LatencyMs {
    /// Half were quicker.
    pub p50: f64,
    /// Ninety-nine of a hundred were quicker.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// The audit in three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    /// Accepted, and nowhere to be found.
    pub lost: u64,
    /// Effects that happened twice.
    pub double_effects: u64,
    /// `ok` or `violated`.
    pub verdict: Verdict,
}

impl From<&Finding> for Audit {
    fn from(finding: &Finding) -> Self {
        Self {
            lost: finding.lost,
            double_effects: finding.double_effects(),
            verdict: finding.verdict(),
        }
    }
}

impl Report {
    /// A report with nothing in it but the audit: everything else is filled in by whoever ran it.
    #[must_use]
    pub fn new(finding: Finding, durability: impl Into<String>) -> Self {
        Self {
            offered: 0,
            accepted: 0,
            refused: 0,
            settled: 0,
            duplicates_suppressed: 0,
            dead: 0,
            pending: 0,
            flagged_total: 0,
            flagged_by_rule: BTreeMap::new(),
            latency_ms: LatencyMs::default(),
            settled_per_second: 0.0,
            rss_mib_max: None,
            audit: Audit::from(&finding),
            duration_s: 0.0,
            target_tps: None,
            achieved_tps: 0.0,
            rate_held: None,
            late_ms_max: None,
            seed: None,
            durability: durability.into(),
            fraud_score: Scores::new(),
            audit_detail: Some(finding),
        }
    }

    /// Takes over what a paced run came to.
    #[must_use]
    pub fn with_outcome(self, outcome: &Outcome) -> Self {
        Self {
            offered: outcome.offered,
            accepted: outcome.accepted,
            refused: outcome.refused,
            duration_s: outcome.duration.as_secs_f64(),
            target_tps: Some(outcome.target_tps),
            achieved_tps: outcome.achieved_tps,
            rate_held: Some(outcome.held),
            late_ms_max: Some(outcome.late_ms_max),
            ..self
        }
    }

    /// Whether the audit found nothing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.audit.verdict == Verdict::Ok
    }

    /// Writes it as JSON to `path`, in place of what was there.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(self).context("the report is no JSON")?;
        json.push('\n');
        std::fs::write(path, json).with_context(|| {
            format!("the report can't be written to {}; name a file that can", path.display())
        })
    }

    fn rows(&self) -> Vec<(String, String)> {
        let row = |name: &str, value: String| (name.to_owned(), value);
        let mut rows = vec![
            row("offered", grouped(self.offered)),
            row("accepted", grouped(self.accepted)),
            row("refused", grouped(self.refused)),
            row("settled", grouped(self.settled)),
            row("duplicates", format!("{} suppressed", grouped(self.duplicates_suppressed))),
            row("dead", grouped(self.dead)),
            row("pending", grouped(self.pending)),
            row("flagged", grouped(self.flagged_total)),
        ];
        for (rule, count) in &self.flagged_by_rule {
            let score = self.fraud_score.get(rule.as_str()).map_or_else(String::new, |score| {
                let (precision, recall) = (score.precision * 100.0, score.recall * 100.0);
                format!("   precision {precision:.1}%, recall {recall:.1}%")
            });
            rows.push((format!("  {rule}"), format!("{}{score}", grouped(*count))));
        }
        let LatencyMs { p50, p99, max } = self.latency_ms;
        rows.push(row("latency", format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")));
        rows.push(row("settled/s", format!("{:.0}", self.settled_per_second)));
        rows.push(row("rate", self.rate()));
        let memory = self.rss_mib_max.map_or("unknown".to_owned(), |mib| format!("{mib:.0} MiB"));
        rows.push(row("memory, max", memory));
        rows.push(row("accepted survives", self.durability.clone()));
        rows.push(row("audit", self.verdict()));
        rows
    }

    fn rate(&self) -> String {
        let achieved = self.achieved_tps;
        match (self.target_tps, self.rate_held) {
            (Some(target), Some(true)) => format!("{achieved:.0}/s of {target:.0}/s: held"),
            (Some(target), Some(false)) => {
                let late = self.late_ms_max.unwrap_or_default();
                format!("{achieved:.0}/s of {target:.0}/s: NOT held, up to {late:.0} ms late")
            }
            _ => format!("{achieved:.0}/s"),
        }
    }

    fn verdict(&self) -> String {
        let Audit { lost, double_effects, verdict } = self.audit;
        let detail = self.audit_detail.clone().unwrap_or_default();
        let rest: String = [
            (detail.changed_rows, "rows not as offered"),
            (detail.phantom_rows, "rows not offered"),
            (detail.unaudited, "not audited"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {} {what}", grouped(count)))
        .collect();
        format!("{verdict}: {lost} lost, {double_effects} double effects{rest}")
    }
}

impl fmt::Display for Report {
    /// A table of two columns, and the audit's examples under it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        for (name, value) in rows {
            writeln!(f, "{name:<width$}  {value}")?;
        }
        for example in self.audit_detail.iter().flat_map(|finding| &finding.examples) {
            writeln!(f, "{:<width$}  - {example}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Score;

    fn report(finding: Finding) -> Report {
        let score = Score { labelled: 4, found: 3, flagged: 3, precision: 1.0, recall: 0.75 };
        let outcome = Outcome {
            offered: 1_234_567,
            accepted: 1_234_560,
            refused: 7,
            target_tps: 2_000.0,
            achieved_tps: 1_400.4,
            late_ms_max: 812.0,
            ..Outcome::default()
        };
        Report {
            flagged_by_rule: BTreeMap::from([("velocity".to_owned(), 3)]),
            fraud_score: Scores::from([("velocity", score)]),
            rss_mib_max: Some(81.4),
            ..Report::new(finding, "kill -9").with_outcome(&outcome)
        }
    }

    #[test]
    fn a_report_is_good_while_its_audit_found_nothing() {
        let is_good = |finding| Report::new(finding, "nothing").is_good();
        assert!(is_good(Finding::default()));
        assert!(!is_good(Finding { lost: 1, ..Finding::default() }));
        assert!(!is_good(Finding { double_rows: 1, ..Finding::default() }));
    }

    #[test]
    fn the_json_has_every_field_a_script_counts_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        report(Finding { lost: 2, double_rows: 1, ..Finding::default() }).write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let count = |name: &str| json[name].as_u64();
        assert_eq!(count("offered"), Some(1_234_567));
        assert_eq!((count("accepted"), count("refused")), (Some(1_234_560), Some(7)));
        for name in ["settled", "duplicates_suppressed", "dead", "pending", "flagged_total"] {
            assert_eq!(count(name), Some(0), "{name}");
        }
        assert_eq!(json["flagged_by_rule"]["velocity"], 3);
        for name in ["p50", "p99", "max"] {
            assert!(json["latency_ms"][name].is_f64(), "{name}");
        }
        assert!(json["settled_per_second"].is_f64() && json["rss_mib_max"].is_f64());
        let audit = serde_json::json!({"lost": 2, "double_effects": 1, "verdict": "violated"});
        assert_eq!(json["audit"], audit);
        assert_eq!(json["rate_held"], false);
        assert_eq!(json["fraud_score"]["velocity"]["recall"], 0.75);
    }

    #[test]
    fn the_table_says_what_went_wrong() {
        let examples = vec!["tx-1 is in the store more than once".to_owned()];
        let text = report(Finding { double_rows: 1, examples, ..Finding::default() }).to_string();
        for expected in [
            "1,234,567",
            "NOT held, up to 812 ms late",
            "violated: 0 lost, 1 double effects",
            "- tx-1 is in the store more than once",
            "precision 100.0%, recall 75.0%",
            "81 MiB",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
    }

    #[test]
    fn a_row_that_is_not_as_offered_is_no_double_effect_and_violates_all_the_same() {
        let finding = Finding { changed_rows: 2, phantom_rows: 1, ..Finding::default() };
        let text = report(finding).to_string();
        let expected =
            "violated: 0 lost, 0 double effects, 2 rows not as offered, 1 rows not offered";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_report_that_cannot_be_written_says_where() {
        let error = report(Finding::default()).write(Path::new("/no/such/place")).unwrap_err();
        assert!(error.to_string().contains("/no/such/place"), "{error}");
    }
}
