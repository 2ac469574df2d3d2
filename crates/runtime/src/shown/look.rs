//! One look at the live processes, and at what each holds of a shared buffer.

use buffer::backend::Distribution;
use model::units::grouped;
use serde_json::{Value, json};
use store::processes::Heard;

use super::{processes, shards};

/// See the module.
pub struct Look {
    /// The live processes, or why they cannot be read.
    pub heard: Result<Vec<Heard>, String>,
    /// Which process holds what, of a shared buffer.
    pub distribution: Option<Distribution>,
    /// Why the buffer cannot be read, and the events in its spill.
    pub away: Option<(String, u64)>,
}

impl Look {
    /// An object for a script.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut shown = self.distribution.as_ref().map_or_else(|| json!({}), shards::json);
        if let Some((error, events)) = &self.away {
            (shown["unreachable"], shown["spilled"]) = (error.clone().into(), (*events).into());
        }
        let heard = self.heard.as_ref();
        shown["processes"] = heard.map_or(Value::Null, |heard| processes::json(heard));
        shown
    }

    /// Lines for a person. `name` is the buffer's.
    #[must_use]
    pub fn lines(&self, name: &str) -> Vec<String> {
        let mut lines = match &self.heard {
            Ok(heard) => processes::lines(heard),
            Err(error) => vec![format!("The live processes cannot be read: {error}")],
        };
        if let Some((error, events)) = &self.away {
            lines.push(String::new());
            lines.push(format!("{name}: unknown, for it cannot be read: {error}"));
            lines.push(format!("Its spill on this machine holds {} events.", grouped(*events)));
        }
        if let Some(seen) = &self.distribution {
            lines.push(String::new());
            lines.extend(shards::lines(name, seen));
        }
        lines
    }
}
