//! The page: what people show each other.
//!
//! Colour tells the phases apart and is never the only thing that does: bars and lines are labelled,
//! lines differ in their dashes, and everything drawn stands in the table too.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::comparison::{Comparison, ratio};
use super::figures::Figures;
use super::number::{count, figure, times};
use super::table;
use legend::colour;

mod bars;
mod legend;
mod lines;
mod percentiles;
mod processors;
mod scale;
mod svg;
#[cfg(test)]
mod tests;

const STYLE: &str = include_str!("page/style.css");

impl Comparison {
    /// A page of its own: charts and tables, light or dark as the reader's system is, without
    /// scripts, and without reference to anything outside itself.
    #[must_use]
    pub fn html(&self) -> String {
        page(self)
    }
}

/// The whole page.
fn page(comparison: &Comparison) -> String {
    let Comparison { title, date, machine, .. } = comparison;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.eyebrow { "Forebay · phases compared" }
                        h1 { (title) }
                        @if let Some(lead) = lead(&comparison.phases) { p.lead { (lead) } }
                        p.where { time datetime=(date) { (date) } " · " (machine) }
                    }
                    (cards(comparison))
                    @if !comparison.phases.is_empty() { (charts(comparison)) }
                    (figures(comparison))
                    (conditions(comparison))
                }
            }
        }
    };
    page.into_string()
}

/// The fastest phase in a sentence, and what its payments wait for that in another.
fn lead(phases: &[Figures]) -> Option<String> {
    let first = phases.first()?;
    let fastest = phases.iter().max_by(|a, b| a.rate_per_second.total_cmp(&b.rate_per_second))?;
    let ratio = ratio(fastest.rate_per_second, first.rate_per_second)?;
    let (name, rate) = (&fastest.name, figure(fastest.rate_per_second));
    if std::ptr::eq(first, fastest) {
        return Some(format!("“{name}” was the fastest: {rate} payments a second."));
    }
    Some(format!(
        "“{name}” was the fastest: {rate} payments a second, {} the rate of “{}”. Half of its payments \
         were committed within {} ms; there it was {} ms.",
        times(ratio),
        first.name,
        figure(fastest.latency_ms.p50),
        figure(first.latency_ms.p50),
    ))
}

fn cards(comparison: &Comparison) -> Markup {
    html! {
        section.cards aria-label="The phases" {
            @for (index, phase) in comparison.phases.iter().enumerate() {
                article class=(format!("card {}", colour(index))) {
                    h2 { (phase.name) }
                    p.rate { strong { (figure(phase.rate_per_second)) } " payments/s" }
                    p.ratio {
                        @match comparison.rate_to_first(phase).filter(|_| index > 0) {
                            Some(ratio) => { (times(ratio)) " the first phase" }
                            None if index == 0 => { "what the others are held against" }
                            None => { "nothing to hold it against" }
                        }
                    }
                    p { (phase.what) }
                    @if !phase.durability.is_empty() {
                        p.survives { span { "An accepted payment survives" } " " (phase.durability) }
                    }
                    @if phase.errors > 0 { p.errors { (count(phase.errors)) " failed" } }
                }
            }
        }
    }
}

fn charts(comparison: &Comparison) -> Markup {
    let phases = &comparison.phases;
    html! {
        (chart(
            "Payments a second",
            "Rows committed, by the time the phase took. Longer is better.",
            &html! { (bars::draw(comparison)) },
        ))
        (chart(
            "How long a payment takes",
            "From offered to committed, in milliseconds; lower is better. The scale is logarithmic: \
             each line is ten times the one below it.",
            &html! { (percentiles::legend(phases)) (percentiles::draw(phases)) },
        ))
        @if phases.iter().any(|phase| !phase.rate_over_time.is_empty()) {
            (chart(
                "Rate over time",
                "Payments committed a second, in stretches, each phase from its own beginning.",
                &html! { (lines::legend(phases)) (lines::draw(phases)) },
            ))
        }
        @if phases.iter().any(|phase| !phase.cpu.is_empty()) {
            (chart(
                "Who is busy",
                "Processor cores in use, by process; 1 is one core that never rests.",
                &processors::draw(phases, comparison.machine.cores),
            ))
        }
    }
}

fn chart(title: &str, what: &str, drawn: &Markup) -> Markup {
    html! {
        section.chart {
            h2 { (title) }
            p.what { (what) }
            (drawn)
        }
    }
}

fn figures(comparison: &Comparison) -> Markup {
    html! {
        section.chart {
            h2 { "All figures" }
            p.what { "Beside a figure: how many times the first phase's it is." }
            div.scroll tabindex="0" role="region" aria-label="All figures, as a table" {
                table {
                    thead {
                        tr {
                            td {}
                            @for (index, phase) in comparison.phases.iter().enumerate() {
                                th scope="col" class=(colour(index)) { (phase.name) }
                            }
                        }
                    }
                    tbody {
                        @for row in table::rows(comparison) {
                            tr {
                                th scope="row" { (row.label) }
                                @for (index, cell) in row.cells.into_iter().enumerate() {
                                    td {
                                        (cell.value)
                                        // Empty where there is none: figures stand under figures.
                                        @if index > 0 { " " small { (cell.ratio.unwrap_or_default()) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn conditions(comparison: &Comparison) -> Markup {
    html! {
        section.chart {
            h2 { "Conditions" }
            dl {
                dt { "machine" } dd { (comparison.machine) }
                @if !comparison.payload.is_empty() { dt { "payload" } dd { (comparison.payload) } }
                @for set in &comparison.settings { dt { (set.name) } dd { (set.value) } }
            }
            @if !comparison.notes.is_empty() {
                h3 { "Before you compare" }
                ul.notes { @for note in &comparison.notes { li { (note) } } }
            }
        }
    }
}
