//! The figures side by side, for the terminal and for the page.

use std::fmt::Write as _;

use super::comparison::{Comparison, ratio};
use super::figures::Figures;
use super::measured::LatencyMs;
use super::number::{count, figure, times};

/// One thing that was measured, of every phase.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) cells: Vec<Cell>,
}

/// One figure.
pub(super) struct Cell {
    pub(super) value: String,
    /// To the first phase's.
    pub(super) ratio: Option<String>,
}

/// Everything measured, in the order in which it is shown. What no phase knows is left out.
pub(super) fn rows(comparison: &Comparison) -> Vec<Row> {
    let phases = &comparison.phases;
    let counts = |label: &str, of: fn(&Figures) -> u64| {
        let cell = |phase| Cell { value: count(of(phase)), ratio: None };
        Row { label: label.to_owned(), cells: phases.iter().map(cell).collect() }
    };
    let figures = |label: &str, of: &dyn Fn(&Figures) -> Option<f64>| compared(phases, label, of);
    let mut rows = vec![
        Some(counts("payments in the database", |phase| phase.events)),
        figures("seconds", &|phase| Some(phase.seconds)).map(Row::without_ratios),
        figures("payments a second", &|phase| Some(phase.rate_per_second)),
    ];
    for (index, (name, _)) in LatencyMs::default().named().iter().enumerate() {
        let of = |phase: &Figures| Some(phase.latency_ms.named()[index].1);
        rows.push(figures(&format!("committed after, {name}, ms"), &of));
    }
    for (index, (name, _)) in LatencyMs::default().named().iter().enumerate() {
        let of = |phase: &Figures| Some(phase.accepted_latency_ms?.named()[index].1);
        rows.push(figures(&format!("accepted after, {name}, ms"), &of));
    }
    let client = |phase: &Figures| Some(phase.cpu_cores_mean.as_ref()?.client);
    rows.push(figures("CPU: client, cores", &client));
    for name in servers(phases) {
        let of = |phase: &Figures| phase.cpu_cores_mean.as_ref()?.servers.get(&name).copied();
        rows.push(figures(&format!("CPU: {name}, cores"), &of));
    }
    rows.push(figures("CPU a payment: client, µs", &|phase| phase.cpu_us_each().0));
    rows.push(figures("CPU a payment: servers, µs", &|phase| phase.cpu_us_each().1));
    rows.push(Some(counts("errors", |phase| phase.errors)));
    rows.into_iter().flatten().collect()
}

/// The servers that any phase watched, each once, in order of name.
pub(super) fn servers(phases: &[Figures]) -> Vec<String> {
    let means = phases.iter().filter_map(|phase| phase.cpu_cores_mean.as_ref());
    let mut names: Vec<String> = means.flat_map(|mean| mean.servers.keys().cloned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `None` when no phase knows.
fn compared(phases: &[Figures], label: &str, of: &dyn Fn(&Figures) -> Option<f64>) -> Option<Row> {
    let values: Vec<_> = phases.iter().map(of).collect();
    values.iter().flatten().next()?;
    let first = values.first().copied().flatten();
    let cell = |(index, value): (usize, &Option<f64>)| Cell {
        value: value.map_or_else(|| "–".to_owned(), figure),
        ratio: value
            .zip(first)
            .filter(|_| index > 0)
            .and_then(|(value, first)| ratio(value, first))
            .map(times),
    };
    let cells = values.iter().enumerate().map(cell).collect();
    Some(Row { label: label.to_owned(), cells })
}

impl Row {
    fn without_ratios(mut self) -> Self {
        for cell in &mut self.cells {
            cell.ratio = None;
        }
        self
    }
}

impl Comparison {
    /// A table for a terminal: what was measured by line, the phases side by side, and how many
    /// times the first phase's figure each is.
    #[must_use]
    pub fn text(&self) -> String {
        text(self)
    }
}

/// The table as text, with what each phase did under it.
fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    for part in [&comparison.title, &comparison.date, &comparison.machine.to_string()] {
        if !part.is_empty() {
            out.push_str(part);
            out.push('\n');
        }
    }
    out.push('\n');
    let names: Vec<_> = comparison.phases.iter().map(|phase| phase.name.as_str()).collect();
    write_columns(&mut out, &names, &rows(comparison));
    write_words(&mut out, comparison);
    out
}

/// Values to the right, their ratios beside them; a phase's name stands over both.
fn write_columns(out: &mut String, names: &[&str], rows: &[Row]) {
    let width = |text: &str| text.chars().count();
    let label = rows.iter().map(|row| width(&row.label)).max().unwrap_or_default();
    let mut header = " ".repeat(label);
    let mut widths = Vec::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        let cells = || rows.iter().filter_map(|row| row.cells.get(column));
        let ratio = cells().filter_map(|cell| cell.ratio.as_deref()).map(width).max();
        let beside = ratio.map_or(0, |ratio| ratio + 2);
        let value = cells().map(|cell| width(&cell.value)).max().unwrap_or_default();
        let value = value.max(width(name).saturating_sub(beside));
        let _ = write!(header, "  {name:>0$}", value + beside);
        widths.push((value, beside));
    }
    out.push_str(header.trim_end());
    out.push('\n');
    for row in rows {
        let mut line = format!("{:<label$}", row.label);
        for (cell, (wide, beside)) in row.cells.iter().zip(&widths) {
            let ratio = cell.ratio.as_deref().unwrap_or_default();
            let _ = write!(line, "  {:>wide$}{ratio:>beside$}", cell.value);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn write_words(out: &mut String, comparison: &Comparison) {
    for phase in &comparison.phases {
        out.push_str(&format!("\n{}: {}\n", phase.name, phase.what));
        if !phase.durability.is_empty() {
            out.push_str(&format!("  survives: {}\n", phase.durability));
        }
    }
    let payload =
        (!comparison.payload.is_empty()).then_some(("payload", comparison.payload.as_str()));
    let settings = comparison.settings.iter().map(|set| (set.name.as_str(), set.value.as_str()));
    for (index, (name, value)) in payload.into_iter().chain(settings).enumerate() {
        out.push_str(if index == 0 { "\n" } else { "" });
        out.push_str(&format!("{name}: {value}\n"));
    }
    for (index, note) in comparison.notes.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { "" });
        out.push_str(&format!("- {note}\n"));
    }
}
