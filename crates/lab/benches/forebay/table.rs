//! What was measured, as a table for people and JSON for scripts.

use std::fmt::Write;

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    /// The raw ceiling measured in the same run, where there is one.
    pub(crate) ceiling: Option<f64>,
    /// Ours to the ceiling: the median over the pairs measured.
    pub(crate) ratio: Option<f64>,
    /// What we hold ourselves to.
    pub(crate) target: Target,
    pub(crate) note: String,
}

/// What we hold a figure to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    RatioAtLeast(f64),
    AtMost(f64),
    /// Shown for orientation.
    None,
}

impl Row {
    fn held(&self) -> Option<bool> {
        match self.target {
            Target::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
            Target::AtMost(most) => Some(self.ours <= most),
            Target::None => None,
        }
    }
}

/// Our figure and the ceiling, measured in turn; the row holds the medians.
pub(crate) fn paired(
    what: &'static str,
    unit: &'static str,
    at_least: f64,
    pairs: &[(f64, f64)],
    note: String,
) -> Row {
    let mut ratios: Vec<f64> = pairs.iter().map(|(ours, ceiling)| ours / ceiling).collect();
    ratios.sort_by(f64::total_cmp);
    let note = match &ratios[..] {
        [least, .., most] => format!("{note}; pairs {least:.2} to {most:.2}"),
        _ => note,
    };
    Row {
        what,
        unit,
        ours: median(pairs.iter().map(|(ours, _)| *ours).collect()),
        ceiling: Some(median(pairs.iter().map(|(_, ceiling)| *ceiling).collect())),
        ratio: Some(median(ratios)),
        target: Target::RatioAtLeast(at_least),
        note,
    }
}

/// The middle one; of an even number the lower of the two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// What so many of a hundred of the figures, which are in order, do not exceed.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100);
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub(crate) fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "{:<34} {:>12} {:>12} {:>7} {:>9}  {:<5} {}\n",
        "what", "ours", "ceiling", "ratio", "target", "held", "unit · note"
    );
    for row in rows {
        let ceiling = row.ceiling.map_or(String::new(), figure);
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let target = match row.target {
            Target::RatioAtLeast(least) => format!("≥ {least}"),
            Target::AtMost(most) => format!("≤ {most}"),
            Target::None => String::new(),
        };
        let held = row.held().map_or("", |held| if held { "yes" } else { "NO" });
        let _ = writeln!(
            out,
            "{:<34} {:>12} {:>12} {:>7} {:>9}  {:<5} {} · {}",
            row.what,
            figure(row.ours),
            ceiling,
            ratio,
            target,
            held,
            row.unit,
            row.note
        );
    }
    out
}

/// As it is shown: as many digits as it is good for.
pub(crate) fn figure(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}
