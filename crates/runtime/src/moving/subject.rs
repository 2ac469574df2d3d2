//! Which pipeline moves, and how what is recorded of it is read.

use buffer::Identity;

/// Reads the identity of a buffer from its URL; nothing where this program has no such backend.
pub type Parse = fn(&str) -> Option<Identity>;

/// A pipeline that moves, or may.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What its moves are recorded under.
    pub pipeline: String,
    /// The command that leads it, for messages.
    pub command: String,
    /// How recorded buffers are read.
    pub parse: Parse,
}

impl Subject {
    /// The pipeline of this name, whose moves are led by its name.
    #[must_use]
    pub fn led_by_name(pipeline: &str, parse: Parse) -> Self {
        let command = format!("forebay buffer migrate --pipeline {pipeline}");
        Self { pipeline: pipeline.to_owned(), command, parse }
    }
}
