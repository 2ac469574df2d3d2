//! What an audit found.

use std::fmt;

/// How many examples are kept.
const EXAMPLES_MAX: usize = 10;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Different events that were accepted.
    pub accepted: u64,
    /// Accepted, and nowhere to be found.
    pub lost: u64,
    /// Rows beyond the first for a `tx_id`.
    pub double_rows: u64,
    /// Rows that say something else than was offered.
    pub changed_rows: u64,
    /// Rows nobody offered.
    pub phantom_rows: u64,
    /// Events both settled and dead: the same id, amount, merchant, time and card.
    pub settled_and_dead: u64,
    /// Events there was no room for in the ledger: nothing is claimed of them.
    pub unaudited: u64,
    /// The first few violations, in words.
    pub examples: Vec<String>,
}

/// Whether the pipeline kept its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every accepted event took effect exactly once, or is still on its way.
    Ok,
    /// It did not.
    Violated,
}

impl Finding {
    /// Everything that took effect more than once.
    #[must_use]
    pub fn double_effects(&self) -> u64 {
        self.double_rows + self.settled_and_dead
    }

    /// All there is against it.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost + self.double_effects() + self.changed_rows + self.phantom_rows
    }

    /// The verdict on all of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.violations() == 0 { Verdict::Ok } else { Verdict::Violated }
    }

    pub(super) fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Violated => "violated",
        })
    }
}
