//! All phases of one run, side by side, with the machine they ran on.

use std::path::Path;

use anyhow::Context as _;

use super::figures::Figures;
use super::machine::Machine;

/// What the JSON's first field says; another number when its shape changes.
const SCHEMA: &str = "forebay.phases.1";

/// What the units of the JSON's fields are, for whoever reads it without this program.
const UNITS: &[(&str, &str)] = &[
    ("date", "RFC 3339"),
    ("machine.memory_mib", "MiB"),
    ("phases.events", "payments whose row is in the database"),
    ("phases.seconds", "s"),
    ("phases.rate_per_second", "payments/s"),
    ("phases.rate_to_first", "times the first phase's rate_per_second"),
    ("phases.latency_ms", "ms, from offered to committed"),
    (
        "phases.accepted_latency_ms",
        "ms, from offered to durable in the buffer; null where the same",
    ),
    ("phases.errors", "payments"),
    ("phases.cpu_cores_mean", "cores; 1.0 is one core that never rests; null where unknown"),
    ("phases.cpu.at_seconds", "s since the phase began"),
    ("phases.cpu.client_cores", "cores"),
    ("phases.cpu.server_cores", "cores, by server, its children included"),
    ("phases.rate_over_time.at_seconds", "s since the phase began, the middle of a stretch"),
    ("phases.rate_over_time.rate_per_second", "payments/s in that stretch"),
];

/// All phases of one run. Every text in it is shown as it is: nothing secret may be in any.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// What is compared, in a few words.
    pub title: String,
    /// When it was measured, as RFC 3339.
    pub date: String,
    /// Where it was measured.
    pub machine: Machine,
    /// What the payments were, in plain words.
    pub payload: String,
    /// What the phases were run with, in order.
    pub settings: Vec<Setting>,
    /// What to know before the figures are held against each other, one sentence each.
    pub notes: Vec<String>,
    /// What each phase came to; the first is what the others are held against.
    pub phases: Vec<Figures>,
}

/// One setting of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// What is set.
    pub name: String,
    /// To what.
    pub value: String,
}

impl Setting {
    /// `name` is `value`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: &'static str,
    units: serde_json::Map<String, serde_json::Value>,
    title: &'a str,
    date: &'a str,
    machine: &'a Machine,
    payload: &'a str,
    settings: &'a [Setting],
    notes: &'a [String],
    phases: Vec<Phase<'a>>,
}

#[derive(serde::Serialize)]
struct Phase<'a> {
    rate_to_first: Option<f64>,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl Comparison {
    /// The whole comparison as one JSON object, which says its own units; a figure that is no
    /// number is `null`.
    ///
    /// # Panics
    /// Never: everything in it is text or a number.
    #[must_use]
    pub fn json(&self) -> String {
        let units = UNITS.iter().map(|(name, unit)| ((*name).to_owned(), (*unit).into())).collect();
        let phase = |figures| Phase { rate_to_first: self.rate_to_first(figures), figures };
        let document = Document {
            schema: SCHEMA,
            units,
            title: &self.title,
            date: &self.date,
            machine: &self.machine,
            payload: &self.payload,
            settings: &self.settings,
            notes: &self.notes,
            phases: self.phases.iter().map(phase).collect(),
        };
        let text = serde_json::to_string_pretty(&document);
        text.expect("text, numbers and maps with text for keys are always JSON") + "\n"
    }

    /// Writes phases.txt, phases.json and phases.html into `folder`, in place of what was there. Returns the text.
    ///
    /// # Errors
    /// If one can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<String> {
        let text = self.text();
        let (json, html) = (self.json(), self.html());
        for (name, content) in
            [("phases.txt", &text), ("phases.json", &json), ("phases.html", &html)]
        {
            let path = folder.join(name);
            std::fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(text)
    }

    /// How many times the first phase's rate this one's is; `None` when the first had none.
    pub(super) fn rate_to_first(&self, figures: &Figures) -> Option<f64> {
        let first = self.phases.first()?.rate_per_second;
        ratio(figures.rate_per_second, first)
    }
}

/// `None` when there is nothing to hold `value` against.
pub(super) fn ratio(value: f64, first: f64) -> Option<f64> {
    Some(value / first).filter(|ratio| first > 0.0 && ratio.is_finite())
}

#[cfg(test)]
pub(super) mod tests;
