//! What is configured of the advice.

use crate::cost::Prices;
use crate::verdict::Thresholds;

/// What is configured under `[advise]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Where one layout ends and the next begins.
    pub thresholds: Thresholds,
    /// What machines and servers cost.
    pub prices: Prices,
}
