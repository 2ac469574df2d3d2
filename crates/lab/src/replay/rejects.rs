//! Rejected records, by reason.

use std::collections::BTreeMap;
use std::fmt;

/// The most reasons told apart; further ones are counted together.
const REASONS_MAX: usize = 64;
/// How many line numbers are kept for each reason.
const LINES_MAX: usize = 5;
/// What further reasons are counted under.
const OTHER: &str = "other reasons";

/// How often a reason was met, and where first.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reason {
    /// How many records.
    pub count: u64,
    /// The first few lines, from 1; a CSV file's header is line 1.
    pub first_lines: Vec<u64>,
}

/// Rejected records by reason. Bounded: 64 reasons with 5 lines each.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Rejects {
    reasons: BTreeMap<String, Reason>,
}

impl Rejects {
    /// One more, at `line`.
    pub fn add(&mut self, reason: &str, line: u64) {
        let known = self.reasons.contains_key(reason) || self.reasons.len() < REASONS_MAX;
        let reason = if known { reason } else { OTHER };
        let entry = self.reasons.entry(reason.to_owned()).or_default();
        entry.count += 1;
        if entry.first_lines.len() < LINES_MAX {
            entry.first_lines.push(line);
        }
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.reasons.values().map(|reason| reason.count).sum()
    }

    /// The reasons, the most frequent first.
    #[must_use]
    pub fn by_count(&self) -> Vec<(&str, &Reason)> {
        let mut reasons: Vec<_> = self.reasons.iter().map(|(name, r)| (name.as_str(), r)).collect();
        reasons.sort_by_key(|(_, reason)| std::cmp::Reverse(reason.count));
        reasons
    }
}

impl fmt::Display for Rejects {
    /// One line for each reason: its count, the reason, where it was met first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, reason) in self.by_count() {
            let lines: Vec<_> = reason.first_lines.iter().map(u64::to_string).collect();
            let more = if reason.count > lines.len() as u64 { ", …" } else { "" };
            writeln!(f, "{:>9}  {name} (line {}{more})", reason.count, lines.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_comes_first_with_its_first_lines() {
        let mut rejects = Rejects::default();
        rejects.add("tier: unknown", 3);
        for line in 10..17 {
            rejects.add("amount: negative", line);
        }
        assert_eq!(
            rejects.to_string(),
            "        7  amount: negative (line 10, 11, 12, 13, 14, …)\n        1  tier: unknown (line 3)\n"
        );
    }

    #[test]
    fn reasons_past_the_bound_are_counted_together() {
        let mut rejects = Rejects::default();
        for line in 0..1_000 {
            rejects.add(&format!("reason {line}"), line);
        }
        assert_eq!(rejects.total(), 1_000);
        assert_eq!(rejects.by_count().len(), REASONS_MAX + 1);
        assert_eq!(rejects.by_count()[0].0, OTHER);
    }
}
