//! The `rulesets` table: the thresholds of each version of the fraud rules.

use async_trait::async_trait;
use model::clock::EpochMs;

use crate::Error;

/// The longest text of one ruleset, in bytes: a unique index has to hold it.
pub const RULES_BYTES_MAX: usize = 2_048;

/// One version of the fraud rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// What the rows bear that it was applied to.
    pub version: i64,
    /// All rules with their thresholds, as JSON. `None` where rows were settled before the store
    /// recorded thresholds.
    pub rules: Option<String>,
    /// When a process first used it.
    pub first_used_at_ms: EpochMs,
}

/// Numbers rulesets by their content.
#[async_trait]
pub trait Rulesets: Send + Sync + 'static {
    /// The version of `rules` (JSON; two rulesets are the same if their text is). A ruleset that the
    /// store has not seen is recorded durably, with the number after the highest one.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the text is longer than [`RULES_BYTES_MAX`], [`Error::Fatal`] when
    /// the role may not write the table, [`Error::Unavailable`] when it is worth trying again.
    async fn ruleset_version(&self, rules: &str) -> Result<i64, Error>;
}

/// Refuses a text past the bound.
///
/// # Errors
/// [`Error::Rejected`] when it is longer than [`RULES_BYTES_MAX`].
pub fn bounded(rules: &str) -> Result<(), Error> {
    if rules.len() <= RULES_BYTES_MAX {
        return Ok(());
    }
    let bytes = rules.len();
    Err(Error::Rejected(format!(
        "cannot record the rules: they have {bytes} bytes; at most {RULES_BYTES_MAX} fit"
    )))
}
