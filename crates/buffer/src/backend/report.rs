//! What a backend says of a buffer, for a person and for a script.

use model::units::{grouped, time};
use serde_json::{Value, json};

use crate::Depth;

/// Takes how much is done and how much there is, in bytes.
pub type Progress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// An answer of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For a person.
    pub lines: Vec<String>,
    /// For a script: an object.
    pub json: Value,
    /// Whether damage was found.
    pub is_damaged: bool,
}

impl Report {
    /// How much the buffer of this name holds.
    #[must_use]
    pub fn of_depth(name: &str, depth: &Depth) -> Self {
        let Depth { ready, leased, dead, oldest_accepted_ms } = *depth;
        let json = json!({
            "ready": ready,
            "leased": leased,
            "pending": ready + leased,
            "dead": dead,
            "oldest_accepted_ms": oldest_accepted_ms,
        });
        let oldest = oldest_accepted_ms.map_or_else(|| "-".to_owned(), time);
        let lines = vec![
            name.to_owned(),
            format!("  ready     {:>15}", grouped(ready)),
            format!("  leased    {:>15}", grouped(leased)),
            format!("  dead      {:>15}", grouped(dead)),
            format!("  oldest    {oldest:>15}"),
        ];
        Self { lines, json, is_damaged: false }
    }
}
