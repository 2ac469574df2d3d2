//! What tells the phases apart on the page, and how figures on an axis are written.

use maud::{Markup, html};

use super::super::number::figure;

/// Colours there are for phases; a phase past these takes the first one again.
const COLOURS: usize = 6;

/// The class that gives the phase at `index` its colour.
pub(super) fn colour(index: usize) -> String {
    format!("c{}", index % COLOURS)
}

/// What each colour stands for.
pub(super) fn key(entries: &[(String, String)]) -> Markup {
    html! {
        ul.key {
            @for (class, label) in entries { li class=(class) { span.swatch {} (label) } }
        }
    }
}

/// A figure on an axis: round, so without digits that say nothing.
pub(super) fn figure_short(value: f64) -> String {
    let text = figure(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
